package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/broker/api"
	"github.com/hwangso/hwangso/broker/broadcast"
	"github.com/hwangso/hwangso/broker/tally"
	"github.com/hwangso/hwangso/store"
)

// reach is everything that a brand gets hold of.
type reach struct {
	lock sync.Mutex
	got  []string // what it is and what it holds
}

func (r *reach) add(what string, b []byte) {
	r.lock.Lock()
	r.got = append(r.got, what+": "+string(b))
	r.lock.Unlock()
}

func (r *reach) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("cafe")) || bytes.Contains(b, []byte("channel")) {
		r.add("log", b)
	}
	return len(b), nil
}

// counts is what broadcasts ask of the tally.
type counts struct{ *tally.Tally }

func (n counts) Followers(_ context.Context, c store.LogID) (*int, error) {
	all, err := n.Numbers(c)
	return all.Followers, err
}

func (n counts) Report(ctx context.Context, c, log store.LogID, seq store.Seq, ended int64) (broadcast.Numbers, error) {
	r, err := n.Tally.Report(ctx, c, log, seq, ended)
	if err != nil {
		return broadcast.Numbers{}, err
	}
	return broadcast.Numbers{Reached: r.Reached, Pushed: r.Pushed, Opened: r.Opened}, nil
}

// brandStage is a stage with what numbers come from, and all that a brand can reach of it.
type brandStage struct {
	*stage
	reach
	tally  *tally.Tally
	public http.Handler
	keys   map[string]string // bearer tokens
}

func newBrandStage(t *testing.T, users ...string) *brandStage {
	t.Helper()
	b := &brandStage{keys: make(map[string]string)}
	log := slog.New(slog.NewJSONHandler(&b.reach, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.stage = newStageOf(t, stageParts{Logger: log, Tally: func(s *stage) broadcast.Tally {
		var err error
		b.tally, err = tally.New(tally.Config{Store: s.store, Followers: s.store, Now: s.now, Logger: log,
			Facts: func(store.AccountID) (tally.Facts, error) { return tally.Facts{Country: "KR", Language: "ko"}, nil },
			Meant: func(store.AccountID, store.LogInfo, *store.Record) (bool, error) { return true, nil }})
		if err != nil {
			t.Fatal(err)
		}
		return counts{b.tally}
	}, API: func(s *stage, c *api.Config) func() error {
		c.Numbers, c.Logger, c.Gatherer = b.tally, log, prometheus.NewRegistry()
		return func() error { return nil }
	}}, users...)
	b.public = b.api.Public()
	return b
}

// http calls an operation on the users' listener, with the password of a user or a key, from an address.
func (b *brandStage) http(who, from, op, body string) (int, []byte) {
	b.t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/v1/"+op, strings.NewReader(body))
	r.RemoteAddr = from
	r.Header.Set("Content-Type", "application/json")
	if key := b.keys[who]; key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	} else {
		r.SetBasicAuth(who, "pw")
	}
	b.public.ServeHTTP(w, r)
	return w.Code, w.Body.Bytes()
}

const (
	atBrand    = "192.0.2.9:1000"
	atFollower = "198.51.100.77:41234"
)

// does is http for what must succeed.
func (b *brandStage) does(who, op, body string) map[string]any {
	b.t.Helper()
	from := atFollower
	if who == "brand" || who == "staff" {
		from = atBrand
	}
	code, answer := b.http(who, from, op, body)
	var v map[string]any
	if err := json.Unmarshal(answer, &v); code != http.StatusOK || err != nil {
		b.t.Fatalf("%s: %s %s: %d %s %v", who, op, body, code, answer, err)
	}
	return v
}

// operations are all that users can ask, with the fields of their requests, from the document that the server publishes.
func (b *brandStage) operations() map[string][]string {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.public.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var doc struct {
		Paths map[string]struct {
			Post struct {
				RequestBody struct {
					Content map[string]struct{ Schema json.RawMessage }
				}
			}
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]json.RawMessage }
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		b.t.Fatal(err)
	}
	out := make(map[string][]string)
	for path, p := range doc.Paths {
		op, ok := strings.CutPrefix(path, "/v1/")
		if !ok || strings.Contains(op, "/") {
			continue
		}
		out[op] = nil
		var schema struct {
			Ref        string `json:"$ref"`
			Properties map[string]json.RawMessage
		}
		if c, ok := p.Post.RequestBody.Content["application/json"]; ok {
			if err := json.Unmarshal(c.Schema, &schema); err != nil {
				b.t.Fatal(err)
			}
		}
		fields := schema.Properties
		if schema.Ref != "" {
			fields = doc.Components.Schemas[schema.Ref[strings.LastIndexByte(schema.Ref, '/')+1:]].Properties
		}
		out[op] = slices.Sorted(maps.Keys(fields))
	}
	if len(out) < 100 || !slices.Contains(out["channel.numbers"], "channel") {
		b.t.Fatalf("%d operations are published; channel.numbers takes %v", len(out), out["channel.numbers"])
	}
	return out
}

