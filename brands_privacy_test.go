package main

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/webhook"
	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
)

// TestWhatABrandCanReach: followers do all that they can with a channel, while its owner, a publisher, a key of the channel
// and the key of a till listen to everything and ask every operation there is, webhooks tell them all that there is to tell,
// and they read the server's log and metrics. Nothing of what they get names a follower.
func TestWhatABrandCanReach(t *testing.T) {
	t.Parallel()
	followers := []string{"qfelicity", "qgwendolyn", "qhumphrey"}
	var crowd []string // so many follow that numbers are told
	for i := range 22 {
		crowd = append(crowd, fmt.Sprintf("qcrowd%02d", i))
	}
	b := newBrandStage(t, 5000, append(append([]string{"brand", "staff"}, followers...), crowd...)...)
	s := b.stage
	phoneOf := func(i int) string { return fmt.Sprintf("+8210234567%02d", i) }
	for i, f := range followers {
		b.does(f, "profile.set", fmt.Sprintf(`{"display":"Nick%s"}`, strings.ToUpper(f)))
		n, err := phone.Parse(phoneOf(i), "")
		if err == nil {
			err = b.phones.Move(t.Context(), n, 0, s.ids[f].Account, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.friends([2]string{followers[0], followers[1]})
	const cafe = `{"channel":"cafe"}`
	b.does("brand", "channel.create", `{"channel":"cafe","title":"The café"}`)
	s.operator("channel.approve", cafe)
	s.operator("channel.publisher.set", `{"channel":"cafe","user":"staff"}`)
	b.keys["key"] = b.does("brand", "channel.key.create", cafe)["secret"].(string)
	b.keys["till"] = b.does("brand", "channel.key.create", `{"channel":"cafe","for":"redeem"}`)["secret"].(string)
	until := s.now().Add(7 * 24 * time.Hour).Format(time.RFC3339)
	b.does("brand", "coupon.create", `{"channel":"cafe","campaign":"cake","title":"cake","until":"`+until+`"}`)
	b.does("brand", "app.register", `{"app":"cafeapp","name":"Menu","domains":["cafe.example.com"]}`)
	s.operator("app.approve", `{"app":"cafeapp"}`)
	hook := b.does("key", "webhook.set", fmt.Sprintf(`{"channel":"cafe","url":%q}`, b.hook))["webhook"].(map[string]any)["webhook"]
	b.does("brand", "webhook.set", fmt.Sprintf(`{"app":"cafeapp","url":%q}`, b.hook+"?app"))
	var desks []*actor
	for who, password := range map[string]string{"brand": "", "staff": "", "key": b.keys["key"], "till": b.keys["till"]} {
		d := s.device(who, who+"-desk", 5)
		if d.password = password; password != "" {
			d.user = "brand"
		}
		desks = append(desks, d)
		if d.connect(false); who == "staff" {
			d.subscribe("#", "$SYS/#", "channel/+/cbor", "channel/+/progress", "thread/+/+/cbor", "user/+/json")
		} else {
			d.subscribe("#", "$SYS/#", "channel/+/json", "channel/+/progress", "thread/+/+/json", "user/+/json")
		}
	}
	slices.SortFunc(desks, func(x, y *actor) int { return strings.Compare(x.id, y.id) }) // brand, key, staff, till

	phones := make(map[string]*actor)
	for _, f := range followers {
		phones[f] = s.device(f, "phoneof-"+f, 5)
		phones[f].connect(false)
		phones[f].subscribe("channel/+/json", "channel/+/ask/json")
		b.does(f, "channel.follow", `{"channel":"cafe","ads":true}`)
		b.does(f, "channel.push", `{"channel":"cafe","push":"ring"}`)
	}
	for _, f := range crowd {
		b.does(f, "channel.follow", cafe)
	}
	b.does("brand", "broadcast.create", `{"channel":"cafe","key":"spring","coupon":"cake","post":{"text":"cake for all"}}`)
	seq := b.out("spring")
	for i, f := range followers {
		phones[f].gets("channel/cafe/json", "cake for all")
		b.does(f, "channel.opened", fmt.Sprintf(`{"channel":"cafe","seq":%v}`, seq))
		for n, payload := range []string{fmt.Sprintf(`{"b":"is there tea? #%d"}`, i), fmt.Sprintf(`{"k":"image","b":"like this #%d","a":[{"file":%q,"name":"tea.png"}]}`, i, b.photo(f))} {
			if ack := phones[f].publishAs(fmt.Sprintf("qcid%d-%s", n, f), "channel/cafe/ask/json", payload); len(ack) > 4 && ack[4] != 0 {
				t.Fatalf("%s's question is refused: %q", f, ack)
			}
			b.tells(webhook.ThreadMessage)
		}
		desks[0].await(func(frame []byte) bool { return bytes.Contains(frame, []byte(fmt.Sprintf("like this #%d", i))) })
	}
	code := b.does(followers[0], "coupon.show", `{"channel":"cafe","campaign":"cake"}`)["coupon"].(string)
	for _, want := range []string{"valid", "used"} {
		answer := b.does("till", "coupon.redeem", fmt.Sprintf(`{"channel":"cafe","coupon":%q}`, code))
		if answer["answer"] != want {
			t.Errorf("the till is told %v, want %s", answer, want)
		}
		b.add("till", fmt.Append(nil, answer))
	}
	b.does(followers[1], "gift.send", fmt.Sprintf(`{"channel":"cafe","campaign":"cake","user":%q,"cid":"qgift-%[1]s"}`, followers[0]))
	b.link(followers[0], append(slices.Clone(followers[1:]), crowd...))
	s.pass(10 * time.Second) // the broadcast's end is seen
	s.posts.Look()
	b.tells(webhook.BroadcastFinished)
	s.pass(25 * time.Hour)
	if err := b.tally.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.tells(webhook.ChannelFollowers)
	s.posts.Look()
	b.tells(webhook.BroadcastReport)
	b.tells(webhook.LinkOpened)
	b.does(followers[1], "channel.unfollow", cafe)
	b.does(followers[2], "channel.block", cafe)
	b.does("brand", "webhook.test", fmt.Sprintf(`{"channel":"cafe","webhook":%q}`, hook))
	b.tells("ping")

	question := desks[0].await(func(f []byte) bool { return threadTopic.Match(f) && bytes.Contains(f, []byte("like this")) })
	topic := threadTopic.FindSubmatch(question)
	at, picture := regexp.MustCompile(`"s":(\d+)`).FindSubmatch(question), regexp.MustCompile(`"file":"(\w+)"`).FindSubmatch(question)
	for _, where := range []string{``, `"channel":"cafe",`, fmt.Sprintf(`"user":%q,`, topic[1]), `"channel":"cafe","ask":true,`} {
		_, answer := b.http("brand", atBrand, "file.link", fmt.Sprintf(`{%s"seq":%s,"file":%q}`, where, at[1], picture[1]))
		b.add("file", answer)
	}
	for _, who := range []string{"brand", "staff", "key"} {
		b.looks(who, fmt.Sprintf(`{"channel":"cafe","thread":%q,"seq":%s,"file":%q}`, topic[1], at[1], picture[1]))
	}
	known := map[string]string{"channel": `"cafe"`, "campaign": `"cake"`, "key": `"spring"`, "broadcast": `"spring"`, "coupon": fmt.Sprintf("%q", code),
		"room": fmt.Sprintf("%q", "thread/cafe/"+string(topic[1])), "file": fmt.Sprintf("%q", picture[1]), "webhook": fmt.Sprintf("%q", hook),
		"user": fmt.Sprintf("%q", topic[1]), "users": fmt.Sprintf("[%q]", topic[1]), "id": fmt.Sprintf("%q", topic[1]), "thread": fmt.Sprintf("%q", topic[1]),
		"seq": fmt.Sprint(seq), "limit": "50", "query": `"cafe"`, "post": `{"text":"more"}`, "text": `"more"`, "title": `"The café"`, "label": `"x"`}
	s.settle(desks[0], desks[2])
	for _, op := range []string{"app.get", "app.stats", "webhook.list"} {
		_, answer := b.http("brand", atBrand, op, `{"app":"cafeapp"}`)
		b.add("app "+op, answer)
	}
	b.sweep(known) // ends the brand's connections, too
	for _, d := range desks {
		d.mu.Lock()
		for _, f := range d.frames {
			b.add("mqtt "+d.id, f)
		}
		d.mu.Unlock()
	}
	metrics := b.metrics()
	b.add("metrics", []byte(metrics))
	divided(t, metrics, "cafe", "brand", "staff", "cafeapp", string(topic[1]))

	b.lock.Lock()
	defer b.lock.Unlock()
	if kinds := b.kinds(); len(b.got) < 700 || kinds["log"] == 0 || kinds["mqtt key-desk"] < 10 || kinds["mqtt till-desk"] > 3 || kinds["webhook thread.message"] != 6 || kinds["webhook link.opened"] != 1 || kinds["picture"] != 6 {
		t.Errorf("%d things were looked through, of the log %d lines; over MQTT %d with a key and %d with a till's; webhooks: %d questions, %d days of the app; %d downloads", len(b.got), kinds["log"],
			kinds["mqtt key-desk"], kinds["mqtt till-desk"], kinds["webhook thread.message"], kinds["webhook link.opened"], kinds["picture"])
	}
	channel, err := s.store.Find(store.ChannelKey("cafe"))
	if err != nil {
		t.Fatal(err)
	}
	var ids []identity
	for i, f := range append(followers, crowd...) {
		id := b.identity(f, "phoneof-"+f, nil)
		id.channel = channel.ID
		if i < len(followers) {
			maps.Copy(id.words, map[string]string{"nickname": "Nick" + strings.ToUpper(f), "cid": "qcid0-" + f, "picture's cid": "qcid1-" + f, "gift's cid": "qgift-" + f,
				"phone": phoneOf(i)[1:], "phone at home": phoneOf(i)[3:]})
		} else {
			maps.DeleteFunc(id.words, func(what, _ string) bool { return what != "name" })
		}
		ids = append(ids, id)
	}
	for _, found := range b.given(ids...) {
		t.Error(found)
	}
}

// TestBrandPolls: a brand that asks for every number before and after what one follower does learns nothing, on days with
// 19, 21 and 24 followers: numbers change with the day's snapshot alone, and show nothing below 20.
func TestBrandPolls(t *testing.T) {
	t.Parallel()
	var users []string
	for i := range 24 {
		users = append(users, fmt.Sprintf("qf%02d", i))
	}
	b := newBrandStage(t, 0, append([]string{"brand"}, users...)...)
	s := b.stage
	const cafe = `{"channel":"cafe"}`
	b.does("brand", "channel.create", `{"channel":"cafe","title":"The café"}`)
	s.operator("channel.approve", cafe)
	until := s.now().Add(30 * 24 * time.Hour).Format(time.RFC3339)
	b.does("brand", "coupon.create", `{"channel":"cafe","campaign":"cake","title":"cake","until":"`+until+`"}`)
	b.does("brand", "broadcast.create", `{"channel":"cafe","key":"spring","coupon":"cake","post":{"text":"cake for all"}}`)
	b.does("brand", "webhook.set", fmt.Sprintf(`{"channel":"cafe","url":%q}`, b.hook))
	desk := s.device("brand", "desk", 5)
	desk.connect(false)
	desk.subscribe("channel/+/json", "channel/+/progress")
	seq := b.out("spring")
	s.pass(10 * time.Second)
	b.ended("spring")
	b.tells(webhook.BroadcastFinished)

	poll := func() string {
		var all strings.Builder
		for _, q := range [][2]string{{"channel.numbers", cafe}, {"channel.get", cafe}, {"channel.search", `{"query":"cafe"}`}, {"channel.mine", "{}"}, {"channel.list", "{}"},
			{"broadcast.get", `{"channel":"cafe","key":"spring"}`}, {"broadcast.list", cafe}, {"broadcast.report", `{"channel":"cafe","key":"spring"}`},
			{"coupon.report", `{"channel":"cafe","campaign":"cake"}`}, {"coupon.campaigns", cafe}, {"channel.publisher.list", cafe}, {"channel.history", cafe},
			{"broadcast.create", `{"channel":"cafe","key":"seg","at":"` + until + `","post":{"text":"x"},"segment":{"countries":["KR"]}}`}} {
			_, answer := b.http("brand", atBrand, q[0], q[1])
			fmt.Fprintf(&all, "%s %s\n", q[0], answer)
		}
		b.lock.Lock()
		defer b.lock.Unlock()
		for _, g := range b.got { // what was posted to the brand's server, but for what followers write to it
			if strings.HasPrefix(g, "webhook ") && !strings.HasPrefix(g, "webhook "+webhook.ThreadMessage) {
				fmt.Fprintln(&all, g)
			}
		}
		return all.String()
	}
	act := func(u, op, body string) {
		t.Helper()
		before := poll()
		b.does(u, op, body)
		if after := poll(); after != before {
			t.Errorf("%s of one follower shows:\n%s\n%s", op, before, after)
		}
	}
	var told any // the number that webhooks have told
	day := func(want any) {
		t.Helper()
		s.pass(24 * time.Hour)
		if err := b.tally.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.reported("spring")
		if want != told {
			b.tells(webhook.ChannelFollowers)
			told = want
		}
		if n := b.does("brand", "channel.numbers", cafe); n["followers"] != want || n["consenting"] != nil {
			t.Errorf("%v followers, want %v; %v consenting", n["followers"], want, n["consenting"])
		}
	}
	for _, u := range users[:18] {
		b.does(u, "channel.follow", cafe)
	}
	day(nil)
	b.tells(webhook.BroadcastReport)
	act(users[18], "channel.follow", cafe)
	day(nil)
	for _, u := range users[19:21] {
		act(u, "channel.follow", cafe)
	}
	day(20.0)
	act(users[0], "channel.consent", cafe)
	act(users[0], "channel.push", `{"channel":"cafe","push":"ring"}`)
	act(users[0], "channel.opened", fmt.Sprintf(`{"channel":"cafe","seq":%v}`, seq))
	act(users[0], "coupon.show", `{"channel":"cafe","campaign":"cake"}`)
	act(users[1], "channel.unfollow", cafe)
	act(users[2], "channel.block", cafe)
	act(users[21], "channel.follow", cafe)
	act(users[22], "channel.follow", cafe)
	phone := s.device(users[3], "phone", 5)
	phone.connect(false)
	before := poll()
	phone.publish("channel/cafe/ask/text", "tea?")
	if after := poll(); after != before {
		t.Errorf("a question shows in numbers:\n%s\n%s", before, after)
	}
	day(20.0)
	for _, u := range users[3:6] {
		act(u, "channel.unfollow", cafe)
	}
	day(nil)
	if n := desk.deliveries(`"followers"`); n != 0 {
		t.Errorf("%d messages tell of followers", n)
	}
	b.tells(webhook.ThreadMessage)
	b.lock.Lock()
	defer b.lock.Unlock()
	if kinds := b.kinds(); kinds["webhook "+webhook.ChannelFollowers] != 2 || kinds["webhook "+webhook.ThreadMessage] != 1 || kinds["webhook "+webhook.LinkOpened] != 0 {
		t.Errorf("webhooks: %v", kinds)
	}
}
