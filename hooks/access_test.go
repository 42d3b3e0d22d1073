package hooks

import (
	"errors"
	"slices"
	"testing"

	"github.com/hwangso/hwangso/store"
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

// A town: alice and bob are friends and have talked, carol is alice's friend without a conversation, dave lists alice
// but is blocked by her, erin lists alice and blocks her, frank is a stranger, gina talked with alice and unfriended
// her, henry is alice's idea of a friend only. suspended is.
func town() *directory {
	d := newDirectory("alice", "bob", "carol", "dave", "erin", "frank", "gina", "henry", "suspended")
	friends := func(a, b string) { d.edges[edge{store.EdgeFriend, d.id(a), d.id(b)}] = true }
	blocks := func(a, b string) { d.edges[edge{store.EdgeBlock, d.id(a), d.id(b)}] = true }
	for _, name := range []string{"bob", "carol", "dave", "erin", "suspended"} {
		friends("alice", name)
		friends(name, "alice")
	}
	friends("alice", "henry")
	blocks("alice", "dave")
	blocks("erin", "alice")
	d.setState("suspended", store.AccountSuspended)
	both := func(a, b string) { d.open(store.PairKey(d.id(a), d.id(b)), map[string]store.Role{a: 1, b: 1}) }
	for _, name := range []string{"bob", "erin", "gina"} {
		both("alice", name)
	}
	d.open(store.RoomKey("lobby"), map[string]store.Role{"alice": store.RoleMember, "bob": store.RoleMember, "frank": store.RoleNone, "suspended": store.RoleMember})
	return d
}

func TestAccess(t *testing.T) {
	d := town()
	a := NewAccess(d, d)
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
		{"alice", "user/frank/text", policy.DenyNotFriend},
		{"frank", "user/alice/text", policy.DenyNotFriend},
		{"alice", "user/nobody/text", policy.DenyNotFriend},
		{"alice", "user/henry/text", policy.DenyNotFriend},
		{"henry", "user/alice/text", policy.Deliver},
		{"alice", "user/gina/text", policy.DenyNotFriend},
		{"suspended", "user/alice/text", policy.DenySuspended},
		{"suspended", "user/suspended/text", policy.DenySuspended},

		{"alice", "user/bob/typing", policy.Deliver},
		{"alice", "user/bob/edit", policy.Deliver},
		{"alice", "user/bob/read", policy.Deliver},
		{"alice", "user/erin/typing", policy.Shadow},
		{"alice", "user/erin/edit/c", policy.Shadow},
		{"alice", "user/erin/read", policy.Deliver},
		{"alice", "user/gina/typing", policy.DenyNotFriend},
		{"alice", "user/gina/read", policy.Deliver},
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
		g, err := a.Publish(d.id(c.who), publishTopic(t, c.topic))
		reason, denied := c.want.Denied()
		if denied {
			if want := (&store.Error{Code: store.CodeForbidden, Reason: reason}); !errors.Is(err, want) || g != (Grant{}) {
				t.Errorf("%s on %s: %+v, %v; want %s", c.who, c.topic, g, err, c.want)
			}
			continue
		}
		if err != nil || g.Outcome != c.want || (g.Audience() == store.AudienceSender) != (c.want == policy.Shadow) {
			t.Errorf("%s on %s: %+v, %v; want %s", c.who, c.topic, g, err, c.want)
			continue
		}
		log, exists := d.logs[g.Key]
		if g.Log.ID != log.ID || exists && g.Version() != log.Members.Version || !exists && g.Version() != 0 {
			t.Errorf("%s on %s: decided under %+v, the log is %+v", c.who, c.topic, g.Log, log)
		}
		if topic := publishTopic(t, c.topic); topic.Place == User && (g.Peer.Name != topic.Name || g.Key.Peer(d.id(c.who)) != g.Peer.ID) {
			t.Errorf("%s on %s: peer %+v, key %+v", c.who, c.topic, g.Peer, g.Key)
		}
	}
}

// What a stranger is told, and the look-ups made for it, do not depend on who is there or who blocks whom.
func TestAccessLooksAlike(t *testing.T) {
	d := town()
	a := NewAccess(d, d)
	look := func(who, topic string) (string, []string) {
		d.calls = nil
		_, err := a.Publish(d.id(who), publishTopic(t, topic))
		if err == nil {
			return "", slices.Clone(d.calls)
		}
		return err.Error(), slices.Clone(d.calls)
	}
	for _, pair := range [][3]string{
		{"frank", "user/bob/text", "user/nobody/text"},
		{"frank", "user/bob/typing", "user/nobody/typing"},
		{"carol", "room/lobby/text", "room/nowhere/text"},
		{"alice", "user/bob/text", "user/erin/text"}, // erin blocks alice
		{"alice", "user/bob/edit", "user/erin/edit"},
	} {
		text1, calls1 := look(pair[0], pair[1])
		text2, calls2 := look(pair[0], pair[2])
		if text1 != text2 || !slices.Equal(calls1, calls2) {
			t.Errorf("%s: %q after %v, %q after %v", pair, text1, calls1, text2, calls2)
		}
	}
}

func TestAccessElsewhere(t *testing.T) {
	d := town()
	a := NewAccess(d, d)
	for _, topic := range []string{"channel/cafe/text", "channel/cafe/ask/text", "thread/cafe/k/text", "api/sync/1"} {
		if g, err := a.Publish(d.id("alice"), publishTopic(t, topic)); store.CodeOf(err) != store.CodeNotFound || g != (Grant{}) {
			t.Errorf("%s: %+v, %v", topic, g, err)
		}
	}
	d.fail = store.ErrUnavailable
	for _, topic := range []string{"user/bob/text", "room/lobby/text"} {
		if g, err := a.Publish(1, publishTopic(t, topic)); store.CodeOf(err) != store.CodeUnavailable || g != (Grant{}) && g.Outcome != "" {
			t.Errorf("%s with a failing store: %+v, %v", topic, g, err)
		}
	}
	if in, err := a.Inside(1, Room, "lobby"); store.CodeOf(err) != store.CodeUnavailable || in {
		t.Errorf("inside with a failing store: %v, %v", in, err)
	}
}

func TestInside(t *testing.T) {
	d := town()
	a := NewAccess(d, d)
	for who, places := range map[string]map[string]bool{
		"alice": {"room/lobby": true, "room/nowhere": false, "user/bob": true, "user/alice": true, "user/carol": true, "user/frank": false,
			"user/nobody": false, "user/gina": true, "channel/cafe": false},
		"carol": {"room/lobby": false},
		"frank": {"room/lobby": false, "user/alice": false},
	} {
		for where, want := range places {
			f := mustFilter(t, where+"/json")
			place, name, _ := f.Single()
			if in, err := a.Inside(d.id(who), place, name); err != nil || in != want {
				t.Errorf("%s inside %s: %v, %v", who, where, in, err)
			}
		}
	}
}

func BenchmarkAccessPair(b *testing.B) {
	d := town()
	a := NewAccess(d, d)
	topic := publishTopic(b, "user/bob/text")
	b.ReportAllocs()
	for b.Loop() {
		d.calls = d.calls[:0]
		if _, err := a.Publish(1, topic); err != nil {
			b.Fatal(err)
		}
	}
}
