package link

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// world is a service on a real store; it is the sender, too, and appends what it is given.
type world struct {
	*Service
	t     *testing.T
	bolt  *bolt.Store
	dir   string
	users map[string]hooks.Identity
	room  store.LogInfo

	mu     sync.Mutex
	clock  time.Time
	sends  int
	refuse error // of the next messages
	die    bool  // the message is stored, and the sender does not hear of it
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), users: make(map[string]hooks.Identity), clock: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)}
	w.open()
	t.Cleanup(w.close)
	for _, name := range []string{"alice", "bob", "dev"} {
		a, err := w.bolt.CreateAccount(t.Context(), store.Account{Name: name, Created: 1})
		w.ok(err)
		id := hooks.Identity{Account: a.ID, Name: name, ClientID: "phone", Device: store.DeviceOf(a.ID, "phone")}
		w.ok(w.bolt.PutDevice(t.Context(), store.Device{Account: a.ID, ID: id.Device, ClientID: "phone"}, 10))
		w.users[name] = id
	}
	var err error
	w.room, _, err = w.bolt.Open(t.Context(), store.RoomKey("club"), store.Creation{By: w.users["alice"].Account,
		Members: []store.Member{{Account: w.users["alice"].Account, Role: store.RoleOwner}, {Account: w.users["bob"].Account, Role: store.RoleMember}}})
	w.ok(err)
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	w.bolt, err = bolt.Open(bolt.Config{Dir: w.dir, MinFree: -1, Now: w.now})
	w.ok(err)
	w.Service, err = New(Config{Store: w.bolt, Graph: graph.New(w.bolt, w.now), Sender: w, Now: w.now, Round: func(n, total int) *int {
		if n < 20 || total > 0 && total-n < 20 {
			return nil
		}
		n -= n % 10
		return &n
	}})
	w.ok(err)
}

