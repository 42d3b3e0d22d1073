package cmd

import (
	"context"
	"time"

	"github.com/hwangso/hwangso/bridge/webhook"
	"github.com/hwangso/hwangso/broker/broadcast"
	"github.com/hwangso/hwangso/broker/channel"
	followers "github.com/hwangso/hwangso/broker/tally"
	"github.com/hwangso/hwangso/store"
)

// openBroadcasts has the posts of channels go out at their time. On the data of a server that does not run they are made
// and looked at.
func (srv *server) openBroadcasts() error {
	srv.broker.SetPlans(srv.channels) // for what is posted over MQTT
	cfg := broadcast.Config{Store: srv.store, Graph: srv.broker.Access().Relations(), Poster: srv.broker, Plans: plans{srv.channels}, Tally: counts{srv.tally},
		Stored: srv.set.push.stored, Logger: srv.log, Metrics: srv.reg}
	if srv.webhooks != nil {
		cfg.Tell = srv.tellOfBroadcast
	}
	if srv.files != nil {
		cfg.Files = srv.files
	}
	if srv.pushes != nil && srv.pushes.bridge != nil {
		cfg.Pushes = srv.pushes.bridge
	}
	var err error
	srv.posts, err = broadcast.New(cfg)
	return err
}

// broadcastEvent is what a webhook tells of a broadcast.
type broadcastEvent struct {
	Broadcast string          `json:"broadcast"` // its key
	State     broadcast.State `json:"state"`
	Why       string          `json:"why,omitempty"`

	*broadcast.Numbers // of broadcast.report alone
}

// tellOfBroadcast has the brand told that a broadcast ended, and of its report.
func (srv *server) tellOfBroadcast(ctx context.Context, c store.LogID, b *broadcast.Broadcast) error {
	info, err := srv.store.Info(c)
	if err != nil {
		return err
	}
	kind, at := webhook.BroadcastFinished, time.UnixMilli(b.Ended)
	if b.Report != nil {
		kind, at = webhook.BroadcastReport, at.Add(broadcast.ReportAfter)
	}
	return srv.webhooks.Emit(ctx, webhook.Owner{Channel: info.Key.Name}, kind, "broadcast:"+b.Key, b.Key, at,
		broadcastEvent{Broadcast: b.Key, State: b.State, Why: b.Why, Numbers: b.Report})
}

// plans is what channels' plans allow.
type plans struct{ *channel.Service }

func (p plans) Scheduled(c store.LogID) (int, error) {
	plan, err := p.PlanOf(c)
	return plan.Scheduled, err
}

// counts is what broadcasts ask of the counts of followers.
type counts struct{ *followers.Tally }

// Followers is how many follow a channel by the day's snapshot, rounded; nil: too few to say, or not counted yet.
func (n counts) Followers(_ context.Context, c store.LogID) (*int, error) {
	all, err := n.Numbers(c)
	return all.Followers, err
}

func (n counts) Report(ctx context.Context, c, log store.LogID, seq store.Seq, ended int64) (broadcast.Numbers, error) {
	r, err := n.Tally.Report(ctx, c, log, seq, ended)
	if err != nil {
		return broadcast.Numbers{}, err
	}
	return broadcast.Numbers{Reached: r.Reached, Pushed: r.Pushed, Opened: r.Opened}, nil
}
