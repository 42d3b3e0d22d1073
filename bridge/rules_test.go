package bridge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
)

// noon is when the tests of the rules happen.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) int64 { return noon.Add(-d).UnixMilli() }

var testConfig = func() *Config {
	c := &Config{}
	c.setDefaults()
	return c
}()

// one is what is known of a device that is away when one message has come a moment ago: it rings. Each test changes what
// it is about.
func one(change func(*facts)) facts {
	f := facts{cfg: testConfig, registered: true, member: true, upto: 7,
		st: state{First: 7, Last: 7, Done: 6, Time: ago(time.Second)}, fresh: &store.Record{Seq: 7, Time: ago(time.Second), Sender: 2}, count: 1}
	if change != nil {
		change(&f)
	}
	return f
}

// told is one in a run: the phone shows message 6 since a while.
func told(since time.Duration, change func(*facts)) facts {
	return one(func(f *facts) {
		f.st.Shown, f.st.Began, f.st.Rang, f.st.Window, f.st.Count = 6, ago(since), ago(since), 1, 1
		f.count = 2
		if change != nil {
			change(f)
		}
	})
}

// quietly is told when nothing fresh rings: only what the phone shows is in question.
func quietly(change func(*facts)) facts {
	return told(time.Minute, func(f *facts) {
		f.st.First, f.st.Last, f.st.Done, f.st.Time = 0, 0, 7, 0
		f.fresh, f.count, f.newest = nil, 1, &store.Record{Seq: 6, Time: ago(time.Minute), Sender: 2}
		if change != nil {
			change(f)
		}
	})
}

type want struct {
	action action
	reason Reason
	until  time.Duration // from noon on
}

type ruleCase struct {
	name string
	f    facts
	want want
	also func(v verdict) string // what else is wrong, "" if nothing
}

func runRules(t *testing.T, cases []ruleCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v := decide(c.f, noon)
			got := want{v.action, v.reason, 0}
			if !v.until.IsZero() {
				got.until = v.until.Sub(noon)
			}
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if c.also != nil {
				if wrong := c.also(v); wrong != "" {
					t.Errorf("%s: %+v", wrong, v)
				}
			}
			if broken := contradicts(c.f, v, noon); broken != "" {
				t.Errorf("%s: %+v", broken, v)
			}
		})
	}
}

func rest(n int64) *store.Record {
	return &store.Record{Seq: store.Seq(n), Sender: 2, Time: ago(time.Minute)}
}

// Rule 1: not a member any more, blocked, own message, recalled.
func TestRuleNobody(t *testing.T) {
	why := func(r Reason) facts { return one(func(f *facts) { f.fresh, f.why, f.count = nil, r, 0 }) }
	runRules(t, []ruleCase{
		{"suspended", one(func(f *facts) { f.suspended = true }), want{nothing, ReasonSuspended, 0}, nil},
		{"no token", one(func(f *facts) { f.registered = false }), want{nothing, ReasonNoToken, 0}, nil},
		{"left", one(func(f *facts) { f.member = false }), want{nothing, ReasonLeft, 0}, nil},
		{"left, and the phone shows something", told(time.Minute, func(f *facts) { f.member = false }), want{clears, ReasonLeft, 0}, endsRun},
		{"left, and nothing new", quietly(func(f *facts) { f.member = false }), want{clears, ReasonClear, 0}, endsRun},
		{"own", why(ReasonOwn), want{nothing, ReasonOwn, 0}, upto(7)},
		{"hidden", why(ReasonHidden), want{nothing, ReasonHidden, 0}, upto(7)},
		{"recalled", why(ReasonRecalled), want{nothing, ReasonRecalled, 0}, upto(7)},
		{"expired by its sender", why(ReasonExpired), want{nothing, ReasonExpired, 0}, upto(7)},
		{"told before a restart", one(func(f *facts) { f.st.Done = 7 }), want{nothing, ReasonDouble, 0}, upto(7)},
	})
}

func endsRun(v verdict) string {
	if !v.ends {
		return "the run goes on"
	}
	return ""
}

func upto(n store.Seq) func(verdict) string {
	return func(v verdict) string {
		if v.upto != n {
			return fmt.Sprintf("settled up to %d, not %d", v.upto, n)
		}
		return ""
	}
}

