package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/hwangso/hwangso/store"
)

// TableFollow is where users keep how they stand to channels, a Follow in JSON under the channel's number. It is named for
// who loads many at once.
const TableFollow store.Table = "user.follow"

// PostPush says whether the posts of a channel ring for a follower.
type PostPush string

// How posts ring. The default is what the user's settings say of all channels.
const (
	PostPushDefault PostPush = ""
	PostPushRing    PostPush = "ring"
	PostPushSilent  PostPush = "silent"
)

// Follow is how a user stands to a channel. The zero value is a user who does not know it.
type Follow struct {
	Since   int64     `json:"since,omitempty"`    // Unix milliseconds since when it follows, 0: it does not
	From    store.Seq `json:"from,omitempty"`     // notices up to here were before that
	Ads     int64     `json:"ads,omitempty"`      // Unix milliseconds since when it consents to advertising, 0: it does not
	FromAds store.Seq `json:"from_ads,omitempty"` // advertising up to here was before that
	Push    PostPush  `json:"push,omitempty"`
	Blocked int64     `json:"blocked,omitempty"` // Unix milliseconds since when it blocks the channel, 0: it does not
	Left    int64     `json:"left,omitempty"`    // Unix milliseconds of the last unfollowing, 0: it never did
}

// Follows reports whether the user follows the channel.
func (f *Follow) Follows() bool { return f.Since != 0 }

// Before is the newest sequence of one of the channel's two logs that was before the user's time.
func (f *Follow) Before(kind store.LogKind) store.Seq {
	if kind == store.LogAds {
		return f.FromAds
	}
	return f.From
}

// FollowLimit is how many channels a user follows at most.
const FollowLimit = 1000

// Follow is how a user stands to a channel. Cheap: it is asked per delivery.
func (g *Graph) Follow(a store.AccountID, channel store.LogID) (*Follow, error) {
	return read[Follow](g, TableFollow, store.OwnerOf(a), store.KeyOf(channel))
}

// PostsRing reports whether the posts of a channel ring for a user, by what it has set of the channel or else of all of
// them. Mutes and quiet hours are not asked.
func (g *Graph) PostsRing(a store.AccountID, channel store.LogID) (bool, error) {
	f, err := g.Follow(a, channel)
	if err != nil || !f.Follows() || f.Blocked != 0 || f.Push == PostPushSilent {
		return false, err
	}
	if f.Push == PostPushRing {
		return true, nil
	}
	s, err := g.Settings(a)
	if err != nil {
		return false, err
	}
	return s.ChannelPushes, nil
}

// PostsRingFor picks from many followers, whose numbers ascend, those for whom PostsRing says so. What it reads takes nobody's
// place in a cache. A row that cannot be understood is passed over.
func (g *Graph) PostsRingFor(accounts []store.AccountID, channel store.LogID) ([]store.AccountID, error) {
	rings := make(map[store.AccountID]bool)
	unsaid := make([]store.AccountID, 0, len(accounts)) // who leave it to their settings
	err := g.store.RowsOf(TableFollow, accounts, store.KeyOf(channel), func(a store.AccountID, value []byte) error {
		if !bytes.Contains(value, []byte(`"push"`)) && !bytes.Contains(value, []byte(`"blocked"`)) { // as most do
			unsaid = append(unsaid, a)
			return nil
		}
		var f Follow
		switch err := json.Unmarshal(value, &f); {
		case err != nil || !f.Follows() || f.Blocked != 0:
		case f.Push == PostPushRing:
			rings[a] = true
		case f.Push == PostPushDefault:
			unsaid = append(unsaid, a)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = g.store.RowsOf(tableSettings, unsaid, "", func(a store.AccountID, value []byte) error {
		var s Settings
		if json.Unmarshal(value, &s) == nil && s.ChannelPushes {
			rings[a] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []store.AccountID
	for _, a := range accounts {
		if rings[a] {
			out = append(out, a)
		}
	}
	return out, nil
}

// SetFollow changes how a user stands to a channel, durably and at once with the index that deliveries page through. fn
// may be called several times; its error changes nothing and is returned. CodeFull: the user follows too many channels.
// CodeNotFound: no such account.
func (g *Graph) SetFollow(ctx context.Context, a store.AccountID, channel store.LogID, fn func(*Follow) error) error {
	end, err := g.turn(ctx, store.OwnerOf(a), store.KeyOf(channel))
	if err != nil {
		return err
	}
	defer end()
	for try := 0; ; try++ {
		r, err := g.store.Row(TableFollow, store.OwnerOf(a), store.KeyOf(channel))
		if err != nil {
			return fmt.Errorf("graph: %s: %w", TableFollow, err)
		}
		var f Follow
		if r.Version != 0 {
			if err := json.Unmarshal(r.Value, &f); err != nil {
				return fmt.Errorf("graph: %s: %w", TableFollow, err)
			}
		}
		was := f
		if err := fn(&f); err != nil {
			return err
		}
		if f == was {
			return nil
		}
		put := store.RowPut{Table: TableFollow, Key: store.KeyOf(channel), If: &r.Version}
		if f != (Follow{}) {
			if put.Value, err = json.Marshal(&f); err != nil {
				return fmt.Errorf("graph: %s: %w", TableFollow, err)
			}
		}
		u := store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{put}}
		if f.Follows() != was.Follows() {
			u.Follows = []store.FollowPut{{Channel: channel, On: f.Follows(), Limit: FollowLimit}}
		}
		err = g.store.Update(ctx, u)
		if store.CodeOf(err) == store.CodeConflict && try < races {
			continue
		}
		if err != nil {
			return fmt.Errorf("graph: %s: %w", TableFollow, err)
		}
		return nil
	}
}

// Follows lists how a user stands to channels, by their number after the given one (0 from the start), at most max (0:
// 1,000). Channels that it only knows, because it left or blocked them, are listed too.
func (g *Graph) Follows(a store.AccountID, after store.LogID, max int) (channels []store.LogID, follows []*Follow, err error) {
	from := ""
	if after != 0 {
		from = store.KeyOf(after)
	}
	rows, err := g.store.Rows(TableFollow, store.OwnerOf(a), "", from, max)
	if err != nil {
		return nil, nil, fmt.Errorf("graph: %s: %w", TableFollow, err)
	}
	for _, r := range rows {
		f, err := store.Decoded(r, func(b []byte) (f Follow, err error) {
			err = json.Unmarshal(b, &f)
			return f, err
		})
		if err != nil {
			return nil, nil, fmt.Errorf("graph: %s: %w", TableFollow, err)
		}
		channels, follows = append(channels, store.LogID(store.NumberOf(r.Key))), append(follows, f)
	}
	return channels, follows, nil
}
