package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/bulk"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/examples/chat/client"
	"github.com/hwangso/hwangso/store/graph"
)

// TestPushCrash ends servers that wake phones, with SIGKILL and with SIGTERM: `hwangso serve` as a process of its own, set
// up by what `hwangso pushsim init` makes, with the simulator in this process. Whatever was acknowledged is told, and what
// a phone shows is shown once. HWANGSO_CRASH_ROUNDS is how many times the server under load is killed, 5 if it is not set.
func TestPushCrash(t *testing.T) {
	rounds := 5
	if s := os.Getenv("HWANGSO_CRASH_ROUNDS"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatalf("HWANGSO_CRASH_ROUNDS: %v", err)
		}
	}
	if testing.Short() {
		rounds = 2
	}
	for name, f := range map[string]func(*testing.T){
		"AroundPost": pushCrashAroundPost,
		"Load":       func(t *testing.T) { pushUnderLoad(t, rounds, (*process).kill) },
		"Broadcast":  pushCrashBroadcast,
		"Stop":       func(t *testing.T) { pushUnderLoad(t, 2, (*process).stop) },
		"StopHung":   pushStopHung,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			f(t)
		})
	}
}

// pushCrashAroundPost kills a server when a push of each provider is on the phone and not answered, and the others wait for
// that one; and once more when everything is told and recorded.
func pushCrashAroundPost(t *testing.T) {
	const users = 5
	r := newRung(t, users+1, users, 1)
	r.start()
	for _, p := range graph.PushProviders() {
		r.hang(pushsim.Provider(p))
	}
	from := fmt.Sprint("u", users)
	r.hello(users, from)
	posted := make(map[string]pushsim.Attempt)
	for _, p := range graph.PushProviders() {
		a := r.attempts(0, pushsim.Provider(p), 1)[0]
		posted[a.Token] = a
	}
	r.p.kill()
	for _, a := range r.sim.Attempts() {
		posted[a.Token] = a
	}
	if len(posted) == len(r.phones) {
		t.Error("every push was sent before the server was killed")
	}
	r.sim.Clear(0)
	before := r.sim.Last()
	// A command on the data of a server that does not run decides and sends nothing.
	hwangso(t, "user", "list", "-data", r.dir)
	hwangso(t, "push", "announcements", "-data", r.dir)
	r.start()
	r.greeted(from)
	r.settled()
	again := 0
	for _, a := range r.sim.Attempts() {
		if a.N <= before {
			continue
		}
		first, ok := posted[a.Token]
		if !ok {
			continue
		}
		again++
		if a.Collapse != first.Collapse || a.Provider == pushsim.APNs && a.ID != first.ID || a.Seq != first.Seq {
			t.Errorf("repeated as another one: %+v\n%+v", first, a)
		}
	}
	if again != len(posted) {
		t.Errorf("%d were repeated of %d that nobody had answered", again, len(posted))
	}
	r.once()

	before = r.sim.Last()
	r.p.kill()
	r.start()
	r.settled()
	if last := r.sim.Last(); last != before {
		t.Errorf("%d pushes after everything was recorded", last-before)
	}
	t.Logf("%d phones; killed with %d pushes on the phone and not recorded, %d not sent", len(r.phones), len(posted), len(r.phones)-len(posted))
	r.end()
}

// conversation is what one user is told of.
type conversation struct{ user, room string }

// told is what there is to tell: the newest message, and how many there are.
type told struct {
	newest uint64
	count  int
}

// load is who writes to a server, and what was acknowledged.
type load struct {
	r    *rung
	stop chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	what   map[conversation]told // guarded by mu
	n      int                   // guarded by mu
	failed []error               // guarded by mu
}

const (
	loadReaders = 6
	loadWriters = 6
	loadRooms   = 3
)

// pushUnderLoad ends a server at random moments while it is written to, often just when a push has reached its provider.
// Afterwards each phone shows the newest message of every conversation, and counts all of them. Rounds are spread over
// servers of their own, so that no conversation is so old that its next push takes long.
func pushUnderLoad(t *testing.T, rounds int, end func(*process)) {
	for rounds > 0 {
		n := min(rounds, 6)
		rounds -= n
		pushLoadOnce(t, n, end)
	}
}

