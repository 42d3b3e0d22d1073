package api

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
)

// The operators' queue: reports and appeals. A row of tableReports holds numbers and words of ours alone. What users
// wrote lies in rows of their own, sealed with the keys of those who wrote it: the reporter's or appellant's words
// (tableComplaint) and the reported one's messages (tableEvidence). So it goes when its author is erased, unless a legal
// hold stops that, and nobody reads it in the files.
const (
	tableReports   store.Table = "service.reports"
	tableComplaint store.Table = "user.complaint"
	tableEvidence  store.Table = "user.evidence"

	keptReport = 180 * 24 * time.Hour // what was reported, from the report on, and closed reports
	keptClosed = 30 * 24 * time.Hour  // evidence after its report was closed

	queueReport = "report"
	queueAppeal = "appeal"

	stateOpen   = "open"
	stateClosed = "closed"
	stateVoid   = "void" // about nobody
)

// report is a row of the queue.
type report struct {
	id       string
	Kind     string             `json:"k"`
	Time     int64              `json:"t"`
	Account  store.AccountID    `json:"a,omitempty"` // reported, or who appeals
	Reporter store.AccountID    `json:"r,omitempty"`
	Log      store.LogID        `json:"l,omitempty"` // where the evidence is from
	Category string             `json:"c,omitempty"`
	Messages int                `json:"m,omitempty"`
	Counted  bool               `json:"n,omitempty"` // it counts towards limiting
	Decide   bool               `json:"d,omitempty"` // an operator is to decide: the ladder has ended
	State    store.AccountState `json:"s,omitempty"` // of an appeal: against what

	Closed  int64  `json:"e,omitempty"`
	Outcome string `json:"o,omitempty"`
	Reason  string `json:"w,omitempty"`
}

// newReportID is an identifier that sorts by time.
func newReportID(ms int64) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(ms))
	b = append(b, make([]byte, 8)...)
	rand.Read(b[8:])
	return hex.EncodeToString(b[2:])
}

// queue writes a report or appeal: the words of who wrote it, and the row. An account of 0 is reported by nobody's
// leave: the same is written, and gone in a moment, so that the time it takes tells nothing.
func (a *API) queue(ctx context.Context, r report, by store.AccountID, text string) error {
	until := a.now().Add(keptReport).UnixMilli()
	state := stateOpen
	var expires int64
	if r.Account == 0 {
		state, expires = stateVoid, a.now().Add(time.Second).UnixMilli()
		until = expires
	}
	sealed, err := a.store.Seal(by, "complaint "+r.id, []byte(text))
	if err != nil {
		return fmt.Errorf("api: seal: %w", err)
	}
	err = a.store.Update(ctx, store.Update{Owner: store.OwnerOf(by), Rows: []store.RowPut{{Table: tableComplaint, Key: r.id, Value: sealed, Expires: until}}})
	if err != nil {
		return fmt.Errorf("api: complaint: %w", err)
	}
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("api: report: %w", err)
	}
	err = a.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tableReports, Key: state + "/" + r.id, Value: value, Expires: expires}}})
	if err != nil {
		return fmt.Errorf("api: report: %w", err)
	}
	if state == stateOpen {
		a.metrics.queued.WithLabelValues(r.Kind).Inc()
	}
	return nil
}

func (a *API) reportRow(state, id string) (r report, version uint64, err error) {
	row, err := a.store.Row(tableReports, "", state+"/"+id)
	if err == nil && row.Version != 0 {
		err = json.Unmarshal(row.Value, &r)
	}
	if err != nil {
		return r, 0, fmt.Errorf("api: report: %w", err)
	}
	r.id = id
	return r, row.Version, nil
}

type reportLine struct {
	ID       string     `json:"id"`
	Kind     string     `json:"kind" doc:"report or appeal."`
	State    string     `json:"state" doc:"open or closed."`
	Time     time.Time  `json:"time"`
	Account  string     `json:"account" doc:"Who is reported, or appeals; #number if the account is gone."`
	Standing string     `json:"standing,omitempty" doc:"The account's state now: ok, limited or suspended."`
	Reporter string     `json:"reporter,omitempty"`
	Room     string     `json:"room,omitempty" doc:"Where the messages are from; absent: a 1:1 conversation, or no messages."`
	Category string     `json:"category,omitempty"`
	Messages int        `json:"messages,omitempty" doc:"How many messages the reporter picked."`
	Counted  bool       `json:"counted,omitempty" doc:"From somebody the account wrote to first: it counts towards limiting."`
	Decide   bool       `json:"decide,omitempty" doc:"Reports have limited the account three times: an operator decides now."`
	Closed   *time.Time `json:"closed,omitempty"`
	Outcome  string     `json:"outcome,omitempty"`
	Reason   string     `json:"reason,omitempty"`
}

