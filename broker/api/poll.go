package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/policy"
)

// pollOperations are those on polls.
func pollOperations() []operation {
	return []operation{
		changing(op("poll.create", "Ask the conversation", "Sends a message of kind poll: the question and 2 to 9 answers. Clients may publish the same themselves, with one attachment {\"option\":\"…\"} for each answer, and {\"poll\":{\"multiple\":true,\"ends\":…}}.", (*API).pollCreate)),
		changing(op("poll.vote", "Answer a poll", "By number, from 0. Voting again replaces the vote; an empty list takes it back. Nobody is told who voted for what.", (*API).pollVote)),
		op("poll.get", "See how a poll stands", "How many have voted, for what, and the own vote.", (*API).pollGet),
		changing(op("poll.close", "End a poll", "By who asked, and by moderators.", (*API).pollClose)),
	}
}

const (
	minOptions  = 2
	maxOptions  = 9 // with what says how the poll is run: the attachments of one message
	optionBytes = 200

	tableVote store.Table = "log.vote" // the log; key: sequence and account. What the account chose
	tablePoll store.Table = "log.poll" // the log; key: sequence. What was counted
)

type pollCreateIn struct {
	Conversation
	Question string     `json:"question"`
	Options  []string   `json:"options" doc:"2 to 9 answers."`
	Multiple bool       `json:"multiple,omitempty" doc:"Several may be chosen."`
	Ends     *time.Time `json:"ends,omitempty" doc:"Absent: when it is closed."`
	CID      string     `json:"cid,omitempty" doc:"As in message.send."`
}

func (a *API) pollCreate(ctx context.Context, c *caller, in *pollCreateIn) (*sentOut, error) {
	t, err := in.topic()
	if err != nil {
		return nil, err
	}
	switch {
	case len(in.Question) == 0:
		return nil, store.Bad("question is missing")
	case len(in.Options) < minOptions || len(in.Options) > maxOptions:
		return nil, store.Bad("options must be 2 to 9 answers")
	case in.Ends != nil && !in.Ends.After(a.now()):
		return nil, store.Bad("ends must lie in the future")
	}
	how := map[string]any{"multiple": in.Multiple}
	if in.Ends != nil {
		how["ends"] = in.Ends.UnixMilli()
	}
	var attached []map[string]any
	for i, o := range in.Options {
		switch {
		case len(o) == 0 || len(o) > optionBytes:
			return nil, store.Bad("an answer has 1 to 200 bytes")
		case slices.Contains(in.Options[:i], o):
			return nil, store.Bad("two answers are the same")
		}
		attached = append(attached, map[string]any{"option": o})
	}
	attached = append(attached, map[string]any{"poll": how})
	t.Act, t.View = hooks.Message, hooks.JSON
	return a.send(ctx, c, t, in.CID, map[string]any{"k": "poll", "b": in.Question, "a": attached})
}

// asked is a poll as its viewer finds it.
type asked struct {
	log    store.LogInfo
	record *store.Record
	poll   view.PollOf
	counts pollRow
	row    store.Row // of counts
	hidden bool      // what the viewer does to it is seen by the viewer alone
}

// pollRow is what was counted.
type pollRow struct {
	Counts []int `json:"c,omitempty"`
	Voters int   `json:"v,omitempty"`
	Closed int64 `json:"closed,omitempty"` // Unix milliseconds
}

// voteRow is what one user chose. One that is hidden is counted for that user alone.
type voteRow struct {
	Options []int `json:"o"`
	Hidden  bool  `json:"h,omitempty"`
}

var errNoPoll = notFound("there is no such poll in this conversation")

