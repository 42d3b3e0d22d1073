package discovery

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/hwangso/hwangso/store"
)

const tableFriends store.Table = "user.friends"

// Friend is one of a user's friends.
type Friend struct {
	Account   store.Account
	Favourite bool
}

// Changes are what has changed in a user's list of friends.
type Changes struct {
	Friends []Friend // new ones, and those whose name or favourite mark has changed
	Removed []string // identifiers
	Token   string   // for the next time
	More    bool     // there is more: ask again with the token
	Full    bool     // the token was unknown or too old: what is not told any more is gone
}

// FriendsBegin is the token of somebody who knows nothing yet.
const FriendsBegin = "0"

// Nobody writes down how a list of friends changes: it changes in many ways. Instead a row says how it looked when it was
// last asked for, and when each entry had last changed; what differs from it now has changed now.
type friendList struct {
	seq     uint64 // of the newest change
	floor   uint64 // removals up to here are forgotten
	friends []friendState
	removed []friendState // by seq
}

type friendState struct {
	account store.AccountID
	state   uint16 // of what is shown
	seq     uint64 // of the change
}

const (
	friendsVersion = 1
	friendsMost    = 9000 // beyond it the row could be full: changes are not told, pages are
	friendsRemoved = 500  // removals remembered
)

var errFriends = errors.New("discovery: a list of friends is damaged")

// FriendsSince tells what has changed in a user's list of friends since a token, at most max entries. A list of more than
// 9,000 has no token: Full is set and Token empty, and it is to be read in pages.
func (d *Discovery) FriendsSince(ctx context.Context, me store.AccountID, token string, most int) (*Changes, error) {
	now, err := d.friendsNow(me)
	if err != nil {
		return nil, err
	}
	if len(now) > friendsMost {
		return &Changes{Full: true}, nil
	}
	list, err := d.compareFriends(ctx, me, now)
	if err != nil {
		return nil, err
	}
	at, known := d.readFriendsToken(token, list)
	out := &Changes{Full: !known}
	type item struct {
		friendState
		gone bool
	}
	var items []item
	for _, f := range list.friends {
		items = append(items, item{f, false})
	}
	for _, f := range list.removed {
		if at.seq > 0 { // who begins has nothing to remove
			items = append(items, item{f, true})
		}
	}
	items = slices.DeleteFunc(items, func(i item) bool { return at.compare(i.friendState) >= 0 })
	slices.SortFunc(items, func(x, y item) int { return x.compare(y.friendState) })
	out.More = len(items) > most
	end := friendState{seq: list.seq, account: math.MaxUint64}
	if out.More {
		items = items[:most]
		end = items[most-1].friendState
	}
	for _, i := range items {
		if !i.gone {
			out.Friends = append(out.Friends, now[i.account])
			continue
		}
		u, err := d.store.Account(i.account)
		switch {
		case store.CodeOf(err) == store.CodeNotFound: // its name is gone too: only the whole list says who is left
			return d.FriendsSince(ctx, me, FriendsBegin, most)
		case err != nil:
			return nil, fmt.Errorf("discovery: account: %w", err)
		}
		out.Removed = append(out.Removed, u.Name)
	}
	out.Token = strings.Join([]string{strconv.FormatUint(uint64(d.store.Epoch()), 36), strconv.FormatUint(end.seq, 36),
		strconv.FormatUint(uint64(end.account), 36)}, ".")
	return out, nil
}

func (f friendState) compare(o friendState) int {
	return cmp.Or(cmp.Compare(f.seq, o.seq), cmp.Compare(f.account, o.account))
}

// readFriendsToken is the place a token names. One that is unknown is the beginning.
func (d *Discovery) readFriendsToken(token string, l *friendList) (at friendState, known bool) {
	if token == FriendsBegin {
		return at, false
	}
	p := strings.Split(token, ".")
	if len(p) != 3 {
		return at, false
	}
	epoch, err1 := strconv.ParseUint(p[0], 36, 32)
	seq, err2 := strconv.ParseUint(p[1], 36, 64)
	account, err3 := strconv.ParseUint(p[2], 36, 64)
	if errors.Join(err1, err2, err3) != nil || store.Epoch(epoch) != d.store.Epoch() || seq > l.seq || l.floor > 0 && seq <= l.floor {
		return at, false
	}
	return friendState{seq: seq, account: store.AccountID(account)}, true
}

// friendsNow are a user's friends.
func (d *Discovery) friendsNow(me store.AccountID) (map[store.AccountID]Friend, error) {
	ids, err := d.store.Edges(store.EdgeFriend, me, 0, math.MaxInt32)
	if err != nil {
		return nil, fmt.Errorf("discovery: friends: %w", err)
	}
	favourites, err := d.Favourites(me)
	if err != nil {
		return nil, err
	}
	out := make(map[store.AccountID]Friend, len(ids))
	for _, id := range ids {
		u, err := d.store.Account(id)
		if store.CodeOf(err) == store.CodeNotFound {
			continue // gone
		}
		if err != nil {
			return nil, fmt.Errorf("discovery: account: %w", err)
		}
		out[id] = Friend{u, favourites[id]}
	}
	return out, nil
}

