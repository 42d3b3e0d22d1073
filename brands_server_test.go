package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/bridge/webhook"
	"github.com/hwangso/hwangso/store"
)

// TestServerNamesNoFollower is the program as it is run: what it writes to its log, shows as metrics and posts to a brand's
// server while somebody follows, asks, opens and leaves says nothing of who it is.
func TestServerNamesNoFollower(t *testing.T) {
	t.Parallel()
	const name, client = "qfelicity", "phoneof-qfelicity"
	var r reach
	posted := make(chan string, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		dump, err := httputil.DumpRequest(q, true)
		if err != nil {
			t.Error(err)
		}
		r.add("webhook", dump)
		posted <- q.Header.Get(webhook.HeaderEvent)
	}))
	defer hook.Close()
	dir := dataDir(t)
	p := startServer(t, dir, "-webhook-allow", "127.0.0.0/8", "-log-level", "info")
	owner, follower := addUser(t, dir, "owner"), addUser(t, dir, name)
	hwangso(t, "channel", "create", "cafe", "-owner", "owner", "-title", "The cafe", "-data", dir)
	does := func(token, op, body string) string {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.addrs["http"]+"/v1/"+op, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s %v", op, resp.StatusCode, answer, err)
		}
		return string(answer)
	}
	set := does(owner, "webhook.set", fmt.Sprintf(`{"channel":"cafe","url":%q}`, hook.URL))
	does(follower, "channel.follow", `{"channel":"cafe","ads":true}`)
	does(follower, "channel.push", `{"channel":"cafe","push":"ring"}`)
	s := &stage{t: t, addr: p.addrs["mqtt"]}
	desk, phone := s.device("owner", "desk", 5), s.device(name, client, 5)
	desk.password, phone.password = owner, follower
	desk.connect(false)
	desk.subscribe("thread/+/+/json")
	phone.connect(false)
	phone.subscribe("channel/+/json")
	does(owner, "channel.post", `{"channel":"cafe","post":{"text":"cake"}}`)
	phone.gets("channel/cafe/json", "cake")
	does(follower, "channel.opened", `{"channel":"cafe","seq":1}`)
	phone.publishAs("qcid-felicity", "channel/cafe/ask/text", "is there tea?")
	question := desk.await(func(f []byte) bool { return threadTopic.Match(f) })
	r.add("mqtt", question)
	does(follower, "channel.unfollow", `{"channel":"cafe"}`)
	does(follower, "channel.block", `{"channel":"cafe"}`)
	does(owner, "webhook.test", fmt.Sprintf(`{"channel":"cafe","webhook":%q}`, regexp.MustCompile(`"webhook":"([a-z0-9]+)"`).FindStringSubmatch(set)[1]))
	for got := []string{}; !slices.Contains(got, "ping") || !slices.Contains(got, webhook.ThreadMessage); {
		got = append(got, <-posted)
	}
	resp, err := http.Get("http://" + p.addrs["http"] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(metrics), "hwangso_webhook_events_total") {
		t.Fatalf("metrics: %s, %v", metrics, err)
	}
	r.add("metrics", metrics)
	divided(t, string(metrics), "cafe", "owner", string(threadTopic.FindSubmatch(question)[1]))
	p.stop()
	r.add("log", []byte(p.out.String()))
	if kinds := r.kinds(); kinds["webhook"] != 2 {
		t.Errorf("looked through: %v", kinds)
	}
	for _, number := range []store.AccountID{1, 2, 3} { // which one it has is not known, and as a number it is too short to be looked for
		for _, found := range r.given(identity{device: store.DeviceOf(number, client), words: map[string]string{"name": name, "client": client, "cid": "qcid-felicity", "key": follower}}) {
			t.Error(found)
		}
	}
}

// divided fails if metrics are divided by users, channels or the like, or have one of these as a label.
func divided(t *testing.T, metrics string, never ...string) {
	t.Helper()
	for _, l := range label.FindAllStringSubmatch(metrics, -1) {
		switch name, value := l[1], l[2]; {
		case slices.Contains([]string{"user", "account", "device", "client", "channel", "room", "log", "thread", "follower", "app", "webhook"}, name):
			t.Errorf("a metric is divided by %s", l[0])
		case slices.Contains(never, value):
			t.Errorf("a metric names %s", l[0])
		}
	}
}
