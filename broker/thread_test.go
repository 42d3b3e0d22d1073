package broker

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

func (w *world) stands(who string, channel store.LogID, fn func(*graph.Follow)) {
	w.Helper()
	err := w.b.Access().Relations().SetFollow(w.Context(), w.account(who), channel, func(f *graph.Follow) error {
		f.Since = 1
		if fn != nil {
			fn(f)
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	w.b.FollowChanged(w.account(who), channel)
}

func (w *world) pseudonym(who string, channel store.LogID) string {
	return w.b.Access().Pseudonym(channel, w.account(who))
}

// leaks fails if something that tells who the follower is stands in what the brand got.
func (c *client) leaks(words ...string) {
	c.w.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range c.got {
		for _, word := range words {
			if it.Kind == ItemDelivery && strings.Contains(it.Topic+" "+string(it.Payload), word) {
				c.w.Errorf("%s got %s %q, which holds %q", c.s.id.Name, it.Topic, it.Payload, word)
			}
		}
	}
}

// TestThread: a follower asks, the channel answers, and neither knows more of the other than its name here.
func TestThread(t *testing.T) {
	w := newWorld(t, "alice", "owner", "staff")
	ch := w.channel("cafe", "owner", "staff")
	w.stands("alice", ch.ID, nil)
	name := w.pseudonym("alice", ch.ID)
	phone, tablet := w.connect("alice", "phone"), w.connect("alice", "tablet")
	owner, staff := w.connect("owner", "desk"), w.connect("staff", "desk")
	for _, c := range []*client{phone, tablet, owner, staff} {
		c.subscribe("#")
	}
	asked := phone.publish("channel/cafe/ask/json", `{"b":"open on sunday?"}`)
	if asked.Err != nil {
		t.Fatal(asked.Err)
	}
	for _, c := range []*client{owner, staff} {
		it := c.wait(1, delivery)[0]
		if it.Topic != "thread/cafe/"+name+"/json" || !strings.Contains(string(it.Payload), `"f":"`+name+`"`) || !strings.Contains(string(it.Payload), "sunday") {
			t.Fatalf("the brand got %s %s", it.Topic, it.Payload)
		}
	}
	answer := owner.publish("thread/cafe/"+name+"/text", "yes")
	if answer.Err != nil || answer.Receipt.Seq != 2 {
		t.Fatalf("%+v", answer)
	}
	for _, c := range []*client{phone, tablet} {
		got := c.wait(2, delivery)
		if got[0].Topic != "channel/cafe/ask/json" || !strings.Contains(string(got[0].Payload), `"f":"alice"`) ||
			got[1].Topic != "channel/cafe/ask/json" || !strings.Contains(string(got[1].Payload), `"f":"cafe"`) || !strings.Contains(string(got[1].Payload), `"b":"yes"`) {
			t.Fatalf("the follower got %s %s, %s %s", got[0].Topic, got[0].Payload, got[1].Topic, got[1].Payload)
		}
		c.leaks("owner", "staff", `"u":`, name)
	}
	if got := staff.wait(2, delivery)[1]; !strings.Contains(string(got.Payload), `"f":"cafe"`) {
		t.Fatalf("a colleague got %s", got.Payload)
	}
	// What the follower has read, and that it writes, is told to nobody.
	if _, err := w.st.SetMark(store.Mark{Log: asked.Receipt.Log, Account: w.account("alice"), Seq: 2}).Result(); err != nil {
		t.Fatal(err)
	}
	if it := phone.publish("channel/cafe/ask/text", "thanks"); it.Err != nil {
		t.Fatal(it.Err)
	}
	owner.wait(3, delivery)
	staff.wait(3, delivery)
	for _, c := range []*client{owner, staff} {
		c.leaks("alice", "phone", `"u":`, "/read", "typing", "presence/alice", "room/")
	}
	info, err := w.st.Info(asked.Receipt.Log)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"owner", "alice"} {
		marks, err := w.b.MarksFor(w.account(who), &info)
		if err != nil || marks.Unread(1, 0) != 0 || marks.Unread(3, w.account("alice")) != 0 || who == "owner" && marks.Of(w.account("alice")) != 0 {
			t.Errorf("%s: %+v, %v", who, marks, err)
		}
	}
}

// TestThreadCID: a cid makes a question or an answer safe to repeat, and is shown to its sender alone.
func TestThreadCID(t *testing.T) {
	w := newWorld(t, "alice", "owner")
	ch := w.channel("cafe", "owner")
	w.stands("alice", ch.ID, nil)
	phone, desk := w.connect("alice", "phone"), w.connect("owner", "desk")
	phone.subscribe("#")
	desk.subscribe("#")
	for n := range 2 {
		phone.s.Publish(Publication{Topic: "channel/cafe/ask/text", Payload: []byte("hi"), Correlation: []byte("secret-cid")}, Ack{PacketID: uint16(n + 1), QoS: 1})
	}
	got := phone.wait(2, outcome)
	if got[0].Err != nil || got[0].Receipt.Seq != 1 || got[1].Receipt.Seq != 1 || !got[1].Receipt.Repeated {
		t.Fatalf("%+v", got)
	}
	if own := phone.deliveries(1)[0]; !strings.Contains(own, `"i":"secret-cid"`) {
		t.Errorf("the sender got %s", own)
	}
	desk.deliveries(1)
	desk.leaks("secret-cid")
}

// TestThreadGoesNowhere: to the brand nothing tells that a follower has left, blocked the channel, or is gone; also not to
// those who did not write the answer.
func TestThreadGoesNowhere(t *testing.T) {
	w := newWorld(t, "stays", "leaves", "blocks", "erased", "returns", "owner", "staff")
	ch := w.channel("cafe", "owner", "staff")
	owner, staff := w.connect("owner", "desk"), w.connect("staff", "desk")
	owner.subscribe("#")
	staff.subscribe("#")
	names := make(map[string]string)
	phones := make(map[string]*client)
	followers := []string{"stays", "leaves", "blocks", "erased", "returns"}
	for i, who := range followers {
		w.stands(who, ch.ID, nil)
		names[who] = w.pseudonym(who, ch.ID)
		phones[who] = w.connect(who, "phone")
		phones[who].subscribe("#")
		phones[who].must("channel/cafe/ask/text", "hi")
		staff.wait(i+1, delivery)
	}
	leave := func(f *graph.Follow) { f.Since = 0 }
	w.stands("leaves", ch.ID, leave)
	w.stands("returns", ch.ID, leave)
	w.stands("blocks", ch.ID, func(f *graph.Follow) { f.Blocked = 1 })
	phones["erased"].leave()
	if err := w.st.EraseAccount(t.Context(), w.users["erased"].ID); err != nil {
		t.Fatal(err)
	}
	for i, who := range followers {
		it := owner.publish("thread/cafe/"+names[who]+"/text", "answer to "+who)
		if it.Err != nil || it.Receipt.Seq != 2 || it.Receipt.Repeated {
			t.Fatalf("%s: %+v", who, it)
		}
		got := staff.wait(len(followers)+i+1, delivery)[len(followers)+i]
		if got.Topic != "thread/cafe/"+names[who]+"/json" || !strings.Contains(string(got.Payload), "answer to "+who) || !strings.Contains(string(got.Payload), `"s":2`) {
			t.Fatalf("%s: a colleague got %s %s", who, got.Topic, got.Payload)
		}
	}
	phones["stays"].deliveries(2)
	for _, who := range []string{"leaves", "blocks"} {
		info, err := w.st.Find(store.ThreadKey(w.account(who), "cafe"))
		if err != nil {
			t.Fatal(err)
		}
		page, err := w.st.Read(store.Query{Log: info.ID, Viewer: w.account(who)})
		if err != nil || len(page.Records) != 1 || info.Side(w.account(who)).Head != 1 {
			t.Errorf("%s sees %d records, head %d, %v", who, len(page.Records), info.Side(w.account(who)).Head, err)
		}
		if it := phones[who].publish("channel/cafe/ask/text", "again"); store.CodeOf(it.Err) != store.CodeForbidden {
			t.Errorf("%s asks: %v", who, it.Err)
		}
	}
	// Who comes back gets what is written from then on, not what went nowhere.
	w.stands("returns", ch.ID, nil)
	phones["returns"].must("channel/cafe/ask/text", "back")
	owner.must("thread/cafe/"+names["returns"]+"/text", "welcome")
	got := strings.Join(phones["returns"].deliveries(3), " ")
	if strings.Contains(got, "answer") || !strings.Contains(got, "welcome") {
		t.Errorf("who came back got %s", got)
	}
}

// TestThreadRefused: who may not answer, whom, and how long.
func TestThreadRefused(t *testing.T) {
	began, later := time.Now(), atomic.Int64{} // the housekeeper asks every second
	w := &world{T: t, users: make(map[string]store.Account), now: func() time.Time { return began.Add(time.Duration(later.Load())) }}
	w.cfg.Dir, w.cfg.MinFree, w.cfg.Now = t.TempDir(), -1, w.now
	w.open()
	t.Cleanup(w.close)
	for _, n := range []string{"alice", "bob", "owner", "stranger"} {
		a, err := w.st.CreateAccount(t.Context(), store.Account{Name: n, Created: 1})
		if err != nil {
			t.Fatal(err)
		}
		w.users[n] = a
	}
	ch := w.channel("cafe", "owner")
	w.stands("alice", ch.ID, nil)
	alice, bob := w.pseudonym("alice", ch.ID), w.pseudonym("bob", ch.ID)
	phone, desk, other := w.connect("alice", "phone"), w.connect("owner", "desk"), w.connect("stranger", "phone")
	phone.must("channel/cafe/ask/text", "hi")
	refused := func(c *client, topic string, code store.Code, reason string) {
		t.Helper()
		it := c.publish(topic, "x")
		e, ok := errors.AsType[*store.Error](it.Err)
		if !ok || e.Code != code || e.Reason != reason {
			t.Errorf("%s: %v", topic, it.Err)
		}
	}
	refused(desk, "thread/cafe/"+bob+"/text", store.CodeNotFound, "")
	refused(desk, "thread/cafe/aaaaaaaaaaaaaaaa/text", store.CodeNotFound, "")
	refused(other, "thread/cafe/"+alice+"/text", store.CodeForbidden, store.ReasonNotPublisher)
	refused(other, "thread/nosuch/"+alice+"/text", store.CodeForbidden, store.ReasonNotPublisher)
	refused(other, "channel/cafe/ask/text", store.CodeForbidden, store.ReasonNotFollower)
	refused(other, "channel/nosuch/ask/text", store.CodeNotFound, "")
	refused(other, "channel/cafe/text", store.CodeForbidden, store.ReasonNotPublisher)
	refused(phone, "channel/cafe/text", store.CodeForbidden, store.ReasonNotPublisher)
	w.stands("owner", ch.ID, nil)
	desk.must("channel/cafe/ask/text", "a publisher may ask as a follower")
	refused(desk, "thread/cafe/"+w.pseudonym("owner", ch.ID)+"/text", store.CodeBad, "")
	if it := phone.publish("channel/cafe/ask/json", `{"b":"x","m":["owner"]}`); store.CodeOf(it.Err) != store.CodeBad {
		t.Errorf("a mention: %v", it.Err)
	}
	later.Add(int64(hooks.AnswerTime - time.Minute))
	desk.must("thread/cafe/"+alice+"/text", "in time")
	later.Add(int64(2 * time.Minute))
	refused(desk, "thread/cafe/"+alice+"/text", store.CodeLocked, "")
	phone.must("channel/cafe/ask/text", "still there?")
	desk.must("thread/cafe/"+alice+"/text", "yes")
	set := func(fn func(*graph.Channel)) {
		t.Helper()
		if err := w.b.Access().Relations().SetChannel(t.Context(), ch.ID, func(c *graph.Channel) error { fn(c); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	set(func(c *graph.Channel) { c.Paused = 1 })
	refused(desk, "channel/cafe/text", store.CodeForbidden, store.ReasonChannelPaused)
	phone.must("channel/cafe/ask/text", "a paused channel is asked all the same")
	desk.must("thread/cafe/"+alice+"/text", "and answers")
	set(func(c *graph.Channel) { c.Suspended = 1 })
	refused(desk, "channel/cafe/text", store.CodeForbidden, store.ReasonChannelSuspended)
	refused(phone, "channel/cafe/ask/text", store.CodeForbidden, store.ReasonChannelSuspended)
	refused(desk, "thread/cafe/"+alice+"/text", store.CodeForbidden, store.ReasonChannelSuspended)
}

// TestThreadPublishers: who begins or ends to publish is in or out with the next message.
func TestThreadPublishers(t *testing.T) {
	w := newWorld(t, "alice", "owner", "new", "old")
	ch := w.channel("cafe", "owner", "old")
	w.stands("alice", ch.ID, nil)
	phone := w.connect("alice", "phone")
	receipt := phone.must("channel/cafe/ask/text", "one")
	w.change(ch.ID, "owner", store.Change{Kind: store.ChangeJoin, Account: w.account("new"), Role: store.RoleMember})
	w.change(ch.ID, "owner", store.Change{Kind: store.ChangeRemove, Account: w.account("old")})
	phone.must("channel/cafe/ask/text", "two")
	for who, want := range map[string]int{"owner": 2, "new": 1, "old": 1, "alice": 2} {
		page, err := w.st.Read(store.Query{Log: receipt.Log, Viewer: w.account(who)})
		if err != nil || len(page.Records) != want {
			t.Errorf("%s sees %d records, want %d, %v", who, len(page.Records), want, err)
		}
	}
	desk := w.connect("new", "desk")
	desk.subscribe("#")
	phone.must("channel/cafe/ask/text", "three")
	if got := desk.wait(1, delivery)[0]; !strings.Contains(string(got.Payload), "three") {
		t.Errorf("the new one got %s", got.Payload)
	}
	for _, r := range w.read(receipt.Log) {
		if r.Change.Kind != store.ChangeNone {
			t.Errorf("the thread tells of %v", r.Change)
		}
	}
}

// TestPostOperations: who may edit and take back what a channel has posted.
func TestPostOperations(t *testing.T) {
	w := newWorld(t, "owner", "editor", "writer", "alice")
	ch := w.channel("cafe", "owner", "editor", "writer")
	w.change(ch.ID, "owner", store.Change{Kind: store.ChangeRole, Account: w.account("editor"), Role: store.RoleModerator})
	w.stands("alice", ch.ID, nil)
	owner, editor, writer, alice := w.connect("owner", "desk"), w.connect("editor", "desk"), w.connect("writer", "desk"), w.connect("alice", "phone")
	post := func(c *client) string {
		t.Helper()
		return strconv.Itoa(int(c.must("channel/cafe/text", "post").Seq))
	}
	try := func(c *client, op, seq string, code store.Code) {
		t.Helper()
		body := `{"op":"` + op + `","s":` + seq
		if op == "edit" {
			body += `,"b":"new"`
		}
		if op == "react" {
			body += `,"b":"👍"`
		}
		if it := c.publish("channel/cafe/edit", body+"}"); it.Err != nil && store.CodeOf(it.Err) != code || it.Err == nil && code != 0 {
			t.Errorf("%s %ss %s: %v, want code %d", c.s.id.Name, op, seq, it.Err, code)
		}
	}
	mine, theirs := post(writer), post(owner)
	try(writer, "edit", mine, 0)
	try(writer, "edit", theirs, store.CodeForbidden)
	try(writer, "recall", theirs, store.CodeForbidden)
	try(editor, "edit", theirs, 0)
	try(editor, "recall", theirs, 0)
	try(editor, "edit", theirs, store.CodeConflict)
	try(owner, "recall", mine, 0)
	try(alice, "recall", mine, store.CodeForbidden)
	try(owner, "react", mine, store.CodeBad)
	try(owner, "recall", "999", store.CodeNotFound)
	for id, p := range map[string]graph.Post{"plain": {}, "rich": {Variants: map[string]graph.Variant{"en": {Text: "x"}}}} {
		if err := w.b.Access().Relations().SetPost(t.Context(), ch.ID, id, func(q *graph.Post) error { *q = p; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	broadcast := func(id string) string {
		t.Helper()
		r, err := w.b.Post(t.Context(), ch.ID, false, id, view.Content{Text: []byte("post")})
		if err != nil {
			t.Fatal(err)
		}
		return strconv.Itoa(int(r.Seq))
	}
	plain, rich := broadcast("plain"), broadcast("rich")
	try(writer, "recall", plain, store.CodeForbidden)
	try(editor, "edit", plain, 0)
	try(editor, "edit", rich, store.CodeConflict)
	try(owner, "recall", rich, 0)
}

// spender is a plan that allows so many posts.
type spender map[string]bool

func (s spender) Spend(_ context.Context, _ store.LogID, ads bool, id string) error {
	if len(s) >= 2 && !s[id] {
		return &store.Error{Code: store.CodeTooMany, Reason: "quota", Text: "enough"}
	}
	s[id] = !ads
	return nil
}

// TestPostPlan: a post costs of the plan, a repeat nothing, and an answer neither.
func TestPostPlan(t *testing.T) {
	w := newWorld(t, "owner", "alice")
	plan := make(spender)
	w.b.SetPlans(plan)
	ch := w.channel("cafe", "owner")
	w.stands("alice", ch.ID, nil)
	owner, alice := w.connect("owner", "desk"), w.connect("alice", "phone")
	for range 3 {
		owner.must("channel/cafe/text/one", "post")
	}
	owner.must("channel/cafe/text", "two")
	if it := owner.publish("channel/cafe/text", "three"); store.CodeOf(it.Err) != store.CodeTooMany {
		t.Errorf("over the plan: %v", it.Err)
	}
	alice.must("channel/cafe/ask/text", "hi")
	owner.must("thread/cafe/"+w.pseudonym("alice", ch.ID)+"/text", "hello")
	if len(plan) != 2 || len(w.read(ch.ID)) != 2 {
		t.Errorf("%d posts spent, %d there", len(plan), len(w.read(ch.ID)))
	}
	if it := owner.publish("channel/cafe/json", `{"b":"x","a":[{"url":"https://example.com/a.png"}]}`); it.Err == nil {
		t.Error("a picture of somebody else's server goes to followers")
	}
}
