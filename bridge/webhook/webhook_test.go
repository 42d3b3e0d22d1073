package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// TestMessage: what a follower writes arrives signed, under its pseudonym, and with nothing else of it; what the brand
// writes does not.
func TestMessage(t *testing.T) {
	w := newWorld(t)
	a, thread := w.follower(1)
	w.say(store.Draft{Log: thread.ID, Sender: a, Text: []byte("before there was an endpoint")})
	w.forward(time.Second)
	h, secret := w.set()
	w.s.Start()
	seq := w.say(store.Draft{Log: thread.ID, Sender: a, Device: 77, CID: "cidword", Text: []byte("hello <brand>")})
	w.say(store.Draft{Log: thread.ID, Sender: w.brand, Text: []byte("from the brand")})
	w.say(store.Draft{Log: thread.ID, Sender: a, Audience: store.AudienceSender, Text: []byte("seen by nobody")})
	d := w.to.next()
	w.verified(d, secret)
	w.silentAbout(d, "cidword")
	want := fmt.Sprintf(`{"id":"%s","event":"thread.message","time":"2026-11-22T07:00:01.000Z","channel":"news","data":{"thread":"pseudonym%d","seq":%d,"kind":"text","text":"hello \u003cbrand\u003e"}}`,
		d.doc.ID, uint64(a)*1000+uint64(w.channel.ID), seq)
	if string(d.body) != want {
		t.Errorf("got  %s\nwant %s", d.body, want)
	}
	w.say(store.Draft{Log: thread.ID, Sender: a, Text: []byte("the next"), Op: store.Op{Kind: store.OpEdit, Target: seq}})
	if d := w.to.next(); d.text() != "the next" || d.doc.Data["op"] != "edit" || d.doc.Data["target"] != float64(seq) {
		t.Errorf("got %s", d.body)
	}
	h = w.await(h.ID, func(h Hook) bool { return h.Waiting == 0 })
	if h.State != "ok" || len(h.Last) != 2 || h.Last[0].Code != 200 || h.Last[0].Outcome != outOK || h.Dropped != 0 {
		t.Errorf("%+v", h)
	}
	w.to.none()
}

// TestRecalled: what is taken back while it waits is not told any more.
func TestRecalled(t *testing.T) {
	w := newWorld(t)
	a, thread := w.follower(1)
	h, _ := w.set()
	w.s.Start()
	w.to.code(503)
	seq := w.say(store.Draft{Log: thread.ID, Sender: a, Text: []byte("a secret word")})
	first := w.to.next()
	w.say(store.Draft{Log: thread.ID, Sender: a, Op: store.Op{Kind: store.OpRecall, Target: seq}})
	w.await(h.ID, func(h Hook) bool { return h.Waiting == 2 && len(h.Last) == 1 })
	w.to.code(200)
	w.forward(time.Minute)
	if d := w.to.next(); d.doc.ID != first.doc.ID || strings.Contains(string(d.body), "secret") || d.doc.Data["recalled"] != true {
		t.Errorf("got %s", d.body)
	}
	if d := w.to.next(); d.doc.Data["op"] != "recall" || d.doc.Data["target"] != float64(seq) {
		t.Errorf("got %s", d.body)
	}
}

