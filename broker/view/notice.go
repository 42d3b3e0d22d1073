package view

import "github.com/hwangso/hwangso/store"

// What a notice tells.
const (
	NoticeInvited  = "invited"        // Who invites the user to Room
	NoticeContact  = "contact"        // Who, a contact of the user, has joined
	NoticeBlocked  = "blocked"        // the user's list of blocked users changed
	NoticeDevice   = "device"         // Device has signed in
	NoticeRemoved  = "device_removed" // Device was signed out
	NoticeMoved    = "moved"          // the account has another phone number
	NoticeSettings = "settings"       // the user's settings changed
	NoticeProfile  = "profile"        // the user's own profile changed
	NoticeFriends  = "friends"        // the user's list of friends changed; Who, where it was one of them
	NoticeMute     = "mute"           // the user muted or unmuted Room, or the conversation with Who
	NoticeRequests = "requests"       // the user's request box changed: something was accepted or declined
	NoticeQuiet    = "quiet"          // the user's quiet hours changed
	NoticeSignIn   = "sign_in"        // Device wants to sign in with the account's number and waits for an answer
	NoticeLocked   = "locked"         // the account's number went to another account; it cannot log in for a while
	NoticeErase    = "erase"          // the account will be removed
	NoticeKept     = "erase_canceled" // the account will not be removed after all
	NoticeApproved = "approved"       // the user was let into the open room Room
	NoticeRejected = "rejected"       // the user was not let into the open room Room

	NoticeAdded     = "added"     // the user is a member of Room now
	NoticeAnswered  = "answered"  // the user answered the invitation into Room on one of its devices
	NoticeWithdrawn = "withdrawn" // an invitation into Room was taken back
	NoticeOffered   = "offered"   // Who offers the user the ownership of Room
	// The record's text says why and until when.
	NoticeLimited   = "limited"   // the account may not begin new conversations
	NoticeSuspended = "suspended" // the account is shut out
	NoticeRestored  = "restored"  // it is as before

	NoticeReport = "report_closed" // operators have looked at a report of the user

	NoticeFollows     = "follows"            // the channels that the user follows changed, or how; Channel is one of them
	NoticePublish     = "publish"            // Who asks the user to publish in Channel
	NoticePublisher   = "publisher"          // the user publishes in Channel now, or in another role
	NoticeUnpublished = "publisher_removed"  // the user publishes in Channel no more
	NoticeChannel     = "channel"            // what is set about Channel changed, or who publishes in it
	NoticeOpened      = "channel_approved"   // an operator has approved Channel
	NoticeStopped     = "channel_suspended"  // an operator has suspended Channel; channel.get says why
	NoticeReinstated  = "channel_reinstated" // Channel is not suspended any more
	NoticeWebhook     = "webhook_disabled"   // a webhook of Channel, or of the app Room, takes no events
)

// Notice is what a record of kind notice says to one user's devices. It travels in the record's Extra, with the
// account by number, so that a name that is erased is gone from old notices too.
type Notice struct {
	What   string // NoticeInvited …, the op of x
	Who    store.AccountID
	Room   string
	Device string

	Channel string // its identifier
}

// Extra encodes the notice for a Draft of kind store.KindNotice.
func (n Notice) Extra() []byte {
	b := []byte{majorMap | 1, keyEvent, majorMap | 1, eventOp}
	const count = 2
	b = appendCBORText(b, []byte(n.What))
	if n.Who != 0 {
		b[count]++
		b = appendHead(append(b, eventWho), majorUint, uint64(n.Who))
	}
	if n.Room != "" {
		b[count]++
		b = appendCBORText(append(b, eventRoom), []byte(n.Room))
	}
	if n.Device != "" {
		b[count]++
		b = appendCBORText(append(b, eventDevice), []byte(n.Device))
	}
	if n.Channel != "" {
		b[count]++
		b = appendCBORText(append(b, eventChannel), []byte(n.Channel))
	}
	return b
}

// noticeOf is the inverse of Extra; what is not a notice is the zero Notice.
func noticeOf(extra []byte) (n Notice) {
	pairs(extra, func(key uint64, value []byte) {
		if key != keyEvent {
			return
		}
		pairs(value, func(key uint64, value []byte) {
			_, _, num, rest, _ := readHead(value)
			switch key {
			case eventOp:
				n.What = string(rest)
			case eventWho:
				n.Who = store.AccountID(num)
			case eventRoom:
				n.Room = string(rest)
			case eventDevice:
				n.Device = string(rest)
			case eventChannel:
				n.Channel = string(rest)
			}
		})
	})
	return n
}

func (n Notice) event(names Names) (event, bool) {
	return event{op: n.What, who: nameOf(n.Who, names), room: n.Room, device: n.Device, channel: n.Channel}, n.What != ""
}