// Favourites are those among a user's friends that it has marked.
func (d *Discovery) Favourites(me store.AccountID) (map[store.AccountID]bool, error) {
	out := make(map[store.AccountID]bool)
	for after := store.AccountID(0); ; {
		list, err := d.graph.Relations(me, after, 0)
		if err != nil {
			return nil, fmt.Errorf("discovery: relations: %w", err)
		}
		for _, id := range list {
			r, err := d.graph.Relation(me, id)
			if err != nil {
				return nil, fmt.Errorf("discovery: relation: %w", err)
			}
			if r.Favourite {
				out[id] = true
			}
			after = id
		}
		if len(list) == 0 {
			return out, nil
		}
	}
}

func (f Friend) state() uint16 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%q %q %v", f.Account.Name, f.Account.Shown(), f.Favourite)
	return uint16(h.Sum32()>>16 ^ h.Sum32())
}

// compareFriends brings the row up to date.
func (d *Discovery) compareFriends(ctx context.Context, me store.AccountID, now map[store.AccountID]Friend) (*friendList, error) {
	done, err := d.turns.take(ctx, me)
	if err != nil {
		return nil, err
	}
	defer done()
	row, err := d.store.Row(tableFriends, store.OwnerOf(me), "")
	if err != nil {
		return nil, fmt.Errorf("discovery: friends: %w", err)
	}
	old := &friendList{}
	if row.Version != 0 {
		if old, err = decodeFriends(row.Value); err != nil {
			return nil, err
		}
	}
	next := &friendList{seq: old.seq + 1, floor: old.floor}
	changed := row.Version == 0
	had := make(map[store.AccountID]bool, len(old.friends))
	for _, f := range old.friends {
		had[f.account] = true
		is, ok := now[f.account]
		if !ok {
			next.removed = append(next.removed, friendState{account: f.account, seq: next.seq})
			changed = true
			continue
		}
		if s := is.state(); s != f.state {
			f.state, f.seq, changed = s, next.seq, true
		}
		next.friends = append(next.friends, f)
	}
	for id, f := range now {
		if !had[id] {
			next.friends = append(next.friends, friendState{id, f.state(), next.seq})
			changed = true
		}
	}
	if !changed {
		return old, nil
	}
	for _, f := range old.removed {
		if _, back := now[f.account]; !back {
			next.removed = append(next.removed, f)
		}
	}
	slices.SortFunc(next.friends, func(x, y friendState) int { return cmp.Compare(x.account, y.account) })
	slices.SortFunc(next.removed, func(x, y friendState) int { return x.compare(y) })
	if n := len(next.removed) - friendsRemoved; n > 0 {
		next.floor = next.removed[n-1].seq
		next.removed = next.removed[n:]
	}
	err = d.store.Update(ctx, store.Update{Owner: store.OwnerOf(me), Rows: []store.RowPut{{Table: tableFriends, Value: next.encode()}}})
	if err != nil {
		return nil, fmt.Errorf("discovery: friends: %w", err)
	}
	return next, nil
}

func (l *friendList) encode() []byte {
	b := binary.AppendUvarint([]byte{friendsVersion}, l.seq)
	b = binary.AppendUvarint(b, l.floor)
	b = binary.AppendUvarint(b, uint64(len(l.friends)))
	last := store.AccountID(0)
	for _, f := range l.friends {
		b = binary.AppendUvarint(b, uint64(f.account-last))
		b = binary.BigEndian.AppendUint16(b, f.state)
		b = binary.AppendUvarint(b, l.seq-f.seq)
		last = f.account
	}
	for _, f := range l.removed {
		b = binary.AppendUvarint(b, uint64(f.account))
		b = binary.AppendUvarint(b, l.seq-f.seq)
	}
	return b
}

func decodeFriends(b []byte) (*friendList, error) {
	if len(b) == 0 || b[0] != friendsVersion {
		return nil, errFriends
	}
	b = b[1:]
	bad := false
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad, b = true, nil
			return 0
		}
		b = b[n:]
		return v
	}
	l := &friendList{seq: number(), floor: number()}
	last := store.AccountID(0)
	for n := number(); n > 0 && !bad; n-- {
		last += store.AccountID(number())
		f := friendState{account: last}
		if len(b) < 2 {
			return nil, errFriends
		}
		f.state, b = binary.BigEndian.Uint16(b), b[2:]
		f.seq = l.seq - number()
		l.friends = append(l.friends, f)
	}
	for len(b) > 0 && !bad {
		f := friendState{account: store.AccountID(number())}
		f.seq = l.seq - number()
		l.removed = append(l.removed, f)
	}
	if bad {
		return nil, errFriends
	}
	return l, nil
}
