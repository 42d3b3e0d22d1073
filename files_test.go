package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// ask calls an operation as a user of a seeded server and reads its answer.
func ask(t testing.TB, p *process, user, op, body string, status int, out any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.addrs["http"]+"/v1/"+op, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(user, "pw")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		t.Fatalf("%s: %d %s, %v", op, resp.StatusCode, answer, err)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			t.Fatal(err)
		}
	}
}

// fetch gets or puts bytes at an address that the server gave, which is one without a host.
func fetch(t testing.TB, p *process, method, path string, body []byte) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.addrs["http"]+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got)
}

// TestFiles: a document goes from one user to another, and with a backup into another data directory.
func TestFiles(t *testing.T) {
	dir := dataDir(t)
	hwangso(t, "seed", "-users", "4", "-friends", "2", "-rooms", "1", "-room-size", "4", "-password", "pw", "-data", dir)
	p := startServer(t, dir)
	var slot struct{ File, Upload string }
	ask(t, p, "u0", "file.slot", `{"type":"text/plain","size":5}`, 200, &slot)
	if code, answer := fetch(t, p, "PUT", slot.Upload, []byte("hello")); code != 201 {
		t.Fatalf("upload: %d %s", code, answer)
	}
	var sent struct{ Seq int }
	ask(t, p, "u0", "message.send", `{"room":"g0","kind":"file","attachments":[{"file":"`+slot.File+`"}]}`, 200, &sent)
	read := func(p *process, user string, status int) {
		t.Helper()
		body, err := json.Marshal(map[string]any{"room": "g0", "seq": sent.Seq, "file": slot.File})
		if err != nil {
			t.Fatal(err)
		}
		var link struct{ URL string }
		ask(t, p, user, "file.link", string(body), status, &link)
		if status != 200 {
			return
		}
		if code, got := fetch(t, p, "GET", link.URL, nil); code != 200 || got != "hello" {
			t.Errorf("%s got %d %q", user, code, got)
		}
		if code, _ := fetch(t, p, "GET", strings.Replace(link.URL, "s=", "s=x", 1), nil); code != 403 {
			t.Errorf("an address that was changed: %d", code)
		}
	}
	read(p, "u1", 200)
	ask(t, p, "u3", "room.leave", `{"room":"g0"}`, 200, nil)
	ask(t, p, "u3", "message.send", `{"user":"u3","kind":"file","attachments":[{"file":"`+slot.File+`"}]}`, 404, nil)
	backup, restored := filepath.Join(filepath.Dir(dir), "backup"), filepath.Join(filepath.Dir(dir), "restored")
	hwangso(t, "backup", backup, "-data", dir)
	p.stop()
	key := filepath.Join(dir, "keys", "master.key")
	hwangso(t, "restore", backup, "-data", restored, "-key", key)
	q := startServer(t, restored, "-key", key)
	read(q, "u1", 200)
	q.stop()
	q = startServer(t, restored, "-key", key, "-files", "none")
	ask(t, q, "u0", "file.slot", `{"type":"text/plain","size":5}`, 404, nil)
	q.stop()
}
