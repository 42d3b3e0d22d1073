package bridge

import (
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
)

// facts are what a ring is decided by. They are gathered in stages: those of a stage are looked up only where the ones
// before leave the answer open, and a zero value says nothing then.
type facts struct {
	cfg *Config
	st  state // the ring as it is kept

	// The user and the device.
	summary    bool // the ring is the device's summary
	suspended  bool // the account is shut out, or there is none any more
	registered bool // the device has a token that is its own, of a provider that is set up
	connected  bool
	overdue    bool // nothing was heard for longer than the keepalive promises
	background bool
	notifies   bool // in the background it tells its user by itself
	acked      store.Cursor
	head       store.Seq // of a ring that waits as a row: the newest message of the conversation; the row tells of it too

	// What the user wishes, and where it is.
	elsewhere time.Time // when another device was last active, zero: none is connected
	quiet     time.Time // the end of the quiet hours that it is now, zero: none

	// The conversation.
	member   bool
	requests bool // messages of the other one wait in the request box
	boxed    bool // the box has rung today
	muted    bool
	through  bool      // muted, but for messages that mention the user
	mark     store.Seq // read up to here on some device

	// The messages. Fresh are those that were neither decided, read nor acknowledged.
	upto      store.Seq     // looked at up to here
	fresh     *store.Record // the newest fresh one that rings, nil: none does
	why       Reason        // why the newest fresh one does not, "" where there is none at all
	favourite bool          // a fresh one that rings is a favourite's
	always    bool          // the fresh one is a notice that rings whatever the user wishes
	request   bool          // a fresh one waits in the request box
	count     int           // unread ones that ring, or have rung; of a summary in all conversations
	newest    *store.Record // the newest of them
	recalled  *store.Record // there is none, and the newest message was taken back
}

// decide says what is to be done about a ring. It looks nothing up. The order is that of how much an answer takes to
// know, and among what takes the same: what nobody may be told, what the user does not want to be told, what it knows
// already, when it is told, how. How many pushes a device has in a minute is not decided here but where they are sent.
//
// A run is what the phone is told of one conversation until the user has seen it: the first push of a run makes a sound,
// later ones replace it silently, after longer and longer windows. It ends
//   - when the user has read, on whatever device, the newest message that was told;
//   - when the device itself has acknowledged everything while the user was looking at it, connected and not in the
//     background: the app takes its notifications away by itself;
//   - when what was told is gone (recalled, of a user who is blocked by now, the user has left): it is replaced or cleared;
//   - Config.Run after it began: the next message makes a sound again.
func decide(f facts, now time.Time) verdict {
	if v, ok := f.early(now); ok {
		return v
	}
	if f.summary {
		return f.summarize(now)
	}
	if v, ok := f.outside(); ok {
		return v
	}
	if f.fresh == nil {
		return f.stale(now)
	}
	return f.message(now)
}

// early is what the device and the connection decide alone, without a look at the conversation; ok is false if they
// leave it open.
func (f *facts) early(now time.Time) (v verdict, ok bool) {
	st := &f.st
	looks := f.connected && !f.background
	waits, acked := f.undecided(), f.acknowledged()
	switch {
	case f.suspended:
		return f.settled(ReasonSuspended), true
	case !f.registered:
		return f.settled(ReasonNoToken), true
	case f.summary:
		return verdict{}, false
	case !waits && st.Shown == 0:
		return f.settled(ReasonDouble), true
	case acked && looks:
		v = f.settled(ReasonAcked)
		v.ends = st.Shown != 0
		return v, true
	case acked && st.Shown == 0 && f.background:
		return f.settled(ReasonNotifies), true
	case acked && st.Shown == 0:
		return f.settled(ReasonAcked), true
	case !waits || acked || !f.connected || !f.hears():
		return verdict{}, false
	}
	upto := reached(f.acked, f.settledTo())
	switch {
	case upto >= st.Last:
		// The row stands for what came since, too: it goes on doing so, and the rest has its own time.
		return f.waits(ReasonGrace, now.Add(f.cfg.Grace)), true
	case upto > f.settledTo():
		// Part of it is settled. How old the rest is decides how long the device still has.
		return verdict{action: nothing, reason: ReasonAcked, upto: upto}, true
	}
	grace := f.cfg.Grace
	if f.overdue {
		grace = f.cfg.Overdue
	}
	if until := time.UnixMilli(st.Time).Add(grace); now.Before(until) {
		return f.waits(ReasonGrace, until), true
	}
	return verdict{}, false
}

