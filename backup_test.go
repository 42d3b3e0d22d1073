package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hwangso/hwangso/examples/chat/client"
)

// kept is what must survive a backup of a message.
type kept struct {
	S uint64
	F string
	T int64
	I string
	B string
}

// history reads a room over HTTP, all of it.
func history(t testing.TB, p *process, user, room string) (all []kept) {
	t.Helper()
	for after := uint64(0); ; {
		body := fmt.Sprintf(`{"room":%q,"after":%d,"limit":200}`, room, after)
		if after == 0 {
			body = fmt.Sprintf(`{"room":%q,"limit":1}`, room) // learns the newest; then from the beginning
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.addrs["http"]+"/v1/room.history", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(user, "pw")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			Items []kept
			After uint64
			More  bool
		}
		err = json.NewDecoder(resp.Body).Decode(&out)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("room.history: %d, %v", resp.StatusCode, err)
		}
		if after == 0 {
			if after = 1; len(out.Items) == 0 {
				return nil
			}
			continue
		}
		all = append(all, out.Items...)
		if after = out.After; !out.More {
			return all
		}
	}
}

// TestBackup: while it is written to. The copy holds everything that was acknowledged before it began, exactly as it
// is, and nothing that was not written before it was done.
func TestBackup(t *testing.T) {
	dir := dataDir(t)
	hwangso(t, "seed", "-users", "20", "-friends", "4", "-rooms", "3", "-room-size", "10", "-password", "pw", "-messages", "500", "-data", dir)
	p := startServer(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := client.New(ctx, client.Config{Server: "mqtt://" + p.addrs["mqtt"], User: "u0", Token: "pw", ClientID: "writer"})
	if err != nil {
		t.Fatal(err)
	}
	var newest atomic.Uint64
	some := make(chan struct{})
	wrote := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			seq, err := c.Send(ctx, "room/g0", "message "+strconv.Itoa(i), "cid-"+strconv.Itoa(i))
			if err != nil {
				wrote <- err
				return
			}
			if newest.Store(seq); i == 50 {
				close(some)
			}
		}
	}()
	select {
	case <-some:
	case err := <-wrote:
		t.Fatal(err)
	}
	backup := filepath.Join(filepath.Dir(dir), "backup")
	before := newest.Load()
	expect(t, hwangso(t, "backup", backup, "-data", dir), "Keep the master key")
	after := newest.Load()
	if after == before {
		t.Error("nothing was written during the backup")
	}
	if _, _, err := try(t, "backup", backup, "-data", dir); err == nil {
		t.Error("a backup over a backup")
	}
	cancel()
	<-wrote
	original := history(t, p, "u0", "g0")
	p.stop()
	expect(t, hwangso(t, "check", "-data", dir), "All is well")

	restored := filepath.Join(filepath.Dir(dir), "restored")
	key := filepath.Join(dir, "keys", "master.key")
	if _, _, err := try(t, "restore", dir, "-data", restored, "-key", key); err == nil {
		t.Error("a data directory is restored as if it were a backup")
	}
	hwangso(t, "restore", backup, "-data", restored, "-key", key)
	expect(t, hwangso(t, "check", "-data", restored), "All is well")
	expect(t, hwangso(t, "check", "-rebuild", "-data", restored), "All is well")
	q := startServer(t, restored, "-key", key)
	copied := history(t, q, "u0", "g0")
	if n := len(copied); n == 0 || n > len(original) || copied[n-1].S < before || copied[n-1].S > after+1 {
		t.Fatalf("the copy has %d messages of %d, acknowledged were %d before it and %d after it", n, len(original), before, after)
	}
	for i, m := range copied {
		if m != original[i] {
			t.Fatalf("#%d is %+v in the copy, %+v in the original", m.S, m, original[i])
		}
	}
	expect(t, hwangso(t, "status", "-data", restored, "-key", key), `epoch +2`)
	q.stop()

	// Without the key, or with another one, nothing is served.
	other := filepath.Join(t.TempDir(), "other.key")
	var out bytes.Buffer
	err = run(t.Context(), []string{"serve", "-data", restored, "-key", other, "-mqtt", "127.0.0.1:0", "-http", "127.0.0.1:0"}, strings.NewReader(""), &out, &out)
	if err == nil || !strings.Contains(err.Error(), "key") {
		t.Errorf("with another key: %v", err)
	}
}
