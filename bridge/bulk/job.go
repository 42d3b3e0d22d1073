package bulk

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
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
	Canceled State = "canceled" // by an operator
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
}

// Part is how far a job has come with one provider.
type Part struct {
	Provider graph.PushProvider `json:"-"`
	After    store.AccountID    `json:"a,omitempty"` // everybody up to here is settled, but for who is in Left
	Left     []late             `json:"l,omitempty"`
	Done     bool               `json:"done,omitempty"`

	Users   int `json:"users,omitempty"`   // considered
	Sent    int `json:"sent,omitempty"`    // pushes that the provider took
	Gone    int `json:"gone,omitempty"`    // tokens that turned out not to be valid
	Failed  int `json:"failed,omitempty"`  // pushes that the provider will not take
	Skipped int `json:"skipped,omitempty"` // devices that the Source had nothing for at the moment of sending
	Late    int `json:"late,omitempty"`    // pushes that could not be sent in time
}

// late is a device that could not be told along with its page, and is tried again.
type late struct {
	Account store.AccountID `json:"a"`
	Device  store.DeviceID  `json:"d"`
	Since   int64           `json:"s"` // Unix milliseconds
	At      int64           `json:"u"` // not before
	Tries   int             `json:"y,omitempty"`
	Bare    bool            `json:"b,omitempty"`
}

func (p *Part) add(o Part) {
	p.Users += o.Users
	p.Sent += o.Sent
	p.Gone += o.Gone
	p.Failed += o.Failed
	p.Skipped += o.Skipped
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

// Source says who gets the pushes of its jobs, and what.
type Source interface {
	// Page returns the users of a job after one, ascending by number, at most max; none: there are no more.
	Page(ctx context.Context, j *Job, after store.AccountID, max int) ([]store.AccountID, error)

	// Push makes the push for one device, at the moment of sending; nil: none. What is asked twice for the same device must
	// have the same ID and Collapse. Class and Expires are set by this package.
	Push(ctx context.Context, j *Job, a store.AccountID, r *graph.Registration) (*push.Push, error)
}

// maxID is the longest identifier of a job, in bytes.
const maxID = 64

// Create begins a job that lives at most so long. It is durable when Create returns. A job with this identifier that
// exists already is returned as it is, with created false.
func (b *Bulk) Create(ctx context.Context, source, id string, data any, lives time.Duration) (p Progress, created bool, err error) {
	switch {
	case id == "" || len(id) > maxID:
		return p, false, store.Bad(fmt.Sprintf("the id must have 1 to %d characters", maxID))
	case b.cfg.Sources[source] == nil:
		return p, false, fmt.Errorf("bulk: there is no source %q", source)
	case lives <= 0:
		return p, false, store.Bad("it must live for some time")
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return p, false, fmt.Errorf("bulk: %w", err)
	}
	b.creating.Lock()
	defer b.creating.Unlock()
	if n, err := b.number(id); err != nil || n != 0 {
		if err == nil {
			p, err = b.Progress(n)
		}
		return p, false, err
	}
	last, err := b.last()
	if err != nil {
		return p, false, err
	}
	now := b.now()
	j := Job{Number: last + 1, ID: id, Source: source, Data: raw, State: Running, Created: now.UnixMilli(), Ends: now.Add(lives).UnixMilli()}
	job, err := json.Marshal(j)
	if err != nil {
		return p, false, fmt.Errorf("bulk: %w", err)
	}
	key := store.KeyOf(j.Number)
	none := store.IfVersion(0)
	if err := b.store.Update(ctx, store.Update{Rows: []store.RowPut{
		{Table: tableJob, Key: key, Value: job, If: none}, {Table: tableName, Key: id, Value: []byte(key), If: none}}}); err != nil {
		return p, false, fmt.Errorf("bulk: %s: %w", tableJob, err)
	}
	b.kick()
	p, err = b.Progress(j.Number)
	return p, true, err
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

// List returns the newest jobs first, at most max.
func (b *Bulk) List(max int) ([]Progress, error) {
	last, err := b.last()
	if err != nil {
		return nil, err
	}
	var out []Progress
	for n := last; n > 0 && len(out) < max; n-- {
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
		err = b.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tableJob, Key: store.KeyOf(number), Value: value, If: &version}}})
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

func (b *Bulk) job(number uint64) (j Job, version uint64, err error) {
	r, err := b.store.Row(tableJob, "", store.KeyOf(number))
	if err == nil && r.Version == 0 {
		err = errNoJob
	}
	if err == nil {
		err = json.Unmarshal(r.Value, &j)
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

func (b *Bulk) putPart(ctx context.Context, number uint64, p *Part) error {
	value, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("bulk: %w", err)
	}
	if err := b.store.Update(ctx, store.Update{Owner: jobOwner(number), Rows: []store.RowPut{{Table: tablePart, Key: string(p.Provider), Value: value}}}); err != nil {
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

// last is the number of the newest job, 0 if there was none. There are few: an operator makes them.
func (b *Bulk) last() (n uint64, err error) {
	for after := ""; ; {
		rows, err := b.store.Rows(tableJob, "", "", after, 1000)
		if err != nil {
			return 0, fmt.Errorf("bulk: %s: %w", tableJob, err)
		}
		if len(rows) == 0 {
			return n, nil
		}
		after = rows[len(rows)-1].Key
		n = store.NumberOf(after)
	}
}
