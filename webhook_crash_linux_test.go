package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// TestWebhookCrash kills a server with SIGKILL while followers write to a brand, broadcasts end, and the brand's server
// answers with 500, hangs up, or answers nothing until the other one is dead. Every event arrives, signed, in the order of
// its thread or broadcast, and whenever it comes again it is the same one under the same identifier.
func TestWebhookCrash(t *testing.T) {
	t.Parallel()
	const askers, rounds, each = 3, 3, 4
	dir, mqtt, web := dataDir(t), freePort(t), freePort(t)
	hwangso(t, "seed", "-users", fmt.Sprint(askers+1), "-friends", "0", "-password", "pw", "-data", dir)
	brand := fmt.Sprint("u", askers)
	hwangso(t, "channel", "create", "cafe", "-owner", brand, "-title", "The café", "-data", dir)
	r := &rung{t: t, dir: dir, mqtt: mqtt, http: web, args: []string{"-mqtt", mqtt, "-http", web, "-webhook-allow", "127.0.0.0/8"}}
	r.start()
	to := newReceiver(t)
	var set struct {
		Secret  string
		Webhook struct{ Webhook string }
	}
	r.must(brand, "webhook.set", object{"channel": "cafe", "url": to.URL}, &set)
	to.set(func() { to.secret = set.Secret })

	var writers []*subscriber
	for i := range askers {
		user := fmt.Sprint("u", i)
		r.must(user, "channel.follow", object{"channel": "cafe"}, nil)
		writers = append(writers, r.listen(user))
	}
	casts := &casts{r: r, brand: brand, asked: make(map[string]object)}
	for round := range rounds {
		to.set(func() { to.held, to.stuck = make(chan struct{}), 0 })
		var wg sync.WaitGroup
		for i, w := range writers {
			wg.Go(func() {
				for n := range each {
					if err := w.asks(fmt.Sprintf("question %d of %d", round*each+n, i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() {
			key, in := fmt.Sprint("b", round), object{"at": time.Now().Add(time.Hour)}
			if round == 0 { // it goes out
				in = object{}
			}
			if err := casts.create(key, in); err != nil || round == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if status, _, err := r.ask(t.Context(), brand, "broadcast.cancel", object{"channel": "cafe", "key": key}); err == nil && status == http.StatusOK {
					return
				}
			}
			t.Errorf("%s is not canceled", key)
		})
		to.await(func() bool { return to.stuck > 0 }) // a request of this round waits for its answer, which never comes
		r.p.kill()
		r.start()
		to.set(func() { close(to.held) })
		wg.Wait()
	}
	if t.Failed() {
		return
	}
	to.await(func() bool {
		done := 0
		for _, s := range to.subjects {
			for _, e := range s {
				if e.took {
					done++
				}
			}
		}
		return done == rounds*(askers*each+1)
	})
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // the last answer is on its way yet
		var out struct {
			Webhook struct {
				Waiting, Dropped int
				State            string
			}
		}
		r.must(brand, "webhook.get", object{"channel": "cafe", "webhook": set.Webhook.Webhook}, &out)
		if out.Webhook.Waiting+out.Webhook.Dropped == 0 && out.Webhook.State == "ok" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", out)
		}
	}
	r.p.stop()
	to.Close()

	threads := 0
	for subject, list := range to.subjects {
		var said []string
		for _, e := range list {
			said = append(said, e.says)
		}
		if !strings.HasPrefix(subject, "thread ") {
			want := "canceled"
			if subject == "broadcast b0" {
				want = "done"
			}
			if !slices.Equal(said, []string{want}) {
				t.Errorf("%s: %v", subject, said)
			}
			continue
		}
		threads++
		_, of, _ := strings.Cut(said[0], " of ")
		var want []string
		for n := range rounds * each {
			want = append(want, fmt.Sprintf("question %d of %s", n, of))
		}
		if !slices.Equal(said, want) {
			t.Errorf("%s: %v", subject, said)
		}
	}
	if threads != askers || len(to.subjects) != askers+rounds {
		t.Errorf("events about %v", slices.Collect(maps.Keys(to.subjects)))
	}
	for _, what := range []string{"500", "hung up", "held"} {
		if to.answers[what] == 0 {
			t.Errorf("no request was %s: %v", what, to.answers)
		}
	}
	t.Logf("%d events, %d of them came again; %v", rounds*(askers*each+1), to.again, to.answers)
}

// asks writes to the channel, under one cid until it is acknowledged.
func (l *subscriber) asks(text string) error {
	ctx, cancel := context.WithTimeout(l.r.t.Context(), patience)
	defer cancel()
	for {
		if err := l.conn.AwaitConnection(ctx); err != nil {
			return err
		}
		ack, err := l.conn.Publish(ctx, &paho.Publish{QoS: 1, Topic: "channel/cafe/ask/text", Payload: []byte(text),
			Properties: &paho.PublishProperties{CorrelationData: []byte(strings.ReplaceAll(text, " ", "-"))}})
		switch {
		case ack != nil && ack.ReasonCode >= 0x80:
			return fmt.Errorf("%s: %#x, %w", text, ack.ReasonCode, err)
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		time.Sleep(10 * time.Millisecond) // nobody knows whether it arrived
	}
}

// receiver is a brand's server, which fails in turn in each way.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	secret   string
	n        int
	held     chan struct{} // closed when those that wait may go
	stuck    int           // requests that wait
	answers  map[string]int
	again    int
	ids      map[string]*happened
	subjects map[string][]*happened // in the order of their first arrival
	grown    chan struct{}
}

// happened is an event that has arrived.
type happened struct {
	subject, says, body string
	took                bool // it was answered 2xx
}

func newReceiver(t *testing.T) *receiver {
	to := &receiver{t: t, answers: make(map[string]int), ids: make(map[string]*happened), subjects: make(map[string][]*happened), grown: make(chan struct{}),
		held: make(chan struct{})}
	to.Server = httptest.NewServer(to)
	t.Cleanup(to.Close)
	return to
}

func (to *receiver) set(fn func()) {
	to.mu.Lock()
	defer to.mu.Unlock()
	fn()
	close(to.grown)
	to.grown = make(chan struct{})
}

// await waits until something holds. is is called with the lock.
func (to *receiver) await(is func() bool) {
	to.t.Helper()
	late := time.After(2 * patience)
	for {
		to.mu.Lock()
		ok, grown := is(), to.grown
		to.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-grown:
		case <-late:
			to.mu.Lock()
			defer to.mu.Unlock()
			to.t.Fatalf("%v, %d again, of %d events", to.answers, to.again, len(to.ids))
		}
	}
}

func (to *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // who asks is dead
	}
	to.mu.Lock()
	e, err := to.arrived(r, body)
	if err != nil {
		to.mu.Unlock()
		to.t.Error(err)
		return
	}
	how := "taken"
	switch to.n++; {
	case to.n%7 == 2:
		how = "500"
	case to.n%7 == 4:
		how = "hung up"
	case to.n%7 == 6 && to.stuck == 0:
		how = "held"
		to.stuck++
	default:
		e.took = true
	}
	to.answers[how]++
	held := to.held
	close(to.grown)
	to.grown = make(chan struct{})
	to.mu.Unlock()
	switch how {
	case "500":
		w.WriteHeader(http.StatusInternalServerError)
	case "hung up":
		panic(http.ErrAbortHandler)
	case "held":
		select {
		case <-held:
		case <-to.t.Context().Done():
		}
		panic(http.ErrAbortHandler)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// arrived checks a request as docs/channels.md says, and that it fits what arrived before. The caller holds mu.
func (to *receiver) arrived(r *http.Request, body []byte) (*happened, error) {
	timestamp := r.Header.Get("X-Hwangso-Timestamp")
	m := hmac.New(sha256.New, []byte(to.secret))
	m.Write([]byte(timestamp + "."))
	m.Write(body)
	at, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(at, 0)).Abs() > 5*time.Minute || r.Header.Get("X-Hwangso-Signature") != "v1="+hex.EncodeToString(m.Sum(nil)) {
		return nil, fmt.Errorf("not signed: %v %s", r.Header, body)
	}
	var d struct {
		ID, Event, Channel string
		Data               struct {
			Thread, Text, Broadcast, State string
			Seq                            int
		}
	}
	if err := json.Unmarshal(body, &d); err != nil || d.ID == "" || d.ID != r.Header.Get("Idempotency-Key") || d.Channel != "cafe" {
		return nil, fmt.Errorf("%v %s: %w", r.Header, body, err)
	}
	e := &happened{body: string(body)}
	switch d.Event {
	case "thread.message":
		e.subject, e.says = "thread "+d.Data.Thread, d.Data.Text
	case "broadcast.finished":
		e.subject, e.says = "broadcast "+d.Data.Broadcast, d.Data.State
	default:
		return nil, fmt.Errorf("nobody expects %s", body)
	}
	if old := to.ids[d.ID]; old != nil {
		to.again++
		if old.body != e.body {
			return nil, fmt.Errorf("again under one identifier:\n%s\n%s", old.body, e.body)
		}
		return old, nil
	}
	list := to.subjects[e.subject]
	for _, before := range list {
		if !before.took || before.says == e.says {
			return nil, fmt.Errorf("%s has come, and before it %s, which was taken: %v", e.body, before.body, before.took)
		}
	}
	if n := len(list) + 1; d.Event == "thread.message" && d.Data.Seq != n {
		return nil, fmt.Errorf("%s is number %d of its thread", e.body, n)
	}
	to.ids[d.ID], to.subjects[e.subject] = e, append(list, e)
	return e, nil
}
