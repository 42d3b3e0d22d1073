// Package coupon is brands' coupons: campaigns, the codes that followers show, redeeming at a till, and gifts from one user
// to another.
//
// What it promises:
//   - A code is derived when it is shown: see sealer. Nothing is stored for a follower before a code is redeemed or given
//     away, however many followers there are.
//   - A code is redeemed once, whatever happens at the same time or in between, and never more of a campaign than it says.
//     One row per coupon decides, under a condition on its version: redeeming, giving away and opening are changes of the
//     same row, so that of two at once one happens.
//   - A till that repeats a request whose answer it lost gets the first answer again.
//   - The shop learns valid, used, expired or unknown, and nothing of who shows the code. Nobody learns it from the rows
//     either: what was redeemed lies under a keyed permutation of the account's number.
//   - The giver of a gift learns that it was sent, and after 30 days whether it came back. A gift that was refused by a block
//     and one that was never looked at are the same. What was given and not opened comes back by the clock alone, so that
//     no work can be late or lost.
//   - A brand's report counts whole days that have ended, rounded, so that asking before and after shows no single code.
//
// What it does not: a code is a bearer's. Whoever sees it can show it, and a picture of it is as good as the phone.
//
// # Rows
//
//	channel.campaign      of the channel: a campaign, by its identifier
//	channel.coupon        of the channel: one coupon that was redeemed or given; key: campaign and permuted number
//	channel.coupon.count  of the channel: redeemed by day, and in all where a campaign has a limit
//	user.gift.sent        what a user gave
//	user.gift             what a user was given
//
// All of them end 90 days after their campaign.
//
// The package starts no goroutines. Everything may be used from any goroutine.
package coupon