// hears reports whether what the device acknowledges is told its user.
func (f *facts) hears() bool { return !f.background || f.notifies }

// undecided reports whether messages wait to be decided about; else only what the phone shows is in question.
func (f *facts) undecided() bool { return f.st.Last > f.st.Done }

// last is the newest message that waits.
func (f *facts) last() store.Seq { return max(f.st.Last, f.head) }

// settledTo is up to where nothing waits.
func (f *facts) settledTo() store.Seq {
	return max(f.st.Done, f.st.First-min(f.st.First, 1))
}

// acknowledged reports whether the device has confirmed all that waits, or where nothing does, what it shows.
func (f *facts) acknowledged() bool {
	switch {
	case !f.hears():
		return false
	case f.undecided():
		return reached(f.acked, f.settledTo()) >= f.last()
	}
	return f.acked.Confirmed(f.st.Shown)
}

// reached is how far everything after a sequence is confirmed.
func reached(c store.Cursor, after store.Seq) store.Seq {
	after = max(after, c.Below)
	if after >= c.From {
		after = max(after, c.Acked)
	}
	return after
}

// outside is what membership, mute and read mark decide, without a look at the messages.
func (f *facts) outside() (v verdict, ok bool) {
	switch {
	case f.requests && f.boxed && !f.member:
		return f.settled(ReasonBoxed), true
	case f.requests && !f.member:
		return verdict{}, false
	case !f.member:
		return f.gone(ReasonLeft), true
	case f.st.Shown != 0:
		return verdict{}, false
	case f.muted && !f.through:
		return f.settled(ReasonMuted), true
	case f.mark >= f.last() && !f.requests:
		return f.settled(ReasonRead), true
	}
	return verdict{}, false
}

// stale decides where no fresh message rings: whether what the phone shows is still true.
func (f *facts) stale(now time.Time) verdict {
	st := &f.st
	why := f.why
	if why == "" {
		switch {
		case !f.undecided():
			why = ReasonDouble
		case f.mark >= f.last():
			why = ReasonRead
		case f.hears() && reached(f.acked, max(f.settledTo(), f.mark)) >= f.last():
			why = ReasonAcked
		default: // the user sees none of it
			why = ReasonHidden
		}
	}
	switch {
	case f.request && f.boxed:
		return f.settled(ReasonBoxed)
	case f.request:
		return f.box(now)
	case st.Shown == 0:
		return f.settled(why)
	case !f.member:
		return f.gone(ReasonLeft)
	case f.mark >= st.Shown:
		return f.gone(ReasonRead)
	case f.muted || st.Count == 0: // a mute does not take away what was told; what was replaced already stays
		return f.settled(why)
	case f.count == 0 && f.recalled != nil:
		v := f.rings(ReasonUpdate)
		v.kind, v.silent, v.shown, v.newest = push.KindMessage, true, f.recalled.Seq, f.recalled
		return v
	case f.count == 0:
		return f.gone(ReasonHidden)
	case f.count >= st.Count || !f.quiet.IsZero() || now.Sub(time.UnixMilli(st.Rang)) > f.cfg.Stale:
		return f.settled(why)
	}
	// Part of what was told is read or gone: the rest is told, and that is nobody's hurry.
	if retry := f.retry(now); !retry.IsZero() {
		return f.waits(ReasonRetry, retry)
	}
	if until := f.window(now, time.UnixMilli(f.newest.Time)); now.Before(until) {
		return f.waits(ReasonWindow, until)
	}
	v := f.rings(ReasonUpdate)
	v.silent, v.shown, v.newest = true, f.newest.Seq, f.newest
	return v
}

