package limit

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// clock is moved by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newLimiter(t testing.TB, c Config) (*Limiter, *clock) {
	t.Helper()
	at := &clock{t: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	if c.Now == nil {
		c.Now = at.now
	}
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return l, at
}

// retry is what a refusal says about coming back; it fails the test if err is none.
func retry(t testing.TB, err error) time.Duration {
	t.Helper()
	e, ok := err.(*store.Error) //nolint:errorlint // refusals are not wrapped
	if !ok || e.Code != store.CodeTooMany || e.Reason != store.ReasonRate || e.Text == "" || e.Retry <= 0 {
		t.Fatalf("want a refusal, got %#v", err)
	}
	return e.Retry
}

func TestBurstThenRate(t *testing.T) {
	l, at := newLimiter(t, Config{Rates: map[Rule]Rate{Reads: {2, time.Second, 5}}})
	for i := range 5 {
		if err := l.User(Reads, 1, 1); err != nil {
			t.Fatalf("%d of the burst: %v", i, err)
		}
	}
	if d := retry(t, l.User(Reads, 1, 1)); d != 500*time.Millisecond {
		t.Errorf("retry after %v", d)
	}
	if err := l.User(Reads, 2, 1); err != nil {
		t.Errorf("another user: %v", err)
	}
	at.move(499 * time.Millisecond)
	if d := retry(t, l.User(Reads, 1, 1)); d > 2*time.Millisecond {
		t.Errorf("retry after %v", d)
	}
	at.move(time.Millisecond)
	if err := l.User(Reads, 1, 1); err != nil {
		t.Errorf("when it said: %v", err)
	}
	at.move(time.Hour)
	for range 5 {
		if err := l.User(Reads, 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	retry(t, l.User(Reads, 1, 1))
	if n := l.Refused(Reads); n != 3 {
		t.Errorf("%d refusals counted", n)
	}
}

func TestMoreThanTheBurst(t *testing.T) {
	l, _ := newLimiter(t, Config{Rates: map[Rule]Rate{PublishBytes: {1000, time.Second, 500}}})
	m := l.Meter(1, 2)
	if err := m.Publish(800); err != nil {
		t.Fatalf("a message larger than the burst can never be sent: %v", err)
	}
	if d := retry(t, m.Publish(800)); d != 500*time.Millisecond {
		t.Errorf("retry after %v", d)
	}
}

func TestMeter(t *testing.T) {
	l, at := newLimiter(t, Config{Rates: map[Rule]Rate{
		Publish: {1, time.Second, 10}, PublishDevice: {1, time.Second, 6}, PublishBytes: {}, Flood: {1, time.Second, 3},
	}})
	phone, laptop := l.Meter(7, 1), l.Meter(7, 2)
	for range 6 {
		if err := phone.Publish(1 << 30); err != nil {
			t.Fatal(err)
		}
	}
	retry(t, phone.Publish(1))
	for range 4 {
		if err := laptop.Publish(1); err != nil {
			t.Fatal(err)
		}
	}
	retry(t, laptop.Publish(1)) // the user's ten
	for range 3 {
		if phone.Flood() {
			t.Fatal("a flood too early")
		}
	}
	if !phone.Flood() {
		t.Error("no flood")
	}
	if laptop.Flood() {
		t.Error("another device's flood")
	}
	// A bucket that was forgotten is found again by all that hold it.
	at.move(time.Hour)
	l.Sweep()
	if n := l.Len(Publish) + l.Len(PublishDevice) + l.Len(Flood); n != 0 {
		t.Fatalf("%d idle keys remembered", n)
	}
	for range 5 {
		if err, err2 := phone.Publish(1), laptop.Publish(1); err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
	}
	retry(t, phone.Publish(1))
}

// What is set counts from the next check on, for keys that are known and for new ones.
func TestSet(t *testing.T) {
	l, at := newLimiter(t, Config{Rates: map[Rule]Rate{Publish: {100, time.Second, 100}}, Numbers: map[Number]int{ContactsDay: 7}})
	m := l.Meter(1, 1)
	for range 50 {
		if err := m.Publish(10); err != nil {
			t.Fatal(err)
		}
	}
	set := func(s Settings) {
		t.Helper()
		if err := l.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	set(Settings{Rates: map[Rule]Rate{Publish: {1, time.Second, 2}}, Numbers: map[Number]int{Strangers: 3}})
	ok := 0
	for range 10 {
		if m.Publish(10) == nil {
			ok++
		}
	}
	if ok > 2 {
		t.Errorf("%d messages within a burst of 2", ok)
	}
	if now, base := l.Rate(Publish); now != (Rate{1, time.Second, 2}) || base != (Rate{100, time.Second, 100}) {
		t.Errorf("in force %v, configured %v", now, base)
	}
	if l.Number(Strangers) != 3 || l.Number(ContactsDay) != 7 || l.Number(LookupsDay) != 200 || l.BaseNumber(Strangers) != 50 {
		t.Error("numbers are not as set")
	}
	before, _ := l.Rate(Publish)
	for _, bad := range []Settings{
		{Rates: map[Rule]Rate{Publish: {-1, time.Second, 2}}}, {Rates: map[Rule]Rate{Publish: {1, time.Second, 0}}},
		{Rates: map[Rule]Rate{Publish: {1, time.Millisecond, 1}}}, {Rates: map[Rule]Rate{rules: {1, time.Second, 1}}},
		{Numbers: map[Number]int{Strangers: -1}}, {Numbers: map[Number]int{numbers: 1}}, {Numbers: map[Number]int{ReportsToLimit: 0}},
	} {
		if l.Set(bad) == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	if now, _ := l.Rate(Publish); now != before || l.Number(Strangers) != 3 {
		t.Error("a refused change changed something")
	}
	set(Settings{Rates: map[Rule]Rate{Publish: {}, PublishDevice: {}, PublishBytes: {}}})
	for range 10_000 {
		if err := m.Publish(1 << 20); err != nil {
			t.Fatalf("switched off: %v", err)
		}
	}
	set(Settings{})
	at.move(time.Minute)
	if now, _ := l.Rate(Publish); now.Burst != 100 || l.Number(Strangers) != 50 {
		t.Error("what is set no more is not as configured")
	}
	if err := m.Publish(1); err != nil {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	l, _ := newLimiter(t, Config{Rates: map[Rule]Rate{Connect: {1, time.Second, 1}, FloodAddress: {1, time.Second, 1}},
		Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	addr := netip.MustParseAddr
	ok := func(a string) bool { return l.Address(Connect, addr(a), 1) == nil }
	for _, a := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"} {
		if !ok(a) {
			t.Errorf("%s: the first is refused", a)
		}
	}
	for _, a := range []string{"192.0.2.1", "2001:db8::ffff:1", "2001:db8:0:1:9::", "::ffff:192.0.2.2"} {
		if ok(a) {
			t.Errorf("%s: the second is not refused", a)
		}
	}
	for range 3 {
		if !ok("127.0.0.9") || !ok("::1") || l.Address(Connect, netip.Addr{}, 1) != nil {
			t.Error("an address that is exempt is refused")
		}
	}
	if l.Flooding(addr("192.0.2.1")) {
		t.Error("flooding at once")
	}
	if err := l.Address(FloodAddress, addr("192.0.2.1"), 1); err != nil {
		t.Error(err)
	}
	if !l.Flooding(addr("192.0.2.1")) || l.Flooding(addr("192.0.2.2")) || l.Flooding(addr("127.0.0.1")) {
		t.Error("flooding is told of the wrong address")
	}
}

// Failures after the burst pause the login, twice as long each time; a success forgets them.
func TestLogin(t *testing.T) {
	l, at := newLimiter(t, Config{Rates: map[Rule]Rate{LoginAccount: {3, time.Hour, 3}, Login: {1, time.Second, 20}}})
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for range 3 {
		l.LoginFailed(a, "alice")
		if err := l.MayLogin(a, "alice"); err != nil {
			t.Fatal(err)
		}
	}
	for want := time.Second; want < longestPause; want *= 2 {
		l.LoginFailed(a, "Alice")
		if d := retry(t, l.MayLogin(a, "ALICE")); d != want {
			t.Errorf("pause %v, want %v", d, want)
		}
		if err := l.MayLogin(b, "alice"); err != nil {
			t.Errorf("the account is locked from elsewhere: %v", err)
		}
		if err := l.MayLogin(a, "bob"); err != nil {
			t.Errorf("another account is locked: %v", err)
		}
		at.move(want)
		if err := l.MayLogin(a, "alice"); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	}
	for range 40 {
		l.LoginFailed(a, "alice")
	}
	at.move(longestPause)
	l.Sweep()
	if err := l.MayLogin(a, "alice"); err != nil {
		t.Errorf("a pause longer than the longest: %v", err)
	}
	l.LoginSucceeded(a, "alice")
	for range 3 {
		l.LoginFailed(a, "alice")
		if err := l.MayLogin(a, "alice"); err != nil {
			t.Fatal(err)
		}
	}
	// Many names from one address.
	for i := range 30 {
		l.LoginFailed(b, fmt.Sprint("name", i))
	}
	if d := retry(t, l.MayLogin(b, "somebody")); d != time.Second {
		t.Errorf("retry after %v", d)
	}
	at.move(time.Minute)
	if err := l.MayLogin(b, "somebody"); err != nil {
		t.Error(err)
	}
}

// Hostile keys do not grow the table, honest ones in it keep what they have left, and who finds it full is served.
func TestFullTable(t *testing.T) {
	const entries = 1024
	l, at := newLimiter(t, Config{Entries: entries, Rates: map[Rule]Rate{Connect: {1, time.Minute, 4}, Login: {1, time.Hour, 2}}})
	rnd := rand.New(rand.NewPCG(1, 2))
	var before, after runtime.MemStats
	any6 := func() netip.Addr {
		var b [16]byte
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		b[0] = 0x20
		return netip.AddrFrom16(b)
	}
	for range 4 * entries {
		l.Address(Connect, any6(), 1)
		l.LoginFailed(any6(), "alice")
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	refused := 0
	for i := range 20 * entries {
		if l.Address(Connect, any6(), 1) != nil {
			refused++
		}
		l.LoginFailed(any6(), "alice")
		if i%1000 == 0 {
			at.move(time.Millisecond)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	for _, r := range []Rule{Connect, Login, LoginAccount} {
		if n := l.Len(r); n > entries {
			t.Errorf("%s: %d keys, the limit is %d", r, n, entries)
		}
	}
	if refused > 0 {
		t.Errorf("%d new addresses found no room", refused)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	// A key that is used up goes last: with half of the table used up and half fresh, newcomers displace fresh ones.
	l, _ = newLimiter(t, Config{Entries: entries, Rates: map[Rule]Rate{Connect: {1, time.Hour, 4}}})
	var spent []netip.Addr
	for range entries / 4 {
		a := any6()
		spent = append(spent, a)
		for range 4 {
			l.Address(Connect, a, 1)
		}
	}
	for range 20 * entries {
		l.Address(Connect, any6(), 1)
	}
	kept := 0
	for _, a := range spent {
		if l.Address(Connect, a, 1) != nil {
			kept++
		}
	}
	if kept < len(spent)*9/10 {
		t.Errorf("%d of %d used-up keys are remembered", kept, len(spent))
	}
}

func TestConcurrent(t *testing.T) {
	l, at := newLimiter(t, Config{Entries: 64, Rates: map[Rule]Rate{Publish: {100, time.Second, 100}}})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			m := l.Meter(store.AccountID(g%3), store.DeviceID(g))
			for i := range 2000 {
				m.Publish(10)
				l.User(Reads, store.AccountID(i), 1)
				switch i % 50 {
				case 0:
					l.Sweep()
					at.move(time.Second)
				case 1:
					l.Set(Settings{Rates: map[Rule]Rate{Publish: {float64(i + 1), time.Second, i + 1}}})
				}
			}
		})
	}
	wg.Wait()
	if n := l.Len(Reads); n > 64 {
		t.Errorf("%d keys", n)
	}
}

func TestNil(t *testing.T) {
	var l *Limiter
	a := netip.MustParseAddr("192.0.2.1")
	m := l.Meter(1, 1)
	if m.Publish(1) != nil || m.Take(Reads, 1) != nil || m.Flood() || l.User(Reads, 1, 1) != nil || l.Address(Connect, a, 1) != nil ||
		l.MayLogin(a, "x") != nil || l.Flooding(a) || l.Number(Strangers) != 50 {
		t.Error("a nil Limiter limits")
	}
	l.LoginFailed(a, "x")
	l.LoginSucceeded(a, "x")
	l.Sweep()
}

func TestTables(t *testing.T) {
	names := map[string]bool{}
	for i, r := range Rules() {
		if got, ok := ParseRule(r.Name); !ok || got != r.Rule || int(r.Rule) != i || r.Name != r.Rule.String() {
			t.Errorf("rule %d is %q", i, r.Name)
		}
		if err := r.Default.Validate(); err != nil || r.Default.Off() || r.By == "" || r.Text == "" || r.refusal == "" || names[r.Name] {
			t.Errorf("%s: %+v, %v", r.Name, r, err)
		}
		names[r.Name] = true
	}
	for i, n := range Numbers() {
		if got, ok := ParseNumber(n.Name); !ok || got != n.Number || int(n.Number) != i || n.Text == "" || names[n.Name] {
			t.Errorf("number %d is %q", i, n.Name)
		}
		names[n.Name] = true
		if err := validNumber(n.Number, n.Default); err != nil {
			t.Error(err)
		}
	}
}

func TestParseRate(t *testing.T) {
	for s, want := range map[string]Rate{
		"30/s:600": {30, time.Second, 600}, "10/10m:10": {10, 10 * time.Minute, 10}, "5/d": {5, day, 5}, "0.5/s:1": {0.5, time.Second, 1},
		"0.5/m": {0.5, time.Minute, 1}, "1/2d:3": {1, 2 * day, 3}, "off": {}, "7/90s:2": {7, 90 * time.Second, 2},
	} {
		if got, err := ParseRate(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "30", "30/s:", "30/:5", "-1/s:5", "0/s:5", "1/s:0", "1/ms:1", "nan/s:1", "inf/s", "1e99/s:1", "1/s:99999999999", "1/400d:1", "0/s:0", "1/-1s:1", "0/0d:0", "x/s:1", "1/y:1"} {
		if got, err := ParseRate(s); err == nil {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"30/s:600", "10/10m:10", "off", "0.5/d:1", "1/2d", "1e3/h:9", "1/1h30m:2", "-1/s:5", "/", "1/s:0", "0x1p-2/s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRate(s)
		if err != nil {
			return
		}
		if err := r.Validate(); err != nil {
			t.Fatalf("%q gives %v, which is not valid: %v", s, r, err)
		}
		if again, err := ParseRate(r.String()); err != nil || again != r {
			t.Fatalf("%q gives %v, read again %v, %v", s, r, again, err)
		}
	})
}

// What a check costs, with the default bursts: the three rules of a publish, one of them, and one whose bucket is
// looked up among many.
func BenchmarkCheck(b *testing.B) {
	fast := map[Rule]Rate{Publish: {1e9, time.Second, 600}, PublishDevice: {1e9, time.Second, 400}, PublishBytes: {1e9, time.Second, 16 << 20}, Reads: {1e9, time.Second, 600}}
	b.Run("publish", func(b *testing.B) {
		l, _ := newLimiter(b, Config{Rates: fast, Now: time.Now})
		m := l.Meter(1, 1)
		b.ReportAllocs()
		for b.Loop() {
			if m.Publish(100) != nil {
				b.Fatal("refused")
			}
		}
	})
	b.Run("held", func(b *testing.B) {
		l, _ := newLimiter(b, Config{Rates: fast, Now: time.Now})
		m := l.Meter(1, 1)
		f := l.force.Load()
		b.ReportAllocs()
		for b.Loop() {
			if m.spend(Publish, &m.publish, f, 1) != nil {
				b.Fatal("refused")
			}
		}
	})
	b.Run("lookup", func(b *testing.B) {
		l, _ := newLimiter(b, Config{Rates: fast, Now: time.Now})
		for i := range 50_000 {
			l.User(Reads, store.AccountID(i), 1)
		}
		i := 0
		b.ReportAllocs()
		for b.Loop() {
			i++
			if l.User(Reads, store.AccountID(i%50_000), 1) != nil {
				b.Fatal("refused")
			}
		}
	})
	b.Run("refused", func(b *testing.B) {
		l, _ := newLimiter(b, Config{Rates: map[Rule]Rate{PublishDevice: {1, time.Hour, 1}}, Now: time.Now})
		m := l.Meter(1, 1)
		m.Publish(1)
		b.ReportAllocs()
		for b.Loop() {
			if m.Publish(100) == nil {
				b.Fatal("not refused")
			}
		}
	})
}
