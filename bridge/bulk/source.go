package bulk

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Source makes the pushes of its jobs. It is a Pager or a Sifter, which say to whom.
type Source interface {
	// Push makes the push for one device, at the moment of sending; nil: none. What is asked twice for the same device must
	// have the same ID and Collapse. Class and Expires are set by this package. Of the errors ErrHold and ErrOver are as
	// for Sift, and a *Deferred has this device told later.
	Push(ctx context.Context, j *Job, a store.AccountID, r *graph.Registration) (*push.Push, error)
}

// Pager is a Source whose jobs are for every user of its pages, on every device.
type Pager interface {
	Source
	// Page returns the users of a job after one, ascending by number, at most max; none: there are no more.
	Page(ctx context.Context, j *Job, after store.AccountID, max int) ([]store.AccountID, error)
}

// Sifter is a Source whose jobs have a large audience of which few are told, which it can tell at little cost.
type Sifter interface {
	Source
	// Sift considers the users of a job after one, ascending by number and up to another one (0: all), until it has found
	// max devices, has considered as many users as it does at a time, or there are no more. What it says of a user may be
	// asked again by Push, but whom it leaves out is not told.
	//
	// ErrHold: not now; the job is asked about again after some seconds, and when Look is called. ErrOver: nothing more of
	// it is worth telling, and it ends as Canceled.
	Sift(ctx context.Context, j *Job, after, upto store.AccountID, max int) (Sifted, error)
}

// Sifted is what Sift has found. It is shared by the providers' workers, so it must not be modified.
type Sifted struct {
	After store.AccountID // everybody up to here was considered
	Users int             // so many were
	End   bool            // there is nobody after them
	Found []Found         // ascending by account
	Later []Later         // ascending by account
}

// Found is a device that is to be told.
type Found struct {
	Account store.AccountID
	To      *graph.Registration
}

// Later is a device that is to be told when a time comes.
type Later struct {
	Found
	Until time.Time
}

// The errors of sources: see Sifter.
var (
	ErrHold = errors.New("bulk: held")
	ErrOver = errors.New("bulk: over")
)

// Deferred is the error of a Push for a device that is to be told later.
type Deferred struct{ Until time.Time }

func (d *Deferred) Error() string {
	return "bulk: deferred until " + d.Until.UTC().Format(time.RFC3339)
}

// Teller is a Source that wants to know what became of its pushes. Told is called once for each device and page that the
// lane has settled, by the provider's worker, so it must not wait. p is nil where none was made.
type Teller interface {
	Told(j *Job, a store.AccountID, r *graph.Registration, p *push.Push, res lane.Result)
}

const (
	siftings  = 8               // are kept
	siftLasts = 2 * time.Second // and count for so long
)

// sifting is one call of Sift. The providers go through the same users, most of whom are told by none: the first one that
// comes to a page sifts it, and the others take what it has found as long as it is fresh. So three providers cost one pass
// while they are abreast, and each has a place of its own all the same: one that falls behind, or is down, sifts for itself.
type sifting struct {
	job         uint64
	after, upto store.AccountID
	done        chan struct{}

	// Fixed once done is closed.
	at  time.Time
	out Sifted
	err error
}

func (s *sifting) is(j *Job, p *Part) bool {
	return s.job == j.Number && s.after == p.After && s.upto == p.Upto
}

// fresh reports whether what was found still counts: it is recent, and no time has come for which it has somebody wait.
func (s *sifting) fresh(now time.Time) bool {
	if s.err != nil || time.Since(s.at) > siftLasts {
		return false
	}
	for i := range s.out.Later {
		if !now.Before(s.out.Later[i].Until) {
			return false
		}
	}
	return true
}

// sift finds who is told next.
func (w *worker) sift(ctx context.Context, j *Job, part *Part) (Sifted, error) {
	if j.Bounded && part.After >= part.Upto {
		return Sifted{After: part.After, End: true}, nil
	}
	mine := &sifting{job: j.Number, after: part.After, upto: part.Upto, done: make(chan struct{})}
	w.mu.Lock()
	for _, s := range slices.Backward(w.sifts) {
		if !s.is(j, part) {
			continue
		}
		w.mu.Unlock()
		select {
		case <-s.done:
		case <-ctx.Done():
			return Sifted{}, ctx.Err()
		}
		if s.fresh(w.now()) {
			return s.out, nil
		}
		w.mu.Lock()
		break
	}
	if w.sifts = append(w.sifts, mine); len(w.sifts) > siftings {
		w.sifts = append(w.sifts[:0:0], w.sifts[1:]...)
	}
	w.mu.Unlock()
	mine.out, mine.err = w.ask(ctx, j, part)
	mine.at = time.Now()
	close(mine.done)
	return mine.out, mine.err
}

func (w *worker) ask(ctx context.Context, j *Job, part *Part) (out Sifted, err error) {
	switch source := w.cfg.Sources[j.Source].(type) {
	case Sifter:
		return source.Sift(ctx, j, part.After, part.Upto, w.cfg.Page)
	case Pager:
		users, err := source.Page(ctx, j, part.After, w.cfg.Page)
		if err != nil {
			return out, err
		}
		if len(users) == 0 {
			return Sifted{After: part.After, End: true}, nil
		}
		out.After, out.Users = users[len(users)-1], len(users)
		err = w.cfg.Graph.RegistrationsOf(users, func(a store.AccountID, list []graph.Registration) error {
			for i := range list {
				out.Found = append(out.Found, Found{a, &list[i]})
			}
			return nil
		})
		return out, err
	}
	return out, errors.New("bulk: a source that names nobody")
}