// sweep asks every operation there is as everybody that the brand is, with whatever the brand knows, and keeps the answers.
// What ends something comes last.
func (b *brandStage) sweep(known map[string]string) {
	b.t.Helper()
	ops := b.operations()
	ends := func(op string) bool {
		for _, w := range []string{"remove", "delete", "erase", "leave", "signout", "cancel", "pause", "close", "rotate", "unfollow", "block", "recall"} {
			if strings.Contains(op, w) {
				return true
			}
		}
		return false
	}
	names := slices.SortedFunc(maps.Keys(ops), func(x, y string) int {
		if ends(x) != ends(y) {
			if ends(x) {
				return 1
			}
			return -1
		}
		return strings.Compare(x, y)
	})
	opened := make(map[string]int)
	for _, op := range names {
		var fields []string
		for _, f := range ops[op] {
			if v, ok := known[f]; ok {
				fields = append(fields, fmt.Sprintf("%q:%s", f, v))
			}
		}
		for _, who := range []string{"brand", "staff", "key"} {
			code, answer := b.http(who, atBrand, op, "{"+strings.Join(fields, ",")+"}")
			b.add(who+" "+op, answer)
			if code == http.StatusOK {
				opened[who]++
			}
			if code >= 500 && code != http.StatusNotImplemented && code != http.StatusServiceUnavailable {
				b.t.Errorf("%s %s: %d %s", who, op, code, answer)
			}
		}
	}
	if opened["brand"] < 40 || opened["key"] < 5 {
		b.t.Errorf("few operations let the brand in: %v", opened)
	}
}

// marks are a user's identities in the encodings in which they could stand somewhere.
func (b *brandStage) marks(user, display, client string) map[string]string {
	id := b.ids[user].Account
	device := store.DeviceOf(id, client)
	out := map[string]string{"name": user, "nickname": display, "client": client, "address": "198.51.100.77", "port": "41234"}
	for what, n := range map[string]uint64{"number": uint64(id), "device": uint64(device)} {
		for order, raw := range map[string][]byte{"big": binary.BigEndian.AppendUint64(nil, n), "little": binary.LittleEndian.AppendUint64(nil, n)} {
			out[what+" in hex, "+order] = hex.EncodeToString(raw)
			out[what+" in base64, "+order] = base64.RawURLEncoding.EncodeToString(raw)
			out[what+" in bytes, "+order] = string(raw)
		}
		if n > 1<<20 {
			out[what] = fmt.Sprint(n)
			out[what+" in base 16"] = fmt.Sprintf("%x", n)
		}
	}
	return out
}