// Rule 2: a muted room; a mention breaks through if the user allows it.
func TestRuleMuted(t *testing.T) {
	runRules(t, []ruleCase{
		{"muted", one(func(f *facts) { f.muted = true }), want{nothing, ReasonMuted, 0}, upto(7)},
		{"muted, mentions pass, none does", one(func(f *facts) { f.muted, f.through, f.fresh, f.why = true, true, nil, ReasonMuted }), want{nothing, ReasonMuted, 0}, nil},
		{"a mention passes", one(func(f *facts) { f.muted, f.through = true, true }), want{ring, ReasonAway, 0}, sounds},
		{"an open room without a mention", one(func(f *facts) { f.fresh, f.why = nil, ReasonMention }), want{nothing, ReasonMention, 0}, nil},
		{"muted after it was told: it stays", quietly(func(f *facts) { f.muted, f.count = true, 0 }), want{nothing, ReasonDouble, 0}, nil},
		{"muted after it was told, and read", quietly(func(f *facts) { f.muted, f.mark = true, 7 }), want{clears, ReasonClear, 0}, endsRun},
	})
	for _, c := range []struct {
		name string
		w    wishes
		m    message
		want Reason
	}{
		{"a message", wishes{}, message{}, ""},
		{"own", wishes{}, message{own: true, mention: true}, ReasonOwn},
		{"an operation", wishes{}, message{event: true}, ReasonHidden},
		{"blocked, and a mention", wishes{}, message{blocked: true, mention: true}, ReasonHidden},
		{"recalled", wishes{}, message{recalled: true}, ReasonRecalled},
		{"expired", wishes{}, message{expired: true}, ReasonExpired},
		{"a notice", wishes{}, message{notice: true}, ReasonSilentLog},
		{"a sign-in", wishes{muted: true}, message{notice: true, always: true}, ""},
		{"muted", wishes{muted: true}, message{mention: true}, ReasonMuted},
		{"muted, mentions pass", wishes{muted: true, through: true}, message{mention: true}, ""},
		{"muted, mentions pass, none", wishes{muted: true, through: true}, message{}, ReasonMuted},
		{"an open room", wishes{mentions: true}, message{}, ReasonMention},
		{"a mention in an open room", wishes{mentions: true}, message{mention: true}, ""},
		{"a muted open room", wishes{mentions: true, muted: true}, message{mention: true}, ReasonMuted},
	} {
		if got := c.w.rings(c.m); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func sounds(v verdict) string {
	if v.silent || !v.begins {
		return "it makes no sound"
	}
	return ""
}

func silent(v verdict) string {
	if !v.silent || v.begins {
		return "it makes a sound"
	}
	return ""
}

// Rule 3: read on any device.
func TestRuleRead(t *testing.T) {
	runRules(t, []ruleCase{
		{"read", one(func(f *facts) { f.mark = 7 }), want{nothing, ReasonRead, 0}, nil},
		{"read beyond", one(func(f *facts) { f.mark = 9 }), want{nothing, ReasonRead, 0}, nil},
		{"an older one read", one(func(f *facts) { f.mark = 6 }), want{ring, ReasonAway, 0}, sounds},
		{"what the phone shows is read", quietly(func(f *facts) { f.mark, f.count, f.newest = 6, 0, nil }), want{clears, ReasonClear, 0}, endsRun},
		{"all of it is read", told(time.Second, func(f *facts) { f.mark, f.fresh, f.count = 7, nil, 0 }), want{clears, ReasonRead, 0}, endsRun},
		{"read up to what was told: the next one sounds again", told(time.Second, func(f *facts) { f.mark, f.count = 6, 1 }), want{ring, ReasonAway, 0}, sounds},
	})
}

// Rule 4: connected.
func TestRuleConnected(t *testing.T) {
	on := func(change func(*facts)) facts {
		return one(func(f *facts) {
			f.connected = true
			if change != nil {
				change(f)
			}
		})
	}
	old := func(d time.Duration) func(*facts) {
		return func(f *facts) { f.connected, f.st.Time, f.fresh.Time = true, ago(d), ago(d) }
	}
	runRules(t, []ruleCase{
		{"it has 8 seconds", on(nil), want{wait, ReasonGrace, 7 * time.Second}, nil},
		{"3 if its keepalive is overdue", on(func(f *facts) { f.overdue = true }), want{wait, ReasonGrace, 2 * time.Second}, nil},
		{"a moment before", one(old(8*time.Second - time.Millisecond)), want{wait, ReasonGrace, time.Millisecond}, nil},
		{"no acknowledgement", one(old(8 * time.Second)), want{ring, ReasonSilence, 0}, sounds},
		{"no acknowledgement, overdue", one(func(f *facts) { old(3 * time.Second)(f); f.overdue = true }), want{ring, ReasonSilence, 0}, sounds},
		{"acknowledged", on(func(f *facts) { f.acked = store.Cursor{Below: 7, From: 7, Acked: 7} }), want{nothing, ReasonAcked, 0}, upto(7)},
		{"acknowledged and gone", one(func(f *facts) { f.acked = store.Cursor{Acked: 7} }), want{nothing, ReasonAcked, 0}, upto(7)},
		{"acknowledged in part: the rest has its own time", on(func(f *facts) { f.st.First, f.st.Done, f.acked = 4, 3, store.Cursor{Acked: 5} }), want{nothing, ReasonAcked, 0}, upto(5)},
		{"a row stands for what came since", on(func(f *facts) { f.st.Due, f.head, f.acked = ago(0), 9, store.Cursor{Acked: 8} }), want{wait, ReasonGrace, 8 * time.Second}, nil},
		{"all that a row stands for", on(func(f *facts) { f.st.Due, f.head, f.acked = ago(0), 9, store.Cursor{Acked: 9} }), want{nothing, ReasonAcked, 0}, upto(9)},
		{"a row, and the device is gone", one(func(f *facts) { f.st.Due, f.head, f.acked, f.fresh = ago(0), 9, store.Cursor{Acked: 8}, rest(9) }), want{ring, ReasonAway, 0}, upto(9)},
		{"acknowledged in part, and gone", one(func(f *facts) { f.st.First, f.st.Done, f.acked = 4, 3, store.Cursor{Acked: 5} }), want{ring, ReasonAway, 0}, upto(7)},
		{"a clean start skipped it", one(func(f *facts) { f.acked = store.Cursor{Below: 3, From: 9, Acked: 9} }), want{ring, ReasonAway, 0}, sounds},
		{"acknowledged, and what it showed with it", told(time.Minute, func(f *facts) { f.connected, f.acked = true, store.Cursor{Acked: 7} }), want{nothing, ReasonAcked, 0}, endsRun},
	})
}

// Rule 5: another device of the user is active.
func TestRuleElsewhere(t *testing.T) {
	at := func(came, heard time.Duration) facts {
		return one(func(f *facts) { f.st.Time, f.fresh.Time, f.elsewhere = ago(came), ago(came), noon.Add(-heard) })
	}
	runRules(t, []ruleCase{
		{"hold 15 s", at(time.Second, 5*time.Second), want{wait, ReasonActive, 14 * time.Second}, nil},
		{"active 30 s ago is not active", at(time.Second, 30*time.Second), want{ring, ReasonAway, 0}, sounds},
		{"after 15 s, and not used since", at(15*time.Second, 16*time.Second), want{ring, ReasonAway, 0}, sounds},
		{"after 15 s, and used since", at(15*time.Second, time.Second), want{wait, ReasonActive, 15 * time.Second}, nil},
		{"used since, but not lately", at(2*time.Minute, 31*time.Second), want{ring, ReasonAway, 0}, sounds},
		{"it went away", at(time.Second, 24*365*time.Hour*200), want{ring, ReasonAway, 0}, sounds},
		{"a half-open phone too", one(func(f *facts) {
			f.connected, f.st.Time, f.elsewhere = true, ago(9*time.Second), noon
		}), want{wait, ReasonActive, 6 * time.Second}, nil},
	})
}

// Rule 6: quiet hours.
func TestRuleQuiet(t *testing.T) {
	seven := noon.Add(7 * time.Hour)
	sum := func(change func(*facts)) facts {
		return one(func(f *facts) {
			f.summary, f.count, f.fresh, f.st = true, 3, nil, state{First: 1, Last: 1, Due: noon.UnixMilli(), Time: ago(time.Hour)}
			if change != nil {
				change(f)
			}
		})
	}
	runRules(t, []ruleCase{
		{"told afterwards", one(func(f *facts) { f.quiet = seven }), want{fold, ReasonQuiet, 7 * time.Hour}, upto(7)},
		{"a mention does not break it", one(func(f *facts) { f.quiet, f.muted, f.through = seven, true, true }), want{fold, ReasonQuiet, 7 * time.Hour}, nil},
		{"nor does a window", told(time.Minute, func(f *facts) { f.quiet = seven }), want{fold, ReasonQuiet, 7 * time.Hour}, nil},
		{"a favourite does", one(func(f *facts) { f.quiet, f.favourite = seven, true }), want{ring, ReasonAway, 0}, sounds},
		{"a sign-in does", one(func(f *facts) { f.quiet, f.always = seven, true }), want{ring, ReasonAway, 0}, isNotice},
		{"a sign-in, whoever is active", one(func(f *facts) { f.elsewhere, f.always = noon, true }), want{ring, ReasonAway, 0}, isNotice},
		{"another notice never rings", one(func(f *facts) { f.fresh, f.why = nil, ReasonSilentLog }), want{nothing, ReasonSilentLog, 0}, nil},
		{"the summary", sum(nil), want{ring, ReasonSummary, 0}, func(v verdict) string {
			if v.kind != push.KindSummary || v.count != 3 || v.newest != nil || v.shown == 0 {
				return "no summary"
			}
			return sounds(v)
		}},
		{"a summary of nothing", sum(func(f *facts) { f.count = 0 }), want{nothing, ReasonRead, 0}, nil},
		{"a summary in quiet hours", sum(func(f *facts) { f.quiet = seven }), want{wait, ReasonQuiet, 7 * time.Hour}, nil},
		{"a summary that is not due", sum(func(f *facts) { f.st.Due = seven.UnixMilli() }), want{wait, ReasonSummary, 7 * time.Hour}, nil},
		{"a summary, but the device is there", sum(func(f *facts) { f.connected = true }), want{nothing, ReasonAcked, 0}, nil},
		{"a summary, and the user elsewhere", sum(func(f *facts) { f.elsewhere = noon.Add(-10 * time.Second) }), want{wait, ReasonActive, 20 * time.Second}, nil},
		{"a summary that the provider did not take", sum(func(f *facts) { f.st.Tries, f.st.Due = 1, noon.Add(time.Second).UnixMilli() }), want{wait, ReasonRetry, time.Second}, nil},
		{"a summary with nothing to tell", sum(func(f *facts) { f.st.First, f.st.Last = 0, 0 }), want{nothing, ReasonDouble, 0}, nil},
		{"a summary that was read", sum(func(f *facts) { f.st.First, f.st.Last, f.st.Shown, f.count = 0, 0, 1, 0 }), want{clears, ReasonClear, 0}, endsRun},
		{"no summary without a token", sum(func(f *facts) { f.registered = false }), want{nothing, ReasonNoToken, 0}, nil},
	})
}

func isNotice(v verdict) string {
	if v.kind != push.KindNotice {
		return "no notice"
	}
	return sounds(v)
}

// Rule 7: runs and windows.
func TestRuleCoalesce(t *testing.T) {
	after := func(n int, rang time.Duration) facts {
		return told(time.Minute, func(f *facts) { f.st.Window, f.st.Rang = n, ago(rang); f.fresh.Time = ago(0) })
	}
	kind := func(k push.Kind, n int) func(verdict) string {
		return func(v verdict) string {
			if v.kind != k || v.count != n {
				return fmt.Sprintf("kind %s, count %d", v.kind, v.count)
			}
			return ""
		}
	}
	runRules(t, []ruleCase{
		{"the first", one(nil), want{ring, ReasonAway, 0}, kind(push.KindMessage, 1)},
		{"the first of several", one(func(f *facts) { f.count = 5 }), want{ring, ReasonAway, 0}, kind(push.KindMessages, 5)},
		{"the second waits 3 s", after(1, time.Second), want{wait, ReasonWindow, 2 * time.Second}, nil},
		{"and replaces it silently", after(1, 3*time.Second), want{ring, ReasonUpdate, 0}, silent},
		{"the third 6 s", after(2, time.Second), want{wait, ReasonWindow, 5 * time.Second}, nil},
		{"the fourth 12 s", after(3, time.Second), want{wait, ReasonWindow, 11 * time.Second}, nil},
		{"the fifth 30 s", after(4, time.Second), want{wait, ReasonWindow, 29 * time.Second}, nil},
		{"and while more comes", after(4, 30*time.Second), want{wait, ReasonWindow, 10 * time.Second}, nil},
		{"but not for ever", after(4, 55*time.Second), want{wait, ReasonWindow, 5 * time.Second}, nil},
		{"so it is told", after(4, 60*time.Second), want{ring, ReasonUpdate, 0}, silent},
		{"the hundredth 30 s", after(99, time.Second), want{wait, ReasonWindow, 29 * time.Second}, nil},
		{"after 10 minutes it sounds again", told(10*time.Minute, nil), want{ring, ReasonAway, 0}, sounds},
		{"a retry waits", one(func(f *facts) { f.st.Tries, f.st.Due = 2, noon.Add(4*time.Second).UnixMilli() }), want{wait, ReasonRetry, 4 * time.Second}, nil},
		{"a retry is due", one(func(f *facts) { f.st.Tries, f.st.Due = 2, noon.UnixMilli() }), want{ring, ReasonAway, 0}, sounds},
		{"after an hour it becomes a summary", one(func(f *facts) { f.fresh.Time = ago(time.Hour) }), want{ring, ReasonAway, 0}, nil},
		{"more than an hour", one(func(f *facts) { f.fresh.Time = ago(time.Hour + time.Second) }), want{fold, ReasonExpired, 0}, nil},
		{"older than a provider would keep it", one(func(f *facts) { f.fresh.Time = ago(8 * 24 * time.Hour) }), want{nothing, ReasonExpired, 0}, nil},
	})
}

// Rule 8: strangers and requests; what is gone after the push.
func TestRuleStrangers(t *testing.T) {
	box := func(change func(*facts)) facts {
		return one(func(f *facts) {
			f.member, f.requests, f.request, f.fresh, f.count = false, true, true, nil, 0
			if change != nil {
				change(f)
			}
		})
	}
	runRules(t, []ruleCase{
		{"the box rings", box(nil), want{ring, ReasonAway, 0}, func(v verdict) string {
			if v.kind != push.KindRequests || v.newest != nil || v.shown != 0 {
				return "it tells of a message"
			}
			return sounds(v)
		}},
		{"once a day", box(func(f *facts) { f.boxed = true }), want{nothing, ReasonBoxed, 0}, upto(7)},
		{"once a day, to a member too", box(func(f *facts) { f.member, f.boxed = true, true }), want{nothing, ReasonBoxed, 0}, nil},
		{"not at night", box(func(f *facts) { f.quiet = noon.Add(time.Hour) }), want{wait, ReasonQuiet, time.Hour}, nil},
		{"no request after all", box(func(f *facts) { f.request = false }), want{nothing, ReasonHidden, 0}, nil},
		{"a retry", box(func(f *facts) { f.st.Tries, f.st.Due = 1, noon.Add(time.Second).UnixMilli() }), want{wait, ReasonRetry, time.Second}, nil},
		{"recalled after the push", quietly(func(f *facts) { f.count, f.newest, f.recalled = 0, nil, rest(6) }), want{ring, ReasonUpdate, 0}, func(v verdict) string {
			if v.newest == nil || v.newest.Seq != 6 || v.kind != push.KindMessage || v.count != 0 || v.shown != 6 {
				return "not replaced"
			}
			return silent(v)
		}},
		{"replaced already", quietly(func(f *facts) { f.count, f.newest, f.recalled, f.st.Count = 0, nil, rest(6), 0 }), want{nothing, ReasonDouble, 0}, nil},
		{"blocked after the push", quietly(func(f *facts) { f.count, f.newest = 0, nil }), want{clears, ReasonClear, 0}, endsRun},
		{"one of three recalled", quietly(func(f *facts) { f.count, f.st.Count = 2, 3 }), want{ring, ReasonUpdate, 0}, silent},
		{"one of three recalled, in the window", quietly(func(f *facts) { f.count, f.st.Count, f.st.Rang = 2, 3, ago(time.Second) }), want{wait, ReasonWindow, 2 * time.Second}, nil},
		{"one of three recalled, at night", quietly(func(f *facts) { f.count, f.st.Count, f.quiet = 2, 3, noon.Add(time.Hour) }), want{nothing, ReasonDouble, 0}, nil},
		{"one of three recalled, and a retry", quietly(func(f *facts) { f.count, f.st.Count, f.st.Tries, f.st.Due = 2, 3, 1, noon.Add(time.Second).UnixMilli() }), want{wait, ReasonRetry, time.Second}, nil},
		{"nothing changed", quietly(nil), want{nothing, ReasonDouble, 0}, nil},
	})
}

// Rule 9: a device in the background.
func TestRuleBackground(t *testing.T) {
	behind := func(change func(*facts)) facts {
		return one(func(f *facts) {
			f.connected, f.background = true, true
			if change != nil {
				change(f)
			}
		})
	}
	runRules(t, []ruleCase{
		{"it does not notify: no grace", behind(nil), want{ring, ReasonBackground, 0}, sounds},
		{"its acknowledgement counts for nothing", behind(func(f *facts) { f.acked = store.Cursor{Acked: 7} }), want{ring, ReasonBackground, 0}, sounds},
		{"it notifies, and has some time", behind(func(f *facts) { f.notifies = true }), want{wait, ReasonGrace, 7 * time.Second}, nil},
		{"it notifies, and did not acknowledge", behind(func(f *facts) { f.notifies, f.st.Time = true, ago(9*time.Second) }), want{ring, ReasonSilence, 0}, sounds},
		{"it notified", behind(func(f *facts) { f.notifies, f.acked = true, store.Cursor{Acked: 7} }), want{nothing, ReasonNotifies, 0}, upto(7)},
	})
}

// Rule 10: whose share of a provider it takes.
func TestRuleClass(t *testing.T) {
	for _, c := range []struct {
		name string
		f    facts
		want push.Class
	}{
		{"a message", one(nil), push.Chat},
		{"an update", told(time.Minute, nil), push.Chat},
		{"a clear", quietly(func(f *facts) { f.mark = 6 }), push.Clear},
	} {
		if v := decide(c.f, noon); v.class != c.want {
			t.Errorf("%s: %s", c.name, v.class)
		}
	}
}

// TestReasons: decide gives every reason but those of the engine, which knows what became of a push.
func TestReasons(t *testing.T) {
	engine := []Reason{ReasonRefused, ReasonCapped, ReasonHeld}
	seen := map[Reason]bool{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300_000 {
		seen[decide(anyFacts(rng), noon).reason] = true
	}
	for _, r := range []Reason{ReasonOwn, ReasonLeft, ReasonHidden, ReasonRecalled, ReasonMuted, ReasonMention, ReasonRead, ReasonAcked, ReasonNotifies,
		ReasonSilentLog, ReasonBoxed, ReasonNoToken, ReasonExpired, ReasonRefused, ReasonSuspended, ReasonDouble, ReasonGrace, ReasonActive, ReasonWindow,
		ReasonQuiet, ReasonCapped, ReasonRetry, ReasonHeld, ReasonAway, ReasonSilence, ReasonBackground, ReasonUpdate, ReasonSummary, ReasonClear} {
		if seen[r] == slices.Contains(engine, r) {
			t.Errorf("%s: %t", r, seen[r])
		}
	}
}

// TestNoContradiction: whatever the facts, the verdict breaks no rule.
func TestNoContradiction(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 500_000 {
		f := anyFacts(rng)
		v := decide(f, noon)
		if broken := contradicts(f, v, noon); broken != "" {
			t.Fatalf("seed %d: %s\n%+v\nfresh %+v, newest %+v, recalled %+v\n%+v", seed, broken, f, f.fresh, f.newest, f.recalled, v)
		}
	}
}

// anyFacts are facts as assess may find them.
func anyFacts(rng *rand.Rand) facts {
	is := func(n int) bool { return rng.IntN(n) == 0 }
	some := func() int64 {
		return ago([]time.Duration{0, time.Second, 4 * time.Second, 9 * time.Second, 16 * time.Second, 40 * time.Second, 11 * time.Minute, 2 * time.Hour,
			9 * 24 * time.Hour}[rng.IntN(9)])
	}
	seq := func() store.Seq { return store.Seq(rng.IntN(12)) }
	f := facts{cfg: testConfig, suspended: is(30), registered: !is(30), connected: is(2), member: !is(10), muted: is(6), mark: seq(), upto: 11}
	f.overdue, f.background, f.notifies = f.connected && is(3), f.connected && is(3), is(2)
	f.through = f.muted && is(2)
	if is(2) {
		f.st.Done = seq()
		f.st.Last = f.st.Done + 1 + store.Seq(rng.IntN(3))
		f.st.First, f.st.Time = f.st.Done+1, some()
	}
	if f.st.Last > f.st.Done && is(4) {
		f.st.Due, f.head = noon.UnixMilli(), 11
	}
	f.upto = max(f.upto, f.st.Last)
	if is(2) {
		f.st.Shown, f.st.Began, f.st.Rang, f.st.Window, f.st.Count = seq()+1, some(), some(), 1+rng.IntN(6), rng.IntN(4)
	}
	if is(5) {
		f.st.Tries, f.st.Due = 1+rng.IntN(3), noon.Add(time.Duration(rng.IntN(20)-10)*time.Second).UnixMilli()
	}
	if a := seq(); is(2) {
		f.acked = store.Cursor{Below: a, From: a, Acked: a}
	} else if is(3) {
		f.acked = store.Cursor{Below: a / 2, From: a, Acked: a + seq()}
	}
	if is(4) {
		f.elsewhere = time.UnixMilli(some())
	}
	if is(4) {
		f.quiet = noon.Add(time.Hour)
	}
	if f.summary = is(8); f.summary {
		f.count = rng.IntN(3)
		return f
	}
	if f.requests = is(5); f.requests {
		f.request, f.boxed = is(2), is(3)
	}
	fence := max(f.st.Done, f.mark)
	if f.hears() {
		fence = reached(f.acked, fence)
	}
	blocked := !f.member || f.muted && !f.through
	switch {
	case f.last() > fence && is(2) && !blocked && !(f.hears() && f.acked.Confirmed(f.last())):
		f.fresh = &store.Record{Seq: f.last(), Time: some(), Sender: 2}
		f.favourite, f.always = !f.quiet.IsZero() && is(3), is(8)
		f.count = 1 + rng.IntN(4)
		f.request = false
	case f.last() > fence:
		f.why = []Reason{ReasonOwn, ReasonHidden, ReasonRecalled, ReasonMuted, ReasonMention, ReasonSilentLog, ReasonExpired}[rng.IntN(7)]
	}
	if f.fresh == nil && f.st.Shown != 0 && f.mark < f.st.Shown {
		if f.count = rng.IntN(3); f.count > 0 {
			f.newest = &store.Record{Seq: f.mark + 1, Time: some(), Sender: 2}
		} else if is(2) {
			f.recalled = &store.Record{Seq: f.st.Shown, Time: some(), Sender: 2, Recalled: true}
		}
	}
	return f
}

// contradicts says which rule a verdict breaks, "" if none. It is written from the rules, not from the code.
func contradicts(f facts, v verdict, now time.Time) string {
	sound := v.action == ring && !v.silent
	device := !f.background || f.notifies
	switch {
	case v.action == ring && (f.suspended || !f.registered):
		return "it rings for nobody"
	case v.upto < f.st.Done:
		return "it goes back"
	case (v.action == wait || v.action == fold) != !v.until.IsZero():
		return "when?"
	case v.action == wait && !v.until.After(now):
		return "it waits for the past"
	case v.action == ring && v.begins == v.silent && v.kind != push.KindNotice:
		return "a run begins with a sound, and only that makes one"
	case v.action == clears && (f.st.Shown == 0 || !v.ends || v.class != push.Clear):
		return "it clears nothing"
	case v.action == ring && v.class != push.Chat:
		return "the class of a ring"
	case v.ends && v.action == ring:
		return "a ring ends a run"
	case v.action == ring && !f.summary && v.kind != push.KindRequests && v.newest == nil:
		return "it rings for no message"
	}
	if f.summary {
		switch {
		case v.action == ring && (f.count == 0 || !f.quiet.IsZero() || f.st.Last <= f.st.Done):
			return "a summary of nothing, or at night"
		}
		return ""
	}
	if v.action == ring && v.kind == push.KindRequests {
		if f.boxed || !f.requests || !f.quiet.IsZero() {
			return "the box rings twice a day, for nothing or at night"
		}
		return ""
	}
	switch {
	case v.action == ring && !f.member:
		return "rule 1: it rings for who has left"
	case sound && f.muted && !f.through:
		return "rule 2: it rings in a muted conversation"
	case v.action == ring && v.newest.Seq <= f.mark && !v.newest.Recalled:
		return "rule 3: it rings for what was read"
	case sound && v.newest.Seq <= f.st.Done:
		return "it rings twice"
	case sound && f.connected && device && now.Sub(time.UnixMilli(f.st.Time)) < f.cfg.Overdue:
		return "rule 4: a connected device has no time to acknowledge"
	case sound && device && f.acked.Confirmed(v.newest.Seq):
		return "rule 4: it rings for what was acknowledged"
	case sound && !f.always && !f.elsewhere.IsZero() && now.Sub(f.elsewhere) < f.cfg.Active && now.Sub(time.UnixMilli(f.st.Time)) < f.cfg.Hold:
		return "rule 5: the user is elsewhere"
	case v.action == ring && !v.newest.Recalled && !f.quiet.IsZero() && !f.favourite && !f.always:
		return "rule 6: it rings at night"
	case sound && !f.always && f.st.Shown > f.mark && now.Sub(time.UnixMilli(f.st.Began)) < f.cfg.Run:
		return "rule 7: a second sound in a run"
	case v.action == ring && v.silent && !v.newest.Recalled && now.Sub(time.UnixMilli(f.st.Rang)) < windows[min(max(f.st.Window, 1), len(windows))-1]:
		return "rule 7: within a window"
	case v.action == ring && !f.always && f.st.Tries > 0 && time.UnixMilli(f.st.Due).After(now) && !v.newest.Recalled:
		return "a retry before its time"
	case v.action == wait && v.reason == ReasonGrace && (!f.connected || f.background && !f.notifies):
		return "rule 9: it waits for an acknowledgement that counts for nothing"
	case v.action == nothing && v.reason == ReasonAcked && f.background && !f.notifies:
		return "rule 9: an acknowledgement in the background counts"
	}
	// What rings must not be swallowed.
	if f.fresh != nil && v.action == nothing && f.undecided() && v.upto >= f.fresh.Seq {
		switch v.reason {
		case ReasonSuspended, ReasonNoToken, ReasonLeft, ReasonMuted, ReasonExpired:
		case ReasonRead:
			if f.mark < f.fresh.Seq {
				return "it was not read"
			}
		case ReasonAcked, ReasonNotifies:
			if !device || !f.acked.Confirmed(f.fresh.Seq) {
				return "it was not acknowledged"
			}
		default:
			return "a message that rings is lost"
		}
	}
	return ""
}

// TestBurst: a thousand messages of one room within a minute are five pushes at most, and the last one has the count. The
// rules alone, with a device whose provider takes everything at once.
func TestBurst(t *testing.T) {
	for _, lasts := range []time.Duration{time.Second, 5 * time.Second, 20 * time.Second, 45 * time.Second, time.Minute} {
		const messages = 1000
		var st state
		var pushes []verdict
		for at := time.Duration(0); at < 5*time.Minute; at += 100 * time.Millisecond {
			now := noon.Add(at)
			came := min(store.Seq(messages*at/lasts)+1, messages)
			if st.First == 0 && came > st.Done {
				st.First, st.Time = st.Done+1, now.UnixMilli()
			}
			if st.Last = came; st.Last <= st.Done {
				continue
			}
			wrote := now
			if at > lasts {
				wrote = noon.Add(lasts)
			}
			f := facts{cfg: testConfig, st: st, registered: true, member: true, upto: came, fresh: &store.Record{Seq: came, Time: wrote.UnixMilli()}, count: int(came)}
			if v := decide(f, now); v.action == ring {
				pushes = append(pushes, v)
				if v.begins {
					st.Began, st.Window = now.UnixMilli(), 0
				}
				st.Shown, st.Rang, st.Count, st.Done, st.First, st.Window = v.shown, now.UnixMilli(), v.count, v.upto, 0, st.Window+1
			} else if v.action != wait {
				t.Fatalf("%+v", v)
			}
		}
		n := len(pushes)
		if n == 0 || n > 5 || pushes[n-1].count != messages {
			t.Errorf("a burst of %s: %d pushes", lasts, n)
		}
		for i, v := range pushes {
			if v.silent == (i == 0) {
				t.Errorf("a burst of %s: push %d, silent %t", lasts, i, v.silent)
			}
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	f := one(nil)
	b.ReportAllocs()
	for b.Loop() {
		decide(f, noon)
	}
}