func (a *API) reportLine(r report, state string) reportLine {
	l := reportLine{ID: r.id, Kind: r.Kind, State: state, Time: time.UnixMilli(r.Time).UTC(), Account: a.nameOf(r.Account), Category: r.Category,
		Messages: r.Messages, Counted: r.Counted, Decide: r.Decide, Closed: at(r.Closed), Outcome: r.Outcome, Reason: r.Reason}
	if u, err := a.store.Account(r.Account); err == nil {
		l.Standing = shownAccount(u).State
	}
	if r.Reporter != 0 {
		l.Reporter = a.nameOf(r.Reporter)
	}
	if r.Log != 0 {
		if info, err := a.store.Info(r.Log); err == nil && info.Key.Kind == store.LogRoom {
			l.Room = info.Key.Name
		}
	}
	return l
}

type reportListIn struct {
	State string `json:"state,omitempty" doc:"open or closed; absent: open."`
	pageIn
}

type reportListOut struct {
	Reports []reportLine `json:"reports"`
	Next    string       `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

func (a *API) reportList(_ context.Context, _ *caller, in *reportListIn) (*reportListOut, error) {
	limit, err := a.page(in.Limit, 100)
	if err != nil {
		return nil, err
	}
	state := in.State
	switch state {
	case "":
		state = stateOpen
	case stateOpen, stateClosed:
	default:
		return nil, store.Bad("state must be open or closed")
	}
	after := ""
	if in.After != "" {
		if !validReportID(in.After) {
			return nil, store.Bad("after must be what the page before told as next")
		}
		after = state + "/" + in.After
	}
	rows, err := a.store.Rows(tableReports, "", state+"/", after, limit+1)
	if err != nil {
		return nil, fmt.Errorf("api: reports: %w", err)
	}
	out := &reportListOut{Reports: []reportLine{}}
	for i, row := range rows {
		if i == limit {
			out.Next = out.Reports[i-1].ID
			break
		}
		r := report{id: strings.TrimPrefix(row.Key, state+"/")}
		if err := json.Unmarshal(row.Value, &r); err != nil {
			return nil, fmt.Errorf("api: report: %w", err)
		}
		out.Reports = append(out.Reports, a.reportLine(r, state))
	}
	return out, nil
}

func validReportID(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 28
}

type reportIDIn struct {
	Report string `json:"report" doc:"Its id, as report.list tells it."`
}

type evidence struct {
	Seq  store.Seq `json:"seq"`
	Time time.Time `json:"time"`
	Kind string    `json:"kind"`
	Text string    `json:"text,omitempty"`
	Cut  bool      `json:"cut,omitempty" doc:"Only the beginning of the text was kept."`
	More bool      `json:"more,omitempty" doc:"The message had attachments or other parts, which are not copied."`
}

type reportGetOut struct {
	Report   reportLine `json:"report"`
	Text     string     `json:"text,omitempty" doc:"What the reporter or appellant wrote."`
	Evidence []evidence `json:"evidence,omitempty" doc:"The messages the reporter picked, as they were."`
}

var errNoReport = notFound("there is no such report")

func (a *API) findReport(id string) (r report, version uint64, state string, err error) {
	if !validReportID(id) {
		return r, 0, "", errNoReport
	}
	for _, state := range []string{stateOpen, stateClosed} {
		if r, version, err = a.reportRow(state, id); err != nil || version != 0 {
			return r, version, state, err
		}
	}
	return r, 0, "", errNoReport
}

// reportGet shows what users wrote; that it was looked at is in the audit log.
func (a *API) reportGet(_ context.Context, _ *caller, in *reportIDIn) (*reportGetOut, error) {
	r, _, state, err := a.findReport(in.Report)
	if err != nil {
		return nil, err
	}
	out := &reportGetOut{Report: a.reportLine(r, state)}
	by := r.Reporter
	if r.Kind == queueAppeal {
		by = r.Account
	}
	row, err := a.store.Row(tableComplaint, store.OwnerOf(by), r.id)
	if err != nil {
		return nil, fmt.Errorf("api: complaint: %w", err)
	}
	if row.Version != 0 {
		text, err := a.store.Unseal(by, "complaint "+r.id, row.Value)
		if err != nil && store.CodeOf(err) != store.CodeNotFound {
			return nil, fmt.Errorf("api: complaint: %w", err)
		}
		out.Text = string(text)
	}
	rows, err := a.store.Rows(tableEvidence, store.OwnerOf(r.Account), r.id+"/", "", maxEvidence)
	if err != nil {
		return nil, fmt.Errorf("api: evidence: %w", err)
	}
	for _, row := range rows {
		plain, err := a.store.Unseal(r.Account, "evidence "+row.Key, row.Value)
		if store.CodeOf(err) == store.CodeNotFound {
			continue // erased
		}
		var e evidence
		if err == nil {
			err = json.Unmarshal(plain, &e)
		}
		if err != nil {
			return nil, fmt.Errorf("api: evidence: %w", err)
		}
		out.Evidence = append(out.Evidence, e)
	}
	return out, nil
}

type reportCloseIn struct {
	Report  string `json:"report" doc:"Its id, as report.list tells it."`
	Outcome string `json:"outcome" doc:"none, warned, limited, suspended, removed or restored: what was decided. It is recorded, not done."`
	Reason  string `json:"reason,omitempty" doc:"For other operators: names nobody, holds no numbers."`
}

var outcomes = []string{"none", "warned", "limited", "suspended", "removed", "restored"}

type reportOut struct {
	Report reportLine `json:"report"`
}

// reportClose moves a report out of the queue. Its reporter is told that it was looked at, not what came of it.
func (a *API) reportClose(ctx context.Context, _ *caller, in *reportCloseIn) (*reportOut, error) {
	known := false
	for _, o := range outcomes {
		known = known || o == in.Outcome
	}
	if !known {
		return nil, store.Bad("outcome must be one of " + strings.Join(outcomes, ", "))
	}
	r, version, state, err := a.findReport(in.Report)
	if err != nil {
		return nil, err
	}
	if state == stateClosed {
		return nil, conflict("the report is closed already")
	}
	now := a.now()
	r.Closed, r.Outcome, r.Reason = now.UnixMilli(), in.Outcome, in.Reason
	value, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("api: report: %w", err)
	}
	err = a.store.Update(ctx, store.Update{Rows: []store.RowPut{
		{Table: tableReports, Key: stateOpen + "/" + r.id, If: &version},
		{Table: tableReports, Key: stateClosed + "/" + r.id, Value: value, Expires: now.Add(keptReport).UnixMilli()},
	}})
	if err != nil {
		return nil, fmt.Errorf("api: report: %w", err)
	}
	a.metrics.closed.WithLabelValues(r.Kind, r.Outcome).Inc()
	if err := a.expireEvidence(ctx, r.Account, r.id+"/", now.Add(keptClosed).UnixMilli()); err != nil {
		a.log.Warn("evidence is kept longer than it had to be", keyErr, err)
	}
	if r.Reporter != 0 {
		if _, err := a.store.Account(r.Reporter); err == nil {
			a.notify(ctx, r.Reporter, view.Notice{What: view.NoticeReport}, "")
		}
	}
	return &reportOut{a.reportLine(r, stateClosed)}, nil
}

// expireEvidence lets an account's evidence with this prefix end at a time (Unix milliseconds), earlier than it would
// have. While the account is under legal hold it stays.
func (a *API) expireEvidence(ctx context.Context, u store.AccountID, prefix string, until int64) error {
	if held, err := a.held(u); err != nil || held {
		return err
	}
	return a.eachEvidence(ctx, u, prefix, func(r store.Row) int64 {
		if r.Expires == 0 || r.Expires > until {
			return until
		}
		return r.Expires
	})
}

// eachEvidence sets when an account's evidence ends; 0: never.
func (a *API) eachEvidence(ctx context.Context, u store.AccountID, prefix string, end func(store.Row) int64) error {
	owner := store.OwnerOf(u)
	for after := ""; ; {
		rows, err := a.store.Rows(tableEvidence, owner, prefix, after, 100)
		if err != nil || len(rows) == 0 {
			return err
		}
		up := store.Update{Owner: owner}
		for _, r := range rows {
			after = r.Key
			if e := end(r); e != r.Expires {
				up.Rows = append(up.Rows, store.RowPut{Table: tableEvidence, Key: r.Key, Value: r.Value, Expires: e})
			}
		}
		if len(up.Rows) > 0 {
			if err := a.store.Update(ctx, up); err != nil {
				return err
			}
		}
	}
}
