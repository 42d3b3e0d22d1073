package hooks

import (
	"errors"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// TestPublishInChannel: who may post, ask and answer, and that an answer which goes nowhere costs the same look-ups.
func TestPublishInChannel(t *testing.T) {
	p := newPeople(t, AccessConfig{}, "alice", "bob", "owner", "suspended")
	cafe := p.brand("cafe", "owner", "suspended")
	p.state("suspended", store.AccountSuspended)
	cafe.follow("alice", nil)
	cafe.follow("suspended", nil)
	name := p.Pseudonym(cafe.notices.ID, p.named("alice"))
	thread, _, err := p.st.Open(t.Context(), store.ThreadKey(p.named("alice"), "cafe"), store.Creation{Members: []store.Member{
		{Account: p.named("alice"), Role: store.RoleMember}, {Account: p.named("owner"), Role: store.RoleMember}}})
	p.must(err)
	p.must(p.Relations().SetThread(t.Context(), cafe.notices.ID, name, p.named("alice")))
	check := func(who, topic string, want policy.Outcome, code store.Code) Grant {
		t.Helper()
		g, err := p.Publish(p.named(who), publishTopic(t, topic))
		if g.Outcome != want || err == nil && code != 0 || err != nil && store.CodeOf(err) != code {
			t.Errorf("%s on %s: %s, %v", who, topic, g.Outcome, err)
		}
		return g
	}
	if g := check("owner", "channel/cafe/text", policy.Deliver, 0); g.Log.ID != cafe.notices.ID || g.Channel.ID != cafe.notices.ID || g.Audience() != store.AudienceBoth {
		t.Errorf("%+v", g)
	}
	check("owner", "channel/cafe/edit", policy.Deliver, 0)
	check("alice", "channel/cafe/text", "", store.CodeForbidden)
	check("suspended", "channel/cafe/text", "", store.CodeForbidden)
	check("alice", "channel/cafe/ask/text", policy.Deliver, 0)
	check("suspended", "channel/cafe/ask/text", "", store.CodeForbidden)
	check("bob", "channel/cafe/ask/text", "", store.CodeForbidden)
	check("bob", "channel/none/ask/text", "", store.CodeNotFound)
	for _, channel := range []string{"cafe", "none"} { // whether there is one is not told
		want := "you do not publish in the channel " + channel + "; its followers write to it on channel/" + channel + "/ask/text"
		for _, topic := range []string{"channel/" + channel + "/text", "channel/" + channel + "/edit", "thread/" + channel + "/" + name + "/text"} {
			_, err := p.Publish(p.named("alice"), publishTopic(t, topic))
			if e, ok := errors.AsType[*store.Error](err); !ok || e.Reason != store.ReasonNotPublisher || e.Text != want {
				t.Errorf("%s: %v", topic, err)
			}
		}
	}
	check("owner", "thread/cafe/"+name+"/text", "", store.CodeNotFound) // nothing was asked yet
	p.write(thread.ID, "alice", store.AudienceBoth)
	look := func(want policy.Outcome) int {
		t.Helper()
		p.st.calls = nil
		if g := check("owner", "thread/cafe/"+name+"/text", want, 0); g.Audience() != store.AudienceBoth || g.Delivers() != (want == policy.Deliver) {
			t.Errorf("%+v", g)
		}
		return len(p.st.calls)
	}
	delivers := look(policy.Deliver)
	cafe.follow("alice", func(f *graph.Follow) { f.Blocked = 1 })
	if n := look(policy.Shadow); n != delivers {
		t.Errorf("%d look-ups for who blocks, %d else", n, delivers)
	}
	check("alice", "channel/cafe/ask/text", "", store.CodeForbidden)
	p.must(p.Relations().SetFollow(t.Context(), p.named("alice"), cafe.notices.ID, func(f *graph.Follow) error { *f = graph.Follow{Left: 1}; return nil }))
	if n := look(policy.Shadow); n != delivers {
		t.Errorf("%d look-ups for who left, %d else", n, delivers)
	}
	p.must(p.st.EraseAccount(t.Context(), p.named("alice")))
	if n := look(policy.Shadow); n != delivers {
		t.Errorf("%d look-ups for who is gone, %d else", n, delivers)
	}
	check("bob", "thread/cafe/"+name+"/text", "", store.CodeForbidden)
	check("owner", "thread/cafe/nobody/text", "", store.CodeNotFound)
	p.pass(AnswerTime + time.Second)
	check("owner", "thread/cafe/"+name+"/text", "", store.CodeLocked)
	p.st.fail = store.ErrUnavailable
	check("owner", "thread/cafe/"+name+"/text", "", store.CodeUnavailable)
	check("owner", "channel/cafe/text", "", store.CodeUnavailable)
	check("owner", "channel/cafe/ask/text", "", store.CodeUnavailable)
	p.st.fail = nil
	for who, want := range map[string]bool{"owner": true, "bob": false} {
		if in, err := p.Publishes(p.named(who), "cafe"); err != nil || in != want {
			t.Errorf("%s publishes: %v, %v", who, in, err)
		}
	}
}
