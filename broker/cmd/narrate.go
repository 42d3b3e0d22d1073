package cmd

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// narrator tells the traffic in words, for the demonstration: who wrote where, who was refused and why, who came and
// went. Never what was written.
type narrator struct {
	dir store.Directory
	out io.Writer

	mu sync.Mutex
}

func newNarrator(out io.Writer, dir store.Directory) *narrator { return &narrator{dir: dir, out: out} }

func (n *narrator) events() broker.Events {
	return broker.Events{
		Committed: n.committed,
		Refused:   n.refused,
		Attached: func(id hooks.Identity, present bool) {
			how := "connected"
			if present {
				how = "is back"
			}
			n.say("→ %s %s%s", id.Name, how, device(id))
		},
		Detached: func(id hooks.Identity, orderly bool) {
			how := "left"
			if !orderly {
				how = "is gone"
			}
			n.say("← %s %s%s", id.Name, how, device(id))
		},
	}
}

func (n *narrator) refused(user string, t hooks.Topic, err error) {
	if t.Act == hooks.Typing || t.Act == hooks.Read {
		return // nobody asked for an answer
	}
	where := "a topic that does not exist"
	if t.Place == hooks.User {
		where = t.Name
	} else if t.Place != 0 {
		where = t.Place.String() + " " + t.Name
	}
	n.say("✗ %s → %s refused: %v", user, where, err)
}

func (n *narrator) committed(e *store.Entry) {
	r := e.Record
	if r.Seq == 0 {
		return
	}
	from := n.name(r.Sender)
	var where string
	switch e.Key.Kind {
	case store.LogPair:
		where = n.name(e.Key.Peer(r.Sender))
		if e.Key.A == e.Key.B {
			where = "the own notes"
		}
	case store.LogRoom:
		where = "room " + e.Key.Name
	case store.LogChannel, store.LogAds, store.LogThread:
		n.brand(e)
		return
	default:
		return
	}
	switch {
	case r.Audience == store.AudienceSender:
		n.say("✓ %s → %s: on disk (#%d), and nobody but %s will ever see it", from, where, r.Seq, from)
	case r.Audience == store.AudienceRequest:
		n.say("✓ %s → %s: on disk (#%d), and waits in the request box of %s", from, where, r.Seq, where)
	case r.Change.Kind != store.ChangeNone:
		n.say("· %s (#%d)", n.change(e.Key.Name, r.Change), r.Seq)
	case r.Op.Kind != store.OpNone:
		n.say("✓ %s: %s #%d in the conversation with %s (#%d, on disk)", from, r.Op.Kind, r.Op.Target, where, r.Seq)
	default:
		n.say("✓ %s → %s: %s of %d bytes (#%d, on disk)", from, where, r.Kind, len(r.Text), r.Seq)
	}
}

// brand tells what happens in a channel, and of no follower who it is.
func (n *narrator) brand(e *store.Entry) {
	r := e.Record
	if r.Change.Kind != store.ChangeNone {
		return
	}
	from, where := n.name(r.Sender), "the followers of "+e.Key.Name
	switch {
	case e.Key.Kind == store.LogThread && r.Sender == e.Key.A:
		from, where = "a follower", "channel "+e.Key.Name
	case e.Key.Kind == store.LogThread:
		where = "a follower of " + e.Key.Name
	}
	what := r.Kind.String()
	if r.Op.Kind != store.OpNone {
		what = fmt.Sprintf("%s of #%d", r.Op.Kind, r.Op.Target)
	}
	n.say("✓ %s → %s: %s of %d bytes (#%d, on disk)", from, where, what, len(r.Text), r.Seq)
}

// change tells what happened to a room.
func (n *narrator) change(room string, c store.Change) string {
	who := n.name(c.Account)
	switch c.Kind {
	case store.ChangeJoin:
		return who + " is in room " + room
	case store.ChangeLeave:
		return who + " left room " + room
	case store.ChangeRemove:
		return who + " was removed from room " + room
	case store.ChangeRole:
		return who + " is " + c.Role.String() + " of room " + room
	}
	return "room " + room + " was changed"
}

// device names the device; an identifier that the server made up tells nobody anything.
func device(id hooks.Identity) string {
	if id.Assigned || strings.HasPrefix(id.ClientID, "auto-") {
		return ""
	}
	return " (" + id.ClientID + ")"
}

func (n *narrator) name(a store.AccountID) string {
	acct, err := n.dir.Account(a)
	if err != nil {
		return "the server"
	}
	return acct.Name
}

func (n *narrator) say(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(n.out, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
