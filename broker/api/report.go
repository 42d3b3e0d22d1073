package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Reports limit an account by themselves when several of those it wrote to first report it within a day: for 24 hours,
// the next time for 72, then for 7 days; after that an operator decides. Only contacts begun after the last time count,
// so that one wave of messages is answered once. Half a year without another one begins anew.
//
// tableReported has a row per reporter who counts, owned by the reported account.
const (
	tableReported store.Table = "user.reported"

	reportWindow  = 24 * time.Hour
	reporterAge   = 7 * 24 * time.Hour // of an account that counts
	ladderForgets = 180 * 24 * time.Hour
	maxEvidence   = 20
	evidenceText  = 16 << 10 // bytes kept of a message
)

var ladder = []time.Duration{24 * time.Hour, 72 * time.Hour, 7 * 24 * time.Hour}

var categories = []string{"spam", "abuse", "fraud", "illegal", "other"}

type reportIn struct {
	User     string      `json:"user" doc:"Whom it is about: a user, or with room one of its members as the room names it."`
	Room     string      `json:"room,omitempty" doc:"The room the user was met in; absent: the 1:1 conversation."`
	Seqs     []store.Seq `json:"seqs,omitempty" doc:"Up to 20 messages of the user, as evidence: operators will read them."`
	Category string      `json:"category" doc:"spam, abuse, fraud, illegal or other."`
	Text     string      `json:"text,omitempty" doc:"What operators are to know; at most 500 characters."`
}

// reported is what counts of one reporter.
type reported struct {
	Time    int64 `json:"t"`
	Contact int64 `json:"c"` // when the reported one first wrote to it
}

// reportUser takes a report. Of a user who does not exist the answer is the same.
func (a *API) reportUser(ctx context.Context, c *caller, in *reportIn) (*none, error) {
	if !slices.Contains(categories, in.Category) {
		return nil, store.Bad("category must be one of " + strings.Join(categories, ", "))
	}
	if len(in.Seqs) > maxEvidence {
		return nil, tooLarge("seqs", maxEvidence, "messages")
	}
	text, err := words("text", in.Text, maxReason, 4*maxReason)
	if err != nil {
		return nil, err
	}
	log, about, err := a.reportTarget(c, in)
	if err != nil {
		return nil, err
	}
	picked, err := a.pick(log, c.account.ID, about, in.Seqs)
	if err != nil {
		return nil, err
	}
	now := a.now().UnixMilli()
	r := report{Kind: queueReport, Time: now, Account: about, Reporter: c.account.ID, Category: in.Category, Messages: len(picked)}
	r.id = newReportID(now)
	if len(picked) > 0 {
		r.Log = log.ID
	}
	contact, err := a.firstContact(c.account, about)
	if err != nil {
		return nil, err
	}
	if err := a.keepEvidence(ctx, &r, picked); err != nil {
		return nil, err
	}
	if r.Counted = contact != 0; r.Counted {
		if r.Decide, err = a.countReport(ctx, about, c.account.ID, reported{now, contact}); err != nil {
			return nil, err
		}
	}
	return &none{}, a.queue(ctx, r, c.account.ID, text)
}

// reportTarget finds the conversation and the account that a report is about; 0 for an account that does not exist. A
// room the reporter was never in looks like one that does not exist.
func (a *API) reportTarget(c *caller, in *reportIn) (log store.LogInfo, about store.AccountID, err error) {
	user, err := name("user", in.User)
	if err != nil {
		return log, 0, err
	}
	if in.Room != "" {
		room, err := name("room", in.Room)
		if err != nil {
			return log, 0, err
		}
		log, err = a.store.Find(store.RoomKey(room))
		if store.CodeOf(err) == store.CodeNotFound || err == nil && log.Members.Find(c.account.ID) == nil {
			return log, 0, store.ErrNotMember
		}
		if err != nil {
			return log, 0, fmt.Errorf("api: room: %w", err)
		}
	}
	if graph.IsPseudonym(user) {
		if in.Room == "" {
			return log, 0, store.Bad("room is missing: this is a member of a room")
		}
		about, err = a.graph.MemberOf(log.ID, user)
	} else {
		var u store.Account
		u, err = a.store.AccountByName(user)
		about = u.ID
	}
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return log, 0, fmt.Errorf("api: account: %w", err)
	}
	switch {
	case err != nil:
		about = 0
	case about == c.account.ID:
		return log, 0, store.Bad("user must be somebody else")
	case in.Room != "" && log.Members.Find(about) == nil:
		about = 0 // never was in the room: as if there were no such user
	}
	if in.Room == "" && about != 0 {
		log, err = a.store.Find(store.PairKey(c.account.ID, about))
		if err != nil && store.CodeOf(err) != store.CodeNotFound {
			return log, 0, fmt.Errorf("api: conversation: %w", err)
		}
	}
	return log, about, nil
}

