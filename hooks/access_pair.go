package hooks

import (
	"context"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// budgetStrangers is the kind of the budget for new strangers.
const budgetStrangers = "stranger"

// patience bounds how long a decision waits for the disk.
const patience = 30 * time.Second

// pair is what decides between two users, me (A) and the peer (B).
type pair struct {
	policy.SendFacts
	self    bool
	key     store.Key
	log     store.LogInfo // ID 0: none
	peer    store.Account // ID nobody: none
	mine    *graph.Relation
	perDay  int  // strangers
	counted bool // the budget has counted the peer today
}

func (a *Access) pair(me store.AccountID, t Topic) (Grant, error) {
	p, err := a.facts(me, t.Name)
	if err != nil {
		return Grant{}, err
	}
	g := Grant{Key: p.key, Log: p.log, Peer: p.peer}
	open := p.log.Members.Role(me) != store.RoleNone
	switch {
	case t.Act == Read:
		return decide(g, policy.ReadPair(open, p.AState), 0)
	case t.Act != Message:
		return decide(g, policy.ActPair(open, p.self, p.SendFacts), 0)
	case p.self:
		return decide(g, policy.ReadPair(true, p.AState), 0)
	}
	retry, err := a.spend(me, t.Name, &p)
	if err != nil {
		return Grant{}, err
	}
	g.Accepts = p.mine.Quiet || p.log.Side(p.peer.ID).Requests > 0
	return decide(g, policy.Send(p.SendFacts), retry)
}

// facts asks everything, also what the outcome turns out not to need, so that neither the time an answer takes nor the
// look-ups made for it tell anything about blocks or about who exists.
func (a *Access) facts(me store.AccountID, name string) (p pair, err error) {
	account, err := a.store.Account(me)
	if err != nil {
		return p, fmt.Errorf("hooks: account: %w", err)
	}
	p.peer, err = a.store.AccountByName(name)
	if store.CodeOf(err) == store.CodeNotFound {
		p.peer, err = store.Account{ID: nobody}, nil
	}
	if err != nil {
		return p, fmt.Errorf("hooks: account: %w", err)
	}
	peer := p.peer.ID
	p.AState, p.BExists, p.self = account.State, peer != nobody, peer == me
	friend, err := a.store.HasEdge(store.EdgeFriend, peer, me)
	if err != nil {
		return p, fmt.Errorf("hooks: edge: %w", err)
	}
	if p.mine, err = a.graph.Relation(me, peer); err != nil {
		return p, err
	}
	theirs, err := a.graph.Relation(peer, me)
	if err != nil {
		return p, err
	}
	settings, err := a.graph.Settings(peer)
	if err != nil {
		return p, err
	}
	p.key = store.PairKey(me, peer)
	if p.log, err = a.find(p.key); err != nil {
		return p, err
	}
	now := a.cfg.Now()
	p.perDay = a.cfg.Strangers(young(account, now))
	if p.counted, p.Budget, err = a.graph.Counted(me, budgetStrangers, name, p.perDay); err != nil {
		return p, err
	}
	p.ABlocksB = p.mine.Refuses()
	p.BHasA = theirs.KnowsAsFriend(friend)
	p.BReplied = theirs.Answered(p.log.Side(peer).Wrote, settings, now)
	p.BPolicy = policy.Strangers(settings.StrangersMode())
	p.RequestFull = p.log.Side(me).Requests >= store.MaxRequests
	p.BBlocksA = policy.Block(theirs.Block)
	return p, nil
}

func young(a store.Account, now time.Time) bool {
	return a.Created != 0 && now.UnixMilli()-a.Created < YoungAge.Milliseconds()
}

// spend takes the message from the sender's budget if it counts, and corrects the fact if the budget turns out to be used
// up. retry is when it renews.
func (a *Access) spend(me store.AccountID, name string, p *pair) (retry time.Duration, err error) {
	if !p.Spends() || p.counted {
		return graph.Renews(a.cfg.Now()), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	left, _, err := a.graph.Spend(ctx, me, budgetStrangers, name, p.perDay)
	if err != nil {
		return 0, err
	}
	p.Budget = left
	return graph.Renews(a.cfg.Now()), nil
}
