package discovery

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
)

// meet tells two users of each other who may have each other's numbers: each as far as it has the other one's number and
// the other one wants to be found.
func (d *Discovery) meet(ctx context.Context, a, b store.AccountID) error {
	if err := d.introduce(ctx, a, b); err != nil {
		return err
	}
	return d.introduce(ctx, b, a)
}

// introduce tells one user that a contact has joined, once: first the contact becomes a friend, then comes the notice,
// last the address book says that it was told. Each step can be repeated after a crash; the notice has a cid, so that the
// log has it once. Nobody is told of somebody it blocks or is blocked by.
func (d *Discovery) introduce(ctx context.Context, me, who store.AccountID) error {
	theirs, ok, err := d.numbers.Of(who)
	if err != nil {
		return fmt.Errorf("discovery: number: %w", err)
	}
	if !ok {
		return nil
	}
	n := shortOf(theirs.Hash)
	owed := func() (bool, error) {
		t, ok, err := d.tagIn(me, n)
		return ok && t.present() && !t.told(who), err
	}
	if is, err := owed(); err != nil || !is {
		return err
	}
	acct, err := d.readAccount(me)
	if err != nil || acct.Silent {
		return err
	}
	mine, _, err := d.numbers.Of(me)
	if err != nil {
		return fmt.Errorf("discovery: number: %w", err)
	}
	shows, err := d.visible(who, me, mine.Hash, false)
	if err != nil || !shows {
		return err
	}
	blocked, err := d.blocked(me, who)
	if err != nil || blocked {
		return err
	}
	done, err := d.turns.take(ctx, me)
	if err != nil {
		return err
	}
	defer done()
	if is, err := owed(); err != nil || !is { // a sync may have been faster
		return err
	}
	if !acct.NoAdd {
		_, err := d.store.SetEdge(ctx, store.EdgeFriend, me, who, true, d.limits().Friends)
		if code := store.CodeOf(err); err != nil && code != store.CodeFull && code != store.CodeNotFound {
			return fmt.Errorf("discovery: edge: %w", err)
		}
	}
	if err := d.tell(ctx, me, view.Notice{What: view.NoticeContact, Who: who}, noticeID(me, who, n)); err != nil {
		return err
	}
	put, changed, err := d.retag(me, n, func(tag) tag { return tagOf(who) })
	if err != nil {
		return err
	}
	if changed {
		err := d.store.Update(ctx, store.Update{Owner: store.OwnerOf(me), Rows: []store.RowPut{put}})
		if code := store.CodeOf(err); err != nil && code != store.CodeNotFound { // erased meanwhile
			return fmt.Errorf("discovery: book: %w", err)
		}
	}
	d.metrics.joined.Inc()
	d.metrics.found.Inc()
	return nil
}

// noticeID names the notice to one user that another one has a number now.
func noticeID(to, who store.AccountID, n short) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(to))
	b = binary.BigEndian.AppendUint64(b, uint64(who))
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(n)))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// patience is how long a notice may take to become durable.
const patience = 30 * time.Second

// tell writes a notice to a user's devices and waits until it is durable.
func (d *Discovery) tell(ctx context.Context, to store.AccountID, n view.Notice, cid string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	info, _, err := d.store.Open(ctx, store.NoticeKey(to), store.Creation{Members: []store.Member{{Account: to, Role: store.RoleMember}}})
	if err == nil {
		p := d.store.Append(store.Draft{Log: info.ID, Kind: store.KindNotice, CID: cid, Extra: n.Extra()})
		select {
		case <-p.Done():
			_, err = p.Result()
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		return fmt.Errorf("discovery: notice: %w", err)
	}
	return nil
}
