package pushsim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// post is a push that a test brings to a phone.
type post struct {
	id, collapse string
	expires      time.Time
	payload      string
}

// world is phones without a network.
type world struct {
	t   *testing.T
	sim *Sim
	now time.Time
}

func newPhones(t *testing.T) *world {
	w := &world{t: t, now: time.Unix(1_800_000_000, 0)}
	w.sim = &Sim{now: func() time.Time { return w.now }}
	w.sim.phones.all, w.sim.phones.counts = make(map[deviceKey]*phone), make(map[countKey]*counted)
	return w
}

func (w *world) deliver(p Provider, e post) (Effect, bool) {
	w.t.Helper()
	m, err := decodeObject([]byte(e.payload))
	if err != nil {
		w.t.Fatal(err, e.payload)
	}
	a := &Attempt{Provider: p, Token: "aa", ID: e.id, Collapse: e.collapse, Expires: e.expires, Payload: m}
	if v, _ := w.sim.phones.deliver(a, w.now); v != taken {
		w.t.Fatalf("verdict %d", v)
	}
	return a.Effect, a.Rang
}

func (w *world) set(p Provider, s State) {
	w.t.Helper()
	if err := w.sim.SetDevice(Device{Provider: p, Token: "aa", State: s}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) phone() Phone {
	w.t.Helper()
	p, ok := w.sim.Phone("aa")
	if !ok {
		w.t.Fatal("no phone")
	}
	return p
}

// shows is the numbers of the messages whose notifications a phone shows, oldest first.
func (w *world) shows() string {
	w.t.Helper()
	var out []string
	for _, n := range w.phone().Notifications {
		out = append(out, fmt.Sprintf("%s%d", n.Thread, n.Seq))
	}
	return fmt.Sprint(out)
}

func (w *world) wants(effect Effect, rang bool, shows string, p Provider, e post) {
	w.t.Helper()
	got, sounded := w.deliver(p, e)
	if got != effect || sounded != rang || w.shows() != shows {
		w.t.Errorf("%s, rang %t, shows %s; want %s, %t, %s", got, sounded, w.shows(), effect, rang, shows)
	}
}

func silent(thread string, seq int) string {
	return fmt.Sprintf(`{"aps":{"alert":"x","mutable-content":1},"kind":"messages","thread":%q,"seq":%d}`, thread, seq)
}

func TestPhoneAPNs(t *testing.T) {
	w := newPhones(t)
	w.wants(Shown, true, "[a1]", APNs, post{id: "1", collapse: "m1", payload: message("a", 1)})
	w.wants(Repeated, false, "[a1]", APNs, post{id: "1", collapse: "m1", payload: message("a", 1)})
	w.wants(Shown, true, "[a1 b1]", APNs, post{id: "2", payload: message("b", 1)})
	w.wants(Shown, false, "[a1 b1 a2]", APNs, post{id: "3", collapse: "a", payload: silent("a", 2)})
	w.wants(Replaced, false, "[a1 b1 a3]", APNs, post{id: "4", collapse: "a", payload: silent("a", 3)})
	if p := w.phone(); p.Badge != 3 || p.Rang != 2 || p.Received != 5 || p.Replaced != 1 || p.Repeated != 1 || p.Notifications[2].Updates != 1 {
		t.Errorf("%+v", p)
	}
	// No extension, and the system cannot know a repeat.
	w.wants(Repeated, true, "[a1 b1 a3]", APNs, post{id: "2", payload: `{"aps":{"alert":"x","sound":{"name":"s","critical":1}},"thread":"b","seq":1}`})
	w.wants(Woken, false, "[a1 b1 a3]", APNs, post{id: "5", payload: `{"aps":{"content-available":1,"badge":9}}`})
	w.wants(Cleared, false, "[b1]", APNs, post{id: "6", payload: `{"aps":{"content-available":1,"badge":0},"kind":"clear","thread":"a"}`})
	w.wants(Cleared, false, "[b1]", APNs, post{id: "7", payload: `{"aps":{"content-available":1,"badge":1},"kind":"clear"}`})
	if p := w.phone(); p.Badge != 1 || p.Cleared != 2 {
		t.Errorf("%+v", p)
	}
	want := []Count{{"aa", "a", 1, 2, 1, 1}, {"aa", "a", 2, 1, 1, 0}, {"aa", "a", 3, 1, 1, 0}, {"aa", "b", 1, 2, 1, 2}}
	if got := w.sim.Counts(); !slices.Equal(got, want) || got[0].Duplicate() || !got[3].Duplicate() {
		t.Errorf("%+v", got)
	}
	// The same message under two identifiers is a duplicate.
	w.wants(Shown, true, "[b1 a1]", APNs, post{id: "8", payload: message("a", 1)})
	if got := w.sim.Counts()[0]; got.Shown != 2 || !got.Duplicate() {
		t.Errorf("%+v", got)
	}
}

// TestPhoneAPNsOffline: APNs keeps one notification, the newest, until it expires.
func TestPhoneAPNsOffline(t *testing.T) {
	w := newPhones(t)
	w.set(APNs, Offline)
	later := w.now.Add(time.Hour)
	w.wants(Held, false, "[]", APNs, post{id: "1", expires: later, payload: message("a", 1)})
	w.wants(Held, false, "[]", APNs, post{id: "2", expires: later, payload: message("b", 1)})
	w.wants(Lost, false, "[]", APNs, post{id: "3", expires: time.Unix(0, 0), payload: message("c", 1)})
	w.wants(Held, false, "[]", APNs, post{id: "4", payload: message("d", 1)}) // no expiration: it is kept
	w.set(APNs, Online)
	if p := w.phone(); w.shows() != "[d1]" || p.Rang != 1 || p.Lost != 3 || p.Held != 0 {
		t.Errorf("%s %+v", w.shows(), p)
	}
	w.set(APNs, Offline)
	w.wants(Held, false, "[d1]", APNs, post{id: "5", expires: later, payload: message("e", 1)})
	w.now = later
	w.set(APNs, Online)
	if p := w.phone(); w.shows() != "[d1]" || p.Lost != 4 {
		t.Errorf("%s %+v", w.shows(), p)
	}
}

func data(thread string, seq int, epoch, quiet string) string {
	return fmt.Sprintf(`{"kind":"message","thread":%q,"seq":"%d","epoch":%q,"badge":"4","silent":%q,"key":"k","args":"[\"Bob\",\"x\"]"}`, thread, seq, epoch, quiet)
}

// TestPhoneData is an app that shows by itself: it groups by thread, and drops what is not newer.
func TestPhoneData(t *testing.T) {
	for _, p := range []Provider{FCM, WebPush} {
		w := newPhones(t)
		w.wants(Shown, true, "[a5]", p, post{id: "1", payload: data("a", 5, "1", "")})
		w.wants(Dropped, false, "[a5]", p, post{id: "2", payload: data("a", 5, "1", "")})
		w.wants(Dropped, false, "[a5]", p, post{id: "3", payload: data("a", 4, "1", "")})
		w.wants(Replaced, false, "[a6]", p, post{id: "4", payload: data("a", 6, "1", "true")})
		w.wants(Shown, true, "[a6 b1]", p, post{id: "5", payload: data("b", 1, "1", "false")})
		w.wants(Replaced, true, "[b1 a1]", p, post{id: "6", payload: data("a", 1, "2", "")}) // another epoch begins anew
		w.wants(Cleared, false, "[b1]", p, post{id: "7", payload: `{"kind":"clear","thread":"a","badge":"1"}`})
		w.wants(Dropped, false, "[b1]", p, post{id: "8", payload: data("a", 1, "2", "")})
		w.wants(Shown, true, "[b1 0]", p, post{id: "9", payload: `{"kind":"summary","count":3}`})
		w.wants(Replaced, false, "[b1 0]", p, post{id: "10", payload: `{"kind":"summary","count":4,"silent":true}`})
		w.wants(Woken, false, "[b1 0]", p, post{id: "11", payload: `{"badge":7}`})
		got := w.phone()
		if got.Badge != 7 || got.Rang != 4 || got.Dropped != 3 || got.Notifications[0].Args[0] != "Bob" || got.Notifications[1].Count != 4 {
			t.Errorf("%s: %+v", p, got)
		}
		if c := w.sim.Counts(); len(c) != 5 || c[2] != (Count{"aa", "a", 5, 2, 1, 1}) {
			t.Errorf("%s: %+v", p, c)
		}
	}
}

// TestPhoneHeld: FCM keeps a hundred and then drops all of them; a push service keeps the newest of each topic.
func TestPhoneHeld(t *testing.T) {
	w := newPhones(t)
	w.set(FCM, Offline)
	for i := range 100 {
		if e, _ := w.deliver(FCM, post{payload: data(fmt.Sprint("t", i), 1, "", "")}); e != Held {
			t.Fatal(e)
		}
	}
	if e, _ := w.deliver(FCM, post{payload: data("last", 1, "", "")}); e != Lost || w.phone().Held != 0 || w.phone().Lost != 101 {
		t.Errorf("%s, %+v", e, w.phone())
	}
	w.wants(Held, false, "[]", FCM, post{payload: data("a", 1, "", "")})
	w.set(FCM, Online)
	if w.shows() != "[a1]" {
		t.Error(w.shows())
	}

	w = newPhones(t)
	w.set(WebPush, Offline)
	w.wants(Held, false, "[]", WebPush, post{collapse: "x", payload: data("a", 1, "", "")})
	w.wants(Held, false, "[]", WebPush, post{payload: data("b", 1, "", "")})
	w.wants(Held, false, "[]", WebPush, post{collapse: "x", payload: data("c", 1, "", "")})
	w.set(WebPush, Online)
	if w.shows() != "[b1 c1]" || w.phone().Rang != 2 {
		t.Errorf("%s %+v", w.shows(), w.phone())
	}
}

// TestPhoneBounds: whatever comes, a phone keeps a bounded amount, and says what it shows.
func TestPhoneBounds(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, p := range []Provider{APNs, FCM, WebPush} {
		w := newPhones(t)
		for i := range 2500 {
			switch r.IntN(40) {
			case 0:
				w.set(p, Offline)
			case 1:
				w.set(p, Online)
			}
			e := post{id: fmt.Sprint(r.IntN(i + 1)), payload: fmt.Sprintf(`{"aps":{"alert":{},"sound":"x"},"kind":"message","thread":"%d","seq":%d}`, i, r.IntN(9))}
			if r.IntN(3) == 0 {
				e.collapse = fmt.Sprint(r.IntN(50))
			}
			w.deliver(p, e)
		}
		ph := w.sim.phones.all[deviceKey{p, "aa"}]
		if len(ph.Notifications) > maxNotifications || len(ph.seen[0])+len(ph.seen[1]) > maxSeen || len(ph.held) > maxHeld {
			t.Errorf("%s: %d notifications, %d seen, %d held", p, len(ph.Notifications), len(ph.seen[0])+len(ph.seen[1]), len(ph.held))
		}
		rang, got := 0, w.phone()
		for _, c := range w.sim.Counts() {
			rang += c.Rang
		}
		if seqless := got.Rang - rang; seqless < 0 || got.Received == 0 {
			t.Errorf("%s: rang %d, counted %d", p, got.Rang, rang)
		}
		ids := make(map[string]bool)
		for _, n := range got.Notifications {
			if ids[n.ID] {
				t.Fatalf("%s: two notifications with the identifier %s", p, n.ID)
			}
			ids[n.ID] = true
		}
	}
}

// FuzzNote: no payload breaks a phone.
func FuzzNote(f *testing.F) {
	for _, s := range []string{message("a", 1), silent("a", 2), data("a", 3, "e", "true"), `{"kind":"clear","thread":7,"badge":-1}`,
		`{"aps":{"alert":[1],"sound":5,"badge":1e400,"thread-id":{}}}`, `{"aps":null,"args":["a",2,null],"seq":-1,"count":"99999999999999999999"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeObject(b)
		if err != nil {
			return
		}
		for _, p := range []Provider{APNs, FCM} {
			ps := phones{all: make(map[deviceKey]*phone), counts: make(map[countKey]*counted)}
			a := &Attempt{Provider: p, Token: "a", ID: "1", Payload: m, Status: 200}
			ps.deliver(a, time.Time{})
			ps.deliver(a, time.Time{})
			if _, err := json.Marshal(a); err != nil {
				t.Fatal(err)
			}
			if _, err := json.Marshal(ps.all[deviceKey{p, "a"}].copy()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