var errNoEvidence = notFound("seqs must be messages of this user that you can see")

// pick reads the messages a reporter chose: those it can see, or is asked to accept, of the reported one.
func (a *API) pick(log store.LogInfo, me, about store.AccountID, seqs []store.Seq) ([]evidence, error) {
	var out []evidence
	for _, seq := range slices.Compact(slices.Sorted(slices.Values(seqs))) {
		if log.ID == 0 || about == 0 || seq == 0 || seq > log.Head {
			return nil, errNoEvidence
		}
		r, err := a.seen(log, me, about, seq)
		if err != nil {
			return nil, err
		}
		if r == nil || r.Sender != about || !r.Kind.ByUser() || r.Op.Kind != store.OpNone || r.Recalled {
			return nil, errNoEvidence
		}
		e := evidence{Seq: r.Seq, Time: time.UnixMilli(r.Time).UTC(), Kind: r.Kind.String(), Text: string(r.Text), More: len(r.Extra) > 0}
		if len(e.Text) > evidenceText {
			e.Text, e.Cut = cut(e.Text, evidenceText), true
		}
		out = append(out, e)
	}
	return out, nil
}

// seen is a record as a user sees it, or waiting in its request box; nil if neither.
func (a *API) seen(log store.LogInfo, me, about store.AccountID, seq store.Seq) (*store.Record, error) {
	viewer := me
	if first := log.Side(about).First; first != 0 && seq >= first {
		viewer = 0 // perhaps it waits in the request box
	}
	p, err := a.store.Read(store.Query{Log: log.ID, Viewer: viewer, After: seq - 1, Upto: seq, Max: 1})
	if store.CodeOf(err) == store.CodeTrimmed {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("api: read: %w", err)
	}
	if len(p.Records) == 0 || p.Records[0].Audience == store.AudienceSender || viewer == 0 && log.Members.Find(me) == nil && p.Records[0].Audience != store.AudienceRequest {
		return nil, nil
	}
	return p.Records[0], nil
}

// keepEvidence copies the messages, sealed with the key of who wrote them. Under legal hold they do not end.
func (a *API) keepEvidence(ctx context.Context, r *report, picked []evidence) error {
	if len(picked) == 0 {
		return nil
	}
	expires := a.now().Add(keptReport).UnixMilli()
	if held, err := a.held(r.Account); err != nil {
		return err
	} else if held {
		expires = 0
	}
	up := store.Update{Owner: store.OwnerOf(r.Account)}
	for _, e := range picked {
		plain, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("api: evidence: %w", err)
		}
		key := r.id + "/" + store.KeyOf(e.Seq)
		sealed, err := a.store.Seal(r.Account, "evidence "+key, plain)
		if err != nil {
			return fmt.Errorf("api: seal: %w", err)
		}
		up.Rows = append(up.Rows, store.RowPut{Table: tableEvidence, Key: key, Value: sealed, Expires: expires})
	}
	if err := a.store.Update(ctx, up); err != nil {
		return fmt.Errorf("api: evidence: %w", err)
	}
	return nil
}

