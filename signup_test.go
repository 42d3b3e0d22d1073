package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPeopleSignUp is the way of two people without an account into a conversation: a number, a code, their address books, and
// a room by interest in which neither knows who the other is.
func TestPeopleSignUp(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	dir := t.TempDir()
	d := startSession(t, "demo", "-mqtt", freePort(t), "-http", freePort(t))
	d.out.wait(t, `Keys: o`)
	signUp := func(name, number, as string) *session {
		t.Helper()
		c := startSession(t, "chat", "-phone", number, "-region", "KR", "-name", name, "-id", name+"-phone", "-keep", filepath.Join(dir, name+".json"))
		c.out.wait(t, `Type it here`)
		code := d.out.wait(t, `code (\d{6}) for `+regexp.QuoteMeta(as))[1]
		c.line(code)
		c.out.wait(t, `Welcome, `+name)
		c.out.wait(t, `connected as `+name)
		return c
	}
	carol := signUp("carol", "010-2345-6789", "+821023456789")
	dave := signUp("dave", "+82 10 8765 4321", "+821087654321")
	info, err := os.Stat(filepath.Join(dir, "carol.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the identity's file: %v, %v", info, err)
	}

	// Each has the other's number: they find each other.
	carol.line("/contacts +82 10-8765-4321, nonsense")
	carol.out.wait(t, `nobody yet`)
	carol.out.wait(t, `nonsense is no phone number`)
	dave.line("/contacts +82 10-2345-6789")
	dave.out.wait(t, `\+82 10-2345-6789 is carol`)
	dave.line("/friends")
	dave.out.wait(t, `· carol \(`)
	dave.line("/to carol")
	dave.line("is that you?")
	carol.out.wait(t, `dave: is that you\?`)

	// In an open room nobody is known by the account.
	carol.line("/open #hikers Rabbit 서울 등산 모임 #mountains")
	carol.out.wait(t, `#hikers is open`)
	dave.line("/search 등산")
	dave.out.wait(t, `#hikers 서울 등산 모임 \(1 members, public\)`)
	dave.line("/join #hikers Rabbit")
	dave.out.wait(t, `✗ `)
	dave.line("/join #hikers Bear")
	dave.line("hello from a bear")
	carol.line("/to #hikers")
	got := carol.out.wait(t, `(\S+): hello from a bear`)[1]
	if strings.Contains(got, "dave") {
		t.Errorf("the open room shows the account: %s", got)
	}

	// The next start is signed in already.
	carol.line("/quit")
	carol.end()
	again := startSession(t, "chat", "-phone", "010-2345-6789", "-region", "KR", "-id", "carol-phone", "-keep", filepath.Join(dir, "carol.json"))
	again.out.wait(t, `Signed in as carol`)
	again.out.wait(t, `connected as carol`)
	again.line("/quit")
	again.end()
	if _, err := os.Stat(filepath.Join(dir, "carol.json")); err != nil {
		t.Error(err)
	}
}
