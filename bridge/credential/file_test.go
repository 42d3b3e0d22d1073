package credential

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFile replaces a file in the ways in which operators do, and breaks it.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	var logged bytes.Buffer
	clock := time.Unix(1000, 0)
	parse := func(b []byte) (string, error) {
		if bytes.HasPrefix(b, []byte("bad")) {
			return "", errors.New("not a key")
		}
		return string(b), nil
	}
	open := func() (*File[string], error) {
		return Open(path, parse, slog.New(slog.NewTextHandler(&logged, nil)), func() time.Time { return clock })
	}
	put := func(s string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := open(); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("without a file: %v", err)
	}
	put("bad")
	if _, err := open(); err == nil || !strings.Contains(err.Error(), "not a key") || !strings.Contains(err.Error(), path) {
		t.Fatalf("with a broken file: %v", err)
	}
	put("one")
	f, err := open()
	if err != nil {
		t.Fatal(err)
	}
	get := func(want, what string) {
		t.Helper()
		if got := f.Get(); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	warned := func(want int, what string) {
		t.Helper()
		if got := strings.Count(logged.String(), "level=WARN"); got != want {
			t.Errorf("%s: %d warnings, want %d:\n%s", what, got, want, &logged)
		}
	}
	pass := func() { clock = clock.Add(every) }

	get("one", "at first")
	put("longer")
	get("one", "within a second")
	pass()
	get("longer", "after a second")
	pass()
	get("longer", "unchanged")

	// Written beside it and renamed: the same size, perhaps the same time.
	next := path + ".new"
	if err := os.WriteFile(next, []byte("slower"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	pass()
	get("slower", "renamed")

	warned(0, "so far")
	put("bad one")
	for range 3 {
		pass()
		get("slower", "broken")
	}
	warned(1, "one broken file")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		pass()
		get("slower", "gone")
	}
	warned(2, "gone")
	put("back")
	pass()
	get("back", "back")
	put(strings.Repeat("x", most+1))
	pass()
	get("back", "far too large")
	warned(3, "far too large")

	if os.Getuid() != 0 { // root reads everything
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		put := time.Unix(2000, 0)
		if err := os.Chtimes(path, put, put); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			pass()
			get("back", "not readable")
		}
		warned(4, "not readable")
	}
}
