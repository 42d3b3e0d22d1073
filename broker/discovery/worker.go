package discovery

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
)

const (
	batch   = 64 // queued rows, or users who wait for one number, that are worked on together
	helpers = 16 // at once
)

// kick wakes the worker.
func (d *Discovery) kick() {
	select {
	case d.kicked <- struct{}{}:
	default: // it is awake, or will look anyway
	}
}

// work goes through the queues whenever something was added, and at every tick. What fails stays and is tried again at
// the next one.
func (d *Discovery) work(ctx context.Context) {
	for {
		select {
		case <-d.kicked:
		case <-d.tick:
		case <-ctx.Done():
			return
		}
		if d.numbers != nil {
			d.note(ctx, "slow numbers", d.dripAll(ctx))
			d.note(ctx, "new numbers", d.meetAll(ctx))
			d.note(ctx, "joined", d.joinedAll(ctx))
		}
		d.note(ctx, "counts", d.save(ctx))
	}
}

// note tells of what has failed; what the end has cut short has not.
func (d *Discovery) note(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil && store.CodeOf(err) != store.CodeUnavailable {
		d.metrics.failed.Inc()
		d.log.Error("contact discovery: work failed", "what", what, keyErr, err)
	}
}

// queued visits the rows of a queue in pages, all of them also after an error.
func (d *Discovery) queued(ctx context.Context, t store.Table, page func([]store.Row) error) error {
	var owner store.Owner
	var key string
	var errs error
	for ctx.Err() == nil {
		rows, err := d.store.AllRows(t, owner, key, batch)
		if err != nil {
			return fmt.Errorf("discovery: queue: %w", err)
		}
		if len(rows) == 0 {
			break
		}
		if err := page(rows); err != nil && errs == nil {
			errs = err
		}
		owner, key = rows[len(rows)-1].Owner, rows[len(rows)-1].Key
	}
	return errs
}

