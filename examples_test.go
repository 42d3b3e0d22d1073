package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// buildExample builds a program of examples/.
func buildExample(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", path, "./examples/"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// TestExampleIoT: the MQTT 3.1.1 device against a server, with every QoS, a second time with the session it left, and
// where it may not write.
func TestExampleIoT(t *testing.T) {
	iot := buildExample(t, "iot")
	dir := dataDir(t)
	p := startServer(t, dir)
	alice := addUser(t, dir, "alice")
	addUser(t, dir, "bob")
	line := fmt.Sprintf("%s -addr %s -user alice -token %s", iot, p.addrs["mqtt"], alice)
	for _, qos := range []string{"0", "1", "2", "1"} {
		out, err := shell(t, line+" -n 300 -qos "+qos)
		if err != nil || !strings.Contains(out, "300 came back") || qos != "0" && !strings.Contains(out, "300 acknowledged") {
			t.Errorf("QoS %s: %v\n%s", qos, err, out)
		}
	}
	out, err := shell(t, line+" -n 2 -to user/nobody")
	if err == nil || !strings.Contains(out, "reading 0 was refused: ") || !strings.Contains(out, "2 acknowledged, 0 came back") {
		t.Errorf("writing to nobody: %v\n%s", err, out)
	}
	out, err = shell(t, strings.Replace(line, alice, "wrong", 1))
	if err == nil || !strings.Contains(out, "bad user name or password") {
		t.Errorf("a wrong token: %v\n%s", err, out)
	}
}

// TestExampleChat: the example is the chat that the program offers.
func TestExampleChat(t *testing.T) {
	chat := buildExample(t, "chat")
	dir := dataDir(t)
	p := startServer(t, dir)
	alice := addUser(t, dir, "alice")
	line := fmt.Sprintf("echo remember the milk | CHAT_TOKEN=%s %s -server mqtt://%s -user alice -to alice", alice, chat, p.addrs["mqtt"])
	if out, err := shell(t, line); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := startSession(t, "chat", "-server", "ws://"+p.addrs["http"]+"/mqtt", "-user", "alice", "-token", alice, "-to", "alice", "-id", "phone")
	s.out.wait(t, "connected as alice")
	s.line("/history")
	s.out.wait(t, "me: remember the milk #1")
}
