package broker

import (
	"context"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Post appends a post of the server's own making to a channel's notices, or to its advertising, and waits until it is
// durable. What delivering has to know of it, graph.Post under this id, must be durable before. It asks no rules: whether
// the channel may post is the caller's to decide, and for whom the post is, is decided at each delivery. A repeat with the
// same id returns the first receipt, with Repeated set, for as long as the store knows repeats. CodeNotFound: there is no
// such channel, or it has no log of advertising.
func (b *Broker) Post(ctx context.Context, channel store.LogID, ads bool, id string, c view.Content) (store.Receipt, error) {
	if err := b.takes(len(c.Text) + len(c.Extra)); err != nil {
		return store.Receipt{}, err
	}
	if id == "" {
		return store.Receipt{}, store.Bad("a post needs an identifier")
	}
	info, err := b.store.Info(channel)
	if err != nil {
		return store.Receipt{}, err
	}
	if info.Key.Kind != store.LogChannel {
		return store.Receipt{}, &store.Error{Code: store.CodeNotFound, Text: "there is no such channel"}
	}
	if ads {
		if info, err = b.store.Find(store.AdsKey(info.Key.Name)); err != nil {
			return store.Receipt{}, err
		}
	}
	d := store.Draft{Log: info.ID, CID: graph.PostCID(id)}
	say(&d, c)
	b.metrics.published.Inc()
	return durable(ctx, b.store.Append(d))
}
