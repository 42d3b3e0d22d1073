package api

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// An account's standing is what operators, or reports, have decided about it. The state itself is a field of the
// account, which is asked per message; this row says why, since when and until when. One that ends by itself has a row
// in tableEnding too, by time, which is written first and removed last, so that nothing is forgotten in between.
const (
	tableStanding store.Table = "user.standing"
	tableEnding   store.Table = "service.standing"
)

// decision is a row of tableStanding.
type decision struct {
	State  store.AccountState `json:"s,omitempty"`
	Since  int64              `json:"f,omitempty"` // Unix milliseconds
	Until  int64              `json:"u,omitempty"` // 0: until an operator restores it
	Reason string             `json:"r,omitempty"`
	Appeal string             `json:"a,omitempty"` // its place in the queue
	Steps  int                `json:"n,omitempty"` // how often reports have limited the account
	StepAt int64              `json:"t,omitempty"` // when they last did
}

// reasonReports is the reason of what reports do without an operator.
const reasonReports = "reports"

// standingEvery is how often it is looked whose standing has ended.
const standingEvery = 5 * time.Second

// maxStanding is the longest time that can be set; longer is until an operator restores it.
const maxStanding = 10 * 365 * 24 * time.Hour

func (a *API) standingOf(u store.AccountID) (s decision, version uint64, err error) {
	row, err := a.store.Row(tableStanding, store.OwnerOf(u), "")
	if err == nil && row.Version != 0 {
		err = json.Unmarshal(row.Value, &s)
	}
	if err != nil {
		return s, 0, fmt.Errorf("api: standing: %w", err)
	}
	return s, row.Version, nil
}

// endingKey orders accounts by when their standing ends.
func endingKey(until int64, u store.AccountID) string {
	return string(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(until)), uint64(u)))
}

// changeStanding changes an account's standing and its state with it, within the account's turn. change returns false
// to leave all as it is. Then the user is told, and a suspended one's connections end.
func (a *API) changeStanding(ctx context.Context, id store.AccountID, change func(u store.Account, s *decision) (bool, error)) (store.Account, error) {
	u, s, changed, err := a.setStanding(ctx, id, change)
	if err != nil || !changed {
		return u, err
	}
	what, ended := view.NoticeRestored, error(nil)
	switch u.State {
	case store.AccountLimited:
		what = view.NoticeLimited
	case store.AccountSuspended:
		what, ended = view.NoticeSuspended, hooks.ErrSuspended
	case store.AccountLocked:
		what, ended = view.NoticeLocked, hooks.ErrLocked
	}
	a.notify(ctx, u.ID, view.Notice{What: what}, s.told())
	if ended != nil {
		return u, a.disconnect(ctx, u.ID, 0, ended)
	}
	return u, nil
}

// told is what a notice adds: why, and until when.
func (s *decision) told() string {
	text := s.Reason
	if s.Until != 0 {
		if text != "" {
			text += " · "
		}
		text += "→ " + time.UnixMilli(s.Until).UTC().Format("2006-01-02 15:04 UTC")
	}
	return text
}

func (a *API) setStanding(ctx context.Context, id store.AccountID, change func(u store.Account, s *decision) (bool, error)) (store.Account, decision, bool, error) {
	fail := func(err error) (store.Account, decision, bool, error) { return store.Account{}, decision{}, false, err }
	done, err := a.turns.take(ctx, uint64(id))
	if err != nil {
		return fail(err)
	}
	defer done()
	u, err := a.store.Account(id)
	if err != nil {
		return fail(fmt.Errorf("api: account: %w", err))
	}
	s, version, err := a.standingOf(id)
	if err != nil {
		return fail(err)
	}
	old := s
	if ok, err := change(u, &s); err != nil || !ok {
		return u, old, false, err
	}
	if s.Until != 0 {
		err := a.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tableEnding, Key: endingKey(s.Until, id), Value: []byte{1}}}})
		if err != nil {
			return fail(fmt.Errorf("api: standing: %w", err))
		}
	}
	value, err := json.Marshal(s)
	if err != nil {
		return fail(fmt.Errorf("api: standing: %w", err))
	}
	err = a.store.Update(ctx, store.Update{Owner: store.OwnerOf(id), Rows: []store.RowPut{{Table: tableStanding, Value: value, If: &version}}})
	if err != nil {
		return fail(fmt.Errorf("api: standing: %w", err))
	}
	if u.State != s.State {
		u.State = s.State
		if err := a.store.SetAccount(ctx, u); err != nil {
			return fail(fmt.Errorf("api: set account: %w", err))
		}
	}
	if old.Until != 0 && old.Until != s.Until {
		err := a.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tableEnding, Key: endingKey(old.Until, id)}}})
		if err != nil { // it is looked at when it is due, and passed over
			a.log.Warn("an ending that does not count any more was left", keyErr, err)
		}
	}
	return u, s, true, nil
}

