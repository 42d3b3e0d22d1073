package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/signup"
	"github.com/hwangso/hwangso/hooks/phone"
)

// town is a world in which people sign up by phone number: codes go to a webhook on this machine, and the clock is moved
// by hand.
type town struct {
	*world
	logged lockedBuffer
	key    *phone.Key
	change func(*Config)

	mu     sync.Mutex
	at     time.Time
	sent   []signup.Message  // what the webhook took over
	status []int             // what it answers next, 200 if empty
	bad    []string          // requests that broke the contract
	ids    map[string]string // of messages, by number and code
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var hookSecret = []byte("a secret of the webhook")

func newTown(t *testing.T, settings signup.Settings) *town {
	t.Helper()
	// At noon: limits count by days in UTC, and no test may come to the end of one unless it means to. Tomorrow, so that
	// nobody who lives by the machine's clock takes for old what is made here.
	noon := time.Now().UTC().Truncate(day).Add(day + 12*time.Hour)
	c := &town{at: noon, key: phone.NewKey([32]byte{7})}
	hook := httptest.NewServer(http.HandlerFunc(c.hook))
	t.Cleanup(hook.Close)
	sender, err := signup.NewWebhook(signup.WebhookConfig{URL: hook.URL + "/send?key=x", Secret: hookSecret, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c.change = func(cfg *Config) {
		cfg.Phones = phone.NewBook(cfg.Broker.Store(), c.key)
		cfg.CodeSender, cfg.SignUp, cfg.Now = sender, settings, c.now
		cfg.Logger = slog.New(slog.NewTextHandler(&c.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	c.world = newWorld(t, c.change)
	return c
}

// hook is the webhook: it checks what the contract promises, and keeps what it takes over.
func (c *town) hook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	var m signup.Message
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if at := r.Header.Get(signup.HeaderTimestamp); err != nil || r.Method != http.MethodPost || r.Header.Get(signup.HeaderID) != m.ID ||
		at == "" || r.Header.Get(signup.HeaderSignature) != signup.Signature(hookSecret, at, body) {
		c.bad = append(c.bad, fmt.Sprintf("%s %v %s: %v", r.Method, r.Header, body, err))
	}
	if c.ids == nil {
		c.ids = make(map[string]string)
	}
	if id, again := c.ids[m.Number+m.Code]; again && id != m.ID {
		c.bad = append(c.bad, "another identifier in another attempt")
	}
	c.ids[m.Number+m.Code] = m.ID
	if len(c.status) > 0 {
		status := c.status[0]
		c.status = c.status[1:]
		if status != http.StatusOK {
			if status == http.StatusFound {
				w.Header().Set("Location", "/elsewhere")
			}
			w.WriteHeader(status)
			return
		}
	}
	c.sent = append(c.sent, m)
}

func (c *town) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(time.Millisecond)
	return c.at
}

func (c *town) wait(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// texts are the messages sent so far.
func (c *town) texts() []signup.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]signup.Message(nil), c.sent...)
}

// anon asks without credentials.
func (c *town) anon(status int, op string, body obj) obj {
	c.t.Helper()
	r := do(c.t, c.public.URL, op, "", body)
	if r.status != status {
		c.t.Fatalf("%s %v: got %d %s, want %d", op, body, r.status, r.raw, status)
	}
	return r.body
}

// code asks for a code and returns the ticket and the code that was sent.
func (c *town) code(number, device string) (ticket, code string) {
	c.t.Helper()
	before := len(c.texts())
	out := c.anon(200, "account.start", obj{"phone": number, "region": "KR", "client_id": device})
	all := c.texts()
	if len(all) != before+1 {
		c.t.Fatalf("%d messages for one code", len(all)-before)
	}
	return out["ticket"].(string), all[len(all)-1].Code
}

// signUp makes an account with a number.
func (c *town) signUp(name, number string) {
	c.t.Helper()
	ticket, code := c.code(number, name+"-phone")
	out := c.anon(200, "account.verify", obj{"ticket": ticket, "code": code, "client_id": name + "-phone", "name": name})
	if out["new"] != true || out["name"] != name {
		c.t.Fatalf("sign-up of %s: %v", name, out)
	}
	c.tokens[name] = out["secret"].(string)
}

func TestSignUp(t *testing.T) {
	c := newTown(t, signup.Settings{})
	ticket, code := c.code("010-1234-5678", "phone-1")
	if m := c.texts()[0]; m.Number != "+821012345678" || !strings.Contains(m.Text, code) || m.Language != "en" || len(code) != 6 {
		t.Fatalf("sent %+v", m)
	}
	wrong := "000000"
	if code == wrong {
		wrong = "000001"
	}
	c.anon(403, "account.verify", obj{"ticket": ticket, "code": wrong, "client_id": "phone-1"})
	out := c.anon(200, "account.verify", obj{"ticket": ticket, "code": code, "client_id": "phone-1", "name": "Alice", "display": "Alice A."})
	want(t, "name", out["name"], "alice")
	want(t, "new", out["new"], true)
	c.tokens["alice"] = out["secret"].(string)
	me := c.as("alice", 200, "account.me", nil)
	want(t, "display", me["display"], "Alice A.")
	want(t, "device", me["device"], out["device"])
	// The answer was lost: the same account again, with another secret.
	again := c.anon(200, "account.verify", obj{"ticket": ticket, "code": code, "client_id": "phone-1", "name": "alice"})
	if again["name"] != "alice" || again["new"] != true || again["secret"] == out["secret"] {
		t.Fatalf("again: %v", again)
	}
	c.as("alice", 200, "account.me", nil)
	c.wait(11 * time.Minute) // the code is too old for a first use, the proven ticket is not
	c.anon(200, "account.verify", obj{"ticket": ticket, "code": code, "client_id": "phone-1"})
	c.wait(time.Hour)
	c.anon(403, "account.verify", obj{"ticket": ticket, "code": code, "client_id": "phone-1"})
	want(t, "broken requests", len(c.bad), 0)
	for _, secret := range []string{"1012345678", code, "+82", ticket, "key=x"} {
		if strings.Contains(c.logged.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, c.logged.String())
		}
	}
}

// One answer for a wrong, an old and an unknown code, and for a code after five wrong ones.
func TestSignUpCodes(t *testing.T) {
	c := newTown(t, signup.Settings{})
	ticket, code := c.code("01012345678", "d")
	wrong := "123456"
	if code == wrong {
		wrong = "654321"
	}
	refusal := func(ticket, code string) string {
		t.Helper()
		r := do(t, c.public.URL, "account.verify", "", obj{"ticket": ticket, "code": code, "client_id": "d"})
		if r.status != 403 {
			t.Fatalf("%d %s", r.status, r.raw)
		}
		return string(r.raw)
	}
	first := refusal(ticket, wrong)
	for _, other := range []string{refusal(ticket, ""), refusal(ticket, strings.Repeat("1", 10000)), refusal("nothing", code), refusal("", ""), refusal(strings.ToUpper(ticket), code)} {
		if other != first {
			t.Errorf("%s\nis not\n%s", other, first)
		}
	}
	refusal(ticket, wrong)
	refusal(ticket, wrong)
	if got := refusal(ticket, code); got != first { // the fifth was wrong, too
		t.Errorf("after five: %s", got)
	}
	c.wait(2 * time.Minute)
	ticket, code = c.code("01012345678", "d")
	c.wait(11 * time.Minute)
	if got := refusal(ticket, code); got != first {
		t.Errorf("too old: %s", got)
	}
}

func TestSignUpBadInput(t *testing.T) {
	c := newTown(t, signup.Settings{Deny: []string{"GB"}, Allow: []string{"KR", "GB", "US"}})
	for _, b := range []struct {
		status int
		word   string
		in     obj
	}{
		{400, "bad_request", obj{"client_id": "d"}},
		{400, "phone", obj{"phone": "hello", "region": "KR", "client_id": "d"}},
		{400, "region", obj{"phone": "010-1234-5678", "client_id": "d"}},
		{400, "region", obj{"phone": "010-1234-5678", "region": "ZZ", "client_id": "d"}},
		{400, "bad_request", obj{"phone": "010-1234-5678", "region": "KR"}},
		{403, "country", obj{"phone": "+447400123456", "client_id": "d"}},
		{403, "country", obj{"phone": "+819012345678", "client_id": "d"}},
		{403, "line", obj{"phone": "+18002530000", "client_id": "d"}},
	} {
		out := c.anon(b.status, "account.start", b.in)
		want(t, fmt.Sprint(b.in), out["error"], b.word)
	}
	want(t, "sent", len(c.texts()), 0)
	ticket, code := c.code("01012345678", "d")
	for _, name := range []string{"~x", "a b", "..", strings.Repeat("x", 65)} {
		c.anon(400, "account.verify", obj{"ticket": ticket, "code": code, "client_id": "d", "name": name})
	}
	c.users("bob")
	out := c.anon(409, "account.verify", obj{"ticket": ticket, "code": code, "client_id": "d", "name": "bob"})
	want(t, "taken name", out["error"], "name")
	out = c.anon(200, "account.verify", obj{"ticket": ticket, "code": code, "client_id": "d"})
	if name, _ := out["name"].(string); len(name) < 10 {
		t.Errorf("a random name: %q", name)
	}
	// Without a sender nobody signs up, and without credentials nothing else is open.
	w := newWorld(t)
	r := do(t, w.public.URL, "account.start", "", obj{"phone": "01012345678", "region": "KR", "client_id": "d"})
	want(t, "no sender", r.status, 403)
	r = do(t, w.public.URL, "account.pin", "", obj{"new": "1234"})
	want(t, "not open", r.status, 401)
}

// Two verifies of one ticket at once make one account, and both secrets open it.
func TestSignUpAtOnce(t *testing.T) {
	c := newTown(t, signup.Settings{})
	ticket, code := c.code("01012345678", "d")
	const n = 8
	var wg sync.WaitGroup
	outs := make([]reply, n)
	for i := range n {
		wg.Go(func() {
			outs[i] = do(t, c.public.URL, "account.verify", "", obj{"ticket": ticket, "code": code, "client_id": "d"})
		})
	}
	wg.Wait()
	for i, r := range outs {
		if r.status != 200 || r.body["name"] != outs[0].body["name"] {
			t.Fatalf("%d: %d %s, the first %s", i, r.status, r.raw, outs[0].raw)
		}
		me := do(t, c.public.URL, "account.me", "Bearer "+r.body["secret"].(string), nil)
		want(t, "with its secret", me.status, 200)
	}
	list, err := c.store.Accounts(0, 0)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d accounts, %v", len(list), err)
	}
}