// TestWhatABrandCanReach: followers do all that they can with a channel, while its owner, a publisher and a key
// of the channel listen to everything and ask every operation there is. Nothing of what they get names a follower.
func TestWhatABrandCanReach(t *testing.T) {
	t.Parallel()
	followers := []string{"qfelicity", "qgwendolyn", "qhumphrey"}
	b := newBrandStage(t, append([]string{"brand", "staff"}, followers...)...)
	s := b.stage
	for _, f := range followers {
		b.does(f, "profile.set", fmt.Sprintf(`{"display":"Nick%s"}`, strings.ToUpper(f)))
	}
	s.friends([2]string{followers[0], followers[1]})
	const cafe = `{"channel":"cafe"}`
	b.does("brand", "channel.create", `{"channel":"cafe","title":"The café"}`)
	s.operator("channel.approve", cafe)
	s.operator("channel.publisher.set", `{"channel":"cafe","user":"staff"}`)
	b.keys["key"] = b.does("brand", "channel.key.create", cafe)["secret"].(string)
	until := s.now().Add(7 * 24 * time.Hour).Format(time.RFC3339)
	b.does("brand", "coupon.create", `{"channel":"cafe","campaign":"cake","title":"cake","until":"`+until+`"}`)
	var desks []*actor
	for _, who := range []string{"brand", "staff"} {
		d := s.device(who, who+"-desk", 5)
		d.connect(false)
		d.subscribe("#", "$SYS/#", "channel/+/json", "channel/+/progress", "thread/+/+/json", "user/+/json")
		desks = append(desks, d)
	}

	phones := make(map[string]*actor)
	for _, f := range followers {
		phones[f] = s.device(f, "phoneof-"+f, 5)
		phones[f].connect(false)
		phones[f].subscribe("channel/+/json", "channel/+/ask/json")
		b.does(f, "channel.follow", `{"channel":"cafe","ads":true}`)
		b.does(f, "channel.push", `{"channel":"cafe","push":"ring"}`)
	}
	b.does("brand", "broadcast.create", `{"channel":"cafe","key":"spring","coupon":"cake","post":{"text":"cake for all"}}`)
	seq := b.out("spring")
	for _, f := range followers {
		phones[f].gets("channel/cafe/json", "cake for all")
		b.does(f, "channel.opened", fmt.Sprintf(`{"channel":"cafe","seq":%v}`, seq))
		ack := phones[f].publish("channel/cafe/ask/text", "is there tea? "+strings.ToUpper(f[1:2])+"x")
		if len(ack) > 4 && ack[4] != 0 {
			t.Fatalf("%s's question is refused: %q", f, ack)
		}
		desks[0].await(func(frame []byte) bool {
			return bytes.Contains(frame, []byte("is there tea? "+strings.ToUpper(f[1:2])+"x"))
		})
	}
	code := b.does(followers[0], "coupon.show", `{"channel":"cafe","campaign":"cake"}`)["coupon"].(string)
	b.does(followers[1], "gift.send", fmt.Sprintf(`{"channel":"cafe","campaign":"cake","user":%q,"cid":"giftcid"}`, followers[0]))
	b.does(followers[1], "channel.unfollow", cafe)
	b.does(followers[2], "channel.block", cafe)
	s.pass(25 * time.Hour)
	if err := b.tally.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	topic := threadTopic.FindSubmatch(desks[0].await(func(f []byte) bool { return threadTopic.Match(f) }))
	known := map[string]string{"channel": `"cafe"`, "campaign": `"cake"`, "key": `"spring"`, "broadcast": `"spring"`, "coupon": fmt.Sprintf("%q", code),
		"room": fmt.Sprintf("%q", "thread/cafe/"+string(topic[1])),
		"user": fmt.Sprintf("%q", topic[1]), "users": fmt.Sprintf("[%q]", topic[1]), "id": fmt.Sprintf("%q", topic[1]), "thread": fmt.Sprintf("%q", topic[1]),
		"seq": fmt.Sprint(seq), "limit": "50", "query": `"cafe"`, "post": `{"text":"more"}`, "text": `"more"`, "title": `"The café"`, "label": `"x"`}
	s.settle(desks...)
	b.sweep(known) // ends the brand's connections, too
	for _, d := range desks {
		d.mu.Lock()
		for _, f := range d.frames {
			b.add("mqtt "+d.id, f)
		}
		d.mu.Unlock()
	}

	b.lock.Lock()
	defer b.lock.Unlock()
	if len(b.got) < 500 {
		t.Errorf("only %d things were looked through", len(b.got))
	}
	for _, f := range followers {
		marks := b.marks(f, "Nick"+strings.ToUpper(f), "phoneof-"+f)
		for _, got := range b.got {
			for what, mark := range marks {
				if strings.Contains(got, mark) {
					t.Errorf("the %s of %s is in %.600q", what, f, got)
				}
			}
		}
	}
}