// keepStanding restores accounts whose time is over, until ctx ends. When the server starts, it first makes the states
// of accounts what their standing says, where the server died in between.
func (a *API) keepStanding(ctx context.Context) {
	a.eachEnding(ctx, func(until int64, id store.AccountID) bool {
		if err := a.settleStanding(ctx, id); err != nil && ctx.Err() == nil {
			a.log.Warn("a standing was not looked at", keyErr, err)
		}
		return true
	})
	tick := time.NewTicker(standingEvery)
	defer tick.Stop()
	for {
		a.endStandings(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// eachEnding calls fn for every standing that ends by itself, in order, until it returns false.
func (a *API) eachEnding(ctx context.Context, fn func(until int64, id store.AccountID) bool) {
	for after := ""; ctx.Err() == nil; {
		rows, err := a.store.Rows(tableEnding, "", "", after, 100)
		if err != nil {
			a.log.Warn("standings cannot be read", keyErr, err)
			return
		}
		for _, r := range rows {
			after = r.Key
			if len(r.Key) == 16 && !fn(int64(store.NumberOf(r.Key[:8])), store.AccountID(store.NumberOf(r.Key[8:]))) {
				return
			}
		}
		if len(rows) < 100 {
			return
		}
	}
}

// settleStanding finishes a change of which only the standing was written.
func (a *API) settleStanding(ctx context.Context, id store.AccountID) error {
	done, err := a.turns.take(ctx, uint64(id))
	if err != nil {
		return err
	}
	defer done()
	u, err := a.store.Account(id)
	if store.CodeOf(err) == store.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	s, version, err := a.standingOf(id)
	if err != nil || version == 0 || u.State == s.State || u.State == store.AccountLocked {
		return err
	}
	u.State = s.State
	return a.store.SetAccount(ctx, u)
}

// endStandings restores the accounts whose time is over.
func (a *API) endStandings(ctx context.Context) {
	now := a.now().UnixMilli()
	a.eachEnding(ctx, func(until int64, id store.AccountID) bool {
		if until > now {
			return false
		}
		if err := a.endStanding(ctx, until, id, now); err != nil && ctx.Err() == nil {
			a.log.Warn("an account was not restored", keyErr, err)
		}
		return true
	})
}

func (a *API) endStanding(ctx context.Context, until int64, id store.AccountID, now int64) error {
	locked := false
	_, err := a.changeStanding(ctx, id, func(u store.Account, s *decision) (bool, error) {
		if locked = u.State == store.AccountLocked; locked {
			return false, nil // looked at again when the lock is over, which brings the state before it back
		}
		if s.Until != until || s.State == store.AccountOK {
			return false, nil // it was changed since
		}
		_, err := a.record(ctx, auditEntry{By: "server", Op: "account.restore", Accounts: []store.AccountID{id}, Reason: "the time is over"})
		s.State, s.Since, s.Until, s.Reason, s.Appeal = store.AccountOK, now, 0, "", ""
		return err == nil, err
	})
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return err
	}
	if locked {
		return nil
	}
	return a.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tableEnding, Key: endingKey(until, id)}}})
}

type standingSetIn struct {
	Account string `json:"account" doc:"The user's identifier."`
	Reason  string `json:"reason" doc:"Told to the user and kept in the audit log: names nobody, holds no numbers."`
	Until   string `json:"until,omitempty" doc:"RFC 3339, when the account is restored by itself."`
	For     int64  `json:"for,omitempty" doc:"The same in seconds from now. Neither: until an operator restores it."`
}

type standingOut struct {
	State    string     `json:"state" doc:"ok, limited or suspended."`
	Reason   string     `json:"reason,omitempty"`
	Since    *time.Time `json:"since,omitempty"`
	Until    *time.Time `json:"until,omitempty" doc:"Absent: until an operator decides."`
	Appealed bool       `json:"appealed,omitempty"`
}

func shownStanding(u store.Account, s decision) *standingOut {
	out := &standingOut{State: states[min(int(u.State), len(states)-1)]}
	if s.State == u.State && u.State != store.AccountOK { // else it was set before standings were kept
		out.Reason, out.Since, out.Until, out.Appealed = s.Reason, at(s.Since), at(s.Until), s.Appeal != ""
	}
	return out
}

