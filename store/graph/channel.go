package graph

import (
	"context"
	"fmt"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/policy"
)

const (
	tableChannel store.Table = "channel.settings" // owner: the channel's number
	tablePost    store.Table = "channel.post"     // owner: the channel's number; key: the post's identifier
	tableThread  store.Table = "channel.thread"   // owner: the channel's number; key: the pseudonym
)

// Channel is what is set about a brand channel beside its publishers, who are the members of its logs. The zero value is
// a channel that does not exist; use State to ask.
type Channel struct {
	Title       string      `json:"title,omitempty"`
	Description string      `json:"description,omitempty"`
	Picture     string      `json:"picture,omitempty"` // identifier of a file
	Category    string      `json:"category,omitempty"`
	Language    string      `json:"language,omitempty"` // BCP 47, of its posts
	Country     string      `json:"country,omitempty"`  // ISO 3166-1 alpha-2
	Plan        string      `json:"plan,omitempty"`     // "": the default plan
	Ads         store.LogID `json:"ads,omitempty"`      // the log of its advertising
	Created     int64       `json:"created,omitempty"`  // Unix milliseconds

	Approved  int64 `json:"approved,omitempty"`  // Unix milliseconds, 0: it waits for the operator
	Paused    int64 `json:"paused,omitempty"`    // by the brand or its plan, since
	Suspended int64 `json:"suspended,omitempty"` // by the operator, since

	SuspendedReason string `json:"suspended_reason,omitempty"` // one line, for its publishers
}

// Exists reports whether there is such a channel.
func (c *Channel) Exists() bool { return c.Created != 0 }

// State is the channel's standing in the words of the truth table. One that waits for the operator is paused.
func (c *Channel) State() policy.ChannelState {
	switch {
	case c.Suspended != 0:
		return policy.ChannelSuspended
	case c.Paused != 0, c.Approved == 0:
		return policy.ChannelPaused
	}
	return policy.ChannelOK
}

// Channel is what is set about a channel, by its number. Cheap: it is asked per delivery.
func (g *Graph) Channel(channel store.LogID) (*Channel, error) {
	return read[Channel](g, tableChannel, store.OwnerOfLog(channel), "")
}

// SetChannel changes what is set about a channel durably. fn may be called several times; its error changes nothing and
// is returned.
func (g *Graph) SetChannel(ctx context.Context, channel store.LogID, fn func(*Channel) error) error {
	return change(ctx, g, tableChannel, store.OwnerOfLog(channel), "", func(c *Channel) bool { return *c == Channel{} },
		func(c *Channel) ([]store.EdgePut, error) { return nil, fn(c) })
}

// ChannelOf is the number of the channel to which a log of posts or a thread belongs, CodeNotFound for any other.
func (g *Graph) ChannelOf(key store.Key) (store.LogID, error) {
	if !key.OfChannel() {
		return 0, store.ErrNotFound
	}
	info, err := g.store.Find(store.ChannelKey(key.Name))
	if err != nil {
		return 0, fmt.Errorf("graph: channel: %w", err)
	}
	return info.ID, nil
}

// Thread is whose thread of a channel bears a pseudonym, 0 for nobody's. What it returns never leaves the server.
func (g *Graph) Thread(channel store.LogID, pseudonym string) (store.AccountID, error) {
	r, err := g.store.Row(tableThread, store.OwnerOfLog(channel), pseudonym)
	if err != nil {
		return 0, fmt.Errorf("graph: %s: %w", tableThread, err)
	}
	return store.AccountID(store.NumberOf(string(r.Value))), nil
}

// SetThread notes whose thread bears a pseudonym; account 0 forgets it.
func (g *Graph) SetThread(ctx context.Context, channel store.LogID, pseudonym string, a store.AccountID) error {
	put := store.RowPut{Table: tableThread, Key: pseudonym}
	if a != 0 {
		put.Value = []byte(store.KeyOf(a))
	}
	if err := g.store.Update(ctx, store.Update{Owner: store.OwnerOfLog(channel), Rows: []store.RowPut{put}}); err != nil {
		return fmt.Errorf("graph: %s: %w", tableThread, err)
	}
	return nil
}
