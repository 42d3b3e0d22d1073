package broker

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// What a follower and a channel write to each other is a log of which the follower and all publishers are members. They
// come and go without a record that the other side could see: a publisher becomes a member before the first message that
// it may see, and a follower who has left or blocked the channel is none any more before the first answer that is not for
// it. So an answer that goes nowhere is, to everybody in the channel, an answer like any other.

// Plans decide how much a channel may post. Package channel implements it.
type Plans interface {
	// Spend takes a post from what the channel's plan allows, durably. A repeat with the same id costs nothing. The error
	// is the refusal.
	Spend(ctx context.Context, channel store.LogID, ads bool, id string) error
}

// SetPlans gives the broker what limits channels' posts, which needs the broker itself. Call it before the first Attach.
// Without it nothing does.
func (b *Broker) SetPlans(p Plans) { b.cfg.Plans = p }

// admitChannel returns the log that a message to or from a channel goes to, when nothing of the channel's own stands against
// it.
func (b *Broker) admitChannel(from hooks.Identity, g hooks.Grant, c view.Content, cid string) (store.LogInfo, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if g.Key.Kind == store.LogThread {
		return b.admitThread(ctx, from.Account, g)
	}
	if err := view.CheckPost(c); err != nil {
		return g.Log, err
	}
	if b.cfg.Plans == nil {
		return g.Log, nil
	}
	id := rand.Text() // without a cid nothing is a repeat
	if cid != "" {
		id = fmt.Sprintf("%d %d %s", from.Account, from.Device, cid)
	}
	return g.Log, b.cfg.Plans.Spend(ctx, g.Channel.ID, false, id)
}

// admitThread returns the thread that a message goes to, created if there is none, with those as members for whom it is.
func (b *Broker) admitThread(ctx context.Context, me store.AccountID, g hooks.Grant) (store.LogInfo, error) {
	follower, info := g.Key.A, g.Log
	asks := me == follower
	if asks {
		if err := b.limits.User(limit.Asks, me, 1); err != nil {
			return info, err
		}
	}
	in := make(map[store.AccountID]bool) // who is to be in
	if asks || g.Delivers() {
		in[follower] = true
	}
	for i := range g.Channel.Members.Members {
		if m := &g.Channel.Members.Members[i]; m.Role != store.RoleNone {
			in[m.Account] = in[m.Account] || m.Account != follower
		}
	}
	if info.ID == 0 {
		pseudonym := b.access.Pseudonym(g.Channel.ID, follower)
		if err := b.access.Relations().SetThread(ctx, g.Channel.ID, pseudonym, follower); err != nil {
			return info, err
		}
		var members []store.Member
		for a, is := range in {
			if is {
				members = append(members, store.Member{Account: a, Role: store.RoleMember})
			}
		}
		var err error
		if info, _, err = b.store.Open(ctx, g.Key, store.Creation{Members: members}); err != nil {
			return info, err
		}
	}
	changed := false
	move := func(a store.AccountID, is bool) error {
		if is == (info.Members.Role(a) != store.RoleNone) {
			return nil
		}
		changed = true
		kind := store.ChangeClose
		if is {
			kind = store.ChangeOpen
		}
		return b.change(ctx, info.ID, store.Change{Kind: kind, Account: a})
	}
	for a, is := range in {
		if err := move(a, is); err != nil {
			return info, err
		}
	}
	for i := range info.Members.Members {
		if a := info.Members.Members[i].Account; !in[a] {
			if err := move(a, false); err != nil {
				return info, err
			}
		}
	}
	if !changed {
		return info, nil
	}
	return b.store.Info(info.ID)
}

// operatePost checks whether a publisher may do this to a post of the channel: edit and take back its own, as an editor
// anybody's.
func (b *Broker) operatePost(d *store.Draft, op view.Operation, g hooks.Grant, r *store.Record, fresh bool) error {
	own, editor := r.Sender == d.Sender, g.Channel.Members.Role(d.Sender) >= store.RoleModerator
	if !own && !editor {
		return store.Forbidden(store.ReasonRole, "only editors may change what others have posted")
	}
	if !own || !fresh {
		d.Need = store.RoleModerator
	}
	switch op.Op.Kind {
	case store.OpRecall:
		if !fresh && !editor {
			return &store.Error{Code: store.CodeLocked, Text: "a post can be taken back for 24 hours, by editors at any time"}
		}
		return nil
	case store.OpEdit:
	default:
		return store.Bad("posts are edited and taken back, nothing else")
	}
	about, err := b.access.Relations().Post(g.Channel.ID, graph.PostID(r))
	switch {
	case err != nil:
		return err
	case r.Recalled:
		return &store.Error{Code: store.CodeConflict, Text: "the post was taken back"}
	case !fresh:
		return &store.Error{Code: store.CodeLocked, Text: "a post can be edited for 24 hours"}
	case len(about.Variants) > 0:
		return &store.Error{Code: store.CodeConflict, Text: "a post in several languages cannot be edited: take it back and post it again"}
	}
	return nil
}
