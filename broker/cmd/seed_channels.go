package cmd

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// seedChannels has what `hwangso seed` makes of brand channels: c0, c1 and so on, published by brand0, brand1 and so on,
// each followed by the first users.
type seedChannels struct {
	channels, followers int
	ads                 bool // the followers consent to advertising
	password            string
}

func (s *seedChannels) validate(users int) error {
	switch {
	case s.channels < 0 || s.followers < 0:
		return errors.New("seed: numbers must not be negative")
	case s.followers > users:
		return fmt.Errorf("seed: a channel cannot have %d followers among %d users", s.followers, users)
	case s.followers > 0 && s.channels == 0:
		return errors.New("seed: followers need channels")
	case s.channels > graph.FollowLimit:
		return fmt.Errorf("seed: a user follows at most %d channels", graph.FollowLimit)
	}
	return nil
}

// load makes the channels and their followers in a data directory that no server has.
func (s *seedChannels) load(ctx context.Context, cfg bolt.Config, progress func(stage string, done, total int)) error {
	if s.channels == 0 {
		return nil
	}
	since := time.Now().UnixMilli()
	numbers, err := s.open(ctx, cfg, since, progress)
	if err != nil || s.followers == 0 {
		return err
	}
	f := graph.Follow{Since: since}
	if s.ads {
		f.Ads = since
	}
	row, err := json.Marshal(&f)
	if err != nil {
		return err
	}
	return bolt.LoadFollows(ctx, cfg, bolt.Follows{Channels: numbers, Users: s.followers, Table: graph.TableFollow, Row: row}, progress)
}

// open makes the brands' accounts and their channels, approved, and returns their numbers.
func (s *seedChannels) open(ctx context.Context, cfg bolt.Config, now int64, progress func(stage string, done, total int)) (numbers []store.LogID, err error) {
	st, err := bolt.Open(cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	g := graph.New(st, nil)
	for i := range s.channels {
		brand, err := st.CreateAccount(ctx, store.Account{Name: fmt.Sprintf("brand%d", i), Created: now})
		if err != nil {
			return nil, err
		}
		token := store.Token{Account: brand.ID, Hash: sha256.Sum256([]byte(s.password)), Label: "seed", Created: now}
		if err := st.PutToken(ctx, token); err != nil {
			return nil, err
		}
		name := fmt.Sprintf("c%d", i)
		first := store.Creation{By: brand.ID, Title: name, Members: []store.Member{{Account: brand.ID, Role: store.RoleOwner}}}
		notices, _, err := st.Open(ctx, store.ChannelKey(name), first)
		if err != nil {
			return nil, err
		}
		ads, _, err := st.Open(ctx, store.AdsKey(name), first)
		if err != nil {
			return nil, err
		}
		if err := g.SetChannel(ctx, notices.ID, func(c *graph.Channel) error {
			*c = graph.Channel{Title: name, Ads: ads.ID, Created: now, Approved: now}
			return nil
		}); err != nil {
			return nil, err
		}
		numbers = append(numbers, notices.ID)
		progress("channels", i+1, s.channels)
	}
	return numbers, nil
}
