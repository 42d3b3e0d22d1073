package broker

import (
	"testing"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// channel opens a brand channel with both logs, approved.
func (w *world) channel(name string, publishers ...string) store.LogInfo {
	w.Helper()
	var ms []store.Member
	for i, p := range publishers {
		role := store.RoleMember
		if i == 0 {
			role = store.RoleOwner
		}
		ms = append(ms, store.Member{Account: w.account(p), Role: role})
	}
	notices, _, err := w.st.Open(w.Context(), store.ChannelKey(name), store.Creation{Members: ms})
	if err != nil {
		w.Fatal(err)
	}
	ads, _, err := w.st.Open(w.Context(), store.AdsKey(name), store.Creation{Members: ms})
	if err != nil {
		w.Fatal(err)
	}
	if err := w.b.Access().Relations().SetChannel(w.Context(), notices.ID, func(c *graph.Channel) error {
		c.Title, c.Ads, c.Created, c.Approved = name, ads.ID, 1, 1
		return nil
	}); err != nil {
		w.Fatal(err)
	}
	return notices
}

func (w *world) read(log store.LogID) []*store.Record {
	w.Helper()
	page, err := w.st.Read(store.Query{Log: log})
	if err != nil {
		w.Fatal(err)
	}
	return page.Records
}

// TestPostOnce: a post of the server's own making is appended once, whatever becomes of the answer.
func TestPostOnce(t *testing.T) {
	w := newWorld(t, "brand")
	ch := w.channel("cafe", "brand")
	content := view.Content{Kind: store.KindCoupon, Text: []byte("hello"), Expiry: 4e12}
	first, err := w.b.Post(t.Context(), ch.ID, false, "p1", content)
	if err != nil || first.Seq != 1 || first.Repeated {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := w.b.Post(t.Context(), ch.ID, false, "p1", content)
	if err != nil || !again.Repeated || again.Seq != first.Seq || again.Log != first.Log {
		t.Fatalf("%+v, %v", again, err)
	}
	w.close()
	w.open()
	if again, err = w.b.Post(t.Context(), ch.ID, false, "p1", content); err != nil || !again.Repeated || again.Seq != first.Seq {
		t.Fatalf("after a restart: %+v, %v", again, err)
	}
	ad, err := w.b.Post(t.Context(), ch.ID, true, "p1", content)
	if err != nil || ad.Seq != 1 || ad.Log == ch.ID {
		t.Fatalf("%+v, %v", ad, err)
	}
	records := w.read(ch.ID)
	if len(records) != 1 {
		t.Fatalf("%d records", len(records))
	}
	r := records[0]
	if r.Sender != 0 || r.Device != 0 || graph.PostID(r) != "p1" || r.Kind != store.KindCoupon || string(r.Text) != "hello" || r.Expiry != 4e12 {
		t.Fatalf("%+v", r)
	}
}

// TestBroadcastsAreTheChannels: a publisher reads its channel's broadcasts as the channel's own, as followers do. Only what
// somebody wrote who is gone has nobody's name.
func TestBroadcastsAreTheChannels(t *testing.T) {
	w := newWorld(t, "brand", "bob")
	ch := w.channel("cafe", "brand")
	ads, err := w.st.Find(store.AdsKey("cafe"))
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range []store.LogID{ch.ID, ads.ID} {
		for reader, nobody := range map[string]string{"brand": "", "bob": "cafe"} {
			names := w.b.NamesOf(log, w.users[reader].ID).(view.Nicknames)
			if got := [3]string{names.Name(0), names.Nickname(0), names.Nickname(9999)}; got != [3]string{"", "cafe", nobody} {
				t.Errorf("%s reads %q in %v", reader, got, log)
			}
			line := view.Line(nil, &store.Record{Log: log, Seq: 1, Text: []byte("hello")}, view.English, names, view.Own{})
			if string(line) != "cafe: hello" {
				t.Errorf("%s reads %q", reader, line)
			}
		}
	}
}

func TestPostRefused(t *testing.T) {
	w := newWorld(t, "brand")
	room := w.room("lobby", "brand")
	ch := w.channel("cafe", "brand")
	for _, c := range []struct {
		name    string
		channel store.LogID
		ads     bool
		id      string
		bytes   int
		want    store.Code
	}{
		{"no such log", 99, false, "a", 1, store.CodeNotFound},
		{"a room", room.ID, false, "a", 1, store.CodeNotFound},
		{"no identifier", ch.ID, false, "", 1, store.CodeBad},
		{"too large", ch.ID, false, "a", 10 << 20, store.CodeTooLarge},
	} {
		_, err := w.b.Post(t.Context(), c.channel, c.ads, c.id, view.Content{Text: make([]byte, c.bytes)})
		if store.CodeOf(err) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestSendContent: kinds of the server's own go the way of every message, and by the same rules.
func TestSendContent(t *testing.T) {
	w := newWorld(t, "alice", "bob", "carol")
	bob := w.connect("bob", "phone")
	bob.subscribe("#")
	id := w.identity("alice", "phone", false)
	topic, err := hooks.ParsePublish("user/bob/json/gift-1")
	if err != nil {
		t.Fatal(err)
	}
	gift := view.Content{Kind: store.KindGift, Text: []byte("for you")}
	first, err := w.b.SendContent(t.Context(), id, topic, gift)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.b.SendContent(t.Context(), id, topic, gift)
	if err != nil || !again.Repeated || again.Seq != first.Seq {
		t.Fatalf("%+v, %v", again, err)
	}
	if r := w.read(first.Log)[0]; r.Kind != store.KindGift || r.Sender != id.Account {
		t.Fatalf("%+v", r)
	}
	bob.deliveries(1)
	w.block("bob", "alice", graph.BlockProfile)
	topic.CID = "gift-2"
	shadow, err := w.b.SendContent(t.Context(), id, topic, gift)
	if err != nil {
		t.Fatal(err)
	}
	page, err := w.st.Read(store.Query{Log: shadow.Log, Viewer: w.account("bob")})
	if err != nil || len(page.Records) != 1 {
		t.Fatalf("who blocks got it: %d records, %v", len(page.Records), err)
	}
	topic.Act, topic.View = hooks.Typing, 0
	if _, err := w.b.SendContent(t.Context(), id, topic, gift); store.CodeOf(err) != store.CodeNotFound {
		t.Fatalf("typing: %v", err)
	}
}