// message decides about a fresh message that rings: when, and how.
func (f *facts) message(now time.Time) verdict {
	r := f.fresh
	v := f.rings(f.reason())
	v.newest, v.shown, v.begins = r, r.Seq, true
	if f.always {
		switch retry := f.retry(now); {
		case now.Sub(time.UnixMilli(r.Time)) > f.cfg.TTL:
			return f.settled(ReasonExpired)
		case !retry.IsZero():
			return f.waits(ReasonRetry, retry)
		}
		v.kind, v.count = push.KindNotice, 1
		return v
	}
	if until := f.hold(now); !until.IsZero() {
		return f.waits(ReasonActive, until)
	}
	if v, wait := f.held(now, r); wait {
		return v
	}
	if f.running(now) {
		if until := f.window(now, time.UnixMilli(r.Time)); now.Before(until) {
			return f.waits(ReasonWindow, until)
		}
		v.begins, v.silent, v.reason = false, true, ReasonUpdate
	}
	return v
}

// held decides what holds up every push: quiet hours, age, and a provider that did not take the last attempt.
func (f *facts) held(now time.Time, newest *store.Record) (v verdict, ok bool) {
	age := now.Sub(time.UnixMilli(newest.Time))
	retry := f.retry(now)
	switch {
	case !f.quiet.IsZero() && !f.favourite:
		return f.folds(ReasonQuiet, f.quiet), true
	case age > f.cfg.TTL:
		return f.settled(ReasonExpired), true
	case age > f.cfg.Stale:
		return f.folds(ReasonExpired, now), true
	case !retry.IsZero():
		return f.waits(ReasonRetry, retry), true
	}
	return verdict{}, false
}

// retry is until when an attempt that came to nothing is not repeated, zero where there is none.
func (f *facts) retry(now time.Time) time.Time {
	if at := time.UnixMilli(f.st.Due); f.st.Tries > 0 && now.Before(at) {
		return at
	}
	return time.Time{}
}

// hold is when to look again because the user is at another device, zero: it is not. A message waits for Hold after it
// came; after that only while the other device goes on being used, so that one that was laid away just before the
// message does not keep the phone silent.
func (f *facts) hold(now time.Time) time.Time {
	if f.elsewhere.IsZero() || now.Sub(f.elsewhere) >= f.cfg.Active {
		return time.Time{}
	}
	came := time.UnixMilli(f.st.Time)
	if f.st.Time == 0 {
		came = time.UnixMilli(f.fresh.Time)
	}
	first := came.Add(f.cfg.Hold)
	switch {
	case now.Before(first):
		return first
	case f.elsewhere.After(came):
		return now.Add(f.cfg.Hold)
	}
	return time.Time{}
}

// running reports whether the run goes on in which the phone was told something.
func (f *facts) running(now time.Time) bool {
	return f.st.Shown != 0 && f.mark < f.st.Shown && now.Before(time.UnixMilli(f.st.Began).Add(f.cfg.Run))
}

// lull is how long nothing must come before the longest window ends early enough to tell the end of a burst too.
const lull = 10 * time.Second

// window is when the next push of a run may go. The longest window becomes up to twice as long while messages keep
// coming, so that a burst of a minute is told with five pushes of which the last has all of it.
func (f *facts) window(now, newest time.Time) time.Time {
	n := min(max(f.st.Window, 1), len(windows))
	w := windows[n-1]
	rang := time.UnixMilli(f.st.Rang)
	until := rang.Add(w)
	if n < len(windows) || now.Before(until) {
		return until
	}
	if calm := newest.Add(lull); calm.After(until) {
		until = calm
	}
	if last := rang.Add(2 * w); until.After(last) {
		until = last
	}
	return until
}

// reason is why a device is woken.
func (f *facts) reason() Reason {
	switch {
	case !f.connected:
		return ReasonAway
	case f.background && !f.notifies:
		return ReasonBackground
	}
	return ReasonSilence
}

