package hooks

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

func publishTopic(t testing.TB, s string) Topic {
	t.Helper()
	topic, err := ParsePublish(s)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// asked is a real store that records what it is asked, and fails if told so.
type asked struct {
	*bolt.Store
	mu    sync.Mutex
	calls []string
	fail  error
}

func (s *asked) called(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, what)
	return s.fail
}

func (s *asked) Account(id store.AccountID) (store.Account, error) {
	if err := s.called("account"); err != nil {
		return store.Account{}, err
	}
	return s.Store.Account(id)
}

func (s *asked) AccountByName(name string) (store.Account, error) {
	if err := s.called("name"); err != nil {
		return store.Account{}, err
	}
	return s.Store.AccountByName(name)
}

func (s *asked) HasEdge(kind store.Edge, from, to store.AccountID) (bool, error) {
	if err := s.called("edge"); err != nil {
		return false, err
	}
	return s.Store.HasEdge(kind, from, to)
}

func (s *asked) Find(key store.Key) (store.LogInfo, error) {
	if err := s.called("find"); err != nil {
		return store.LogInfo{}, err
	}
	return s.Store.Find(key)
}

func (s *asked) Row(t store.Table, o store.Owner, key string) (store.Row, error) {
	if err := s.called("row " + string(t)); err != nil {
		return store.Row{}, err
	}
	return s.Store.Row(t, o, key)
}

func (s *asked) Update(ctx context.Context, u store.Update) error {
	if err := s.called("update"); err != nil {
		return err
	}
	return s.Store.Update(ctx, u)
}

// people are users of a real store, with a clock that tests move.
type people struct {
	testing.TB
	*Access
	st    *asked
	clock time.Time
	id    map[string]store.AccountID
	mu    sync.Mutex
}

func newPeople(t testing.TB, cfg AccessConfig, names ...string) *people {
	t.Helper()
	p := &people{TB: t, clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), id: make(map[string]store.AccountID)}
	st, err := bolt.Open(bolt.Config{Dir: t.TempDir(), MinFree: -1, Now: p.now})
	p.must(err)
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	p.st = &asked{Store: st}
	cfg.Now = p.now
	p.Access = NewAccess(p.st, cfg)
	for _, n := range names {
		p.add(n, time.Time{})
	}
	return p
}

func (p *people) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clock
}

func (p *people) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock = p.clock.Add(d)
}