// TestOrder: a thread whose message is refused waits, with all that follows; the others do not.
func TestOrder(t *testing.T) {
	w := newWorld(t)
	h, _ := w.set()
	w.s.Start()
	var refuse atomic.Bool
	refuse.Store(true)
	w.to.answers(func(rw http.ResponseWriter, _ *http.Request, d *delivery) {
		if strings.HasPrefix(d.text(), "0 ") && refuse.Load() {
			d.doc.Data["refused"] = true
			rw.WriteHeader(http.StatusInternalServerError)
		}
	})
	var users []store.AccountID
	var threads []store.LogInfo
	for i := range 5 {
		a, l := w.follower(i)
		users, threads = append(users, a), append(threads, l)
	}
	const each = 10
	for n := range each {
		for i := range users {
			w.say(store.Draft{Log: threads[i].ID, Sender: users[i], Text: []byte(fmt.Sprint(i, " ", n))})
		}
	}
	seen := make(map[string]int)
	take := func() *delivery {
		d := w.to.next()
		var i, n int
		if _, err := fmt.Sscan(d.text(), &i, &n); err != nil {
			t.Fatal(err)
		}
		if d.doc.Data["refused"] != nil {
			if n != 0 {
				t.Fatalf("%d overtook", n)
			}
			return d
		}
		if seen[d.doc.Data["thread"].(string)] != n {
			t.Fatalf("%s after %d", d.text(), seen[d.doc.Data["thread"].(string)])
		}
		seen[d.doc.Data["thread"].(string)]++
		return d
	}
	for others := 0; others < 4*each; {
		if !strings.HasPrefix(take().text(), "0 ") {
			others++
		}
	}
	w.await(h.ID, func(h Hook) bool { // the others are done, and of the first one it is known that it was refused
		w.s.mu.Lock()
		defer w.s.mu.Unlock()
		q := w.s.byID[h.ID].queues[w.cfg.Pseudonym(w.channel.ID, users[0])]
		return h.Waiting == each && q != nil && q.tries == 1 && !q.flying
	})
	refuse.Store(false)
	w.forward(2 * time.Hour)
	for n := 0; n < each; { // a refused one may arrive late
		if take().doc.Data["refused"] == nil {
			n++
		}
	}
	w.await(h.ID, func(h Hook) bool { return h.Waiting == 0 && h.State == "ok" })
}

// TestRetryAfter: what a server asks for counts for the whole endpoint, and for no longer than an hour.
func TestRetryAfter(t *testing.T) {
	w := newWorld(t)
	h, _ := w.set()
	w.s.Start()
	w.to.answers(func(rw http.ResponseWriter, _ *http.Request, _ *delivery) {
		rw.Header().Set("Retry-After", "600")
		rw.WriteHeader(http.StatusTooManyRequests)
	})
	ctx := t.Context()
	w.ok(w.s.Emit(ctx, news, BroadcastFinished, "broadcast:a", "a", w.clock.now(), struct{}{}))
	w.to.next()
	w.await(h.ID, func(h Hook) bool { return len(h.Last) == 1 })
	w.to.code(200)
	w.ok(w.s.Emit(ctx, news, BroadcastFinished, "broadcast:b", "b", w.clock.now(), struct{}{}))
	for _, d := range []time.Duration{599 * time.Second, time.Second} {
		if w.s.begin(ctx) <= 0 {
			t.Fatal("something is due")
		}
		w.to.none()
		w.forward(d)
	}
	w.to.next()
	w.to.next()
	w.await(h.ID, func(h Hook) bool { return h.Waiting == 0 })

	now := w.clock.now()
	for in, want := range map[string]time.Duration{"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "x": 0, "99999999999999999999": 0, "1.5": 0,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second, now.Add(-time.Hour).Format(http.TimeFormat): 0} {
		if got := retryAfter(in, now); got != want {
			t.Errorf("Retry-After: %s is %v", in, got)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "1", "4294967296", "Sun, 22 Nov 2026 07:00:00 GMT", "-5", "\x00"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if retryAfter(s, now) < 0 {
			t.Fatalf("%q is in the past", s)
		}
	})
}

func TestBackoff(t *testing.T) {
	for i := 1; i < 200; i++ {
		most := min(time.Second<<min(i-1, 20), time.Hour)
		if d := backoff(i); d <= most/2 || d > most {
			t.Errorf("after %d failures %v, want half of %v to all of it", i, d, most)
		}
	}
}