// box rings for the request box: once a day, without names, and not at night.
func (f *facts) box(now time.Time) verdict {
	retry := f.retry(now)
	switch {
	case !f.quiet.IsZero():
		return f.waits(ReasonQuiet, f.quiet)
	case !retry.IsZero():
		return f.waits(ReasonRetry, retry)
	}
	v := f.rings(f.reason())
	v.kind, v.begins, v.count, v.shown = push.KindRequests, true, 0, 0
	return v
}

// summarize decides about the device's summary.
func (f *facts) summarize(now time.Time) verdict {
	retry := f.retry(now)
	switch {
	case f.count == 0 && f.st.Shown != 0:
		return f.gone(ReasonRead)
	case f.count == 0:
		return f.settled(ReasonRead)
	case f.st.Last <= f.st.Done:
		return f.settled(ReasonDouble)
	case f.connected && !f.background && !f.overdue: // it was given everything when it came
		return f.settled(ReasonAcked)
	case !f.quiet.IsZero():
		return f.waits(ReasonQuiet, f.quiet)
	case !f.elsewhere.IsZero() && now.Sub(f.elsewhere) < f.cfg.Active:
		return f.waits(ReasonActive, f.elsewhere.Add(f.cfg.Active))
	case !retry.IsZero():
		return f.waits(ReasonRetry, retry)
	case now.Before(time.UnixMilli(f.st.Due)): // asked because something was read
		return f.waits(ReasonSummary, time.UnixMilli(f.st.Due))
	}
	v := f.rings(ReasonSummary)
	v.kind, v.begins, v.shown = push.KindSummary, true, max(f.st.Last, 1)
	return v
}

// considered is up to where the messages were decided about.
func (f *facts) considered() store.Seq { return max(f.upto, f.last(), f.st.Done) }

func (f *facts) settled(why Reason) verdict {
	return verdict{action: nothing, reason: why, upto: f.considered()}
}

func (f *facts) waits(why Reason, until time.Time) verdict {
	return verdict{action: wait, reason: why, until: until, upto: f.considered()}
}

func (f *facts) folds(why Reason, until time.Time) verdict {
	return verdict{action: fold, reason: why, until: until, upto: f.considered()}
}

// gone settles what waits, and takes away what the phone shows, if anything.
func (f *facts) gone(why Reason) verdict {
	v := f.settled(why)
	if f.st.Shown != 0 {
		if f.st.Last <= f.st.Done {
			v.reason = ReasonClear
		}
		v.action, v.ends, v.class, v.kind, v.silent = clears, true, push.Clear, push.KindClear, true
	}
	return v
}

func (f *facts) rings(why Reason) verdict {
	v := verdict{action: ring, reason: why, upto: f.considered(), class: push.Chat, kind: push.KindMessage, count: f.count}
	if f.count > 1 {
		v.kind = push.KindMessages
	}
	return v
}

// message is what is to be known of one message before its receiver's wishes.
type message struct {
	own      bool // the receiver's own, of whatever device
	event    bool // an operation, or something that happened in the conversation
	notice   bool // of the server to the receiver
	always   bool // and it rings whatever the receiver wishes
	blocked  bool // of somebody whom the receiver blocks now, or did when it was written
	recalled bool
	expired  bool // its sender gave it an end, which has passed
	mention  bool // it mentions the receiver, or everybody
}

// wishes are what a user wants of one conversation.
type wishes struct {
	muted    bool
	through  bool // muted, but for messages that mention the user
	mentions bool // an open room, of which only mentions ring
}

// rings is why a message does not ring by itself, "" if it does.
func (w wishes) rings(m message) Reason {
	switch {
	case m.own:
		return ReasonOwn
	case m.event, m.blocked:
		return ReasonHidden
	case m.recalled:
		return ReasonRecalled
	case m.always:
		return ""
	case m.notice:
		return ReasonSilentLog
	case m.expired:
		return ReasonExpired
	case w.muted && !(w.through && m.mention):
		return ReasonMuted
	case w.mentions && !m.mention:
		return ReasonMention
	}
	return ""
}