func (p *people) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *people) add(name string, created time.Time) store.AccountID {
	p.Helper()
	a := store.Account{Name: name, Created: 1}
	if !created.IsZero() {
		a.Created = created.UnixMilli()
	}
	a, err := p.st.CreateAccount(p.Context(), a)
	p.must(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id[name] = a.ID
	return a.ID
}

func (p *people) state(name string, s store.AccountState) {
	p.Helper()
	a, err := p.st.Store.Account(p.named(name))
	p.must(err)
	a.State = s
	p.must(p.st.SetAccount(p.Context(), a))
}

func (p *people) friend(of, to string) {
	p.Helper()
	_, err := p.Relations().SetFriend(p.Context(), p.named(of), p.named(to), true, 0)
	p.must(err)
}

func (p *people) block(of, to string, level graph.Block, quiet bool) {
	p.Helper()
	_, err := p.Relations().SetBlock(p.Context(), p.named(of), p.named(to), level, quiet, 0)
	p.must(err)
}

func (p *people) strangers(of string, mode graph.Strangers) {
	p.Helper()
	p.must(p.Relations().SetSettings(p.Context(), p.named(of), func(s *graph.Settings) error { s.Strangers = mode; return nil }))
}

// open opens the conversation of two users, with these members.
func (p *people) open(a, b string, members ...string) store.LogID {
	p.Helper()
	var ms []store.Member
	for _, m := range members {
		ms = append(ms, store.Member{Account: p.named(m), Role: store.RoleMember})
	}
	log, _, err := p.st.Open(p.Context(), store.PairKey(p.named(a), p.named(b)), store.Creation{Members: ms})
	p.must(err)
	return log.ID
}

func (p *people) write(log store.LogID, from string, to store.Audience) {
	p.Helper()
	_, err := p.st.Append(store.Draft{Log: log, Sender: p.named(from), Audience: to, Text: []byte("x")}).Result()
	p.must(err)
}

// A town: alice and bob are friends and have talked, carol is alice's friend without a conversation, dave lists alice
// but is blocked by her, erin lists alice and blocks her, frank is a stranger, gina talked with alice and unfriended
// her, henry is alice's idea of a friend only, ivan keeps strangers out, rose has a request box. suspended is.
func town(t testing.TB) *people {
	p := newPeople(t, AccessConfig{}, "alice", "bob", "carol", "dave", "erin", "frank", "gina", "henry", "ivan", "rose", "suspended")
	for _, name := range []string{"bob", "carol", "dave", "erin", "suspended"} {
		p.friend("alice", name)
		p.friend(name, "alice")
	}
	p.friend("alice", "henry")
	for _, name := range []string{"bob", "erin", "gina"} {
		p.write(p.open("alice", name, "alice", name), name, store.AudienceBoth)
	}
	p.friend("gina", "alice")
	p.pass(time.Second)
	_, err := p.Relations().SetFriend(t.Context(), p.id["gina"], p.id["alice"], false, 0)
	p.must(err)
	p.block("alice", "dave", graph.BlockMessages, false)
	p.block("erin", "alice", graph.BlockProfile, false)
	p.strangers("ivan", graph.StrangersClosed)
	p.strangers("rose", graph.StrangersRequest)
	p.state("suspended", store.AccountSuspended)
	lobby, _, err := p.st.Open(t.Context(), store.RoomKey("lobby"), store.Creation{Members: []store.Member{
		{Account: p.id["alice"], Role: store.RoleMember}, {Account: p.id["bob"], Role: store.RoleMember},
		{Account: p.id["frank"], Role: store.RoleMember}, {Account: p.id["suspended"], Role: store.RoleMember}}})
	p.must(err)
	_, err = p.st.Append(store.Draft{Log: lobby.ID, Sender: p.id["frank"], Kind: store.KindSystem,
		Change: store.Change{Kind: store.ChangeLeave, Account: p.id["frank"]}}).Result()
	p.must(err)
	p.st.calls = nil
	return p
}

func TestAccess(t *testing.T) {
	p := town(t)
	for _, c := range []struct {
		who, topic string
		want       policy.Outcome
	}{
		{"alice", "user/bob/text", policy.Deliver},
		{"bob", "user/Alice/json/c1", policy.Deliver},
		{"alice", "user/alice/text", policy.Deliver},
		{"frank", "user/frank/text", policy.Deliver},
		{"alice", "user/carol/text", policy.Deliver},
		{"alice", "user/dave/text", policy.DenyYouBlocked},
		{"dave", "user/alice/text", policy.Shadow},
		{"alice", "user/erin/text", policy.Shadow},
		{"erin", "user/alice/text", policy.DenyYouBlocked},
		{"alice", "user/frank/text", policy.DeliverWarn},
		{"frank", "user/alice/text", policy.DeliverWarn},
		{"frank", "user/ivan/text", policy.DenyUnreachable},
		{"frank", "user/rose/text", policy.Request},
		{"alice", "user/nobody/text", policy.DenyUnreachable},
		{"alice", "user/henry/text", policy.DeliverWarn},
		{"henry", "user/alice/text", policy.Deliver},
		{"alice", "user/gina/text", policy.DeliverWarn},
		{"suspended", "user/alice/text", policy.DenySuspended},
		{"suspended", "user/suspended/text", policy.DenySuspended},

		{"alice", "user/bob/typing", policy.Deliver},
		{"alice", "user/bob/edit", policy.Deliver},
		{"alice", "user/bob/read", policy.Deliver},
		{"alice", "user/erin/typing", policy.Shadow},
		{"alice", "user/erin/edit/c", policy.Shadow},
		{"alice", "user/erin/read", policy.Deliver},
		{"alice", "user/gina/typing", policy.DeliverWarn},
		{"alice", "user/gina/read", policy.Deliver},
		{"alice", "user/alice/typing", policy.DenyUnreachable},
		{"alice", "user/carol/typing", policy.DenyUnreachable},
		{"alice", "user/frank/typing", policy.DenyUnreachable},
		{"alice", "user/nobody/typing", policy.DenyUnreachable},
		{"alice", "user/carol/edit", policy.DenyUnreachable},
		{"alice", "user/nobody/read", policy.DenyUnreachable},
		{"alice", "user/carol/read", policy.DenyUnreachable},
		{"alice", "user/dave/typing", policy.DenyYouBlocked},

		{"alice", "room/lobby/text", policy.Deliver},
		{"bob", "room/Lobby/typing", policy.Deliver},
		{"bob", "room/lobby/edit", policy.Deliver},
		{"bob", "room/lobby/read", policy.Deliver},
		{"carol", "room/lobby/text", policy.DenyNotMember},
		{"carol", "room/lobby/read", policy.DenyNotMember},
		{"frank", "room/lobby/text", policy.DenyNotMember},
		{"alice", "room/nowhere/text", policy.DenyNotMember},
		{"suspended", "room/lobby/text", policy.DenySuspended},
		{"suspended", "room/nowhere/text", policy.DenySuspended},
	} {
		g, err := p.Publish(p.id[c.who], publishTopic(t, c.topic))
		reason, denied := c.want.Denied()
		if denied {
			if want := (&store.Error{Code: store.CodeForbidden, Reason: reason}); !errors.Is(err, want) || g != (Grant{}) {
				t.Errorf("%s on %s: %+v, %v; want %s", c.who, c.topic, g, err, c.want)
			}
			continue
		}
		if err != nil || g.Outcome != c.want || (g.Audience() == store.AudienceSender) != (c.want == policy.Shadow) ||
			(g.Audience() == store.AudienceRequest) != (c.want == policy.Request) || g.Warn() != (c.want == policy.DeliverWarn) {
			t.Errorf("%s on %s: %+v, %v; want %s", c.who, c.topic, g, err, c.want)
			continue
		}
		log, err := p.st.Find(g.Key)
		if exists := err == nil; g.Log.ID != log.ID || exists && g.Version() != log.Members.Version || !exists && g.Version() != 0 {
			t.Errorf("%s on %s: decided under %+v, the log is %+v", c.who, c.topic, g.Log, log)
		}
		if topic := publishTopic(t, c.topic); topic.Place == User && (g.Peer.Name != topic.Name || g.Key.Peer(p.id[c.who]) != g.Peer.ID) {
			t.Errorf("%s on %s: peer %+v, key %+v", c.who, c.topic, g.Peer, g.Key)
		}
	}
}

// What a stranger is told, and the look-ups and writes made for it, do not depend on who is there or who blocks whom.
func TestAccessLooksAlike(t *testing.T) {
	p := town(t)
	look := func(who, topic string) (string, []string) {
		p.st.calls = nil
		_, err := p.Publish(p.id[who], publishTopic(t, topic))
		if err == nil {
			return "", slices.Clone(p.st.calls)
		}
		return err.Error(), slices.Clone(p.st.calls)
	}
	for _, pair := range [][3]string{
		{"frank", "user/ivan/text", "user/nobody/text"},
		{"frank", "user/bob/typing", "user/nobody/typing"},
		{"frank", "user/bob/read", "user/nobody/read"},
		{"carol", "room/lobby/text", "room/nowhere/text"},
		{"alice", "user/bob/text", "user/erin/text"}, // erin blocks alice
		{"alice", "user/bob/edit", "user/erin/edit"},
		{"alice", "user/bob/typing", "user/erin/typing"},
	} {
		text1, calls1 := look(pair[0], pair[1])
		text2, calls2 := look(pair[0], pair[2])
		if text1 != text2 || !slices.Equal(calls1, calls2) {
			t.Errorf("%s: %q after %v, %q after %v", pair, text1, calls1, text2, calls2)
		}
	}
	if _, calls := look("frank", "user/carol/text"); !slices.Contains(calls, "update") {
		t.Errorf("a new stranger costs nothing: %v", calls)
	}
	if _, calls := look("frank", "user/carol/text"); slices.Contains(calls, "update") {
		t.Errorf("a stranger counted today costs again: %v", calls)
	}
}

func TestAccessElsewhere(t *testing.T) {
	p := town(t)
	for _, topic := range []string{"channel/cafe/ask/text", "api/sync/1"} {
		if g, err := p.Publish(p.id["alice"], publishTopic(t, topic)); store.CodeOf(err) != store.CodeNotFound || g != (Grant{}) {
			t.Errorf("%s: %+v, %v", topic, g, err)
		}
	}
	p.st.fail = store.ErrUnavailable
	for _, topic := range []string{"user/bob/text", "room/lobby/text"} {
		if g, err := p.Publish(p.id["alice"], publishTopic(t, topic)); store.CodeOf(err) != store.CodeUnavailable || g.Outcome != "" {
			t.Errorf("%s with a failing store: %+v, %v", topic, g, err)
		}
	}
	if in, err := p.Inside(p.id["alice"], Room, "lobby"); store.CodeOf(err) != store.CodeUnavailable || in {
		t.Errorf("inside with a failing store: %v, %v", in, err)
	}
}

func TestInside(t *testing.T) {
	p := town(t)
	for who, places := range map[string]map[string]bool{
		"alice": {"room/lobby": true, "room/nowhere": false, "user/bob": true, "user/alice": true, "user/carol": true, "user/frank": false,
			"user/nobody": false, "user/gina": true, "channel/cafe": false},
		"carol": {"room/lobby": false},
		"frank": {"room/lobby": false, "user/alice": false},
	} {
		for where, want := range places {
			f := mustFilter(t, where+"/json")
			place, name, _ := f.Single()
			if in, err := p.Inside(p.id[who], place, name); err != nil || in != want {
				t.Errorf("%s inside %s: %v, %v", who, where, in, err)
			}
		}
	}
}