// TestGone: 410 disables at once, drops what waits, and the owner is told; setting it again enables it.
func TestGone(t *testing.T) {
	w := newWorld(t)
	h, _ := w.set()
	w.s.Start()
	w.to.code(http.StatusGone)
	w.ok(w.s.Emit(t.Context(), news, BroadcastFinished, "broadcast:a", "a", w.clock.now(), struct{}{}))
	w.to.next()
	if n := <-w.told; n.ID != h.ID || n.State != "disabled" || n.Why != WhyGone || n.Dropped != 1 || n.Waiting != 0 || n.Last[0].Code != 410 {
		t.Errorf("told of %+v", n)
	}
	w.ok(w.s.Emit(t.Context(), news, BroadcastFinished, "broadcast:b", "b", w.clock.now(), struct{}{}))
	if _, err := w.s.Test(t.Context(), news, h.ID); !errors.Is(err, errDisabled) {
		t.Error("a ping to a disabled endpoint:", err)
	}
	w.to.code(200)
	h, secret, err := w.s.Set(t.Context(), news, h.ID, "", nil)
	if err != nil || secret != "" || h.State != "ok" || h.Waiting != 0 {
		t.Fatalf("%+v %q %v", h, secret, err)
	}
	id, err := w.s.Test(t.Context(), news, h.ID)
	w.ok(err)
	if d := w.to.next(); d.doc.ID != id || d.doc.Event != Ping {
		t.Errorf("got %s", d.body)
	}
	rows, err := w.st.AllRows(tableEvent, "", "", 0)
	w.ok(err)
	for _, r := range rows {
		if strings.Contains(string(r.Value), "broadcast") {
			t.Errorf("a row is left: %s", r.Value)
		}
	}
}

// TestFailing: three days of nothing but failures disable, whatever the failures are; one success in between does not.
func TestFailing(t *testing.T) {
	w := newWorld(t)
	h, _ := w.set()
	w.s.Start()
	emit := func(name string) {
		w.ok(w.s.Emit(t.Context(), news, BroadcastFinished, "broadcast:"+name, name, w.clock.now(), struct{}{}))
	}
	answered := func(n int) {
		w.to.next()
		w.await(h.ID, func(h Hook) bool { return len(h.Last) >= n && h.Last[0].Time == w.clock.now().UnixMilli() })
	}
	w.to.code(500)
	emit("a")
	answered(1)
	w.forward(MaxAge - 2*time.Hour)
	answered(2)
	w.to.code(204)
	w.forward(time.Hour)
	answered(3)
	w.await(h.ID, func(h Hook) bool { return h.State == "ok" && h.Waiting == 0 })
	w.to.code(302)
	w.forward(time.Minute)
	emit("b")
	answered(4)
	w.forward(MaxAge - time.Hour)
	answered(5)
	emit("c")
	answered(6)
	w.forward(61 * time.Minute)
	n := <-w.told
	if n.Why != WhyFailing || n.Waiting != 0 || n.Dropped != 2 {
		t.Errorf("told of %+v", n)
	}
}

// TestOldAndFull: what is too old or too much is dropped, the oldest first, and counted; also after a restart.
func TestOldAndFull(t *testing.T) {
	w := newWorld(t)
	h, _ := w.set()
	e, err := w.s.find(news, h.ID)
	w.ok(err)
	emit := func(from, n int) {
		for i := from; i < from+n; i += 1000 {
			var list []*event
			for j := i; j < min(i+1000, from+n); j++ {
				subject := fmt.Sprint("broadcast:", j%3000)
				list = append(list, &event{ID: eventID(e.id, BroadcastFinished, subject, fmt.Sprint(j)), Type: BroadcastFinished, Subject: subject, At: w.clock.now().UnixMilli() + int64(j), Data: []byte("{}")})
			}
			w.ok(w.s.enqueue(t.Context(), e, list))
		}
	}
	emit(0, MaxWaiting+25)
	emit(0, 20)    // those that were dropped come again, as after a crash, and drop others
	emit(9000, 20) // those that wait do not
	got, err := w.s.Get(news, h.ID)
	w.ok(err)
	if got.Waiting != MaxWaiting || got.Dropped != 45 {
		t.Errorf("%d wait, %d dropped", got.Waiting, got.Dropped)
	}
	count := func() (n int) {
		var key string
		for {
			rows, err := w.st.Rows(tableEvent, e.events(), "", key, 0)
			w.ok(err)
			if len(rows) == 0 {
				return n
			}
			n, key = n+len(rows), rows[len(rows)-1].Key
		}
	}
	if n := count(); n != MaxWaiting {
		t.Errorf("%d rows", n)
	}
	w.ok(w.s.Close())
	w.open()
	if got, err = w.s.Get(news, h.ID); err != nil || got.Waiting != MaxWaiting || got.Dropped != 45 {
		t.Errorf("after a restart %d wait, %d dropped, %v", got.Waiting, got.Dropped, err)
	}
	w.to.code(500)
	w.forward(MaxAge + time.Minute)
	e, err = w.s.find(news, h.ID)
	w.ok(err)
	for count() > 0 {
		w.ok(w.s.sweep(t.Context()))
	}
	if got, err = w.s.Get(news, h.ID); err != nil || got.Waiting != 0 || got.Dropped != 45+MaxWaiting {
		t.Errorf("%d wait, %d dropped, %v", got.Waiting, got.Dropped, err)
	}
}

