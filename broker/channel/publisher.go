package channel

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/store"
)

// The roles of publishers, and the roles of their logs that they are.
const (
	Owner     = "owner"     // gives roles, and everything below
	Editor    = "editor"    // says what the channel is, pauses it
	Publisher = "publisher" // posts
)

// RoleWord is a publisher's role in words, "" for none.
func RoleWord(r store.Role) string {
	switch r {
	case store.RoleOwner:
		return Owner
	case store.RoleModerator:
		return Editor
	case store.RoleMember:
		return Publisher
	}
	return ""
}

// ParseRole is the inverse of RoleWord.
func ParseRole(s string) (store.Role, error) {
	switch s {
	case Owner:
		return store.RoleOwner, nil
	case Editor:
		return store.RoleModerator, nil
	case Publisher:
		return store.RoleMember, nil
	}
	return store.RoleNone, store.Bad("role must be owner, editor or publisher")
}

// OfferLife is how long somebody who was asked to publish may accept.
const OfferLife = 72 * time.Hour

// Offer is that somebody was asked to publish in a channel.
type Offer struct {
	Name    string          `json:"-"` // of who was asked
	Role    store.Role      `json:"role"`
	By      store.AccountID `json:"by"`
	Expires int64           `json:"-"` // Unix milliseconds
}

// Ask asks somebody, by its name, to publish in a channel. Whether there is such a user shows in nothing: an offer that
// nobody can accept looks like one that waits. CodeFull: the channel has as many publishers and offers as its plan allows.
func (s *Service) Ask(ctx context.Context, id store.LogID, name string, role store.Role, by store.AccountID) (*Offer, error) {
	done, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	c, err := s.Get(id)
	if err != nil {
		return nil, err
	}
	offers, err := s.Offers(id)
	if err != nil {
		return nil, err
	}
	waiting := 0
	for _, o := range offers {
		if o.Name != name {
			waiting++
		}
	}
	if err := s.room(c, waiting); err != nil {
		return nil, err
	}
	o := &Offer{Name: name, Role: role, By: by, Expires: s.now().Add(OfferLife).UnixMilli()}
	value, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("channel: offer: %w", err)
	}
	return o, s.putOffer(ctx, id, store.RowPut{Table: tableOffer, Key: name, Value: value, Expires: o.Expires})
}

func (s *Service) putOffer(ctx context.Context, id store.LogID, put store.RowPut) error {
	if err := s.store.Update(ctx, store.Update{Owner: store.OwnerOfLog(id), Rows: []store.RowPut{put}}); err != nil {
		return fmt.Errorf("channel: offer: %w", err)
	}
	return nil
}

// room is CodeFull where one more publisher would be more than the plan allows.
func (s *Service) room(c *Channel, waiting int) error {
	plan, err := s.PlanOf(c.ID)
	if err != nil {
		return err
	}
	if most := min(plan.Publishers, MostPublishers); c.Log.Members.Active+waiting >= most {
		return &store.Error{Code: store.CodeFull, Reason: "publishers", Text: "the channel has as many publishers as it may, those who were asked included: " + strconv.Itoa(most)}
	}
	return nil
}

// Offers lists who was asked to publish in a channel and has not answered, by name.
func (s *Service) Offers(id store.LogID) (out []Offer, err error) {
	rows, err := s.store.Rows(tableOffer, store.OwnerOfLog(id), "", "", 0)
	if err != nil {
		return nil, fmt.Errorf("channel: offers: %w", err)
	}
	for _, r := range rows {
		o := Offer{}
		if err := json.Unmarshal(r.Value, &o); err != nil {
			return nil, fmt.Errorf("channel: offers: %w", err)
		}
		if o.Name, o.Expires = r.Key, r.Expires; o.Expires > s.now().UnixMilli() {
			out = append(out, o)
		}
	}
	return out, nil
}

