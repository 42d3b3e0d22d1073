package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/bulk"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/examples/chat/client"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
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

// rung is a server in a process of its own, and the phones of its users.
type rung struct {
	t          *testing.T
	dir        string
	args       []string
	mqtt, http string
	sim        *pushsim.Sim
	p          *process
	phones     []rungPhone
}

// rungPhone is a registered device. Its token at the simulator tells user and provider.
type rungPhone struct {
	user     string
	provider pushsim.Provider
	token    string
}

// newRung makes a server that does not run yet, with users u0, u1 … who are friends of each other, if they are few, and
// members of so many rooms g0, g1 … The first ones have a phone at each provider.
func newRung(t *testing.T, users, withPhones, rooms int, args ...string) *rung {
	t.Helper()
	seed := []string{"-users", fmt.Sprint(users)}
	if rooms > 0 {
		seed = append(seed, "-friends", fmt.Sprint(users-1), "-rooms", fmt.Sprint(rooms), "-room-size", fmt.Sprint(users))
	}
	return newRungOf(t, seed, withPhones, 1, args...)
}

// newRungOf makes a server with the population that the arguments of seed ask for. Of every so many users the first has a
// phone at each provider, until so many users have.
func newRungOf(t *testing.T, population []string, withPhones, every int, args ...string) *rung {
	t.Helper()
	r := &rung{t: t, dir: dataDir(t), mqtt: freePort(t), http: freePort(t)}
	hwangso(t, slices.Concat([]string{"seed", "-friends", "0", "-password", "pw", "-data", r.dir}, population)...)
	sim := t.TempDir()
	f, err := pushsim.Init(sim, pushsim.InitOptions{Listen: pushsim.FreePorts()})
	if err != nil {
		t.Fatal(err)
	}
	if r.sim, err = pushsim.Start(pushsim.Config{Dir: sim, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.sim.Close(); err != nil {
			t.Error(err)
		}
	})
	r.args = append([]string{"-config", f.Config, "-mqtt", r.mqtt, "-http", r.http}, args...)
	r.register(withPhones, every)
	return r
}

