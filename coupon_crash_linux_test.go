package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestRedeemAcrossCrash: 30 followers show their codes at three tills each while the server is killed with SIGKILL three
// times. Every till repeats its request until it is answered. Of a code one till hears valid at most, exactly as many as
// the campaign has are valid in all, and who asks again hears the same.
func TestRedeemAcrossCrash(t *testing.T) {
	const users, tills, most, workers = 30, 3, 20, 12
	dir := dataDir(t)
	hwangso(t, "seed", "-users", fmt.Sprint(users), "-friends", "2", "-channels", "1", "-followers", fmt.Sprint(users), "-password", "pw", "-data", dir)
	addr := freePort(t)
	p := startServer(t, dir, "-http", addr)
	ask(t, p, "brand0", "coupon.create", fmt.Sprintf(`{"channel":"c0","campaign":"coffee","title":"coffee","most":%d,"until":%q}`,
		most, time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339)), 200, nil)
	type request struct{ body, rid string }
	var requests []request
	for u := range users {
		var shown struct{ Coupon string }
		ask(t, p, fmt.Sprint("u", u), "coupon.show", `{"channel":"c0","campaign":"coffee"}`, 200, &shown)
		for till := range tills {
			requests = append(requests, request{fmt.Sprintf(`{"channel":"c0","coupon":%q}`, shown.Coupon), fmt.Sprintf("till%d.u%d", till, u)})
		}
	}
	rand.Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })

	redeem := func(r request) (string, error) {
		ask, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/v1/coupon.redeem", strings.NewReader(r.body))
		if err != nil {
			return "", err
		}
		ask.SetBasicAuth("brand0", "pw")
		ask.Header.Set("Idempotency-Key", r.rid)
		resp, err := http.DefaultClient.Do(ask)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return "", err
		}
		var out struct{ Answer string }
		if err := json.Unmarshal(body, &out); err != nil || resp.StatusCode != http.StatusOK {
			return "", fmt.Errorf("%d %s", resp.StatusCode, body)
		}
		return out.Answer, nil
	}

	var up atomic.Pointer[chan struct{}] // closed while the server is up
	started := make(chan struct{})
	close(started)
	up.Store(&started)
	var mu sync.Mutex
	answers, repeats := make(map[string]string), 0
	answered, todo := make(chan struct{}, len(requests)), make(chan request, len(requests))
	for _, r := range requests {
		todo <- r
	}
	close(todo)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for r := range todo {
				for t.Context().Err() == nil {
					<-*up.Load()
					a, err := redeem(r)
					mu.Lock()
					if err == nil {
						answers[r.rid] = a
					} else {
						repeats++
					}
					mu.Unlock()
					if err == nil {
						break
					}
				}
				answered <- struct{}{}
			}
		})
	}
	for n := range len(requests) {
		<-answered
		if n == 5 || n == 20 || n == 40 {
			down := make(chan struct{})
			up.Store(&down)
			p.kill()
			p = startServer(t, dir, "-http", addr)
			close(down)
		}
	}
	wg.Wait()

	valid := make(map[string]int)
	total := 0
	for _, r := range requests {
		switch answers[r.rid] {
		case "valid":
			valid[r.body]++
			total++
		case "used", "expired":
		default:
			t.Errorf("%s heard %q", r.rid, answers[r.rid])
		}
		if again, err := redeem(r); err != nil || again != answers[r.rid] {
			t.Errorf("%s heard %s, and again %q, %v", r.rid, answers[r.rid], again, err)
		}
	}
	for body, n := range valid {
		if n > 1 {
			t.Errorf("%s was valid %d times", body, n)
		}
	}
	if total != most {
		t.Errorf("%d were valid, and not %d", total, most)
	}
	if repeats == 0 {
		t.Error("no request was cut short: nothing was tested")
	}
	t.Logf("%d requests, %d of them repeated after a crash, %d valid", len(requests), repeats, total)
	p.stop()
}
