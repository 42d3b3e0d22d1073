package discovery

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/hwangso/hwangso/store"
)

// budgetLookup is the daily budget of looking up strangers.
const budgetLookup = "lookup"

// errNobody is the answer for who does not exist and for who does not want to be found.
var errNobody = &store.Error{Code: store.CodeNotFound, Text: "there is no such user"}

// nobody is an account that does not exist, so that the same questions can be asked about it.
const nobody store.AccountID = 1<<63 - 1

// Lookup finds a user by its exact identifier for another user. Whom the asking user is tied to (Config.Tied, or by number)
// it finds always and at no cost. Anybody else costs one of the look-ups of strangers, whether there is such a user or
// not, and is found if it wants to be; once a day per identifier. CodeNotFound: there is none, or it does not want to be
// found: the same answer. CodeTooMany: the look-ups are used up.
func (d *Discovery) Lookup(ctx context.Context, me store.AccountID, name string) (store.Account, error) {
	u, err := d.store.AccountByName(name)
	missing := store.CodeOf(err) == store.CodeNotFound
	if err != nil && !missing {
		return store.Account{}, fmt.Errorf("discovery: account: %w", err)
	}
	if missing {
		u.ID = nobody
	}
	if u.ID == me {
		return u, nil
	}
	// Everything is asked, whoever it is.
	tied, err := d.tied(me, u.ID)
	if err != nil {
		return store.Account{}, fmt.Errorf("discovery: tie: %w", err)
	}
	byNumber, err := d.toldOf(me, u.ID)
	if err != nil {
		return store.Account{}, err
	}
	settings, err := d.graph.Settings(u.ID)
	if err != nil {
		return store.Account{}, fmt.Errorf("discovery: settings: %w", err)
	}
	if !missing && (tied || byNumber) {
		d.metrics.lookups.WithLabelValues(outTied).Inc()
		return u, nil
	}
	if err := d.spendLookup(ctx, me, name); err != nil {
		return store.Account{}, err
	}
	if missing || settings.Unfindable {
		return store.Account{}, errNobody
	}
	return u, nil
}

// spendLookup takes one look-up of a stranger from a user's budgets.
func (d *Discovery) spendLookup(ctx context.Context, me store.AccountID, name string) error {
	if wait := d.lookups.take(me, d.now(), d.limits().LookupsMin); wait > 0 {
		d.metrics.lookups.WithLabelValues(outRefused).Inc()
		return &store.Error{Code: store.CodeTooMany, Text: "you have looked up too many users: wait a minute", Retry: wait}
	}
	// The budget's row must not hold somebody else's name.
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, uint64(me)), name...))
	left, renews, err := d.graph.Spend(ctx, me, budgetLookup, base64.RawURLEncoding.EncodeToString(sum[:6]), d.limits().LookupsDay)
	if err != nil {
		return fmt.Errorf("discovery: budget: %w", err)
	}
	if !left {
		d.metrics.lookups.WithLabelValues(outRefused).Inc()
		return &store.Error{Code: store.CodeTooMany, Text: "you have looked up too many users today", Retry: renews.Sub(d.now())}
	}
	d.metrics.lookups.WithLabelValues(outStranger).Inc()
	return nil
}

// toldOf reports whether a user was told of another one by its number.
func (d *Discovery) toldOf(me, who store.AccountID) (bool, error) {
	if d.numbers == nil {
		return false, nil
	}
	e, _, err := d.numbers.Of(who)
	if err != nil {
		return false, fmt.Errorf("discovery: number: %w", err)
	}
	t, ok, err := d.tagIn(me, shortOf(e.Hash))
	return ok && t.present() && t.told(who), err
}

// tiedByEdges is Config.Tied where nobody knows better.
func (d *Discovery) tiedByEdges(me, peer store.AccountID) (bool, error) {
	mine, err := d.store.HasEdge(store.EdgeFriend, me, peer)
	if err != nil {
		return false, err
	}
	block, err := d.store.HasEdge(store.EdgeBlock, me, peer)
	if err != nil {
		return false, err
	}
	theirs, err := d.graph.HasFriend(peer, me)
	if err != nil {
		return false, err
	}
	return mine || block || theirs, nil
}

// lookups counts the look-ups of this minute. It holds only who has looked somebody up in it.
type lookups struct {
	mu     sync.Mutex
	minute int64
	by     map[store.AccountID]int
}

// take counts one; wait above 0: the minute's are used up, until then.
func (l *lookups) take(a store.AccountID, now time.Time, perMinute int) (wait time.Duration) {
	minute := now.Unix() / 60
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil || l.minute != minute {
		l.minute, l.by = minute, make(map[store.AccountID]int)
	}
	if l.by[a] >= perMinute {
		return time.Unix((minute+1)*60, 0).Sub(now)
	}
	l.by[a]++
	return 0
}
