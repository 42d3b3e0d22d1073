package cmd

import (
	"strings"

	"github.com/hwangso/hwangso/broker/channel"
	followers "github.com/hwangso/hwangso/broker/tally"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/policy"
)

// openChannels makes the channels and the numbers about their followers. The daily snapshot begins with the server: see
// start.
func (srv *server) openChannels() error {
	access := srv.broker.Access()
	cfg := followers.Config{
		Store: srv.store, Followers: srv.store, Hour: srv.set.channelsHour, Pace: srv.broker.Bulk,
		Facts: func(a store.AccountID) (followers.Facts, error) { return factsOf(access, srv.store, a) },
		Meant: func(a store.AccountID, log store.LogInfo, r *store.Record) (bool, error) {
			f, err := access.Follower(a, log)
			if err != nil {
				return false, err
			}
			o, _, err := f.Outcome(r)
			return o == policy.Deliver || o == policy.DeliverNoPush || o == policy.Defer, err
		},
		Told: func(c store.LogID) {
			if err := srv.channels.Weighed(c); err != nil {
				srv.log.Error("channel not ranked", "err", err)
			}
			if srv.webhooks != nil {
				srv.webhooks.Look()
			}
		},
		Logger: srv.log, Registerer: srv.reg,
	}
	if srv.pushes != nil && srv.pushes.bridge != nil {
		cfg.Pushed = srv.pushes.bridge.Pushed
	}
	var err error
	if srv.tally, err = followers.New(cfg); err != nil {
		return err
	}
	srv.channels, err = channel.New(channel.Config{
		Store: srv.store, Graph: access.Relations(), Unapproved: srv.set.channelsApproval == "off", Changed: srv.broker.PostChanged,
		Weigh: func(c store.LogID) (int, float64, int64, error) {
			n, err := srv.tally.Numbers(c)
			return n.Size, n.Activity, n.At, err
		},
	})
	return err
}

// factsOf are a follower's attributes as hooks.Access.InSegment asks for them.
func factsOf(access *hooks.Access, s store.Store, a store.AccountID) (f followers.Facts, err error) {
	account, err := s.Account(a)
	if err != nil {
		return f, err
	}
	f.Language, _, _ = strings.Cut(account.Language, "-")
	if f.Country, err = access.Country(a); err != nil {
		return f, err
	}
	devices, err := access.Relations().Devices(a)
	for _, d := range devices {
		f.Platforms = append(f.Platforms, d.Platform)
	}
	return f, err
}
