package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadNetworks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "carriers")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# mobile\n\n 203.0.113.0/24\r\n2001:db8::/32")
	got, err := readNetworks(file)
	if err != nil || fmt.Sprint(got) != "[203.0.113.0/24 2001:db8::/32]" {
		t.Fatal(got, err)
	}
	write("203.0.113.0/24\nx\n")
	if _, err := readNetworks(file); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Fatal(err)
	}
	if _, err := readNetworks(file + "2"); err == nil {
		t.Fatal("a file that does not exist")
	}
	if got, err := readNetworks(""); got != nil || err != nil {
		t.Fatal(got, err)
	}
}
