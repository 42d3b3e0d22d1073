package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/phone"
)

func TestNightsFlag(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nights")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("IN none\nTH Asia/Bangkok 22:00-06:00\n")
	s := settings{nights: file}
	got, err := s.nightTable()
	if _, in := got["IN"]; err != nil || in || got["TH"] != (hooks.Night{Zone: "Asia/Bangkok", From: 22 * 60, To: 6 * 60}) || got["KR"].Zone != "Asia/Seoul" {
		t.Errorf("%v, %v", got, err)
	}
	c, err := s.rules(phone.NewBook(nil, phone.NewKey([32]byte{1})))
	if err != nil || len(c.Nights) != len(got) || c.AdCap != -1 || c.Secret("a", "b") == c.Secret("a", "c") {
		t.Errorf("%+v, %v", c, err)
	}
	write("KR Asia/Seoul\n")
	if err := s.validate(); err == nil || !strings.Contains(err.Error(), "-nights: line 1") {
		t.Errorf("a bad file: %v", err)
	}
	s.nights += ".not"
	if err := s.validate(); err == nil || !strings.Contains(err.Error(), "-nights: ") {
		t.Errorf("no file: %v", err)
	}
}
