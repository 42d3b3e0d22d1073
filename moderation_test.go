package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestModeration: the operators' commands on the data and through the running server: decisions, reports, limits,
// holds, and the audit log that tells of all of them.
func TestModeration(t *testing.T) {
	dir := dataDir(t)
	addUser(t, dir, "alice")
	addUser(t, dir, "carol")
	hwangso(t, "user", "limit", "carol", "-reason", "spam", "-for", "72h", "-data", dir) // without a server
	expect(t, hwangso(t, "user", "list", "-data", dir), `carol +carol +limited`)
	hwangso(t, "limits", "set", "publish=7/d:3", "group=11", "-reason", "a try", "-data", dir)

	p := startServer(t, dir)
	token := addUser(t, dir, "bob", "alice")
	call := func(status int, op, body string) string {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, "http://"+p.addrs["http"]+"/v1/"+op, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status {
			t.Fatalf("%s: %d %s", op, resp.StatusCode, b.String())
		}
		return b.String()
	}
	// What was set before the start counts, and a change at once.
	expect(t, call(200, "account.me", ""), `"group":11`)
	for i := range 3 {
		call(200, "message.send", fmt.Sprintf(`{"user":"alice","text":"%d"}`, i))
	}
	expect(t, call(429, "message.send", `{"user":"alice","text":"x"}`), `"error":"rate"`)
	expect(t, hwangso(t, "limits", "list", "-set", "-data", dir), `(?s)publish +7/d:3 +100/s:5000 +user.*group +11 +500`)
	expect(t, hwangso(t, "limits", "reset", "publish", "group", "-data", dir), `(?s)publish = 100/s:5000.*group = 500`)
	if _, _, err := try(t, "limits", "set", "publish=fast", "-data", dir); err == nil || !strings.Contains(err.Error(), "30/s:600") {
		t.Errorf("a rate that is none: %v", err)
	}
	if _, _, err := try(t, "user", "suspend", "bob", "-data", dir); err == nil || !strings.Contains(err.Error(), "reason") {
		t.Errorf("without a reason: %v", err)
	}

	call(200, "report", `{"user":"carol","category":"spam","text":"she sells things"}`)
	list := hwangso(t, "report", "list", "-data", dir)
	expect(t, list, `report +carol +limited +bob +spam +0`)
	id := regexp.MustCompile(`(?m)^([0-9a-f]{28}) `).FindStringSubmatch(list)
	if id == nil {
		t.Fatalf("no report in\n%s", list)
	}
	expect(t, hwangso(t, "report", "get", id[1], "-data", dir), `(?s)about +carol \(limited\).*from +bob.*says +she sells things`)
	hwangso(t, "report", "close", id[1], "-outcome", "warned", "-data", dir)
	expect(t, hwangso(t, "report", "list", "-closed", "-data", dir), id[1]+` .*warned`)

	hwangso(t, "user", "suspend", "bob", "-reason", "spam", "-for", "1h", "-data", dir)
	expect(t, call(403, "account.me", ""), `suspended`)
	expect(t, call(200, "account.standing", ""), `"reason":"spam"`)
	call(200, "account.appeal", `{"text":"not me"}`)
	expect(t, hwangso(t, "report", "list", "-data", dir), `appeal +bob +suspended`)
	expect(t, hwangso(t, "user", "restore", "bob", "-reason", "an error", "-data", dir), `bob: ok`)
	call(200, "account.me", "")

	hwangso(t, "hold", "set", "carol", "-reason", "file 118", "-data", dir)
	expect(t, hwangso(t, "hold", "list", "-data", dir), `carol +- .*file 118`)
	expect(t, hwangso(t, "hold", "clear", "carol", "-data", dir), `carol: legal hold ended`)

	log := hwangso(t, "audit", "-limit", "0", "-data", dir)
	for _, want := range []string{`account.limit +carol +for=259200 +spam`, `limits.set +- +set=map\[group:11 publish:7/d:3\] +a try`, `report.get`,
		`report.close`, `account.suspend +bob`, `account.restore +bob +- +an error`, `hold.set +carol +- +file 118`, fmt.Sprintf(`uid %d`, os.Getuid())} {
		expect(t, log, want)
	}
	expect(t, hwangso(t, "audit", "-verify", "-data", dir), `entries, none changed or missing`)
	p.stop()

	// Somebody who changes the file without the master key is found out.
	name := filepath.Join(dir, "directory.bolt")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(`"an error"`)) {
		t.Fatal("the reason is not in the file")
	}
	if err := os.WriteFile(name, bytes.ReplaceAll(b, []byte(`"an error"`), []byte(`"no error"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := try(t, "audit", "-verify", "-data", dir); err == nil || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("after tampering: %v", err)
	}
}
