package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/bridge/webhook"
	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/api"
	"github.com/hwangso/hwangso/broker/broadcast"
	"github.com/hwangso/hwangso/broker/files"
	"github.com/hwangso/hwangso/broker/tally"
	"github.com/hwangso/hwangso/hooks/phone"
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

// Write takes a line of the server's log: every one at the level at which servers run, and of what is there to find faults
// those about channels. The others say who connects, which is no word about whom somebody follows.
func (r *reach) Write(b []byte) (int, error) {
	if !bytes.Contains(b, []byte(`"level":"DEBUG"`)) || bytes.Contains(b, []byte("cafe")) || bytes.Contains(b, []byte("channel")) {
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

// brandStage is a stage with everything that tells a brand something, and all that a brand can reach of it.
type brandStage struct {
	*stage
	reach
	tally    *tally.Tally
	webhooks *webhook.Service
	files    *files.Files
	phones   *phone.Book
	public   http.Handler
	keys     map[string]string // bearer tokens
	hook     string            // the brand's server, where events are posted
	posted   chan string       // the kind of each of them
	told     map[string]int    // of those that came before they were waited for
}

// newBrandStage makes a server with these users. others is how many accounts there are before those of the brand, and again
// before those of followers: so that these have numbers that are found where they stand, and are not taken for the brand's.
func newBrandStage(t *testing.T, others int, users ...string) *brandStage {
	t.Helper()
	b := &brandStage{keys: make(map[string]string), posted: make(chan string, 1000), told: make(map[string]int)}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.NewJSONHandler(&b.reach, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey { // its nanoseconds have any number in them
			return slog.Attr{}
		}
		return a
	}}))
	metrics := prometheus.NewRegistry()
	mux := http.NewServeMux()
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	b.hook = web.URL + "/hook"
	mux.HandleFunc("POST /hook", func(_ http.ResponseWriter, r *http.Request) {
		dump, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		event := r.Header.Get(webhook.HeaderEvent)
		b.add("webhook "+event, dump)
		b.posted <- event
	})
	publishers := slices.IndexFunc(users, func(u string) bool { return u != "brand" && u != "staff" })
	parts := stageParts{Logger: log, Registry: metrics, Others: others, Early: publishers}
	parts.Broker = func(s *stage, c *broker.Config) {
		disk, err := files.NewDisk(filepath.Join(t.TempDir(), "files"))
		ok(err)
		b.files, err = files.New(files.Config{Store: s.store, Blobs: disk, URL: web.URL, Temp: t.TempDir(), Logger: log, Registerer: metrics, Now: s.now})
		ok(err)
		mux.Handle("/files/", b.files.Handler())
		b.phones = phone.NewBook(s.store, phone.NewKey([32]byte{1}))
		c.Files = b.files
	}
	parts.Posts = func(s *stage, c *broadcast.Config) {
		var err error
		b.webhooks, err = webhook.New(t.Context(), webhook.Config{Store: s.store, Pseudonym: s.broker.Access().Pseudonym,
			Followers: func(c store.LogID) (*int, string, error) {
				n, err := b.tally.Numbers(c)
				return n.Followers, n.Day, err
			},
			Opened: func(app string) ([]webhook.Opened, error) { return s.api.OpenedByDay(app) },
			Allow:  []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Logger: log, Registerer: metrics, Now: s.now})
		ok(err)
		b.tally, err = tally.New(tally.Config{Store: s.store, Followers: s.store, Now: s.now, Logger: log, Registerer: metrics,
			Facts: func(store.AccountID) (tally.Facts, error) { return tally.Facts{Country: "KR", Language: "ko"}, nil },
			Meant: func(store.AccountID, store.LogInfo, *store.Record) (bool, error) { return true, nil },
			Told:  func(store.LogID) { b.webhooks.Look() }})
		ok(err)
		c.Tally, c.Files = counts{b.tally}, b.files
		c.Tell = func(ctx context.Context, _ store.LogID, post *broadcast.Broadcast) error {
			kind := webhook.BroadcastFinished
			if post.Report != nil {
				kind = webhook.BroadcastReport
			}
			return b.webhooks.Emit(ctx, webhook.Owner{Channel: "cafe"}, kind, "broadcast:"+post.Key, post.Key, s.now(),
				map[string]any{"broadcast": post.Key, "state": post.State, "report": post.Report})
		}
	}
	parts.API = func(_ *stage, c *api.Config) func() error {
		c.Numbers, c.Webhooks, c.Files, c.Phones, c.RoundLinks = b.tally, b.webhooks, b.files, b.phones, tally.Round
		c.Logger, c.Gatherer, c.Registerer = log, metrics, metrics
		return func() error { return errors.Join(b.webhooks.Close(), b.tally.Close(), b.files.Close()) }
	}
	b.stage = newStageOf(t, parts, users...)
	b.webhooks.Start()
	b.public = b.api.Public()
	return b
}

// tells waits until the brand's server was told of one more event of a kind.
func (b *brandStage) tells(kind string) {
	b.t.Helper()
	for end := time.After(time.Minute); b.told[kind] == 0; {
		select {
		case got := <-b.posted:
			b.told[got]++
		case <-end:
			b.t.Fatalf("no %s is posted", kind)
		}
	}
	b.told[kind]--
}

// metrics are what an operator's dashboard is made of, without the values, in which a count may pass for somebody's number.
func (b *brandStage) metrics() string {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.api.Socket().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		b.t.Fatalf("metrics: %d %s", w.Code, w.Body)
	}
	return metric.ReplaceAllString(w.Body.String(), "$1")
}

var metric = regexp.MustCompile(`(?m)^([^#].*) \S+$`)

