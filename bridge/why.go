package bridge

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hwangso/hwangso/store"
)

var _ Asked = (*Bridge)(nil)

// Why implements Asked. Of a device about which nothing was noted it says what is so now: that it has nothing registered, or
// has acknowledged the message. A message that was folded into a summary is followed by what became of the summary.
func (b *Bridge) Why(ctx context.Context, a store.AccountID, log store.LogID, seq store.Seq) ([]Decision, error) {
	if a == 0 || log == 0 || seq == 0 {
		return nil, store.Bad("why: a user, a conversation and a sequence are needed")
	}
	if info, err := b.store.Info(log); err == nil && info.Key.Posts() {
		return b.whyPost(ctx, a, info, seq)
	}
	found := b.audit.about(a, func(n *remark) bool {
		return n.log == 0 || n.log == log && n.from <= seq && (seq <= n.upto || n.until != 0)
	})
	found = covering(found, seq)
	var out []Decision
	told := make(map[store.DeviceID]bool)
	folded := make(map[store.DeviceID]bool) // and what became of the summary is still to come
	for i := range found {
		n := &found[i]
		switch {
		case n.log != 0:
			out = append(out, n.decision())
			told[n.device] = true
			folded[n.device] = n.until != 0 && foldedBy(n.reason)
		case folded[n.device]:
			out = append(out, n.decision())
			folded[n.device] = n.answer == nil
		}
	}
	devices, err := b.devicesOf(a)
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		if told[d] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		now, ok, err := b.stands(key{a, d, log}, seq)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, now)
		}
	}
	slices.SortStableFunc(out, func(x, y Decision) int { return x.Time.Compare(y.Time) })
	return out, nil
}

// covering leaves out what did not wait for a message: a ring that waits does so for what comes meanwhile too, which is
// known from the decision after it.
func covering(found []remark, seq store.Seq) []remark {
	from := make(map[store.DeviceID]store.Seq) // of the decision that followed about the message
	kept := len(found)
	for i := len(found) - 1; i >= 0; i-- {
		n := &found[i]
		next, ok := from[n.device]
		if n.log != 0 && seq > n.upto && !(ok && next <= n.from) {
			continue
		}
		if n.log != 0 {
			from[n.device] = n.from
		}
		kept--
		found[kept] = *n
	}
	return found[kept:]
}

// foldedBy reports whether a message that was decided for a reason is told in a summary, if it is told at all.
func foldedBy(why Reason) bool {
	return why == ReasonQuiet || why == ReasonCapped || why == ReasonExpired
}

// devicesOf are all that a user has, and all that have something registered, by number.
func (b *Bridge) devicesOf(a store.AccountID) ([]store.DeviceID, error) {
	list, err := b.graph.Registrations(a)
	if err != nil {
		return nil, err
	}
	var out []store.DeviceID
	for i := range list {
		out = append(out, list[i].Device)
	}
	all, err := b.store.Devices(a)
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return nil, fmt.Errorf("bridge: devices: %w", err)
	}
	for i := range all {
		out = append(out, all[i].ID)
	}
	slices.SortFunc(out, cmp.Compare)
	return slices.Compact(out), nil
}

// stands is what can be said of a message for a device about which nothing was noted; ok is false where that is nothing.
func (b *Bridge) stands(k key, seq store.Seq) (d Decision, ok bool, err error) {
	now := b.now()
	d = Decision{Time: now, Account: k.account, Device: k.device, Log: k.log, From: seq, Upto: seq}
	own, err := b.own(k, seq)
	if err != nil {
		return d, false, err
	}
	if own {
		d.Reason = ReasonOwn
		return d, true, nil
	}
	err = b.within(k, func(r *bell, st *state, _ func() *bell) {
		switch {
		case r != nil && r.news.first.seq != 0 && seq >= r.news.first.seq && seq <= r.news.last:
			switch {
			case r.due != 0:
				if d.Reason, ok = r.why, true; d.Reason == "" {
					d.Reason = ReasonGrace
				}
				d.Until = time.UnixMilli(r.due)
			case r.fly != nil: // on its way
				d.Reason, ok = r.fly.reason, true
			}
		case st != nil && st.First != 0 && seq >= st.First:
			if d.Reason, ok = st.Reason, true; st.Due != 0 {
				d.Until = time.UnixMilli(st.Due)
			}
		case st != nil && seq <= st.Done:
			if d.Reason, ok = st.Reason, true; st.Rang != 0 {
				d.Time, d.Upto = time.UnixMilli(st.Rang), st.Done
			}
		}
	})
	if err != nil || ok {
		return d, ok, err
	}
	to, err := b.registration(k)
	if err != nil {
		return d, false, err
	}
	if to == nil {
		d.Reason = ReasonNoToken
		return d, true, nil
	}
	c, err := b.live.Acked(k.account, k.device, k.log)
	if err != nil {
		return d, false, fmt.Errorf("bridge: cursor: %w", err)
	}
	d.Reason = ReasonAcked
	return d, c.Confirmed(seq), nil
}

// own reports whether a user wrote a message itself.
func (b *Bridge) own(k key, seq store.Seq) (bool, error) {
	page, err := b.store.Read(store.Query{Log: k.log, After: seq - 1, Upto: seq, Max: 1})
	switch code := store.CodeOf(err); {
	case code == store.CodeTrimmed, code == store.CodeNotFound:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("bridge: read: %w", err)
	}
	return len(page.Records) > 0 && page.Records[0].Sender == k.account, nil
}