func (a *API) poll(me store.AccountID, p Conversation, seq store.Seq) (q asked, err error) {
	if q.log, _, err = a.find(me, p); err != nil {
		return q, err
	}
	if seq == 0 {
		return q, errNoPoll
	}
	page, err := a.read(store.Query{Log: q.log.ID, Viewer: me, After: seq - 1, Upto: seq, Max: 1})
	if err != nil && store.CodeOf(err) != store.CodeTrimmed {
		return q, fmt.Errorf("api: poll: %w", err)
	}
	if len(page.Records) == 0 || page.Records[0].Kind != store.KindPoll || page.Records[0].Recalled {
		return q, errNoPoll
	}
	q.record = page.Records[0]
	if q.poll, err = view.Poll(q.record.Extra); err != nil {
		return q, err
	}
	if len(q.poll.Options) < minOptions {
		return q, errNoPoll
	}
	if q.row, err = a.store.Row(tablePoll, store.OwnerOfLog(q.log.ID), store.KeyOf(seq)); err != nil {
		return q, fmt.Errorf("api: poll: %w", err)
	}
	if q.row.Version != 0 {
		if err := json.Unmarshal(q.row.Value, &q.counts); err != nil {
			return q, fmt.Errorf("api: poll: %w", err)
		}
	}
	return q, nil
}

func (q *asked) closed(now time.Time) bool {
	return q.counts.Closed != 0 || q.poll.Ends != 0 && now.UnixMilli() >= q.poll.Ends
}

// vote is what a user has chosen.
func (a *API) vote(log store.LogID, seq store.Seq, me store.AccountID) (v voteRow, row store.Row, err error) {
	row, err = a.store.Row(tableVote, store.OwnerOfLog(log), store.KeyOf(seq)+store.KeyOf(me))
	if err == nil && row.Version != 0 {
		err = json.Unmarshal(row.Value, &v)
	}
	if err != nil {
		err = fmt.Errorf("api: vote: %w", err)
	}
	return v, row, err
}

type pollIn struct {
	Conversation
	Seq store.Seq `json:"seq" doc:"The poll's sequence."`
}

type pollOut struct {
	Question string     `json:"question"`
	Options  []string   `json:"options"`
	Counts   []int      `json:"counts" doc:"Votes for each answer."`
	Voters   int        `json:"voters" doc:"Users who have voted."`
	Mine     []int      `json:"mine,omitempty" doc:"The own vote."`
	Multiple bool       `json:"multiple,omitempty"`
	Ends     *time.Time `json:"ends,omitempty"`
	Closed   bool       `json:"closed,omitempty" doc:"No more votes are taken."`
}

func (a *API) pollGet(_ context.Context, c *caller, in *pollIn) (*pollOut, error) {
	q, err := a.poll(c.account.ID, in.Conversation, in.Seq)
	if err != nil {
		return nil, err
	}
	return a.showPoll(&q, c.account.ID)
}

func (a *API) showPoll(q *asked, me store.AccountID) (*pollOut, error) {
	mine, _, err := a.vote(q.log.ID, q.record.Seq, me)
	if err != nil {
		return nil, err
	}
	out := &pollOut{Question: string(q.record.Text), Options: q.poll.Options, Counts: make([]int, len(q.poll.Options)), Voters: q.counts.Voters,
		Mine: mine.Options, Multiple: q.poll.Multiple, Closed: q.closed(a.now())}
	copy(out.Counts, q.counts.Counts)
	if mine.Hidden && len(mine.Options) > 0 {
		out.Voters++
		for _, o := range mine.Options {
			out.Counts[o]++
		}
	}
	if q.poll.Ends != 0 {
		out.Ends = at(q.poll.Ends)
	}
	return out, nil
}

type pollVoteIn struct {
	Conversation
	Seq     store.Seq `json:"seq" doc:"The poll's sequence."`
	Options []int     `json:"options" doc:"The chosen answers' numbers, from 0; none takes the vote back."`
}

// actOnPoll asks the rules whether the user may act within the conversation at all.
func (a *API) actOnPoll(c *caller, p Conversation, seq store.Seq) (asked, error) {
	t, err := p.topic()
	if err != nil {
		return asked{}, err
	}
	t.Act = hooks.Edit
	grant, err := a.broker.Access().Publish(c.account.ID, t)
	if err != nil {
		return asked{}, err
	}
	q, err := a.poll(c.account.ID, p, seq)
	q.hidden = grant.Outcome == policy.Shadow
	return q, err
}