// Withdraw takes an offer back; withdrawn tells whether there was one. From then on nobody accepts it.
func (s *Service) Withdraw(ctx context.Context, id store.LogID, name string) (withdrawn bool, err error) {
	done, err := s.take(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	row, err := s.store.Row(tableOffer, store.OwnerOfLog(id), name)
	if err != nil {
		return false, fmt.Errorf("channel: offer: %w", err)
	}
	if row.Version == 0 {
		return false, nil
	}
	return true, s.putOffer(ctx, id, store.RowPut{Table: tableOffer, Key: name})
}

// Accept makes somebody a publisher who was asked to be. CodeNotFound: nobody asks, or who asked owns the channel no more.
func (s *Service) Accept(ctx context.Context, id store.LogID, a store.Account) (store.Role, error) {
	done, err := s.take(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	none := &store.Error{Code: store.CodeNotFound, Text: "nobody asks you to publish in this channel"}
	row, err := s.store.Row(tableOffer, store.OwnerOfLog(id), a.Name)
	if err != nil {
		return 0, fmt.Errorf("channel: offer: %w", err)
	}
	if row.Version == 0 || row.Expires <= s.now().UnixMilli() {
		return 0, none
	}
	var o Offer
	if err := json.Unmarshal(row.Value, &o); err != nil {
		return 0, fmt.Errorf("channel: offer: %w", err)
	}
	c, err := s.Get(id)
	if err != nil {
		return 0, err
	}
	if c.Role(o.By) != store.RoleOwner || o.By == 0 {
		return 0, none
	}
	if err := s.setPublisher(ctx, id, a.ID, o.Role, a.ID); err != nil {
		return 0, err
	}
	return o.Role, s.putOffer(ctx, id, store.RowPut{Table: tableOffer, Key: a.Name})
}

// SetPublisher makes an account a publisher with a role, or changes the role, in both logs; by is recorded as who did it,
// 0 the operators. CodeFull: there are too many publishers; CodeConflict: a channel needs an owner.
func (s *Service) SetPublisher(ctx context.Context, id store.LogID, a store.AccountID, role store.Role, by store.AccountID) error {
	done, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	return s.setPublisher(ctx, id, a, role, by)
}

// setPublisher is SetPublisher for who has the turn.
func (s *Service) setPublisher(ctx context.Context, id store.LogID, a store.AccountID, role store.Role, by store.AccountID) error {
	return s.members(ctx, id, func(c *Channel) error {
		if c.Role(a) == store.RoleNone {
			return s.room(c, 0)
		}
		if role != store.RoleOwner {
			return sole(c, a)
		}
		return nil
	}, func(info *store.LogInfo) *store.Change {
		switch now := info.Members.Role(a); {
		case now == role:
			return nil
		case now == store.RoleNone:
			return &store.Change{Kind: store.ChangeJoin, Account: a, Role: role, From: 1}
		}
		return &store.Change{Kind: store.ChangeRole, Account: a, Role: role}
	}, by)
}

// RemovePublisher ends that an account publishes. CodeConflict: a channel needs an owner.
func (s *Service) RemovePublisher(ctx context.Context, id store.LogID, a, by store.AccountID) error {
	done, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	return s.members(ctx, id, func(c *Channel) error { return sole(c, a) }, func(info *store.LogInfo) *store.Change {
		switch {
		case info.Members.Role(a) == store.RoleNone:
			return nil
		case a == by:
			return &store.Change{Kind: store.ChangeLeave, Account: a}
		}
		return &store.Change{Kind: store.ChangeRemove, Account: a}
	}, by)
}

// sole refuses what would leave a channel without an owner.
func sole(c *Channel, a store.AccountID) error {
	if c.Role(a) != store.RoleOwner {
		return nil
	}
	for _, m := range c.Log.Members.Members {
		if m.Role == store.RoleOwner && m.Account != a {
			return nil
		}
	}
	return &store.Error{Code: store.CodeConflict, Text: "a channel needs an owner: make somebody else the owner first"}
}

// members changes the members of both logs, each as far as it needs it: what a crash has cut in two is finished by the
// next change. The caller has the turn.
func (s *Service) members(ctx context.Context, id store.LogID, may func(*Channel) error, what func(*store.LogInfo) *store.Change, by store.AccountID) error {
	c, err := s.Get(id)
	if err != nil {
		return err
	}
	if err := may(c); err != nil {
		return err
	}
	for _, log := range []store.LogID{c.Ads, c.ID} { // who is in the notices is in the advertising
		info, err := s.store.Info(log)
		if err != nil {
			return fmt.Errorf("channel: info: %w", err)
		}
		ch := what(&info)
		if ch == nil {
			continue
		}
		p := s.store.Append(store.Draft{Log: log, Sender: by, Kind: store.KindSystem, Change: *ch, Version: info.Members.Version})
		select {
		case <-p.Done():
		case <-ctx.Done():
			return &store.Error{Code: store.CodeUnknown, Text: "not known yet: repeat the request", Err: ctx.Err()}
		}
		if _, err := p.Result(); err != nil {
			return fmt.Errorf("channel: publishers: %w", err)
		}
	}
	return nil
}

// Leave ends everything that an account has to do with channels, before it is erased: a channel that it alone owned goes
// to the editor, else the publisher, who has been there longest; one that has nobody left is paused.
func (s *Service) Leave(ctx context.Context, a store.AccountID) error {
	mine, err := s.Mine(a)
	if err != nil {
		return err
	}
	for _, c := range mine {
		if sole(c, a) != nil {
			heir := store.Member{}
			for _, m := range c.Log.Members.Members {
				if m.Account == a || m.Role == store.RoleNone {
					continue
				}
				if heir.Account == 0 || m.Role > heir.Role || m.Role == heir.Role && m.Since < heir.Since {
					heir = m
				}
			}
			if heir.Account == 0 {
				if _, _, err := s.Pause(ctx, c.ID, true); err != nil {
					return err
				}
				if err := s.abandon(ctx, c.ID, a); err != nil {
					return err
				}
				continue
			}
			if err := s.SetPublisher(ctx, c.ID, heir.Account, store.RoleOwner, 0); err != nil {
				return err
			}
		}
		if err := s.RemovePublisher(ctx, c.ID, a, a); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) abandon(ctx context.Context, id store.LogID, a store.AccountID) error {
	done, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	return s.members(ctx, id, func(*Channel) error { return nil }, func(info *store.LogInfo) *store.Change {
		if info.Members.Role(a) == store.RoleNone {
			return nil
		}
		return &store.Change{Kind: store.ChangeLeave, Account: a}
	}, a)
}