// out waits until a broadcast was posted, and returns its sequence.
func (b *brandStage) out(key string) any {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		got := b.does("brand", "broadcast.get", fmt.Sprintf(`{"channel":"cafe","key":%q}`, key))["broadcast"].(map[string]any)
		if got["seq"] != nil {
			return got["seq"]
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.t.Fatalf("%s has not gone out: %s", key, b.ask("brand", "broadcast.get", fmt.Sprintf(`{"channel":"cafe","key":%q}`, key)))
	return nil
}

// TestBrandPolls: a brand that asks for every number before and after what one follower does learns nothing, on days with
// 19, 21 and 24 followers: numbers change with the day's snapshot alone, and show nothing below 20.
func TestBrandPolls(t *testing.T) {
	t.Parallel()
	var users []string
	for i := range 24 {
		users = append(users, fmt.Sprintf("qf%02d", i))
	}
	b := newBrandStage(t, append([]string{"brand"}, users...)...)
	s := b.stage
	const cafe = `{"channel":"cafe"}`
	b.does("brand", "channel.create", `{"channel":"cafe","title":"The café"}`)
	s.operator("channel.approve", cafe)
	until := s.now().Add(30 * 24 * time.Hour).Format(time.RFC3339)
	b.does("brand", "coupon.create", `{"channel":"cafe","campaign":"cake","title":"cake","until":"`+until+`"}`)
	b.does("brand", "broadcast.create", `{"channel":"cafe","key":"spring","coupon":"cake","post":{"text":"cake for all"}}`)
	desk := s.device("brand", "desk", 5)
	desk.connect(false)
	desk.subscribe("channel/+/json", "channel/+/progress")
	seq := b.out("spring")

	poll := func() string {
		var all strings.Builder
		for _, q := range [][2]string{{"channel.numbers", cafe}, {"channel.get", cafe}, {"channel.search", `{"query":"cafe"}`}, {"channel.mine", "{}"}, {"channel.list", "{}"},
			{"broadcast.get", `{"channel":"cafe","key":"spring"}`}, {"broadcast.list", cafe}, {"broadcast.report", `{"channel":"cafe","key":"spring"}`},
			{"coupon.report", `{"channel":"cafe","campaign":"cake"}`}, {"coupon.campaigns", cafe}, {"channel.publisher.list", cafe}, {"channel.history", cafe},
			{"broadcast.create", `{"channel":"cafe","key":"seg","at":"` + until + `","post":{"text":"x"},"segment":{"countries":["KR"]}}`}} {
			_, answer := b.http("brand", atBrand, q[0], q[1])
			fmt.Fprintf(&all, "%s %s\n", q[0], answer)
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
	day := func(want any) {
		t.Helper()
		s.pass(24 * time.Hour)
		if err := b.tally.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := b.does("brand", "channel.numbers", cafe); n["followers"] != want || n["consenting"] != nil {
			t.Errorf("%v followers, want %v; %v consenting", n["followers"], want, n["consenting"])
		}
	}
	for _, u := range users[:18] {
		b.does(u, "channel.follow", cafe)
	}
	day(nil)
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
}
