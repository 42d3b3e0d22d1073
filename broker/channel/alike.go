package channel

import (
	"errors"
	"slices"
	"sync"

	"github.com/hwangso/hwangso/broker/openroom"
	"github.com/hwangso/hwangso/store"
)

// looks are what the channels look like that everybody may see: by the skeletons of identifier and title, which are those
// of nicknames in open rooms. A channel is there twice at most.
type looks struct {
	mu sync.Mutex
	by map[string][]store.LogID
	of map[store.LogID][]string
}

func (l *looks) put(c *Channel) {
	var now []string
	if c.Public() {
		now = skeletons(c.Name, c.Title)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Equal(l.of[c.ID], now) {
		return
	}
	for _, k := range l.of[c.ID] {
		l.by[k] = slices.DeleteFunc(l.by[k], func(id store.LogID) bool { return id == c.ID })
		if len(l.by[k]) == 0 {
			delete(l.by, k)
		}
	}
	delete(l.of, c.ID)
	if l.by == nil {
		l.by, l.of = make(map[string][]store.LogID), make(map[store.LogID][]string)
	}
	for _, k := range now {
		l.by[k] = append(l.by[k], c.ID)
		l.of[c.ID] = now
	}
}

func (l *looks) like(keys []string) (ids []store.LogID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		ids = append(ids, l.by[k]...)
	}
	return ids
}

func skeletons(name, title string) []string {
	return slices.Compact([]string{openroom.Skeleton(name), openroom.Skeleton(title)})
}

// Alike is a channel that everybody may see and that a channel could be taken for, since it looks like it in identifier or
// title; nil if there is none. Channels with an owner in common are not compared: a brand may look like itself.
func (s *Service) Alike(c *Channel) (*Channel, error) {
	var owners []store.AccountID
	for _, m := range c.Log.Members.Members {
		if m.Role == store.RoleOwner {
			owners = append(owners, m.Account)
		}
	}
	return s.alike(c.ID, c.Name, c.Title, owners...)
}

func (s *Service) alike(id store.LogID, name, title string, owners ...store.AccountID) (*Channel, error) {
	for _, other := range s.looks.like(skeletons(name, title)) {
		if other == id {
			continue
		}
		c, err := s.Get(other)
		switch {
		case errors.Is(err, ErrNone):
		case err != nil:
			return nil, err
		case c.Public() && !slices.ContainsFunc(owners, func(a store.AccountID) bool { return c.Role(a) == store.RoleOwner }):
			return c, nil
		}
	}
	return nil, nil
}

// taken is the refusal of what could be taken for a channel.
func taken(c *Channel) error {
	return &store.Error{Code: store.CodeConflict, Text: "this looks like the channel " + c.Name + " of somebody else: choose another title or identifier, or ask who runs the server"}
}
