package lane

import (
	"context"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// Job is one push that waits for its turn at a provider.
type Job interface {
	// Class is how urgent it is, and To where it goes as far as is known now: both are asked in Submit, before there is a
	// push, because a device or a host that has asked for a pause is not even queued for. What is sent says Build.
	Class() push.Class
	To() *graph.Registration

	// Build makes the push at the moment at which it is sent, so that a push that waited says what is true then; nil:
	// nothing is to be sent any more. It is called at most once, by a goroutine of the lane.
	Build(ctx context.Context) *push.Push

	// Done is told once what became of the job, by a goroutine of the lane, after Build or where it never came to that.
	Done(Result)
}

// Tried is a Job that was tried before. One that is not counts as new every time.
type Tried interface {
	Job

	// Tries is how many attempts in a row have come to nothing: it chooses how long the next one waits. Bare tells that
	// it goes without content already, because of an Action Bare: too large once more is then the end of it.
	Tries() int
	Bare() bool
}

// Action is what a lane says is to be done about a job.
type Action uint8

// The actions.
const (
	Sent      Action = iota // the provider has it
	Unneeded                // Build returned nil
	Again                   // nothing came of it: submit it again at Result.At
	Bare                    // it is too large: submit it again without content
	Dropped                 // the provider will never take it; the token stays
	TokenGone               // the token is not valid any more: remove the registration, unless it is newer than the push's
)

func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return "unknown"
}

var actionNames = [...]string{"sent", "unneeded", "again", "bare", "dropped", "token_gone"}

// Result is what became of a job.
type Result struct {
	Action Action
	Push   *push.Push  // what was sent; nil if it never came to that
	Answer push.Answer // the zero Answer if no attempt was made
	At     time.Time   // Again
	Tried  bool        // an attempt was made that may have arrived
}