func pushLoadOnce(t *testing.T, rounds int, end func(*process)) {
	// No summaries: everything has to be told by itself.
	r := newRung(t, loadReaders+loadWriters, loadReaders, loadRooms, "-push-per-minute", "10000")
	r.start()
	l := &load{r: r, stop: make(chan struct{}), what: make(map[conversation]told)}
	for i := range loadWriters {
		l.wg.Go(func() { l.write(fmt.Sprint("u", loadReaders+i), i%2 == 0) })
	}
	providers := []pushsim.Provider{pushsim.APNs, pushsim.FCM, pushsim.WebPush}
	for i := range rounds {
		if time.Sleep(rand.N(300 * time.Millisecond)); i%2 == 0 { // the moment is the test's input
			r.attempts(r.sim.Last(), providers[rand.N(len(providers))], 1+rand.N(4))
		}
		end(r.p)
		r.start()
	}
	time.Sleep(200 * time.Millisecond) // some more is written to the last one
	close(l.stop)
	l.wg.Wait()
	l.check(rounds)
	r.settled()
	repeated := r.once()
	t.Logf("%d times ended: %d messages to %d phones, %d conversations, %d pushes, %d of them repeats", rounds, l.n, len(r.phones), len(l.what),
		len(r.sim.Attempts()), repeated)
	r.end()
}

// write sends to readers and rooms at random until the load is stopped.
func (l *load) write(from string, mqtt bool) {
	ctx, cancel := context.WithTimeout(l.r.t.Context(), 5*patience)
	defer cancel()
	send := func(to, cid string) (uint64, error) { return l.r.send(ctx, from, to, "text "+cid, cid) }
	if mqtt {
		c, err := client.New(ctx, client.Config{Server: "mqtt://" + l.r.mqtt, User: from, Token: "pw", ClientID: "writer", Backoff: 20 * time.Millisecond})
		if err != nil {
			l.fails(err)
			return
		}
		defer c.Close(context.Background())
		send = func(to, cid string) (uint64, error) { return c.Send(ctx, to, "text "+cid, cid) }
	}
	for {
		select {
		case <-l.stop:
			return
		case <-time.After(10*time.Millisecond + rand.N(50*time.Millisecond)):
		}
		reader := rand.N(loadReaders + loadRooms)
		to := fmt.Sprint("user/u", reader)
		if reader >= loadReaders {
			to = fmt.Sprint("room/g", reader-loadReaders)
		}
		seq, err := send(to, client.NewCID())
		if err != nil || seq == 0 {
			l.fails(fmt.Errorf("%s to %s: %d, %w", from, to, seq, err))
			return
		}
		l.acknowledged(from, to, seq)
	}
}

func (l *load) fails(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, err)
}

func (l *load) acknowledged(from, to string, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	add := func(c conversation) {
		w := l.what[c]
		l.what[c] = told{max(w.newest, seq), w.count + 1}
	}
	if user, pair := strings.CutPrefix(to, "user/"); pair {
		add(conversation{user, "user/" + from})
		return
	}
	for i := range loadReaders {
		add(conversation{fmt.Sprint("u", i), to})
	}
}

