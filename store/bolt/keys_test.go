package bolt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestKeyIsMadeOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "master.key")
	if _, _, err := loadKey(file, false); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("without create: %v", err)
	}
	var wg sync.WaitGroup
	keys := make([][32]byte, 8)
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], _, err = loadKey(file, true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	again, fingerprint, err := loadKey(file, false)
	if err != nil || again == [32]byte{} || len(fingerprint) != 16 {
		t.Fatalf("fingerprint %q, %v", fingerprint, err)
	}
	for _, k := range keys {
		if k != again {
			t.Fatal("two keys were made")
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v", info.Mode())
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
	other := filepath.Join(t.TempDir(), "k")
	if k, f, err := loadKey(other, true); err != nil || k == again || f == fingerprint {
		t.Fatal("two keys are the same")
	}
}

func TestKeyRefused(t *testing.T) {
	good := keyPrefix + strings.Repeat("ab", 32)
	cases := []struct {
		name, content string
		mode          fs.FileMode
		want          string // "" is accepted
	}{
		{"plain", good, 0o600, ""},
		{"with a line end", good + "\r\n", 0o400, ""},
		{"group", good, 0o640, "chmod 600"},
		{"others", good, 0o604, "chmod 600"},
		{"empty", "", 0o600, "not a key file"},
		{"other prefix", "hwangso-key-2 " + strings.Repeat("ab", 32), 0o600, "not a key file"},
		{"short", good[:len(good)-2], 0o600, "not a key file"},
		{"long", good + "ab", 0o600, "not a key file"},
		{"not hexadecimal", good[:len(good)-1] + "z", 0o600, "not a key file"},
		{"huge", good + strings.Repeat("\n", 1<<16), 0o600, ""},
		{"huge garbage", strings.Repeat("x", 1<<16), 0o600, "not a key file"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(file, []byte(c.content), c.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, c.mode); err != nil {
				t.Fatal(err)
			}
			if runtime.GOOS == "windows" && c.want == "chmod 600" {
				t.Skip("no permission bits")
			}
			key, _, err := loadKey(file, true)
			if c.want == "" {
				if err != nil || key[0] != 0xab {
					t.Fatalf("%x, %v", key[0], err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "abab") || key != [32]byte{} {
				t.Fatalf("the refusal gives the key away: %v", err)
			}
		})
	}
	if _, _, err := loadKey(t.TempDir(), true); err == nil {
		t.Fatal("a directory is taken for a key")
	}
}
