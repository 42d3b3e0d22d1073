package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// A conversation of two lists a user as a member only once something exists for that user. What its sender alone sees,
// and what waits in a request box, is written into a log of which the sender is the only member; the other one becomes a
// member before the first record it may see. To the sender nothing of this shows: the first message of a conversation
// costs the creation of the log and an append, the later ones an append, whatever becomes of them.

// patience bounds how long a publish waits for what must be on disk before it.
const patience = 30 * time.Second

// admit returns the conversation that a message goes to, created if there is none, with those as members for whom
// something exists from this message on.
func (b *Broker) admit(me store.AccountID, g hooks.Grant) (store.LogInfo, error) {
	peer := g.Key.Peer(me)
	delivers := g.Delivers()
	info := g.Log
	if info.ID != 0 && !g.Accepts && info.Members.Role(me) != store.RoleNone && (!delivers || info.Members.Role(peer) != store.RoleNone) {
		return info, nil // as nearly always
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if info.ID == 0 {
		members := []store.Member{{Account: me, Role: store.RoleMember}}
		if delivers && peer != me {
			members = append(members, store.Member{Account: peer, Role: store.RoleMember})
		}
		var err error
		if info, _, err = b.store.Open(ctx, g.Key, store.Creation{Members: members}); err != nil {
			return info, err
		}
	}
	changed := false
	if g.Accepts {
		changed = true
		if err := b.AcceptRequests(ctx, me, peer); err != nil {
			return info, err
		}
	}
	for _, who := range []struct {
		account store.AccountID
		needed  bool
	}{{me, !g.Accepts || info.Side(peer).Requests == 0}, {peer, delivers}} {
		if !who.needed || info.Members.Role(who.account) != store.RoleNone {
			continue
		}
		changed = true
		if err := b.change(ctx, info.ID, store.Change{Kind: store.ChangeOpen, Account: who.account}); err != nil {
			return info, err
		}
	}
	if !changed {
		return info, nil
	}
	return b.store.Info(info.ID)
}

// change appends a private change of a conversation of two and waits until it is durable.
func (b *Broker) change(ctx context.Context, log store.LogID, c store.Change) error {
	p := b.store.Append(store.Draft{Log: log, Sender: c.Account, Kind: store.KindSystem, Change: c})
	select {
	case <-p.Done():
		_, err := p.Result()
		return err
	case <-ctx.Done():
		return &store.Error{Code: store.CodeUnknown, Text: "not known yet", Err: ctx.Err()}
	}
}

// Admit makes a user a member of its conversation with another one, if there is a conversation: it will see what comes
// from now on.
func (b *Broker) Admit(ctx context.Context, me, peer store.AccountID) error {
	info, err := b.store.Find(store.PairKey(me, peer))
	if store.CodeOf(err) == store.CodeNotFound || err == nil && info.Members.Role(me) != store.RoleNone {
		return nil
	}
	if err != nil {
		return err
	}
	return b.change(ctx, info.ID, store.Change{Kind: store.ChangeOpen, Account: me})
}

// AcceptRequests takes up what a user's request box holds from another one: it counts as an answer, and the requests
// become messages of the conversation, which the user's devices get from the first of them on. A user that declined the
// other takes that back. Without requests nothing else happens. Safe to repeat.
func (b *Broker) AcceptRequests(ctx context.Context, me, peer store.AccountID) error {
	if err := b.access.Relations().Accept(ctx, me, peer); err != nil {
		return err
	}
	info, err := b.store.Find(store.PairKey(me, peer))
	if store.CodeOf(err) == store.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	asked := info.Side(peer)
	if asked.Requests == 0 {
		return nil
	}
	if err := b.store.Rewind(ctx, me, info.ID, asked.First-1); err != nil {
		return fmt.Errorf("broker: rewind: %w", err)
	}
	return b.change(ctx, info.ID, store.Change{Kind: store.ChangeAccept, Account: me})
}

// DeclineRequests takes what a user's request box holds from another one away: it stays with its sender, who is told
// nothing. The caller has blocked the other one, so that nothing comes after it.
func (b *Broker) DeclineRequests(ctx context.Context, me, peer store.AccountID) error {
	info, err := b.store.Find(store.PairKey(me, peer))
	if store.CodeOf(err) == store.CodeNotFound || err == nil && info.Side(peer).Requests == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return b.change(ctx, info.ID, store.Change{Kind: store.ChangeDecline, Account: me})
}

// audienceUpon is who may see what the sender does with an earlier record: answering it, editing it, reacting to it. What
// only its sender sees stays so, whatever has become of the block since; what waits in a request box waits with it.
func audienceUpon(g hooks.Grant, me store.AccountID, r *store.Record) store.Audience {
	granted := g.Audience()
	switch {
	case r.Audience == store.AudienceSender || granted == store.AudienceSender:
		return store.AudienceSender
	case r.Audience == store.AudienceBoth || g.Log.Members.Find(g.Key.Peer(me)).Accepts(r.Seq):
		return granted
	}
	if side := g.Log.Side(me); side.Requests > 0 && r.Seq >= side.First {
		return store.AudienceRequest
	}
	return store.AudienceSender // declined
}

// quote sees that an answer to an earlier message is seen by nobody who may not see that message.
func (b *Broker) quote(d *store.Draft, target store.Seq, g hooks.Grant) error {
	if g.Key.Kind != store.LogPair || target == 0 || target > g.Log.Head {
		return nil
	}
	page, err := b.store.Read(store.Query{Log: d.Log, Viewer: d.Sender, After: target - 1, Upto: target, Max: 1})
	if err != nil && store.CodeOf(err) != store.CodeTrimmed {
		return err
	}
	if len(page.Records) > 0 {
		d.Audience = audienceUpon(g, d.Sender, page.Records[0])
	}
	return nil
}

// knownHead is the newest sequence of a log that a member may know of.
func knownHead(info *store.LogInfo, me store.AccountID) store.Seq {
	if info.Key.Kind == store.LogPair {
		return info.Side(me).Head
	}
	return info.Head
}