// TestNoSingleEvents: there is no kind of event about one follower, one opening or one coupon, and none of what leads to
// them makes a request; only a daily number that changed does, once.
func TestNoSingleEvents(t *testing.T) {
	kinds := append(EventsOf(news), EventsOf(Owner{App: "game"})...)
	if fmt.Sprint(kinds) != "[channel.followers thread.message broadcast.finished broadcast.report link.opened]" {
		t.Errorf("the kinds are %v: an event about one person must not be among them", kinds)
	}
	w := newWorld(t)
	var mu sync.Mutex
	day, n, looks, gone := "2026-11-21", 120, 0, false
	w.numbers = func() (*int, string) {
		mu.Lock()
		defer mu.Unlock()
		looks++
		n := n
		return &n, day
	}
	w.opened = func() ([]Opened, error) {
		mu.Lock()
		defer mu.Unlock()
		if gone {
			return nil, store.ErrNotFound
		}
		n := n
		return []Opened{{day, &n, &n}, {"2026-11-20", nil, nil}}, nil
	}
	h, _ := w.set()
	_, _, err := w.s.Set(t.Context(), Owner{App: "game"}, "", w.to.URL+"/app", nil)
	w.ok(err)
	w.s.Start()
	look := func() { // until a look that began after now has ended: the third one begins when the second has
		for range 3 {
			mu.Lock()
			before := looks
			mu.Unlock()
			w.s.Look()
			for now := before; now == before; time.Sleep(time.Millisecond) {
				mu.Lock()
				now = looks
				mu.Unlock()
			}
		}
	}
	g := graph.New(w.st, w.clock.now)
	for i := range 30 {
		a, _ := w.follower(i)
		w.ok(g.SetFollow(t.Context(), a, w.channel.ID, func(f *graph.Follow) error {
			f.Since = w.clock.now().UnixMilli()
			return nil
		}))
		w.ok(w.st.Update(t.Context(), store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{{Table: "user.opened", Key: "x", Value: []byte{1}}, {Table: "user.linkopened", Key: "x", Value: []byte{1}}}}))
		w.ok(w.st.Update(t.Context(), store.Update{Owner: "campaign", Rows: []store.RowPut{{Table: "service.coupon.used", Key: fmt.Sprint(i), Value: []byte{1}}}}))
		w.s.Look()
	}
	// Everything up to here has been looked at when a message that comes after it arrives.
	a, thread := w.follower(99)
	w.say(store.Draft{Log: thread.ID, Sender: a, Text: []byte("a message")})
	if d := w.to.next(); d.text() != "a message" {
		t.Fatalf("got %s", d.body)
	}
	look()
	if list, err := w.st.AllRows(tableEvent, "", "", 0); err != nil || len(list) > 1 {
		t.Fatalf("%d events wait, %v", len(list), err)
	}
	w.to.none()

	mu.Lock()
	day, n = "2026-11-22", 130
	mu.Unlock()
	look()
	got := map[string]string{}
	for range 2 {
		d := w.to.next()
		got[d.doc.Event] = string(d.body[strings.Index(string(d.body), `"data"`):])
	}
	if got[ChannelFollowers] != `"data":{"day":"2026-11-22","followers":130}}` || got[LinkOpened] != `"data":{"day":"2026-11-22","sent":130,"opened":130}}` {
		t.Errorf("got %v", got)
	}
	mu.Lock()
	day = "2026-11-23" // the same number: nothing has changed that may be told
	gone = true
	mu.Unlock()
	look()
	w.await(h.ID, func(h Hook) bool { return h.Waiting == 0 })
	w.to.none()
	if len(w.s.List(Owner{App: "game"})) != 0 {
		t.Error("the endpoint of an app that is no more is kept")
	}
}

