package cmd

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPrecedence(t *testing.T) {
	for _, c := range []struct{ flag, env, file, want string }{
		{"", "", "", "default"},
		{"", "", "file", "file"},
		{"", "env", "", "env"},
		{"", "env", "file", "env"},
		{"flag", "", "", "flag"},
		{"flag", "env", "file", "flag"},
		{"default", "env", "file", "default"}, // said on the command line, though it is the default
	} {
		f := flag.NewFlagSet("test", flag.ContinueOnError)
		got := f.String("log-level", "default", "")
		f.String("config", "", "")
		path := filepath.Join(t.TempDir(), "conf")
		text := ""
		if c.file != "" {
			text = "log-level = " + c.file + "\n"
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"-config", path}
		if c.flag != "" {
			args = append(args, "-log-level", c.flag)
		}
		if err := f.Parse(args); err != nil {
			t.Fatal(err)
		}
		err := fill(f, func(name string) (string, bool) {
			return c.env, c.env != "" && name == "HWANGSO_LOG_LEVEL"
		})
		if err != nil || *got != c.want {
			t.Errorf("%+v: %q, %v", c, *got, err)
		}
	}
}

// TestEverySettingFromEveryPlace: each flag of serve can be set in the file, too.
func TestEverySettingFromEveryPlace(t *testing.T) {
	var s settings
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	s.register(f)
	var lines []string
	f.VisitAll(func(fl *flag.Flag) {
		if fl.Name != "config" {
			lines = append(lines, fl.Name+" = "+fl.DefValue)
		}
	})
	if len(lines) < 30 {
		t.Fatalf("only %d settings", len(lines))
	}
	path := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Set("config", path); err != nil {
		t.Fatal(err)
	}
	if err := fill(f, func(string) (string, bool) { return "", false }); err != nil {
		t.Error(err)
	}
	if err := s.validate(); err != nil {
		t.Errorf("the defaults cannot be served: %v", err)
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, s := range []string{"a = b", "# c\n\n a=\"b\" ", "=", "a", "a=1\na=2", "a = \"", "a = \"\"", "\x00 = \xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines, err := parseConfig(text)
		if err != nil {
			return
		}
		seen := make(map[string]bool)
		for _, l := range lines {
			if l.name == "" || seen[l.name] || l.line < 1 || strings.Contains(l.value, "\n") {
				t.Errorf("%q gives %+v", text, l)
			}
			seen[l.name] = true
		}
	})
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.8.7:1": true, "[::1]:1": true, "localhost:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false, "localhost.example.com:1": false,
	} {
		if got, err := loopback(addr); err != nil || got != want {
			t.Errorf("%s: %v, %v", addr, got, err)
		}
	}
	if _, err := loopback("127.0.0.1"); err == nil {
		t.Error("an address without a port")
	}
}

// TestFreeShare: a store takes 0 for its default, and whoever says 0 percent wants none.
func TestFreeShare(t *testing.T) {
	for percent, want := range map[float64]float64{0: -1, 5: 0.05, 99: 0.99} {
		s := settings{minFree: percent}
		if got := s.boltConfig(nil, nil).MinFree; got != want {
			t.Errorf("%v percent: %v, want %v", percent, got, want)
		}
	}
}
