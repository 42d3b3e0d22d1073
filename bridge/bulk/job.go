package bulk

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

const (
	tableJob  store.Table = "service.bulk"     // owner "": key is the job's number
	tableName store.Table = "service.bulkname" // owner "": key is the job's identifier; its number
	tablePart store.Table = "service.bulkpart" // owner: the job's number; key is the provider
)

// State is where a job stands.
type State string

// The states.
const (
	Running  State = "running"
	Paused   State = "paused"
	Done     State = "done"     // everybody was considered
	Canceled State = "canceled" // by an operator, or its source
	Expired  State = "expired"  // it ended before everybody was considered
)

// Ended reports whether nothing more happens to a job in this state.
func (s State) Ended() bool { return s == Done || s == Canceled || s == Expired }

// Job is one push to many.
type Job struct {
	Number  uint64          `json:"n"` // in the order of creation, from 1
	ID      string          `json:"id"`
	Source  string          `json:"source"` // who makes its pushes
	Data    json.RawMessage `json:"data"`   // for the Source alone
	State   State           `json:"state"`
	Created int64           `json:"created"` // Unix milliseconds
	Ends    int64           `json:"ends"`    // nothing is sent from then on
	Ended   int64           `json:"ended,omitempty"`

	Root    string `json:"root,omitempty"`    // the identifier of the job that it tells the rest of, "": it is no such one
	Of      string `json:"of,omitempty"`      // see Order
	Begins  int64  `json:"begins,omitempty"`  // nothing is sent before
	Bounded bool   `json:"bounded,omitempty"` // each part says for whom it is: Part.After to Part.Upto, and who is in Left
	Lives   int64  `json:"lives,omitempty"`   // milliseconds; how long a job that tells the rest lives
	Last    int64  `json:"last,omitempty"`    // nothing is sent from then on by those either, 0: no such end
	Keep    int64  `json:"keep,omitempty"`    // milliseconds after Ends that its rows stay, 0: for ever
}

// Part is how far a job has come with one provider.
type Part struct {
	Provider graph.PushProvider `json:"-"`
	After    store.AccountID    `json:"a,omitempty"` // everybody up to here is settled, but for who is in Left
	Upto     store.AccountID    `json:"z,omitempty"` // of a bounded job: the last one
	Left     lates              `json:"l,omitempty"`
	Done     bool               `json:"done,omitempty"`

	Users   int `json:"users,omitempty"`   // considered
	Sent    int `json:"sent,omitempty"`    // pushes that the provider took
	Gone    int `json:"gone,omitempty"`    // tokens that turned out not to be valid
	Failed  int `json:"failed,omitempty"`  // pushes that the provider will not take
	Skipped int `json:"skipped,omitempty"` // devices that the Source had nothing for at the moment of sending
	Later   int `json:"later,omitempty"`   // devices that another job tells when their time comes
	Late    int `json:"late,omitempty"`    // pushes that could not be sent in time
}

func (p *Part) add(o Part) {
	p.Users += o.Users
	p.Sent += o.Sent
	p.Gone += o.Gone
	p.Failed += o.Failed
	p.Skipped += o.Skipped
	p.Later += o.Later
	p.Late += o.Late
}

// Progress is a job and how far it has come.
type Progress struct {
	Job
	Parts []Part // by provider, those that are set up or were
}

// Sum is all parts together. Users is of the part that is farthest.
func (p Progress) Sum() (sum Part) {
	users := 0
	for _, part := range p.Parts {
		users = max(users, part.Users)
		sum.add(part)
	}
	sum.Users = users
	return sum
}

// Order is a job that is wanted.
type Order struct {
	Source string
	ID     string // 1 to 64 bytes
	Data   any    // as JSON: for the Source
	Lives  time.Duration
	Last   time.Time     // it ends then whatever it may live, and so do those that tell the rest of it; zero: no such end
	Keep   time.Duration // its rows go so long after its end; 0: never

	// Of is the identifier of another job: this one is for the users to whom that one, and what told the rest of it, has
	// come with each provider by the first page of this one, and with a provider that took none of its pushes for nobody.
	// "": it is for everybody.
	Of string
}

// maxID is the longest identifier of a job, in bytes.
const maxID = 64

// Create begins a job that lives at most so long. It is durable when Create returns. A job with this identifier that
// exists already is returned as it is, with created false.
func (b *Bulk) Create(ctx context.Context, source, id string, data any, lives time.Duration) (p Progress, created bool, err error) {
	return b.Begin(ctx, Order{Source: source, ID: id, Data: data, Lives: lives})
}

