package api

import (
	"fmt"
	"time"

	"github.com/hwangso/hwangso/broker/channel"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// exportChannel is a line of channels.jsonl: how the user stands to a channel.
type exportChannel struct {
	Channel string     `json:"channel"`
	Since   *time.Time `json:"since,omitempty"` // it follows
	Ads     *time.Time `json:"ads,omitempty"`   // since when it consents to advertising
	Push    string     `json:"push,omitempty"`
	Blocked *time.Time `json:"blocked,omitempty"`
	Left    *time.Time `json:"left,omitempty"`
	Role    string     `json:"role,omitempty"` // owner, editor or publisher
	File    string     `json:"file,omitempty"` // what it and the channel have written to each other

	thread store.LogInfo
}

// channels writes the channels that the user follows, knows or publishes in, and its threads with them.
func (e *exporter) channels() error {
	var all []*exportChannel
	by := make(map[string]*exportChannel)
	of := func(name string) *exportChannel {
		c := by[name]
		if c == nil {
			c = &exportChannel{Channel: name}
			all, by[name] = append(all, c), c
		}
		return c
	}
	if err := e.follows(of); err != nil {
		return err
	}
	me := e.c.account.ID
	for after := store.LogID(0); ; {
		refs, err := e.a.store.LogsOf(me, after, 0)
		if err != nil {
			return err
		}
		for _, r := range refs {
			switch after = r.ID; {
			case r.Key.Kind == store.LogChannel && r.Me.Role != store.RoleNone:
				of(r.Key.Name).Role = channel.RoleWord(r.Me.Role)
			case r.Key.Kind == store.LogThread && r.Key.A == me && r.Side(me).Head != 0: // with nothing of it seen there is none
				c := of(r.Key.Name)
				c.File, c.thread = "messages/channel/"+r.Key.Name+".jsonl", r.LogInfo
			}
		}
		if err := e.a.broker.Bulk(e.ctx, len(refs)+1); err != nil {
			return err
		}
		if len(refs) == 0 {
			break
		}
	}
	for _, c := range all {
		if err := e.line(c); err != nil {
			return err
		}
	}
	for _, c := range all {
		if c.File == "" {
			continue
		}
		if err := e.thread(c); err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
	}
	return nil
}

func (e *exporter) follows(of func(name string) *exportChannel) error {
	for after := store.LogID(0); ; {
		ids, follows, err := e.a.graph.Follows(e.c.account.ID, after, 0)
		if err != nil || len(ids) == 0 {
			return err
		}
		for i, f := range follows {
			after = ids[i]
			info, err := e.a.store.Info(ids[i])
			if store.CodeOf(err) == store.CodeNotFound {
				continue
			}
			if err != nil {
				return err
			}
			if *f == (graph.Follow{}) {
				continue
			}
			c := of(info.Key.Name)
			c.Since, c.Ads, c.Push, c.Blocked, c.Left = at(f.Since), at(f.Ads), string(f.Push), at(f.Blocked), at(f.Left)
		}
		if err := e.a.broker.Bulk(e.ctx, len(ids)+1); err != nil {
			return err
		}
	}
}

// thread writes what the user and a channel have written to each other, as the user's devices get it.
func (e *exporter) thread(c *exportChannel) error {
	if err := e.begin(c.File); err != nil {
		return err
	}
	me, upto := e.c.account.ID, c.thread.Side(e.c.account.ID).Head
	base := max(c.thread.First, 1) - 1
	for from := base; from < upto; {
		next := min(from+store.Seq(e.a.limits().Page), upto)
		records, err := e.a.visible(me, c.thread.ID, from, next)
		if err != nil {
			return err
		}
		for _, r := range records {
			if err := e.line(e.a.envelope(me, 0, r, store.Marks{}, base)); err != nil {
				return err
			}
			base = r.Seq
		}
		if err := e.a.broker.Bulk(e.ctx, len(records)+1); err != nil {
			return err
		}
		from = next
	}
	return nil
}

// myCoupons writes the coupons that the user can show, without their codes: who has the archive must not be able to redeem them.
func (e *exporter) myCoupons() error {
	for after := ""; ; {
		list, next, err := e.a.coupons.List(e.c.account.ID, after, e.a.limits().Page)
		if err != nil {
			return err
		}
		for i := range list {
			out := couponAnswer(&list[i])
			out.Coupon, out.Grouped = "", ""
			if err := e.line(out); err != nil {
				return err
			}
		}
		if err := e.a.broker.Bulk(e.ctx, len(list)+1); err != nil || next == "" {
			return err
		}
		after = next
	}
}

// gifts writes those that the user got, and those that it gave.
func (e *exporter) gifts() error {
	got, err := e.a.coupons.Gifts(e.c.account.ID)
	if err != nil {
		return err
	}
	for _, g := range got {
		out := giftAnswer(g)
		out.Coupon, out.Grouped = "", ""
		if err := e.line(out); err != nil {
			return err
		}
	}
	given, err := e.a.coupons.SentGifts(e.ctx, e.c.id)
	if err != nil {
		return err
	}
	for _, s := range given {
		if err := e.line(struct {
			Sent sentGiftOut `json:"sent"`
		}{sentGift(s)}); err != nil {
			return err
		}
	}
	return nil
}
