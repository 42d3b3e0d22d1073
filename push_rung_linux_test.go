package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/examples/chat/client"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

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
	r.inStore(func(s *bolt.Store, g *graph.Graph) {
		todo := make(chan rungPhone)
		failed := make(chan error, 64)
		for range cap(failed) { // the disk serves them together
			go func() {
				var err error
				for p := range todo {
					if err == nil {
						err = r.registerPhone(s, g, p)
					}
				}
				failed <- err
			}()
		}
		for i := range users {
			for j, p := range []pushsim.Provider{pushsim.APNs, pushsim.FCM, pushsim.WebPush} {
				ph := rungPhone{user: fmt.Sprint("u", i*every), provider: p, token: fmt.Sprintf("%064x", i*3+j+1)}
				r.phones = append(r.phones, ph)
				todo <- ph
			}
		}
		close(todo)
		for range cap(failed) {
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
		}
	})
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

// inStore calls fn with the store of a server that does not run.
func (r *rung) inStore(fn func(*bolt.Store, *graph.Graph)) {
	r.t.Helper()
	s, err := bolt.Open(bolt.Config{Dir: r.dir, MinFree: -1})
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { // fn may end the test
		if err := s.Close(); err != nil {
			r.t.Error(err)
		}
	}()
	fn(s, graph.New(s, time.Now))
}

func (r *rung) start() { r.p = startServer(r.t, r.dir, r.args...) }

// object is JSON as it is written down.
type object map[string]any

// ask asks for an operation once.
func (r *rung) ask(ctx context.Context, user, op string, in object) (status int, answer []byte, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, nil, err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.http+"/v1/"+op, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	q.SetBasicAuth(user, "pw")
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, nil, err
	}
	defer a.Body.Close()
	answer, err = io.ReadAll(a.Body)
	return a.StatusCode, answer, err
}

// must asks a server that runs for an operation that succeeds, as fast as may be asked.
func (r *rung) must(user, op string, in object, out any) {
	r.t.Helper()
	for {
		status, answer, err := r.ask(r.t.Context(), user, op, in)
		if err == nil && status == http.StatusTooManyRequests {
			var wait struct {
				Retry int64 `json:"retry_ms"`
			}
			if json.Unmarshal(answer, &wait) == nil {
				time.Sleep(time.Duration(wait.Retry) * time.Millisecond)
				continue
			}
		}
		if err == nil && out != nil {
			err = json.Unmarshal(answer, out)
		}
		if status != http.StatusOK || err != nil {
			r.t.Fatalf("%s %v: %d %s %v", op, in, status, answer, err)
		}
		return
	}
}

// send sends a text over the control API, again and again until it is acknowledged, and returns its sequence.
func (r *rung) send(ctx context.Context, from, to, text, cid string) (uint64, error) {
	place, name, _ := strings.Cut(to, "/")
	for {
		seq, err := r.post(ctx, from, object{place: name, "text": text, "cid": cid})
		if err == nil || ctx.Err() != nil {
			return seq, err
		}
		time.Sleep(20 * time.Millisecond) // the server is away
	}
}

func (r *rung) post(ctx context.Context, from string, message object) (uint64, error) {
	status, answer, err := r.ask(ctx, from, "message.send", message)
	if err != nil {
		return 0, err
	}
	var out struct{ Seq uint64 }
	if err := json.Unmarshal(answer, &out); err != nil || status != http.StatusOK || out.Seq == 0 {
		return 0, fmt.Errorf("%d: %s", status, answer)
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