// Begin is Create with more to say.
func (b *Bulk) Begin(ctx context.Context, o Order) (p Progress, created bool, err error) {
	switch {
	case o.ID == "" || len(o.ID) > maxID:
		return p, false, store.Bad(fmt.Sprintf("the id must have 1 to %d characters", maxID))
	case b.cfg.Sources[o.Source] == nil:
		return p, false, fmt.Errorf("bulk: there is no source %q", o.Source)
	case o.Lives <= 0:
		return p, false, store.Bad("it must live for some time")
	}
	raw, err := json.Marshal(o.Data)
	if err != nil {
		return p, false, fmt.Errorf("bulk: %w", err)
	}
	now := b.now()
	j := Job{ID: o.ID, Source: o.Source, Data: raw, State: Running, Created: now.UnixMilli(), Ends: now.Add(o.Lives).UnixMilli(),
		Of: o.Of, Bounded: o.Of != "", Lives: o.Lives.Milliseconds(), Keep: o.Keep.Milliseconds()}
	if !o.Last.IsZero() {
		j.Last = o.Last.UnixMilli()
		j.Ends = min(j.Ends, j.Last)
	}
	j, created, err = b.make(ctx, j)
	if err != nil {
		return p, false, err
	}
	p, err = b.Progress(j.Number)
	return p, created, err
}

// make makes a job durable. One with its identifier that exists already is returned instead.
func (b *Bulk) make(ctx context.Context, j Job) (_ Job, created bool, err error) {
	b.creating.Lock()
	defer b.creating.Unlock()
	if n, err := b.number(j.ID); err != nil || n != 0 {
		if err == nil {
			j, _, err = b.job(n)
		}
		return j, false, err
	}
	b.mu.Lock()
	j.Number = b.newest + 1
	b.mu.Unlock()
	value, err := json.Marshal(j)
	if err != nil {
		return j, false, fmt.Errorf("bulk: %w", err)
	}
	key := store.KeyOf(j.Number)
	none := store.IfVersion(0)
	if err := b.store.Update(ctx, store.Update{Rows: []store.RowPut{
		{Table: tableJob, Key: key, Value: value, If: none, Expires: j.expires()},
		{Table: tableName, Key: j.ID, Value: []byte(key), If: none, Expires: j.expires()}}}); err != nil {
		return j, false, fmt.Errorf("bulk: %s: %w", tableJob, err)
	}
	b.mu.Lock()
	b.newest = j.Number
	b.live = append(b.live, j.Number)
	b.mu.Unlock()
	b.kick()
	return j, true, nil
}

// expires is when the rows of a job go.
func (j *Job) expires() int64 {
	if j.Keep == 0 {
		return 0
	}
	return j.Ends + j.Keep
}

// Find returns a job by its identifier, CodeNotFound if there is none.
func (b *Bulk) Find(id string) (Progress, error) {
	n, err := b.number(id)
	if err == nil && n == 0 {
		err = errNoJob
	}
	if err != nil {
		return Progress{}, err
	}
	return b.Progress(n)
}

var errNoJob = &store.Error{Code: store.CodeNotFound, Text: "there is no such job"}

// Progress returns a job by its number, CodeNotFound if there is none.
func (b *Bulk) Progress(number uint64) (p Progress, err error) {
	if p.Job, _, err = b.job(number); err != nil {
		return p, err
	}
	for _, name := range graph.PushProviders() {
		part, version, err := b.part(number, name)
		if err != nil {
			return p, err
		}
		if version != 0 || b.cfg.Lanes[name] != nil {
			p.Parts = append(p.Parts, part)
		}
	}
	return p, nil
}

// jobs calls fn with every job there is.
func (b *Bulk) jobs(fn func(*Job)) error {
	for after := ""; ; {
		rows, err := b.store.Rows(tableJob, "", "", after, 1000)
		if err != nil {
			return fmt.Errorf("bulk: %s: %w", tableJob, err)
		}
		for _, r := range rows {
			after = r.Key
			var j Job
			if err := json.Unmarshal(r.Value, &j); err != nil {
				return fmt.Errorf("bulk: %s: %w", tableJob, err)
			}
			fn(&j)
		}
		if len(rows) == 0 {
			return nil
		}
	}
}

