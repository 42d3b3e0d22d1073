package channel

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hwangso/hwangso/broker/search"
	"github.com/hwangso/hwangso/store"
)

// Load enters every channel into the directory. Until it has returned, Search finds those that it has come to.
func (s *Service) Load(ctx context.Context) error {
	for after := store.LogID(0); ; {
		list, next, err := s.List(after, 500)
		if err != nil {
			return err
		}
		for _, c := range list {
			if _, err := s.enter(c); err != nil {
				return err
			}
		}
		if after = next; next == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// entered is a channel after the directory has learnt of its change.
func (s *Service) entered(id store.LogID) (*Channel, error) {
	c, err := s.Get(id)
	if err != nil {
		return nil, err
	}
	return s.enter(c)
}

// enter makes the directory know a channel, and returns it as it was entered. Changes at the same time may come here in
// another order than they were made: who finds another one when it has entered its own enters that.
func (s *Service) enter(c *Channel) (*Channel, error) {
	for {
		if err := s.put(c); err != nil {
			return nil, err
		}
		now, err := s.Get(c.ID)
		if err != nil || now.Channel == c.Channel {
			return now, err
		}
		c = now
	}
}

func (s *Service) put(c *Channel) error {
	e := search.Entry{Log: c.ID, Name: c.Name, Title: c.Title, Description: c.Description, Language: c.Language, Country: c.Country, Hidden: !c.Public()}
	if c.Category != "" {
		e.Tags = []string{c.Category}
	}
	s.index.Put(e)
	s.looks.put(c)
	return s.Weighed(c.ID)
}

// Weighed ranks a channel by what its snapshot says now. Call it when there is a new one.
func (s *Service) Weighed(id store.LogID) error {
	if s.cfg.Weigh == nil {
		return nil
	}
	size, activity, at, err := s.cfg.Weigh(id)
	if err != nil {
		return fmt.Errorf("channel: weigh: %w", err)
	}
	s.index.Weigh(id, size, activity, at)
	return nil
}

// Query says which channels are looked for.
type Query struct {
	Text     string // words of title, category and description, or an identifier
	Category string
	Language string // "pt" finds "pt-BR"
	Country  string
	After    string // the next of the page before
	Max      int
}

// Search finds channels that everybody may see, the best first: an identifier that the text is stands before all others,
// on the first page.
func (s *Service) Search(q Query) (out []*Channel, next string, err error) {
	exact := store.LogID(0)
	if name := strings.ToLower(strings.TrimPrefix(strings.TrimSpace(q.Text), "@")); name != "" {
		if c, err := s.Find(name); err == nil && c.Public() && q.suits(c) {
			if exact = c.ID; q.After == "" {
				out = append(out, c)
			}
		} else if err != nil && !errors.Is(err, ErrNone) {
			return nil, "", err
		}
	}
	var failed error
	sq := search.Query{Text: q.Text, Language: q.Language, Country: q.Country, After: q.After, Max: max(1, q.Max-len(out)),
		Skip: func(id store.LogID) bool {
			if id == exact {
				return true
			}
			c, err := s.Get(id)
			if err != nil && !errors.Is(err, ErrNone) {
				failed = err
			}
			return err != nil || !c.Public()
		}}
	if q.Category != "" {
		sq.Tags = []string{q.Category}
	}
	found, err := s.index.Search(sq, s.now().UnixMilli())
	if err = errors.Join(err, failed); err != nil {
		return nil, "", err
	}
	for _, e := range found.Entries {
		c, err := s.Get(e.Log)
		if errors.Is(err, ErrNone) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		out = append(out, c)
	}
	return out, found.Next, nil
}

func (q *Query) suits(c *Channel) bool {
	lang := len(q.Language) == 0 || strings.EqualFold(c.Language, q.Language) ||
		len(c.Language) > len(q.Language) && strings.EqualFold(c.Language[:len(q.Language)+1], q.Language+"-")
	return lang && (q.Category == "" || q.Category == c.Category) && (q.Country == "" || strings.EqualFold(q.Country, c.Country))
}