// TestSet: what may be set, and how many.
func TestSet(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for _, u := range []string{"", "x", "http://example.com/", "https://10.0.0.1/", "https://user@127.0.0.1/", "http://localhost/", "ftp://127.0.0.1/", "https://127.0.0.1/" + strings.Repeat("x", MaxURL)} {
		if _, _, err := w.s.Set(ctx, news, "", u, nil); store.CodeOf(err) != store.CodeBad {
			t.Errorf("%q: %v", u, err)
		}
	}
	for _, kinds := range [][]string{{"follow"}, {LinkOpened}, {Ping}, {""}} {
		if _, _, err := w.s.Set(ctx, news, "", w.to.URL, kinds); store.CodeOf(err) != store.CodeBad {
			t.Errorf("%q: %v", kinds, err)
		}
	}
	a, secret := w.set(ThreadMessage, ThreadMessage)
	again, none := w.set(BroadcastReport)
	if len(secret) < 32 || none != "" || a.ID != again.ID || fmt.Sprint(again.Events) != "[broadcast.report]" {
		t.Errorf("%+v %q, again %+v %q", a, secret, again, none)
	}
	for i := range 4 {
		_, _, err := w.s.Set(ctx, news, "", w.to.URL+"/"+strconv.Itoa(i), nil)
		if i < 2 && err != nil || i >= 2 && store.CodeOf(err) != store.CodeFull {
			t.Errorf("%d: %v", i, err)
		}
	}
	other := Owner{Channel: "other"}
	for _, err := range []error{w.s.Remove(ctx, other, a.ID), second(w.s.Get(other, a.ID)), second(w.s.Test(ctx, other, a.ID)), third(w.s.Rotate(ctx, other, a.ID)), third(w.s.Set(ctx, other, a.ID, "", nil)), third(w.s.Set(ctx, news, "nosuch", "", nil))} {
		if !errors.Is(err, errNone) {
			t.Errorf("somebody else's endpoint: %v", err)
		}
	}
	if rows, err := w.st.Rows(tableHook, "", "", "", 0); err != nil || len(rows) != 3 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	w.ok(w.s.Emit(ctx, news, BroadcastReport, "broadcast:x", "x", w.clock.now(), struct{}{}))
	w.ok(w.s.Remove(ctx, news, a.ID))
	if err := w.s.Remove(ctx, news, a.ID); !errors.Is(err, errNone) {
		t.Error("removed twice:", err)
	}
	rows, err := w.st.Rows(tableEvent, store.Owner(a.ID), "", "", 0)
	if err != nil || len(rows) != 0 || len(w.s.List(news)) != 2 {
		t.Errorf("%d rows are left, %d endpoints, %v", len(rows), len(w.s.List(news)), err)
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

// TestRotate: for a day both secrets sign.
func TestRotate(t *testing.T) {
	w := newWorld(t)
	h, old := w.set()
	w.s.Start()
	ping := func() *delivery {
		id, err := w.s.Test(t.Context(), news, h.ID)
		w.ok(err)
		d := w.to.next()
		w.await(h.ID, func(h Hook) bool { return h.Waiting == 0 })
		if d.doc.ID != id {
			t.Errorf("%s arrived, not %s", d.doc.ID, id)
		}
		return d
	}
	w.verified(ping(), old)
	got, fresh, err := w.s.Rotate(t.Context(), news, h.ID)
	if err != nil || fresh == old || got.OldEnds != w.clock.now().Add(RotateFor).UnixMilli() {
		t.Fatalf("%+v %v", got, err)
	}
	w.verified(ping(), fresh, old)
	w.forward(RotateFor)
	w.verified(ping(), fresh)
}