// check waits until every phone shows the newest message of each conversation with the number of all of them.
func (l *load) check(rounds int) {
	t := l.r.t
	t.Helper()
	if len(l.failed) > 0 || l.n < rounds {
		t.Fatalf("%d messages were written: %v", l.n, l.failed)
	}
	for _, p := range l.r.phones {
		missing := make(map[conversation]told)
		for c, w := range l.what {
			if c.user == p.user {
				missing[c] = w
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		got, err := l.r.sim.WaitPhone(ctx, p.token, func(ph pushsim.Phone) bool {
			for _, n := range ph.Notifications {
				c := conversation{p.user, n.Room}
				if w, ok := missing[c]; ok && n.Seq == w.newest && max(n.Count, 1) == w.count {
					delete(missing, c)
				}
			}
			return len(missing) == 0
		})
		cancel()
		if err != nil {
			got, _ = l.r.sim.Phone(p.token)
			t.Errorf("%s's phone at %s does not show %v (%v), but", p.user, p.provider, missing, err)
			for _, n := range got.Notifications {
				t.Logf("  %s #%d, %d: %s", n.Room, n.Seq, n.Count, n.ID)
			}
			for c, w := range missing {
				out, _, _ := try(t, "push", "why", c.user, c.room, fmt.Sprint(w.newest), "-data", l.r.dir)
				t.Logf("%v:\n%s", c, out)
			}
			return
		}
		for _, n := range got.Notifications {
			if n.Kind == "summary" {
				t.Errorf("%s's phone at %s shows a summary: %+v", p.user, p.provider, n)
			}
		}
	}
}

// pushCrashBroadcast kills a server in the middle of an announcement's pages. Everybody is told once, and a crash repeats at
// most a page of each provider.
func pushCrashBroadcast(t *testing.T) {
	const users, most, apart = 800, 3, 600
	r := newRung(t, users, users, 0)
	// Answers that take a while, so that every page is under way for some time.
	if _, err := r.sim.Add(pushsim.Fault{Do: pushsim.Do{Latency: 100 * time.Millisecond, Jitter: 100 * time.Millisecond}}); err != nil {
		t.Fatal(err)
	}
	r.start()
	hwangso(t, "push", "announce", "-id", "party", "-wait=false", "A party", "-data", r.dir)
	var begun uint64
	crashes, inside := 0, 0
	for state := "running"; state == "running" && crashes < most; crashes++ {
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		want := begun + 1 + rand.Uint64N(apart)
		if _, err := r.sim.WaitAfter(ctx, begun, func(a pushsim.Attempt) bool { return a.N == want }); err != nil {
			t.Fatalf("%d attempts instead of %d: %v\n%s", r.sim.Last(), want, err, r.p.out)
		}
		cancel()
		r.p.kill()
		if state = r.announced(); state == "running" { // else the machine was so slow that everything was sent meanwhile
			inside++
		}
		begun = r.sim.Last()
		r.start()
	}
	if inside == 0 {
		t.Error("every push was sent before the server was killed")
	}
	for end := time.Now().Add(4 * patience); r.announced() != "done"; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the announcement does not end:\n%s", hwangso(t, "push", "announcements", "-data", r.dir))
		}
	}
	for _, p := range r.phones {
		got, _ := r.sim.Phone(p.token)
		if len(got.Notifications) != 1 || got.Notifications[0].Kind != "announce" || got.Rang != 1 {
			t.Errorf("%s's phone at %s: %+v", p.user, p.provider, got)
		}
	}
	r.once()
	pushes := make(map[pushsim.Provider]int)
	for _, a := range r.sim.Attempts() {
		pushes[a.Provider]++
	}
	for p, n := range pushes {
		if again := n - users; again < 0 || again > crashes*bulk.DefaultPage {
			t.Errorf("%s: %d pushes for %d phones and %d crashes", p, n, users, crashes)
		}
	}
	t.Logf("killed %d times, %d of them inside: %d phones of each provider, pushes %v", crashes, inside, users, pushes)
	r.end()
}

// announced is the state of the only announcement.
func (r *rung) announced() string {
	r.t.Helper()
	m := regexp.MustCompile(`(?m)^party .* ([a-z]+): \d+ users`).FindStringSubmatch(hwangso(r.t, "push", "announcements", "-data", r.dir))
	if m == nil {
		r.t.Fatal("the announcement is not listed")
	}
	return m[1]
}

// pushStopHung stops a server in an orderly way while no provider answers any more: it ends in a bounded time, what was
// recorded is not repeated, and what nobody answered is the same push again.
func pushStopHung(t *testing.T) {
	const users = 5
	r := newRung(t, users+2, users, 1)
	r.start()
	first, second := fmt.Sprint("u", users), fmt.Sprint("u", users+1)
	r.hello(users, first)
	r.greeted(first)
	r.settled()
	recorded := r.sim.Last()
	for _, p := range graph.PushProviders() {
		r.hang(pushsim.Provider(p))
	}
	r.hello(users, second)
	for _, p := range graph.PushProviders() {
		r.attempts(recorded, pushsim.Provider(p), users)
	}
	hwangso(t, "push", "announce", "-id", "party", "-wait=false", "A party", "-data", r.dir)
	r.attempts(recorded, pushsim.FCM, users+1)
	began := time.Now()
	r.p.stop()
	took := time.Since(began)
	before := r.sim.Last()
	r.sim.Clear(0)
	r.start()
	for _, p := range r.phones {
		got := r.shows(p, func(p pushsim.Phone) bool { return len(p.Notifications) == 3 })
		if got.Rang != 3 {
			t.Errorf("%s's phone at %s rang %d times", p.user, p.provider, got.Rang)
		}
	}
	r.settled()
	for end := time.Now().Add(2 * patience); r.announced() != "done" && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
	r.once()
	for _, a := range r.sim.Attempts() {
		if a.N > before && a.Payload["room"] == "user/"+first {
			t.Errorf("repeated although it was recorded: %+v", a)
		}
	}
	t.Logf("stopped after %v; %d pushes before it that were not answered, %d after it", took.Round(time.Millisecond), before-recorded, r.sim.Last()-before)
	r.end()
}