// label is one label of a metric.
var label = regexp.MustCompile(`[{,]([a-zA-Z_]+)="([^"]*)"`)

// photo uploads a picture of a follower's, which says by itself whose it is, and returns its identifier.
func (b *brandStage) photo(who string) string {
	b.t.Helper()
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		b.t.Fatal(err)
	}
	const begin = 33 // signature and header; a text (PNG, section 11.3.3) may stand anywhere behind them
	text := binary.BigEndian.AppendUint32(nil, uint32(len("Author\x00"+who)))
	text = append(text, "tEXtAuthor\x00"+who...)
	text = binary.BigEndian.AppendUint32(text, crc32.ChecksumIEEE(text[4:]))
	picture = *bytes.NewBuffer(slices.Insert(picture.Bytes(), begin, text...))
	slot := b.does(who, "file.slot", fmt.Sprintf(`{"type":"image/png","size":%d}`, picture.Len()))
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPut, slot["upload"].(string), &picture)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		b.t.Fatalf("upload: %s", resp.Status)
	}
	return slot["file"].(string)
}

// looks has somebody of the brand ask for a link to a picture, and look at all that comes with it and its thumbnail.
func (b *brandStage) looks(who, asks string) {
	b.t.Helper()
	link := b.does(who, "file.link", asks)
	b.add("file", fmt.Append(nil, link))
	for _, address := range []string{"url", "thumb"} {
		r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, link[address].(string), nil)
		if err != nil {
			b.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			b.t.Fatal(err)
		}
		dump, err := httputil.DumpResponse(resp, true)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			b.t.Fatalf("%s: %s %v", address, resp.Status, err)
		}
		b.add("picture", dump)
	}
}

// link has a user send a link of the brand's app to these, who open it.
func (b *brandStage) link(from string, to []string) {
	b.t.Helper()
	members, err := json.Marshal(to)
	if err != nil {
		b.t.Fatal(err)
	}
	b.operator("room.create", fmt.Sprintf(`{"room":"club","owner":%q,"members":%s}`, from, members))
	key := b.does("brand", "app.get", `{"app":"cafeapp"}`)["app"].(map[string]any)["keys"].([]any)[0].(map[string]any)["key"]
	ticket := b.does(from, "link.ticket", `{"app":"cafeapp","room":"club"}`)["ticket"]
	b.add("link", fmt.Append(nil, b.does("brand", "link.send", fmt.Sprintf(`{"key":%q,"ticket":%q,"text":"the menu","web":"https://cafe.example.com/"}`, key, ticket))))
	var seq any
	for _, item := range b.does(to[0], "room.history", `{"room":"club"}`)["items"].([]any) {
		if m := item.(map[string]any); m["k"] == "link" {
			seq = m["s"]
		}
	}
	for _, who := range to {
		b.does(who, "link.opened", fmt.Sprintf(`{"room":"club","seq":%v}`, seq))
	}
	written := fmt.Sprintf(`"o":%d`, len(to))
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // openings are counted a moment after they are answered
		rows, err := b.store.Rows("service.linkcount", "", "cafeapp", "", 10)
		switch {
		case err == nil && len(rows) == 1 && bytes.Contains(rows[0].Value, []byte(written)):
			return
		case err != nil || time.Now().After(end):
			b.t.Fatalf("openings are not counted: %v, %v", rows, err)
		}
	}
}

// kinds are how many things of each kind there are.
func (r *reach) kinds() map[string]int {
	out := make(map[string]int)
	for _, g := range r.got {
		kind, _, _ := strings.Cut(g, ": ")
		out[kind]++
	}
	return out
}

// identity is who a user is; its device has this client identifier.
func (b *brandStage) identity(user, client string, words map[string]string) identity {
	id := identity{account: b.ids[user].Account, device: store.DeviceOf(b.ids[user].Account, client),
		words: map[string]string{"name": user, "client": client, "address": "198.51.100.77", "port": "31234"}}
	maps.Copy(id.words, words)
	return id
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
	atFollower = "198.51.100.77:31234"
)

// does is http for what must succeed.
func (b *brandStage) does(who, op, body string) map[string]any {
	b.t.Helper()
	from := atFollower
	if who == "brand" || who == "staff" || b.keys[who] != "" {
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
		for _, who := range []string{"brand", "staff", "key", "till"} {
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
	if opened["brand"] < 40 || opened["key"] < 5 || opened["till"] < 1 {
		b.t.Errorf("few operations let the brand in: %v", opened)
	}
}

// out waits until a broadcast was posted, and returns its sequence.
func (b *brandStage) out(key string) any {
	b.t.Helper()
	return b.shows(key, func(c map[string]any) bool { return c["seq"] != nil })["seq"]
}

// shows waits until a broadcast is as it is to be.
func (b *brandStage) shows(key string, fits func(map[string]any) bool) map[string]any {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		c := b.does("brand", "broadcast.get", fmt.Sprintf(`{"channel":"cafe","key":%q}`, key))["broadcast"].(map[string]any)
		if fits(c) {
			return c
		}
		if time.Now().After(end) {
			b.t.Fatalf("%s does not come so far: %v", key, c)
		}
	}
}

// ended waits until a broadcast is seen to have ended, and reported until there is a report: by themselves either would come
// at some time between two polls.
func (b *brandStage) ended(key string) {
	b.t.Helper()
	b.posts.Look()
	b.shows(key, func(c map[string]any) bool { return c["state"] == "done" })
}

func (b *brandStage) reported(key string) {
	b.t.Helper()
	b.posts.Look()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		code, answer := b.http("brand", atBrand, "broadcast.report", fmt.Sprintf(`{"channel":"cafe","key":%q}`, key))
		if code == http.StatusOK {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%s has no report: %s", key, answer)
		}
	}
}