// ends reads until and for; 0: it does not end by itself.
func (a *API) ends(in *standingSetIn) (int64, error) {
	now := a.now()
	var end time.Time
	switch {
	case in.Until != "" && in.For != 0:
		return 0, store.Bad("say until or for, not both")
	case in.Until == "" && in.For == 0:
		return 0, nil
	case in.Until != "":
		var err error
		if end, err = time.Parse(time.RFC3339, in.Until); err != nil {
			return 0, store.Bad("until must be a time such as 2026-12-01T12:00:00Z")
		}
	case in.For < 0 || in.For > int64(maxStanding/time.Second):
		return 0, store.Bad("for must be seconds from now, at most ten years")
	default:
		end = now.Add(time.Duration(in.For) * time.Second)
	}
	if !end.After(now) || end.Sub(now) > maxStanding {
		return 0, store.Bad("until must be in the future, within ten years")
	}
	return end.UnixMilli(), nil
}

// decide is suspending, limiting and restoring by an operator.
func (a *API) decide(ctx context.Context, state store.AccountState, in *standingSetIn) (*standingOut, error) {
	until, err := a.ends(in)
	if err != nil {
		return nil, err
	}
	if state != store.AccountOK && in.Reason == "" {
		return nil, store.Bad("reason is missing: the user is told it")
	}
	u, err := a.user1("account", in.Account)
	if err != nil {
		return nil, err
	}
	var now decision
	u, err = a.changeStanding(ctx, u.ID, func(u store.Account, s *decision) (bool, error) {
		same := u.State == state && s.State == state && s.Until == until && s.Reason == in.Reason
		if same || state == store.AccountOK && u.State == store.AccountOK {
			now = *s
			return false, nil
		}
		s.State, s.Since, s.Until, s.Reason, s.Appeal = state, a.now().UnixMilli(), until, in.Reason, ""
		now = *s
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return shownStanding(u, now), nil
}

func (a *API) accountSuspend(ctx context.Context, _ *caller, in *standingSetIn) (*standingOut, error) {
	return a.decide(ctx, store.AccountSuspended, in)
}

func (a *API) accountLimit(ctx context.Context, _ *caller, in *standingSetIn) (*standingOut, error) {
	return a.decide(ctx, store.AccountLimited, in)
}

type restoreIn struct {
	Account string `json:"account" doc:"The user's identifier."`
	Reason  string `json:"reason,omitempty" doc:"Told to the user and kept in the audit log: names nobody, holds no numbers."`
}

func (a *API) accountRestore(ctx context.Context, _ *caller, in *restoreIn) (*standingOut, error) {
	return a.decide(ctx, store.AccountOK, &standingSetIn{Account: in.Account, Reason: in.Reason})
}

// accountStanding tells a user, a suspended one too, how its account stands.
func (a *API) accountStanding(_ context.Context, c *caller, _ *none) (*standingOut, error) {
	s, _, err := a.standingOf(c.account.ID)
	return shownStanding(c.account, s), err
}

type appealIn struct {
	Text string `json:"text" doc:"What operators are to know; at most 500 characters."`
}

// accountAppeal puts one text per decision into the operators' queue.
func (a *API) accountAppeal(ctx context.Context, c *caller, in *appealIn) (*none, error) {
	text, err := words("text", in.Text, maxReason, 4*maxReason)
	if err != nil {
		return nil, err
	}
	if text == "" {
		return nil, store.Bad("text is missing: say what operators are to know")
	}
	done, err := a.turns.take(ctx, uint64(c.account.ID))
	if err != nil {
		return nil, err
	}
	defer done()
	u, err := a.store.Account(c.account.ID)
	if err != nil {
		return nil, fmt.Errorf("api: account: %w", err)
	}
	s, version, err := a.standingOf(u.ID)
	switch {
	case err != nil:
		return nil, err
	case u.State == store.AccountOK:
		return nil, conflict("there is nothing to appeal against: the account is neither limited nor suspended")
	case s.State == u.State && s.Appeal != "":
		return nil, conflict("this decision was appealed against already; an operator looks at it")
	}
	r := report{Kind: queueAppeal, Time: a.now().UnixMilli(), Account: u.ID, State: u.State}
	r.id = newReportID(r.Time)
	if err := a.queue(ctx, r, u.ID, text); err != nil {
		return nil, err
	}
	s.State, s.Appeal = u.State, r.id
	value, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("api: standing: %w", err)
	}
	err = a.store.Update(ctx, store.Update{Owner: store.OwnerOf(u.ID), Rows: []store.RowPut{{Table: tableStanding, Value: value, If: &version}}})
	if err != nil {
		return nil, fmt.Errorf("api: standing: %w", err)
	}
	return &none{}, nil
}