// firstContact is when the reported one first wrote to the reporter, if that makes the report count: the reporter's
// account is old enough, has not added the reported one, and the first message between them came from there. 0: it does
// not count. Where retention has removed the beginning, nobody knows.
func (a *API) firstContact(me store.Account, about store.AccountID) (int64, error) {
	friend, err := a.store.HasEdge(store.EdgeFriend, me.ID, about)
	if err != nil {
		return 0, fmt.Errorf("api: edge: %w", err)
	}
	log, err := a.store.Find(store.PairKey(me.ID, about))
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return 0, fmt.Errorf("api: conversation: %w", err)
	}
	if err != nil || about == 0 || friend || log.First > 1 || a.now().Sub(time.UnixMilli(me.Created)) < reporterAge {
		return 0, nil
	}
	for after := store.Seq(0); after < log.Head; {
		p, err := a.store.Read(store.Query{Log: log.ID, After: after, Max: 64})
		if err != nil {
			return 0, fmt.Errorf("api: read: %w", err)
		}
		for _, r := range p.Records {
			switch {
			case !r.Kind.ByUser() || r.Op.Kind != store.OpNone:
			case r.Sender == about && r.Audience == store.AudienceSender: // never seen by the reporter
			case r.Sender != about:
				return 0, nil
			default:
				return r.Time, nil
			}
		}
		if p.Next <= after {
			break
		}
		after = p.Next
	}
	return 0, nil
}

// countReport notes a reporter who counts and, with enough of them, takes the next step of the ladder. decide says that
// there is none any more.
func (a *API) countReport(ctx context.Context, about, by store.AccountID, r reported) (decide bool, err error) {
	value, err := json.Marshal(r)
	if err != nil {
		return false, fmt.Errorf("api: report: %w", err)
	}
	err = a.store.Update(ctx, store.Update{Owner: store.OwnerOf(about), Rows: []store.RowPut{{Table: tableReported, Key: store.KeyOf(by),
		Value: value, Expires: r.Time + reportWindow.Milliseconds()}}})
	if err != nil {
		return false, fmt.Errorf("api: report: %w", err)
	}
	_, err = a.changeStanding(ctx, about, func(u store.Account, s *decision) (bool, error) {
		if s.StepAt != 0 && r.Time-s.StepAt > ladderForgets.Milliseconds() {
			s.Steps, s.StepAt = 0, 0
		}
		n, err := a.reportersSince(about, r.Time-reportWindow.Milliseconds(), s.StepAt)
		if err != nil || n < a.broker.Limits().Number(limit.ReportsToLimit) || u.State >= store.AccountSuspended {
			return false, err
		}
		if s.Steps >= len(ladder) {
			decide = true
			return false, nil
		}
		until := r.Time + ladder[s.Steps].Milliseconds()
		s.Steps, s.StepAt = s.Steps+1, r.Time
		if u.State == store.AccountLimited && (s.State != store.AccountLimited || s.Until == 0 || s.Until > until) {
			return true, a.keepLimit(u, s) // an operator's longer limit stays
		}
		_, err = a.record(ctx, auditEntry{By: "server", Op: "account.limit", Accounts: []store.AccountID{about}, Reason: reasonReports,
			What: map[string]any{"step": s.Steps}})
		s.State, s.Since, s.Until, s.Reason, s.Appeal = store.AccountLimited, r.Time, until, reasonReports, ""
		a.metrics.limited.Inc()
		return true, err
	})
	return decide, err
}

// keepLimit leaves a limit as it is, of an account that was limited before standings were kept, too.
func (a *API) keepLimit(u store.Account, s *decision) error {
	if s.State != u.State {
		s.State, s.Until = u.State, 0
	}
	return nil
}

// reportersSince counts who reported after a time, of contacts begun after another.
func (a *API) reportersSince(about store.AccountID, since, contact int64) (n int, err error) {
	for after := ""; ; {
		rows, err := a.store.Rows(tableReported, store.OwnerOf(about), "", after, 100)
		if err != nil {
			return 0, fmt.Errorf("api: reports: %w", err)
		}
		for _, row := range rows {
			after = row.Key
			var r reported
			if err := json.Unmarshal(row.Value, &r); err != nil {
				return 0, fmt.Errorf("api: report: %w", err)
			}
			if r.Time > since && r.Contact > contact {
				n++
			}
		}
		if len(rows) < 100 {
			return n, nil
		}
	}
}
