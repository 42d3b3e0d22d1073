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
	info, err := b.posts(channel, ads)
	if err != nil {
		return store.Receipt{}, err
	}
	d := store.Draft{Log: info.ID, CID: graph.PostCID(id)}
	say(&d, c)
	b.metrics.published.Inc()
	return durable(ctx, b.store.Append(d))
}

// RecallPost takes a post of a channel back for everybody, and waits until that is durable: by its author or, like a
// broadcast's, by any publisher of the channel, of others by its owners and editors, 0 by the server itself. One that was
// taken back is left as it is, and the receipt empty. CodeNotFound: there is no such post.
func (b *Broker) RecallPost(ctx context.Context, channel store.LogID, ads bool, seq store.Seq, by store.AccountID) (store.Receipt, error) {
	info, err := b.posts(channel, ads)
	if err != nil {
		return store.Receipt{}, err
	}
	none := &store.Error{Code: store.CodeNotFound, Text: "there is no such post"}
	if seq == 0 || seq > info.Head {
		return store.Receipt{}, none
	}
	page, err := b.store.Read(store.Query{Log: info.ID, After: seq - 1, Upto: seq, Max: 1})
	if err != nil && store.CodeOf(err) != store.CodeTrimmed {
		return store.Receipt{}, err
	}
	if len(page.Records) == 0 {
		return store.Receipt{}, none
	}
	r := page.Records[0]
	switch role := info.Members.Role(by); {
	case r.Op.Kind != store.OpNone || r.Change.Kind != store.ChangeNone:
		return store.Receipt{}, none
	case r.Recalled:
		return store.Receipt{}, nil
	case by != 0 && role == store.RoleNone:
		return store.Receipt{}, store.Forbidden(store.ReasonNotPublisher, "you do not publish in the channel "+info.Key.Name)
	case by != 0 && r.Sender != 0 && r.Sender != by && role < store.RoleModerator:
		return store.Receipt{}, store.Forbidden(store.ReasonRole, "only its author, an editor or an owner may take this post back")
	}
	d := store.Draft{Log: info.ID, Op: store.Op{Kind: store.OpRecall, Target: seq}}
	b.metrics.published.Inc()
	return durable(ctx, b.store.Append(d))
}

// posts is one of a channel's two logs. CodeNotFound: there is no such channel, or it has no log of advertising.
func (b *Broker) posts(channel store.LogID, ads bool) (store.LogInfo, error) {
	info, err := b.store.Info(channel)
	if err != nil {
		return info, err
	}
	if info.Key.Kind != store.LogChannel {
		return info, &store.Error{Code: store.CodeNotFound, Text: "there is no such channel"}
	}
	if ads {
		return b.store.Find(store.AdsKey(info.Key.Name))
	}
	return info, nil
}