// register gives so many users, of every so many the first, a phone at each provider.
func (r *rung) register(users, every int) {
	t := r.t
	t.Helper()
	s, err := bolt.Open(bolt.Config{Dir: r.dir, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	g := graph.New(s, time.Now)
	todo := make(chan rungPhone)
	failed := make(chan error, 64)
	var wg sync.WaitGroup
	for range cap(failed) { // the disk serves them together
		wg.Go(func() {
			var err error
			for p := range todo {
				if err == nil {
					err = r.registerPhone(s, g, p)
				}
			}
			failed <- err
		})
	}
	for i := range users {
		for j, p := range []pushsim.Provider{pushsim.APNs, pushsim.FCM, pushsim.WebPush} {
			ph := rungPhone{user: fmt.Sprint("u", i*every), provider: p, token: fmt.Sprintf("%064x", i*3+j+1)}
			r.phones = append(r.phones, ph)
			todo <- ph
		}
	}
	close(todo)
	wg.Wait()
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func (r *rung) registerPhone(s *bolt.Store, g *graph.Graph, p rungPhone) error {
	ctx := r.t.Context()
	n, err := strconv.ParseUint(p.user[1:], 10, 64)
	if err != nil {
		return err
	}
	a := store.AccountID(n + 1) // as bolt.Seed says
	id := store.DeviceOf(a, "phone-"+string(p.provider))
	if err := s.PutDevice(ctx, store.Device{Account: a, ID: id, ClientID: "phone-" + string(p.provider)}, 0); err != nil {
		return err
	}
	reg := graph.Registration{Device: id, Provider: graph.PushProvider(p.provider), Token: p.token}
	if p.provider == pushsim.WebPush {
		sub, err := r.sim.Subscribe(p.token)
		if err != nil {
			return err
		}
		reg.Token, reg.Key, reg.Secret = sub.Endpoint, sub.P256dh, sub.Auth
	}
	_, err = g.Register(ctx, a, reg)
	return err
}

func (r *rung) start() { r.p = startServer(r.t, r.dir, r.args...) }

// send sends a text over the control API, again and again until it is acknowledged, and returns its sequence.
func (r *rung) send(ctx context.Context, from, to, text, cid string) (uint64, error) {
	place, name, _ := strings.Cut(to, "/")
	body, err := json.Marshal(map[string]string{place: name, "text": text, "cid": cid})
	if err != nil {
		return 0, err
	}
	for {
		seq, err := r.post(ctx, from, body)
		if err == nil || ctx.Err() != nil {
			return seq, err
		}
		time.Sleep(20 * time.Millisecond) // the server is away
	}
}

func (r *rung) post(ctx context.Context, from string, body []byte) (uint64, error) {
	q, err := http.NewRequestWithContext(ctx, "POST", "http://"+r.http+"/v1/message.send", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	q.SetBasicAuth(from, "pw")
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		return 0, err
	}
	var out struct{ Seq uint64 }
	if err := json.Unmarshal(text, &out); err != nil || a.StatusCode != 200 || out.Seq == 0 {
		return 0, fmt.Errorf("%s: %s", a.Status, text)
	}
	return out.Seq, nil
}

// shows waits until a phone fits.
func (r *rung) shows(p rungPhone, fits func(pushsim.Phone) bool) pushsim.Phone {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*patience)
	defer cancel()
	got, err := r.sim.WaitPhone(ctx, p.token, fits)
	if err != nil {
		got, _ := r.sim.Phone(p.token)
		r.t.Fatalf("%s's phone at %s does not come to show what it has to (%v), but %+v\n%s", p.user, p.provider, err, got, r.p.out)
	}
	return got
}

var nothingLeft = regexp.MustCompile(`(?m)^0 bytes of the journal to read, 0 entries unsettled; under way: 0 in memory, `)

// settled waits until nothing is left to decide and nothing to send but what waits on disk.
func (r *rung) settled() {
	r.t.Helper()
	for end := time.Now().Add(2 * patience); ; time.Sleep(50 * time.Millisecond) {
		out := hwangso(r.t, "push", "status", "-data", r.dir)
		if nothingLeft.MatchString(out) {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("not settled:\n%s", out)
		}
	}
}

// once checks that no phone shows anything twice, and returns how many pushes told what was told before.
func (r *rung) once() (repeated int) {
	r.t.Helper()
	for _, c := range r.sim.Counts() {
		repeated += c.Delivered - 1
		if !c.Duplicate() {
			continue
		}
		r.t.Errorf("told twice: %+v", c)
		for _, a := range r.sim.Attempts() {
			if a.Token == c.Token && a.Thread == c.Thread {
				r.t.Logf("  %s %s #%d %s %s id=%s collapse=%s %v %v", a.Time.Format("15:04:05.000"), a.Provider, a.Seq, a.Effect, a.Fault, a.ID, a.Collapse, a.Rang, a.Payload)
			}
		}
	}
	return repeated
}

// hang lets no push of a provider be answered any more. Phones get what is sent.
func (r *rung) hang(p pushsim.Provider) {
	r.t.Helper()
	if _, err := r.sim.Add(pushsim.Fault{Provider: p, Do: pushsim.Do{Hang: true, Deliver: true}}); err != nil {
		r.t.Fatal(err)
	}
}

// attempts waits for so many attempts of a provider after number n, and returns them.
func (r *rung) attempts(n uint64, p pushsim.Provider, many int) (got []pushsim.Attempt) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*patience)
	defer cancel()
	_, err := r.sim.WaitAfter(ctx, n, func(a pushsim.Attempt) bool {
		if a.Provider == p {
			got = append(got, a)
		}
		return len(got) == many
	})
	if err != nil {
		r.t.Fatalf("%d attempts of %s instead of %d: %v\n%s", len(got), p, many, err, r.p.out)
	}
	return got
}

// end stops the server and looks at what it leaves.
func (r *rung) end() {
	r.t.Helper()
	r.p.stop()
	if msg := hwangso(r.t, "check", "-data", r.dir); !strings.Contains(msg, "All is well") {
		r.t.Error(msg)
	}
}

// hello sends a message to each of the first users, whose phones are away, and returns when all are acknowledged.
func (r *rung) hello(users int, from string) {
	r.t.Helper()
	for i := range users {
		if _, err := r.send(r.t.Context(), from, fmt.Sprint("user/u", i), "hello", client.NewCID()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// greeted waits until every phone shows the first message of from, and nothing else.
func (r *rung) greeted(from string) {
	r.t.Helper()
	for _, p := range r.phones {
		got := r.shows(p, func(p pushsim.Phone) bool { return len(p.Notifications) > 0 })
		if n := got.Notifications[0]; len(got.Notifications) != 1 || got.Rang != 1 || n.Seq != 1 || n.Room != "user/"+from || n.Count > 1 {
			r.t.Errorf("%s's phone at %s: %+v", p.user, p.provider, got)
		}
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
