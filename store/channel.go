package store

// A brand channel has two logs with one name, notices and advertising, since only advertising may wait for the morning:
// nothing waits behind it. The members of both are the channel's publishers. Followers are no members; there may be
// millions of them. The number of the log of notices is the channel's number everywhere.
//
// What a follower and the brand write to each other is a log of its own per follower, so that no sequence counts others.

// ChannelKey is the key of a channel's notices.
func ChannelKey(name string) Key { return Key{Kind: LogChannel, Name: name} }

// AdsKey is the key of a channel's advertising.
func AdsKey(name string) Key { return Key{Kind: LogAds, Name: name} }

// ThreadKey is the key of what a follower and a channel write to each other.
func ThreadKey(follower AccountID, channel string) Key {
	return Key{Kind: LogThread, A: follower, Name: channel}
}

// OfChannel reports whether the log belongs to a channel: its name is Key.Name.
func (k Key) OfChannel() bool { return k.Kind == LogChannel || k.Kind == LogAds || k.Kind == LogThread }

// Sided reports whether the log has two sides: see LogInfo.Sides.
func (k Key) Sided() bool { return k.Kind == LogPair || k.Kind == LogThread }

// Posts reports whether the log holds posts, which go to followers.
func (k Key) Posts() bool { return k.Kind == LogChannel || k.Kind == LogAds }

// FollowPut is a change of whether the account that owns an update follows a channel.
type FollowPut struct {
	Channel LogID // of its notices
	On      bool
	Limit   int // more channels followed by this account are CodeFull; 0: none
}

// Followers is the contract of who delivers to everybody who follows a channel: live, by push, or to count them once a
// day. It is no part of Store, so that what answers requests cannot come by it: who follows whom is told to nobody.
type Followers interface {
	// Followers lists the accounts that follow a channel, by number after the given one, at most max (0: 1,000). One that
	// begins or ends meanwhile may be missing or still there.
	Followers(channel LogID, after AccountID, max int) ([]AccountID, error)
}