func (w *world) close() {
	w.t.Helper()
	w.ok(w.Service.Close())
	w.ok(w.bolt.Close())
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// SendContent appends to the room.
func (w *world) SendContent(_ context.Context, id hooks.Identity, t hooks.Topic, c view.Content) (store.Receipt, error) {
	w.mu.Lock()
	w.sends++
	refuse, die := w.refuse, w.die
	w.mu.Unlock()
	if refuse != nil {
		return store.Receipt{}, refuse
	}
	r, err := w.bolt.Append(store.Draft{Log: w.room.ID, Sender: id.Account, Device: id.Device, CID: t.CID, Kind: c.Kind, Text: c.Text, Extra: c.Extra}).Result()
	if die {
		return store.Receipt{}, &store.Error{Code: store.CodeUnknown, Text: "not known"}
	}
	return r, err
}

// links are the room's links.
func (w *world) links() (out []*store.Record) {
	w.t.Helper()
	page, err := w.bolt.Read(store.Query{Log: w.room.ID, Max: 1000, Bytes: 1 << 20})
	w.ok(err)
	for _, r := range page.Records {
		if r.Kind == store.KindLink {
			out = append(out, r)
		}
	}
	return out
}

func chessTerms() graph.AppTerms {
	return graph.AppTerms{Name: "Chess", Domains: []string{"game.example.com"}, Systems: map[graph.Platform]graph.AppSystem{
		graph.PlatformAndroid:    {Schemes: []string{"mygame"}, IDs: []string{"com.example.game"}},
		graph.PlatformIOS:        {Schemes: []string{"mygame-ios"}, IDs: []string{"123"}},
		graph.PlatformBlackBerry: {Schemes: []string{"mygame"}},
	}}
}

// chess registers and approves an app of dev's, and returns it.
func (w *world) chess() App {
	w.t.Helper()
	_, err := w.Register(w.t.Context(), w.users["dev"].Account, "Chess", chessTerms())
	w.ok(err)
	a, err := w.Approve(w.t.Context(), "chess", 0)
	w.ok(err)
	return a
}

func (w *world) ticket(app string) string {
	w.t.Helper()
	said, _, err := w.Ticket(w.t.Context(), w.users["alice"], app, hooks.Topic{Place: hooks.Room, Name: "club"})
	w.ok(err)
	return said
}

func move() Message {
	return Message{Text: "your move", Actions: Actions{Targets: []Target{{OS: "android", Execute: "mygame://7", Install: "market://details?id=com.example.game"},
		{OS: "ios", Class: "phone", Execute: "mygame-ios://7"}}, Web: "https://game.example.com/7"}}
}

// is fails unless the error is that one, or has that code.
func (w *world) is(what string, err error, want any) {
	w.t.Helper()
	switch want := want.(type) {
	case error:
		if !errors.Is(err, want) {
			w.t.Errorf("%s: %v, want %v", what, err, want)
		}
	case store.Code:
		if store.CodeOf(err) != want {
			w.t.Errorf("%s: %v, want code %d", what, err, want)
		}
	}
}

// TestTicketOnce sees that a ticket sends one message, whoever shows it how often, also in parallel and after a restart.
func TestTicketOnce(t *testing.T) {
	w := newWorld(t)
	a := w.chess()
	said := w.ticket("chess")
	if len(said) != 26 {
		t.Errorf("a ticket of %d characters has not 128 bits", len(said))
	}
	times := make([]time.Time, 30)
	var wg sync.WaitGroup
	for i := range times {
		wg.Go(func() {
			var err error
			if times[i], err = w.Send(t.Context(), a.Keys[0].Key, said, move()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(w.links()); n != 1 {
		t.Fatalf("%d messages", n)
	}
	for _, at := range times {
		if at != times[0] || at.IsZero() {
			t.Errorf("%v, %v", at, times[0])
		}
	}
	other := move()
	other.Text = "another"
	_, err := w.Send(t.Context(), a.Keys[0].Key, said, other)
	w.is("another message", err, ErrUsed)
	w.close()
	w.open()
	w.pass(time.Hour) // the ticket's time is over, its answer is not
	at, err := w.Send(t.Context(), a.Keys[0].Key, strings.ToUpper(said), move())
	if err != nil || at != times[0] || len(w.links()) != 1 {
		t.Errorf("after a restart: %v, %v, %d messages", at, err, len(w.links()))
	}
	r := w.links()[0]
	if r.Device != 0 || r.Sender != w.users["alice"].Account || string(r.Text) != "your move" {
		t.Errorf("%+v", r)
	}
	w.ok(w.Flush(t.Context()))
	if row, err := w.bolt.Row(tableCount, "", "chess\x0020260302"); err != nil || string(row.Value) != `{"s":1}` {
		t.Errorf("counted %s, %v", row.Value, err)
	}
	w.pass(25 * time.Hour)
	_, err = w.Send(t.Context(), a.Keys[0].Key, said, move())
	w.is("a day later", err, ErrTicket)
}

// TestTicketRace sees that of different messages shown with one ticket at once, one is sent and the others are told.
func TestTicketRace(t *testing.T) {
	w := newWorld(t)
	a := w.chess()
	said := w.ticket("chess")
	var mu sync.Mutex
	sent := 0
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			m := move()
			m.Text = fmt.Sprint("message ", i)
			_, err := w.Send(t.Context(), a.Keys[0].Key, said, m)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				sent++
			} else if !errors.Is(err, ErrUsed) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if sent != 1 || len(w.links()) != 1 {
		t.Errorf("%d sent, %d messages", sent, len(w.links()))
	}
}

// TestTicketCrash sees that a server that dies between sending and noting it sends nothing twice.
func TestTicketCrash(t *testing.T) {
	w := newWorld(t)
	a := w.chess()
	said := w.ticket("chess")
	w.die = true
	_, err := w.Send(t.Context(), a.Keys[0].Key, said, move())
	w.is("while it dies", err, store.CodeUnknown)
	w.die = false
	w.close()
	w.open()
	other := move()
	other.Text = "another"
	_, err = w.Send(t.Context(), a.Keys[0].Key, said, other)
	w.is("another message", err, ErrUsed)
	if _, err = w.Send(t.Context(), a.Keys[0].Key, said, move()); err != nil {
		t.Error(err)
	}
	if n := len(w.links()); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// TestTicketRefusals is when a ticket is not good, and what its app is told.
func TestTicketRefusals(t *testing.T) {
	w := newWorld(t)
	a := w.chess()
	key := a.Keys[0].Key
	to := hooks.Topic{Place: hooks.Room, Name: "club"}
	_, err := w.Register(t.Context(), w.users["dev"].Account, "other", chessTerms())
	w.ok(err)
	other, err := w.Approve(t.Context(), "other", 0)
	w.ok(err)

	said := w.ticket(key)
	_, err = w.Send(t.Context(), other.Keys[0].Key, said, move())
	w.is("another app", err, ErrTicket)
	for _, wrong := range []string{"", "x", strings.Repeat("a", 26), said + "a", said[:25], strings.Repeat("\x00", 26)} {
		_, err = w.Send(t.Context(), key, wrong, move())
		w.is("a wrong ticket", err, ErrTicket)
	}
	for _, wrong := range []string{"", "chess", "chess:", "chess:x", "nobody:x", ":", key + "x"} {
		_, err = w.Send(t.Context(), wrong, said, move())
		w.is("a wrong key", err, ErrKey)
	}
	bad := move()
	bad.Web = "https://evil.example/"
	_, err = w.Send(t.Context(), key, said, bad)
	w.is("a foreign domain", err, errForeign)
	if !strings.Contains(err.Error(), "web lies on evil.example") {
		t.Errorf("it does not say which: %v", err)
	}
	w.refuse = &store.Error{Code: store.CodeTooMany, Reason: "strangers", Text: "no more strangers today", Retry: time.Hour}
	_, err = w.Send(t.Context(), key, said, move())
	w.is("too much", err, store.CodeTooMany)
	if strings.Contains(err.Error(), "strangers today") && !strings.HasPrefix(err.Error(), "too much at once") {
		t.Errorf("the app is told why: %v", err)
	}
	w.refuse = nil
	if _, err = w.Send(t.Context(), key, said, move()); err != nil {
		t.Errorf("after a bad one and too much: %v", err)
	}

	said = w.ticket("chess")
	w.refuse = store.Forbidden("not_friend", "you are not a friend")
	_, err = w.Send(t.Context(), key, said, move())
	w.is("the rules", err, ErrRules)
	w.refuse = nil
	sends := w.sends
	_, err = w.Send(t.Context(), key, said, move())
	w.is("the rules again", err, ErrRules)
	if w.sends != sends {
		t.Error("a ticket that was refused asks the rules again: an app could watch them change")
	}

	said = w.ticket("chess")
	w.pass(TicketLife)
	_, err = w.Send(t.Context(), key, said, move())
	w.is("too old", err, ErrTicket)

	said = w.ticket("chess")
	w.ok(w.bolt.RemoveDevice(t.Context(), w.users["alice"].Account, w.users["alice"].Device))
	_, err = w.Send(t.Context(), key, said, move())
	w.is("of a device that was signed out", err, ErrTicket)

	_, _, err = w.Ticket(t.Context(), w.users["dev"], "chess", to)
	w.is("into a room of others", err, store.CodeNotFound)
	_, _, err = w.Ticket(t.Context(), w.users["alice"], "nobody", to)
	w.is("of no app", err, ErrNoApp)
	for range w.cfg.Limits.Tickets - 1 { // one waits still
		w.ticket("chess")
	}
	_, _, err = w.Ticket(t.Context(), w.users["alice"], "chess", to)
	w.is("too many", err, store.CodeTooMany)
	w.pass(TicketLife)
	w.ticket("chess")
}

// TestAppLife is what an app goes through: waiting, approved, changed, suspended, removed.
func TestAppLife(t *testing.T) {
	w := newWorld(t)
	dev := w.users["dev"]
	ctx := t.Context()
	a, err := w.Register(ctx, dev.Account, "Chess", chessTerms())
	w.ok(err)
	if a.ID != "chess" || a.State() != "waiting" || len(a.Keys) != 1 || !strings.HasPrefix(a.Keys[0].Key, "chess:") {
		t.Errorf("%+v", a)
	}
	again, err := w.Register(ctx, dev.Account, "chess", chessTerms())
	if err != nil || again.Keys[0] != a.Keys[0] {
		t.Errorf("again: %v, %v", again, err)
	}
	_, err = w.Register(ctx, w.users["bob"].Account, "chess", chessTerms())
	w.is("of another one", err, ErrTaken)
	if mine, err := w.Mine(w.users["bob"].Account); err != nil || len(mine) != 0 {
		t.Errorf("bob has %v, %v", mine, err)
	}

	_, _, err = w.Ticket(ctx, w.users["alice"], "chess", hooks.Topic{Place: hooks.Room, Name: "club"})
	w.is("waiting", err, ErrWaits)
	_, err = w.Share(ctx, dev, "chess", hooks.Topic{Place: hooks.User, Name: "dev"}, move())
	w.is("to its owner's notes", err, store.Code(0))
	_, err = w.Share(ctx, dev, "chess", hooks.Topic{Place: hooks.User, Name: "bob"}, move())
	w.is("to somebody", err, ErrWaits)
	_, err = w.Approve(ctx, "chess", a.Rev+1)
	w.is("of another revision", err, store.CodeConflict)
	a, err = w.Approve(ctx, "chess", a.Rev)
	if w.ok(err); a.State() != "ok" {
		t.Errorf("%+v", a)
	}

	more, err := w.SetTerms(ctx, dev.Account, "chess", func(t *graph.AppTerms) { t.Domains = append(t.Domains, "evil.example") })
	if err != nil || more.Asked == nil || len(more.Domains) != 1 {
		t.Errorf("what grows waits: %+v, %v", more, err)
	}
	evil := move()
	evil.Web = "https://evil.example/"
	_, err = w.Share(ctx, w.users["alice"], "chess", hooks.Topic{Place: hooks.Room, Name: "club"}, evil)
	w.is("not approved yet", err, errForeign)
	fewer, err := w.SetTerms(ctx, dev.Account, "chess", func(t *graph.AppTerms) {
		t.Domains = t.Domains[:1]
		t.Domains = []string{"game.example.com"}
		delete(t.Systems, graph.PlatformBlackBerry)
	})
	if err != nil || fewer.Asked != nil || len(fewer.Systems) != 2 {
		t.Errorf("what shrinks holds at once: %+v, %v", fewer, err)
	}
	stored, err := w.graph.App("chess")
	if err != nil || len(stored.Systems) != 2 {
		t.Errorf("%+v, %v", stored, err)
	}

	_, key, err := w.AddKey(ctx, dev.Account, "chess", "2.0", true, time.Hour)
	w.ok(err)
	if _, err := w.byKey(a.Keys[0].Key); err != nil {
		t.Errorf("within the grace: %v", err)
	}
	w.pass(time.Hour)
	_, err = w.byKey(a.Keys[0].Key)
	w.is("after the grace", err, ErrKey)
	_, err = w.RemoveKey(ctx, dev.Account, "chess", key)
	w.ok(err)
	_, err = w.byKey(key)
	w.is("a key that was removed", err, ErrKey)
	_, err = w.RemoveKey(ctx, dev.Account, "chess", key)
	w.is("twice", err, ErrNoKey)
	_, _, err = w.AddKey(ctx, w.users["bob"].Account, "chess", "", false, 0)
	w.is("by somebody else", err, ErrNoApp)

	_, err = w.Suspend(ctx, "chess", "spam", true)
	w.ok(err)
	_, err = w.Share(ctx, w.users["alice"], "chess", hooks.Topic{Place: hooks.Room, Name: "club"}, move())
	w.is("suspended", err, ErrOff)
	if app, err := w.graph.App("chess"); err != nil || app.Opens() {
		t.Errorf("%+v, %v", app, err)
	}
	_, err = w.Suspend(ctx, "chess", "", false)
	w.ok(err)
	if app, err := w.graph.App("chess"); err != nil || !app.Opens() || app.SuspendedReason != "" {
		t.Errorf("%+v, %v", app, err)
	}
	for i := range w.cfg.Limits.Apps - 1 {
		_, err := w.Register(ctx, dev.Account, fmt.Sprint("app", i), chessTerms())
		w.ok(err)
	}
	_, err = w.Register(ctx, dev.Account, "one-more", chessTerms())
	w.is("too many", err, store.CodeFull)

	w.ok(w.Erase(ctx, dev.Account))
	w.ok(w.Erase(ctx, dev.Account))
	if app, err := w.graph.App("chess"); err != nil || app.Opens() || app.Name != "" {
		t.Errorf("after its owner has gone: %+v, %v", app, err)
	}
	_, err = w.Register(ctx, w.users["bob"].Account, "chess", chessTerms())
	w.is("the identifier of one that was removed", err, ErrTaken)
}

// TestMessageRefusals is what a message may not be, and that the refusal names the place.
func TestMessageRefusals(t *testing.T) {
	a := &App{ID: "chess"}
	a.AppTerms = chessTerms()
	if _, err := build(a, &Message{Text: "x", Actions: Actions{Targets: []Target{{OS: "web", Execute: "https://game.example.com/"}}}}); err != nil {
		t.Errorf("web as a target: %v", err)
	}
	for want, change := range map[string]func(*Message){
		"the message is empty":                         func(m *Message) { m.Text = "" },
		"the message opens nothing":                    func(m *Message) { m.Actions = Actions{} },
		"text may have at most 1000":                   func(m *Message) { m.Text = strings.Repeat("가", 1001) },
		"text has an address":                          func(m *Message) { m.Text = "https://evil.example" },
		"image must be":                                func(m *Message) { m.Image = "https://evil.example/x.png" },
		"at most 5 buttons":                            func(m *Message) { m.Buttons = make([]Button, 6) },
		"buttons[0].text is missing":                   func(m *Message) { m.Buttons = []Button{{}} },
		"buttons[0].web lies on evil.example":          func(m *Message) { m.Buttons = []Button{{Text: "x", Actions: Actions{Web: "https://evil.example"}}} },
		"targets[0].os must be":                        func(m *Message) { m.Targets[0].OS = "toaster" },
		"targets[0].class must be":                     func(m *Message) { m.Targets[0].Class = "watch" },
		"targets[1] is the second":                     func(m *Message) { m.Targets[1] = m.Targets[0] },
		"targets: at most 16":                          func(m *Message) { m.Targets = make([]Target, 17) },
		"targets[0] (android) has neither":             func(m *Message) { m.Targets[0].Execute, m.Targets[0].Install = "", "" },
		"targets[0] (android).execute has the scheme":  func(m *Message) { m.Targets[0].Execute = "mygame-ios://x" },
		"targets[1] (ios phone).execute lies on evil":  func(m *Message) { m.Targets[1].Execute = "https://evil.example" },
		"targets[1] (ios phone).install lies on play.": func(m *Message) { m.Targets[1].Install = "https://play.google.com/store/apps/details?id=123" },
		"targets[2] is of the web": func(m *Message) {
			m.Targets = append(m.Targets, Target{OS: "web", Execute: "https://game.example.com"})
		},
		"the addresses of the message": func(m *Message) { m.Buttons = long(5) },
	} {
		m := move()
		change(&m)
		if _, err := build(a, &m); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func long(n int) (out []Button) {
	for i := range n {
		b := Button{Text: fmt.Sprint(i)}
		for _, class := range []string{"phone", "tablet", "any"} {
			b.Targets = append(b.Targets, Target{OS: "android", Class: class, Execute: "mygame://" + strings.Repeat("x", 1990)})
		}
		out = append(out, b)
	}
	return out
}

// TestForward sees that a forwarded link keeps its app and what it may still open, and nothing else.
func TestForward(t *testing.T) {
	w := newWorld(t)
	w.chess()
	to := hooks.Topic{Place: hooks.Room, Name: "club", CID: "one"}
	m := move()
	m.Buttons = []Button{{Text: "Play"}, {Text: "iOS", Actions: Actions{Targets: []Target{{OS: "ios", Execute: "mygame-ios://8"}}}}}
	_, err := w.Share(t.Context(), w.users["alice"], "chess", to, m)
	w.ok(err)
	_, err = w.SetTerms(t.Context(), w.users["dev"].Account, "chess", func(t *graph.AppTerms) { delete(t.Systems, graph.PlatformAndroid) })
	w.ok(err)
	to.CID = "two"
	_, err = w.Forward(t.Context(), w.users["bob"], w.links()[0], to)
	w.ok(err)
	r := w.links()[1]
	l, ok := view.LinkOf(r)
	if !ok || l.App != "chess" || len(l.Targets) != 1 || l.Targets[0].OS != "ios" || l.Web != "https://game.example.com/7" || len(l.Buttons) != 2 {
		t.Errorf("%+v", l)
	}
	if r.Sender != w.users["bob"].Account || strings.Contains(string(r.Extra), "alice") || strings.Contains(string(r.Extra), "club") {
		t.Errorf("%q", r.Extra)
	}
	_, err = w.Suspend(t.Context(), "chess", "", true)
	w.ok(err)
	_, err = w.Forward(t.Context(), w.users["bob"], w.links()[0], to)
	w.is("suspended", err, ErrOff)
	_, err = w.Forward(t.Context(), w.users["bob"], &store.Record{Text: []byte("x")}, to)
	w.is("no link", err, ErrNoLink)
}

// TestCounts sees that openings count once, and that an app sees whole days, rounded.
func TestCounts(t *testing.T) {
	w := newWorld(t)
	w.chess()
	to := hooks.Topic{Place: hooks.Room, Name: "club"}
	for i := range 45 {
		to.CID = fmt.Sprint("m", i)
		for range 2 { // a repeat is not another one
			_, err := w.Share(t.Context(), w.users["alice"], "chess", to, move())
			w.ok(err)
		}
	}
	for i, r := range w.links() {
		if first, err := w.Opened(t.Context(), w.users["alice"].Account, r); err != nil || first {
			t.Fatalf("one's own: %v, %v", first, err)
		}
		if i >= 21 {
			continue
		}
		for n := range 2 {
			if first, err := w.Opened(t.Context(), w.users["bob"].Account, r); err != nil || first != (n == 0) {
				t.Fatalf("%v, %v", first, err)
			}
		}
	}
	_, err := w.Opened(t.Context(), w.users["bob"].Account, &store.Record{Kind: store.KindText})
	w.is("no link", err, ErrNoLink)
	w.ok(w.Flush(t.Context()))
	days := func() string {
		got, err := w.Days("chess", 2)
		w.ok(err)
		s := ""
		for _, d := range got {
			s += d.Day
			for _, n := range []*int{d.Sent, d.Opened} {
				if n == nil {
					s += " -"
				} else {
					s += fmt.Sprint(" ", *n)
				}
			}
			s += "; "
		}
		return s
	}
	if got := days(); got != "2026-03-01 - -; 2026-02-28 - -; " {
		t.Errorf("today shows: %s", got)
	}
	w.pass(14*time.Hour + 2*time.Minute)
	if got := days(); got != "2026-03-02 40 20; 2026-03-01 - -; " {
		t.Error(got)
	}
	w.close() // what was counted is there after a restart
	w.open()
	if got := days(); got != "2026-03-02 40 20; 2026-03-01 - -; " {
		t.Error(got)
	}
	list, err := w.Openings(w.users["bob"].Account, Opening{}, 20)
	if err != nil || len(list) != 20 {
		t.Fatalf("%d openings, %v", len(list), err)
	}
	rest, err := w.Openings(w.users["bob"].Account, list[19], 20)
	if err != nil || len(rest) != 1 || rest[0].Log != w.room.ID || rest[0].Time.IsZero() {
		t.Fatalf("%v, %v", rest, err)
	}
}
