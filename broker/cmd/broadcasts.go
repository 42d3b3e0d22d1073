package cmd

import (
	"github.com/hwangso/hwangso/broker/broadcast"
	"github.com/hwangso/hwangso/broker/channel"
	"github.com/hwangso/hwangso/store"
)

// openBroadcasts has the posts of channels go out at their time. On the data of a server that does not run they are made
// and looked at.
func (srv *server) openBroadcasts() error {
	rel := srv.broker.Access().Relations()
	channels, err := channel.New(channel.Config{Store: srv.store, Graph: rel})
	if err != nil {
		return err
	}
	srv.channels = channels
	srv.broker.SetPlans(channels)
	cfg := broadcast.Config{Store: srv.store, Graph: rel, Poster: srv.broker, Plans: plans{channels}, Stored: srv.set.push.stored,
		Logger: srv.log, Metrics: srv.reg}
	if srv.files != nil {
		cfg.Files = srv.files
	}
	if srv.pushes != nil && srv.pushes.bridge != nil {
		cfg.Pushes = srv.pushes.bridge
	}
	srv.posts, err = broadcast.New(cfg)
	return err
}

// plans is what channels' plans allow.
type plans struct{ *channel.Service }

func (p plans) Scheduled(c store.LogID) (int, error) {
	plan, err := p.PlanOf(c)
	return plan.Scheduled, err
}