// each calls fn for 0 to n-1, several at a time, and returns the first error when all have ended.
func each(n int, fn func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	next := make(chan int)
	for range min(n, helpers) {
		wg.Go(func() {
			for i := range next {
				errs[i] = fn(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// done removes a row of a queue, unless it has been replaced.
func (d *Discovery) done(ctx context.Context, t store.Table, r store.Row) error {
	err := d.store.Update(ctx, store.Update{Owner: r.Owner, Rows: []store.RowPut{{Table: t, Key: r.Key, If: store.IfVersion(r.Version)}}})
	if err != nil && store.CodeOf(err) != store.CodeConflict && store.CodeOf(err) != store.CodeNotFound {
		return fmt.Errorf("discovery: queue: %w", err)
	}
	return nil
}

// meetAll works on numbers that syncs have added: those that are somebody's meet, for those that are nobody's the user
// waits. A crash in between does it again, which changes nothing.
func (d *Discovery) meetAll(ctx context.Context) error {
	return d.queued(ctx, tableNew, func(rows []store.Row) error {
		waits := make([][]waitEntry, len(rows))
		met := make([]bool, len(rows))
		failed := each(len(rows), func(i int) (err error) {
			waits[i], err = d.meetRow(ctx, rows[i])
			met[i] = err == nil
			return d.damaged(ctx, tableNew, rows[i], err)
		})
		var all []waitEntry
		for i, w := range waits {
			if met[i] {
				all = append(all, w...)
			}
		}
		if err := d.waiting.add(ctx, all); err != nil {
			return err
		}
		err := each(len(rows), func(i int) error {
			if !met[i] {
				return nil
			}
			return d.done(ctx, tableNew, rows[i])
		})
		return errors.Join(failed, err)
	})
}

// damaged removes a queued row that nobody can read: it would come back for ever.
func (d *Discovery) damaged(ctx context.Context, t store.Table, r store.Row, err error) error {
	if !errors.Is(err, errQueue) {
		return err
	}
	return errors.Join(err, d.done(ctx, t, r))
}

func (d *Discovery) meetRow(ctx context.Context, r store.Row) (wait []waitEntry, err error) {
	me := store.AccountID(r.Owner.Number())
	_, list, err := unpack(r.Value)
	if err != nil {
		return nil, err
	}
	for _, h := range list {
		t, ok, err := d.tagIn(me, shortOf(h))
		if err != nil {
			return nil, err
		}
		if !ok || !t.present() {
			continue // removed meanwhile
		}
		who, err := d.numbers.Account(h)
		if err != nil {
			return nil, fmt.Errorf("discovery: number: %w", err)
		}
		switch who {
		case 0:
			wait = append(wait, waitEntry{shortOf(h), me})
		case me:
		default:
			if err := d.meet(ctx, me, who); err != nil {
				return nil, err
			}
		}
	}
	return wait, nil
}

// Joined says that an account has a number since now: it is new, or has changed its number. Those who wait for the number
// are told by the worker, as far as the account wants them to know. Durable at return; repeating it tells nobody twice.
func (d *Discovery) Joined(ctx context.Context, a store.AccountID, h phone.Hash) error {
	v := append(h[:], make([]byte, 8)...)
	if err := d.store.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{{Table: tableJoined, Value: v}}}); err != nil {
		return fmt.Errorf("discovery: joined: %w", err)
	}
	d.kick()
	return nil
}

func (d *Discovery) joinedAll(ctx context.Context) error {
	return d.queued(ctx, tableJoined, func(rows []store.Row) error {
		return each(len(rows), func(i int) error { return d.damaged(ctx, tableJoined, rows[i], d.joined(ctx, rows[i])) })
	})
}

// joined tells those who wait for an account's number, in groups. After each the row says how far it went.
func (d *Discovery) joined(ctx context.Context, r store.Row) error {
	who := store.AccountID(r.Owner.Number())
	if len(r.Value) != len(phone.Hash{})+8 {
		return errQueue
	}
	h := phone.Hash(r.Value[:len(phone.Hash{})])
	after := store.AccountID(binary.BigEndian.Uint64(r.Value[len(h):]))
	now, err := d.numbers.Account(h)
	if err != nil {
		return fmt.Errorf("discovery: number: %w", err)
	}
	if now != who {
		return d.done(ctx, tableJoined, r) // it has another number by now
	}
	list, err := d.waiting.find(shortOf(h))
	if err != nil {
		return err
	}
	if most := d.limits().Waiting; len(list) > most {
		d.metrics.dropped.Add(float64(len(list) - most))
		list = list[:most]
	}
	for len(list) > 0 && ctx.Err() == nil {
		n := min(len(list), batch)
		for _, a := range list[:n] {
			if a <= after || a == who {
				continue
			}
			if err := d.meet(ctx, who, a); err != nil {
				return err
			}
		}
		last := list[n-1]
		if list = list[n:]; len(list) == 0 || last <= after {
			continue
		}
		v := binary.BigEndian.AppendUint64(append([]byte(nil), h[:]...), uint64(last))
		err := d.store.Update(ctx, store.Update{Owner: r.Owner, Rows: []store.RowPut{{Table: tableJoined, Key: r.Key, Value: v, If: store.IfVersion(r.Version)}}})
		if code := store.CodeOf(err); code == store.CodeConflict || code == store.CodeNotFound {
			return nil // replaced by a newer number, or erased
		}
		if err != nil {
			return fmt.Errorf("discovery: joined: %w", err)
		}
		if r, err = d.store.Row(tableJoined, r.Owner, r.Key); err != nil {
			return fmt.Errorf("discovery: joined: %w", err)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return d.done(ctx, tableJoined, r)
}

// dripAll lets numbers that wait for their network go on, as many as its rate allows.
func (d *Discovery) dripAll(ctx context.Context) error {
	since := d.prefixes.counting()
	counted := make(map[netip.Prefix]count)
	total := 0
	err := d.queued(ctx, tableSlow, func(rows []store.Row) error {
		var errs error
		for _, r := range rows {
			n, c, err := d.drip(ctx, r)
			if errs == nil {
				errs = d.damaged(ctx, tableSlow, r, err)
			}
			counted[n] = count{counted[n].left + c.left, counted[n].gone + c.gone}
			total += c.left
		}
		return errs
	})
	if err == nil {
		d.prefixes.waits(since, counted)
		d.metrics.waiting.Set(float64(total))
	}
	return err
}

// drip lets some numbers of a row, which wait for network n, go on.
func (d *Discovery) drip(ctx context.Context, r store.Row) (n netip.Prefix, c count, err error) {
	n, list, err := unpack(r.Value)
	if err != nil {
		return n, c, err
	}
	got, err := d.prefixes.drip(n, len(list))
	if err != nil || got == 0 {
		return n, count{left: len(list)}, err
	}
	return n, count{len(list) - got, got}, d.dripRow(ctx, r, n, list, got)
}

// dripRow moves numbers of an account from those that wait to those that are new, in one change.
func (d *Discovery) dripRow(ctx context.Context, r store.Row, n netip.Prefix, list []phone.Hash, got int) error {
	me := store.AccountID(r.Owner.Number())
	done, err := d.turns.take(ctx, me)
	if err != nil {
		return err
	}
	defer done()
	b, err := d.readBook(me)
	if err != nil {
		return err
	}
	acct, err := d.readAccount(me)
	if err != nil {
		return err
	}
	for _, h := range list[:got] {
		if i, ok := b.find(shortOf(h)); ok {
			b.mark(i, b.entries[i].tag&^tagWaiting)
		}
		who, err := d.numbers.Account(h)
		if err != nil {
			return fmt.Errorf("discovery: number: %w", err)
		}
		if acct.Tried++; who != 0 {
			acct.Hits++
		}
	}
	if acct.Silent, err = d.ratios.judge(&acct); err != nil {
		return err
	}
	put, err := acct.put()
	if err != nil {
		return err
	}
	rest := store.RowPut{Table: tableSlow, Key: r.Key, If: store.IfVersion(r.Version)}
	if got < len(list) {
		rest.Value = pack(n, list[got:])
	}
	u := store.Update{Owner: r.Owner, Rows: []store.RowPut{put, rest,
		{Table: tableNew, Key: r.Key + "+" + store.KeyOf(uint64(len(list))), Value: pack(netip.Prefix{}, list[:got])}}}
	if b.changed {
		u.Rows = append(u.Rows, b.puts(b.expires)...)
	}
	err = d.store.Update(ctx, u)
	if code := store.CodeOf(err); err != nil && code != store.CodeConflict && code != store.CodeNotFound {
		return fmt.Errorf("discovery: slow: %w", err)
	}
	return nil
}
