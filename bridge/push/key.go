package push

// The keys name texts that an app has in its languages, with places for Note.Args in their order: APNs' loc-key and
// loc-args, string resources of Android. Package broker/view has the same texts in twelve languages. who is a user, room
// the title of a room, n a number, text what somebody wrote: for a photo or another kind its caption, which may be empty.
const (
	KeyNew      = "push_new"       // there is a new message; nothing else is told
	KeyNews     = "push_news"      // n: so many new messages in one conversation
	KeyFrom     = "push_from"      // who: has written
	KeyFromIn   = "push_from_in"   // who, room
	KeyCount    = "push_count"     // n, who or room: so many new messages there
	KeyLatest   = "push_latest"    // n, who, text: so many new messages, the newest in full
	KeyLatestIn = "push_latest_in" // n, who, room, text

	// What was written, in full. Each has a second one for rooms: see KeyIn.
	KeyText     = "push_text"  // who, text
	KeyImage    = "push_image" // who, text
	KeyVideo    = "push_video"
	KeyAudio    = "push_audio"
	KeyFile     = "push_file"
	KeyPoll     = "push_poll"
	KeyLocation = "push_location"
	KeyLink     = "push_link"
	KeyCoupon   = "push_coupon"
	KeyGift     = "push_gift"

	KeyStranger = "push_stranger" // somebody who is no contact has written
	KeyRequests = "push_requests" // the request box has something
	KeySummary  = "push_summary"  // n: so many unread messages, wherever
	KeyRecalled = "push_recalled" // in place of a message that was taken back
	KeyDevice   = "push_device"   // somebody signed in on a new device

	// Of channels. who is the channel's title.
	KeyPost     = "push_post"      // there is a new post; not even of which channel
	KeyPostFrom = "push_post_from" // who: has posted
	KeyAsk      = "push_ask"       // who: for its publishers, somebody has asked something
	KeyAsks     = "push_asks"      // n, who: so many questions of one follower
)

// KeyIn is the key of the same text for a room: who, room, text.
func KeyIn(key string) string { return key + "_in" }