// List returns a source's newest jobs first, at most max.
func (b *Bulk) List(source string, max int) ([]Progress, error) {
	var numbers []uint64
	err := b.jobs(func(j *Job) {
		if j.Source != source {
			return
		}
		if numbers = append(numbers, j.Number); len(numbers) > max {
			numbers = numbers[1:]
		}
	})
	if err != nil {
		return nil, err
	}
	var out []Progress
	for _, n := range slices.Backward(numbers) {
		p, err := b.Progress(n)
		if store.CodeOf(err) == store.CodeNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// Family returns a job and those that tell the rest of it, CodeNotFound if there is no such job.
func (b *Bulk) Family(root string) ([]Progress, error) {
	first, err := b.Find(root)
	if err != nil {
		return nil, err
	}
	out := []Progress{first}
	for after := ""; ; {
		rows, err := b.store.Rows(tableName, "", root+"/", after, 1000)
		if err != nil {
			return nil, fmt.Errorf("bulk: %s: %w", tableName, err)
		}
		for _, r := range rows {
			after = r.Key
			p, err := b.Progress(store.NumberOf(string(r.Value)))
			if err != nil {
				return nil, err
			}
			out = append(out, p)
		}
		if len(rows) < 1000 {
			return out, nil
		}
	}
}

// Set pauses, resumes (Running) or cancels a job. What is on its way to a provider is not taken back; a page under way
// stops within moments. CodeConflict: the job has ended.
func (b *Bulk) Set(ctx context.Context, id string, to State) (p Progress, err error) {
	if to != Paused && to != Running && to != Canceled {
		return p, store.Bad("a job can be paused, resumed or canceled")
	}
	p, err = b.Find(id)
	if err != nil {
		return p, err
	}
	if err := b.setState(ctx, p.Number, to); err != nil {
		return p, err
	}
	b.kick()
	return b.Progress(p.Number)
}

// SetFamily is Set for a job and those that tell the rest of it, as far as they have not ended.
func (b *Bulk) SetFamily(ctx context.Context, root string, to State) error {
	for _, n := range b.running() {
		j, _, err := b.job(n)
		if store.CodeOf(err) == store.CodeNotFound || err == nil && j.ID != root && j.Root != root {
			continue
		}
		if err != nil {
			return err
		}
		if _, err := b.Set(ctx, j.ID, to); err != nil && store.CodeOf(err) != store.CodeConflict {
			return err
		}
	}
	return nil
}

// setState moves a job that has not ended.
func (b *Bulk) setState(ctx context.Context, number uint64, to State) error {
	for {
		j, version, err := b.job(number)
		if err != nil || j.State == to {
			return err
		}
		if j.State.Ended() {
			return &store.Error{Code: store.CodeConflict, Text: "it has ended: " + string(j.State)}
		}
		if j.State = to; to.Ended() {
			j.Ended = b.now().UnixMilli()
		}
		value, err := json.Marshal(j)
		if err != nil {
			return fmt.Errorf("bulk: %w", err)
		}
		err = b.store.Update(ctx, store.Update{Rows: []store.RowPut{
			{Table: tableJob, Key: store.KeyOf(number), Value: value, If: &version, Expires: j.expires()}}})
		if store.CodeOf(err) == store.CodeConflict {
			continue
		}
		if err != nil {
			return fmt.Errorf("bulk: %s: %w", tableJob, err)
		}
		b.log.Info("bulk push", keyJob, number, "state", string(to))
		return nil
	}
}

// close ends a job that nobody else has ended.
func (b *Bulk) close(ctx context.Context, j *Job, to State) error {
	err := b.setState(ctx, j.Number, to)
	switch store.CodeOf(err) {
	case store.CodeConflict, store.CodeNotFound: // canceled meanwhile; its rows have gone
		err = nil
	}
	if err == nil {
		b.ended(j.Number)
	}
	return err
}

func (b *Bulk) job(number uint64) (j Job, version uint64, err error) {
	r, err := b.store.Row(tableJob, "", store.KeyOf(number))
	if err == nil && r.Version == 0 {
		err = errNoJob
	}
	if err == nil {
		var p *Job
		if p, err = store.Decoded(r, func(v []byte) (j Job, err error) { return j, json.Unmarshal(v, &j) }); err == nil {
			j = *p
		}
	}
	if err != nil {
		return j, 0, fmt.Errorf("bulk: %s: %w", tableJob, err)
	}
	return j, r.Version, nil
}

func (b *Bulk) part(number uint64, name graph.PushProvider) (p Part, version uint64, err error) {
	r, err := b.store.Row(tablePart, jobOwner(number), string(name))
	if err == nil && r.Version != 0 {
		err = json.Unmarshal(r.Value, &p)
	}
	if err != nil {
		return p, 0, fmt.Errorf("bulk: %s: %w", tablePart, err)
	}
	p.Provider = name
	return p, r.Version, nil
}

func (b *Bulk) putPart(ctx context.Context, j *Job, p *Part) error {
	value, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("bulk: %w", err)
	}
	if err := b.store.Update(ctx, store.Update{Owner: jobOwner(j.Number), Rows: []store.RowPut{
		{Table: tablePart, Key: string(p.Provider), Value: value, Expires: j.expires()}}}); err != nil {
		return fmt.Errorf("bulk: %s: %w", tablePart, err)
	}
	return nil
}

func jobOwner(number uint64) store.Owner { return store.Owner(store.KeyOf(number)) }

// number is that of the job with this identifier, 0 if there is none.
func (b *Bulk) number(id string) (uint64, error) {
	r, err := b.store.Row(tableName, "", id)
	if err != nil {
		return 0, fmt.Errorf("bulk: %s: %w", tableName, err)
	}
	return store.NumberOf(string(r.Value)), nil
}