// What Start answers and sends is the same for a number with an account and one without.
func TestSignUpLooksAlike(t *testing.T) {
	c := newTown(t, signup.Settings{})
	c.signUp("alice", "01012345678")
	c.wait(2 * time.Minute)
	look := func(number string) string {
		r := do(t, c.public.URL, "account.start", "", obj{"phone": number, "region": "KR", "client_id": "other"})
		var keys []string
		for _, k := range []string{"code", "ticket", "expires", "again", "error", "text"} {
			if v, ok := r.body[k]; ok {
				if k == "expires" || k == "again" { // zeros at the end of a time are left out
					v = "a time"
				}
				keys = append(keys, fmt.Sprintf("%s:%d", k, len(fmt.Sprint(v))))
			}
		}
		return fmt.Sprint(r.status, keys)
	}
	if with, without := look("01012345678"), look("01012345679"); with != without {
		t.Errorf("%s\n%s", with, without)
	}
	if with, without := look("01012345678"), look("01012345679"); with != without || !strings.HasPrefix(with, "429") {
		t.Errorf("too soon: %s\n%s", with, without)
	}
}

// A number that has an account: by consent, by PIN, or a new account in its place.
func TestSignInAgain(t *testing.T) {
	c := newTown(t, signup.Settings{})
	const number = "01012345678"
	c.signUp("alice", number)
	c.users("bob")
	c.friends("alice", "bob")
	c.as("alice", 200, "message.send", obj{"user": "bob", "text": "hello"})
	sub := obj{"client_id": "new-phone", "label": "New phone"}
	with := func(extra obj) obj {
		out := obj{}
		for _, m := range []obj{sub, extra} {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	next := func() obj {
		c.wait(day)
		ticket, code := c.code(number, "new-phone")
		return with(obj{"ticket": ticket, "code": code})
	}

	// Consent.
	q := next()
	want(t, "waiting", c.anon(200, "account.verify", q)["waiting"], true)
	want(t, "still", c.anon(200, "account.verify", q)["waiting"], true)
	list := c.as("alice", 200, "account.requests", nil)["requests"].([]any)
	want(t, "requests", len(list), 1)
	request := list[0].(obj)
	want(t, "device", request["device"], "New phone")
	c.as("bob", 404, "account.approve", obj{"request": request["request"], "allow": true})
	c.as("alice", 200, "account.approve", obj{"request": request["request"], "allow": true})
	c.as("alice", 404, "account.approve", obj{"request": request["request"], "allow": false})
	out := c.anon(200, "account.verify", q)
	if out["name"] != "alice" || out["new"] != nil {
		t.Fatalf("after consent: %v", out)
	}
	c.tokens["alice2"] = out["secret"].(string)
	want(t, "same account", c.as("alice2", 200, "account.me", nil)["name"], "alice")
	want(t, "devices", len(c.as("alice", 200, "device.list", nil)["devices"].([]any)), 2)
	c.as("alice2", 200, "device.remove", obj{"device": out["device"]})

	// No.
	q = next()
	c.anon(200, "account.verify", q)
	list = c.as("alice", 200, "account.requests", nil)["requests"].([]any)
	c.as("alice", 200, "account.approve", obj{"request": list[0].(obj)["request"], "allow": false})
	want(t, "denied", c.anon(403, "account.verify", q)["error"], "denied")

	// The PIN.
	c.as("alice", 200, "account.pin", obj{"new": "2468"})
	c.as("alice", 403, "account.pin", obj{"new": "1357"})
	c.as("alice", 403, "account.pin", obj{"new": "1357", "pin": "9999"})
	q = next()
	q["pin"] = "1357"
	want(t, "wrong PIN", c.anon(403, "account.verify", q)["error"], "pin")
	q["pin"] = "2468"
	want(t, "by PIN", c.anon(200, "account.verify", q)["name"], "alice")

	// Somebody new.
	q = next()
	q["fresh"], q["name"], q["client_id"] = true, "carol", "carols"
	out = c.anon(200, "account.verify", q)
	if out["name"] != "carol" || out["new"] != true {
		t.Fatalf("fresh: %v", out)
	}
	c.tokens["carol"] = out["secret"].(string)
	want(t, "conversations", len(c.as("carol", 200, "room.list", nil)["rooms"].([]any)), 0)
	want(t, "friends", len(c.as("carol", 200, "contact.list", nil)["users"].([]any)), 0)
	r := do(t, c.public.URL, "account.me", "Bearer "+c.tokens["alice"], nil)
	want(t, "locked", r.status, 403)
	want(t, "locked", r.body["error"], "number_moved")
	c.as("bob", 200, "room.history", obj{"user": "alice"})

	// Seven days later, after a restart in between.
	c.wait(6 * day)
	c.stop()
	c.start(c.change)
	c.api.signup.Work(t.Context())
	want(t, "still locked", do(t, c.public.URL, "account.me", "Bearer "+c.tokens["alice"], nil).status, 403)
	c.wait(day + time.Hour)
	c.api.signup.Work(t.Context())
	c.as("alice", 200, "account.me", nil)
	h := c.as("alice", 200, "room.history", obj{"user": "bob"})
	want(t, "messages", len(h["items"].([]any)), 1)
	if _, ok, err := c.api.cfg.Phones.Of(c.account("alice").ID); ok || err != nil {
		t.Errorf("alice still has a number: %v", err)
	}
}

const day = 24 * time.Hour

func TestPINPauses(t *testing.T) {
	c := newTown(t, signup.Settings{})
	c.signUp("alice", "01012345678")
	c.as("alice", 200, "account.pin", obj{"new": "2468"})
	for range 5 {
		want(t, "wrong", c.as("alice", 403, "account.pin", obj{"new": "", "pin": "1111"})["error"], "pin")
	}
	out := c.as("alice", 429, "account.pin", obj{"new": "", "pin": "2468"})
	if ms := out["retry_ms"].(float64); ms < 50_000 || ms > 60_000 {
		t.Errorf("retry %v", ms)
	}
	c.wait(61 * time.Second)
	c.as("alice", 403, "account.pin", obj{"new": "", "pin": "1111"})
	if ms := c.as("alice", 429, "account.pin", obj{"new": "", "pin": "2468"})["retry_ms"].(float64); ms < 290_000 {
		t.Errorf("the pause does not grow: %v", ms)
	}
	c.wait(6 * time.Minute)
	c.as("alice", 200, "account.pin", obj{"new": "", "pin": "2468"})
	c.as("alice", 200, "account.pin", obj{"new": "8642"})
	// A fresh code does instead of the PIN; one for something else does not.
	c.wait(time.Hour)
	c.as("alice", 403, "account.code", obj{"phone": "01000000001", "region": "KR", "for": "pin"})
	ask := func(what string) (string, string) {
		c.wait(time.Hour)
		ticket := c.as("alice", 200, "account.code", obj{"phone": "01012345678", "region": "KR", "for": what})["ticket"].(string)
		all := c.texts()
		return ticket, all[len(all)-1].Code
	}
	ticket, code := ask("erase")
	c.as("alice", 403, "account.pin", obj{"new": "", "ticket": ticket, "code": code})
	ticket, code = ask("pin")
	c.as("alice", 200, "account.pin", obj{"new": "", "ticket": ticket, "code": code})
	c.as("alice", 403, "account.pin", obj{"new": "1234", "ticket": ticket, "code": code}) // once
}

func TestChangeNumber(t *testing.T) {
	c := newTown(t, signup.Settings{})
	c.signUp("alice", "01012345678")
	c.signUp("bob", "01087654321")
	change := func(number string, status int, extra obj) obj {
		t.Helper()
		c.wait(day)
		ticket := c.as("alice", 200, "account.number", obj{"phone": number, "region": "KR"})["ticket"].(string)
		all := c.texts()
		q := obj{"ticket": ticket, "code": all[len(all)-1].Code}
		for k, v := range extra {
			q[k] = v
		}
		c.as("bob", 403, "account.number.verify", q) // not his ticket
		return c.as("alice", status, "account.number.verify", q)
	}
	holder := func(number string) string {
		n, err := phone.Parse(number, "KR")
		if err != nil {
			t.Fatal(err)
		}
		a, err := c.api.cfg.Phones.Account(c.key.Hash(n))
		if err != nil || a == 0 {
			return fmt.Sprint("nobody", err)
		}
		u, err := c.store.Account(a)
		if err != nil {
			t.Fatal(err)
		}
		return u.Name
	}
	change("01011112222", 200, nil)
	want(t, "new number", holder("01011112222"), "alice")
	want(t, "old number", holder("01012345678"), "nobody<nil>")
	want(t, "taken", change("01087654321", 409, nil)["error"], "taken")
	want(t, "bob's", holder("01087654321"), "bob")
	c.wait(day)
	ticket := c.as("alice", 200, "account.number", obj{"phone": "01087654321", "region": "KR"})["ticket"].(string)
	all := c.texts()
	c.as("alice", 200, "account.number.verify", obj{"ticket": ticket, "code": all[len(all)-1].Code, "take": true})
	want(t, "moved", holder("01087654321"), "alice")
	want(t, "locked", do(t, c.public.URL, "account.me", "Bearer "+c.tokens["bob"], nil).status, 403)
}

func TestCodeLimits(t *testing.T) {
	c := newTown(t, signup.Settings{
		Number: []signup.Window{{Count: 1, Per: time.Minute}, {Count: 3, Per: time.Hour}}, Device: []signup.Window{{Count: 4, Per: time.Hour}},
		Address: []signup.Window{{Count: 1000, Per: time.Hour}}, Global: []signup.Window{{Count: 1000, Per: day}},
		CountryDay: 8, CountryCaps: map[string]int{"DE": 1, "JP": 0},
	})
	n := 0
	ask := func(number, device string) (int, float64) {
		t.Helper()
		n++
		r := do(t, c.public.URL, "account.start", "", obj{"phone": number, "region": "KR", "client_id": device})
		retry, _ := r.body["retry_ms"].(float64)
		if r.status == 429 && r.header.Get("Retry-After") == "" {
			t.Errorf("no Retry-After: %s", r.raw)
		}
		return r.status, retry / 1000
	}
	expect := func(number, device string, status int, from, to float64) {
		t.Helper()
		if s, retry := ask(number, device); s != status || retry < from || retry > to {
			t.Errorf("%s from %s: %d, again in %v s; want %d in %v to %v", number, device, s, retry, status, from, to)
		}
	}
	expect("01012345678", "a", 200, 0, 0)
	expect("01012345678", "b", 429, 50, 60) // a minute, whoever asks
	c.wait(time.Minute)
	expect("01012345678", "b", 200, 0, 0)
	c.stop()
	c.start(c.change) // what was counted is known after a restart
	c.wait(10 * time.Second)
	expect("01012345678", "b", 429, 40, 51)
	c.wait(time.Minute)
	expect("01012345678", "b", 200, 0, 0)
	c.wait(time.Minute)
	expect("01012345678", "b", 429, 3300, 3500) // three an hour
	for _, last := range []string{"1", "2", "3", "4"} {
		expect("0101234567"+last, "c", 200, 0, 0)
	}
	expect("01012345670", "c", 429, 3500, 3600)    // four an hour for a device
	expect("01055555555", "d", 200, 0, 0)          // the eighth of the country
	expect("01055555556", "e", 429, 1, 24*3600)    // until midnight
	expect("+4915123456789", "e", 200, 0, 0)       // another country
	expect("+4915123456780", "e", 429, 1, 24*3600) // which gets one a day
	expect("+819012345678", "e", 403, 0, 0)        // and none
	want(t, "sent", len(c.texts()), 9)
	c.wait(25 * time.Hour)
	expect("01055555556", "e", 200, 0, 0)
}

// Codes that nobody enters close their range, and then their country, until the next day.
func TestPumpedCodes(t *testing.T) {
	many := []signup.Window{{Count: 10_000, Per: time.Hour}}
	c := newTown(t, signup.Settings{Number: many, Device: many, Address: many, Range: many, Global: many,
		WatchRange: signup.Watch{Codes: 10, Percent: 10}, WatchCountry: signup.Watch{Codes: 30, Percent: 10}})
	c.signUp("alice", "01012345678") // somebody honest
	status := func(number string) int {
		return do(t, c.public.URL, "account.start", "", obj{"phone": number, "region": "KR", "client_id": "x"}).status
	}
	closed := 0
	for rng := 1000; rng < 1005; rng++ {
		for i := range 12 {
			if status(fmt.Sprintf("010%04d%04d", rng, i)) == 200 && i == 0 && rng == 1000 {
				c.wait(11 * time.Minute) // so that the first have had their time
			}
		}
		c.wait(11 * time.Minute)
		if status(fmt.Sprintf("010%04d9999", rng)) != 200 { // the one that is noticed
			closed++
		}
		if status(fmt.Sprintf("010%04d9998", rng)) == 429 {
			closed++
		}
	}
	if closed < 5 {
		t.Errorf("%d refusals", closed)
	}
	want(t, "a range of the country", status("01099991111"), 429)
	want(t, "another country", status("+4915123456789"), 200)
	if !strings.Contains(c.logged.String(), "closed for the day") || strings.Contains(c.logged.String(), "99991111") {
		t.Errorf("the log:\n%s", c.logged.String())
	}
	c.stop()
	c.start(c.change)
	want(t, "after a restart", status("01099991111"), 429)
	opened := false
	for _, p := range c.op(200, "signup.status", nil)["closed"].([]any) {
		if p.(obj)["place"] == "KR" {
			opened = true
			c.op(200, "signup.open", obj{"place": "KR"})
			c.op(404, "signup.open", obj{"place": "KR"})
			want(t, "opened by an operator", status("01099991111"), 200)
			want(t, "a closed range of it", status("01010009999"), 429)
		}
	}
	want(t, "the country was closed", opened, true)
	c.wait(day)
	want(t, "the next day", status("01010009999"), 200)
	want(t, "closed then", len(c.op(200, "signup.status", nil)["closed"].([]any)), 0)
}

// The sender's failures: what is worth it is tried again with the same identifier, and nothing of it is told.
func TestWebhookFailures(t *testing.T) {
	c := newTown(t, signup.Settings{})
	try := func(number string, want int, status ...int) {
		t.Helper()
		c.mu.Lock()
		c.status = status
		c.mu.Unlock()
		r := do(t, c.public.URL, "account.start", "", obj{"phone": number, "region": "KR", "client_id": "d" + number})
		if r.status != want {
			t.Errorf("%v: %d %s", status, r.status, r.raw)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.status) != 0 {
			t.Errorf("%v: %d attempts were not made", status, len(c.status))
		}
	}
	try("01012345671", 200, 500, 429, 200)
	try("01012345672", 503, 500, 502, 503)
	try("01012345673", 503, 400)
	try("01012345674", 503, 302) // redirects are not followed
	want(t, "broken requests", len(c.bad), 0)
	if log := c.logged.String(); strings.Contains(log, "key=x") || strings.Contains(log, "0101234567") {
		t.Errorf("the log tells too much:\n%s", log)
	}
}

// nowhere is a sender that takes everything.
type nowhere struct{ codes chan string }

func (n nowhere) Send(_ context.Context, m signup.Message) error {
	n.codes <- m.Code
	return nil
}

// BenchmarkSignUp is a whole sign-up without HTTP: code, account, number, device, token.
func BenchmarkSignUp(b *testing.B) {
	many := []signup.Window{{Count: 1 << 30, Per: time.Hour}}
	w := newWorld(b, func(cfg *Config) {
		cfg.Phones = phone.NewBook(cfg.Broker.Store(), phone.NewKey([32]byte{7}))
		cfg.CodeSender = nowhere{}
		cfg.SignUp = signup.Settings{Number: many, Device: many, Address: many, Range: many, Global: many, CountryDay: 1 << 30,
			WatchCountry: signup.Watch{Codes: -1}, WatchRange: signup.Watch{Codes: -1}}
	})
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		codes := make(chan string, 1)
		svc, err := signup.New(signup.Config{Store: w.store, Book: w.api.cfg.Phones, Host: signUpHost{w.api}, Sender: nowhere{codes}, Settings: w.api.cfg.SignUp})
		if err != nil {
			b.Error(err)
			return
		}
		for pb.Next() {
			i := n.Add(1)
			out, err := svc.Start(context.Background(), signup.Ask{Phone: fmt.Sprintf("+8210%08d", 20_000_000+i), Device: "d"})
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := svc.Verify(context.Background(), signup.Enter{Ticket: out.Ticket, Code: <-codes, ClientID: "d"}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