func (a *API) pollVote(ctx context.Context, c *caller, in *pollVoteIn) (*pollOut, error) {
	for range 16 {
		q, err := a.actOnPoll(c, in.Conversation, in.Seq)
		if err != nil {
			return nil, err
		}
		options := slices.Clone(in.Options)
		slices.Sort(options)
		options = slices.Compact(options)
		switch {
		case q.closed(a.now()):
			return nil, &store.Error{Code: store.CodeLocked, Text: "the poll has ended"}
		case len(options) > 1 && !q.poll.Multiple:
			return nil, store.Bad("this poll takes one answer")
		case len(options) > 0 && (options[0] < 0 || options[len(options)-1] >= len(q.poll.Options)):
			return nil, store.Bad("there is no answer with this number")
		}
		before, row, err := a.vote(q.log.ID, in.Seq, c.account.ID)
		if err != nil {
			return nil, err
		}
		next := q.counts
		next.Counts = make([]int, len(q.poll.Options))
		copy(next.Counts, q.counts.Counts)
		if !before.Hidden {
			next.count(before.Options, -1)
		}
		if !q.hidden {
			next.count(options, 1)
		}
		err = a.putPoll(ctx, &q, next, store.RowPut{Table: tableVote, Key: store.KeyOf(in.Seq) + store.KeyOf(c.account.ID), If: &row.Version},
			voteRow{options, q.hidden})
		if store.CodeOf(err) == store.CodeConflict {
			continue // somebody else voted at the same moment
		}
		if err != nil {
			return nil, err
		}
		q.counts = next
		return a.showPoll(&q, c.account.ID)
	}
	return nil, &store.Error{Code: store.CodeUnavailable, Text: "too many vote at once: try again", Retry: time.Second}
}

// count adds n to each of the chosen answers.
func (p *pollRow) count(options []int, n int) {
	if len(options) > 0 {
		p.Voters += n
	}
	for _, o := range options {
		p.Counts[o] += n
	}
}

// putPoll stores what was counted, with a vote if there is one.
func (a *API) putPoll(ctx context.Context, q *asked, next pollRow, vote store.RowPut, v voteRow) error {
	u := store.Update{Owner: store.OwnerOfLog(q.log.ID)}
	count := store.RowPut{Table: tablePoll, Key: store.KeyOf(q.record.Seq), If: &q.row.Version}
	var err error
	if count.Value, err = json.Marshal(next); err != nil {
		return fmt.Errorf("api: poll: %w", err)
	}
	u.Rows = append(u.Rows, count)
	if vote.Table != "" {
		if vote.Value, err = json.Marshal(v); err != nil {
			return fmt.Errorf("api: poll: %w", err)
		}
		u.Rows = append(u.Rows, vote)
	}
	if err := a.store.Update(ctx, u); err != nil {
		return fmt.Errorf("api: poll: %w", err)
	}
	return nil
}

func (a *API) pollClose(ctx context.Context, c *caller, in *pollIn) (*pollOut, error) {
	for range 16 {
		q, err := a.actOnPoll(c, in.Conversation, in.Seq)
		if err != nil {
			return nil, err
		}
		moderates := q.log.Key.Kind == store.LogRoom && q.log.Members.Role(c.account.ID) >= store.RoleModerator
		if q.record.Sender != c.account.ID && !moderates {
			return nil, store.Forbidden(store.ReasonRole, "only who asked, and moderators, end a poll")
		}
		next := q.counts
		if next.Closed == 0 && !q.hidden {
			next.Closed = a.now().UnixMilli()
			err = a.putPoll(ctx, &q, next, store.RowPut{}, voteRow{})
		}
		if store.CodeOf(err) == store.CodeConflict {
			continue
		}
		if err != nil {
			return nil, err
		}
		q.counts = next
		out, err := a.showPoll(&q, c.account.ID)
		if err == nil {
			out.Closed = true
		}
		return out, err
	}
	return nil, &store.Error{Code: store.CodeUnavailable, Text: "too many vote at once: try again", Retry: time.Second}
}
