package discovery

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestDocs holds the limits that docs/discovery.md tells against the defaults.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/discovery.md")
	if err != nil {
		t.Fatal(err)
	}
	var l Limits
	l.setDefaults()
	for what, n := range map[string]int{
		"on its first day of syncing": l.FirstDay, "in its first ten days": l.First, "on each day after that": l.PerDay,
		"of them in a minute": l.PerMin, "numbers in one request": l.Numbers, "numbers in an address book": l.Book,
		"asks for in a day": l.Prefix, "(`-carriers`)": l.Carrier, "network that wait": l.SlowMost,
		"identifier in a minute": l.LookupsMin, "in a day (UTC)": l.LookupsDay,
	} {
		if row := what + " | " + grouped(n) + " |"; !strings.Contains(string(text), row) {
			t.Errorf("docs/discovery.md does not say %q", row)
		}
	}
	for _, words := range []string{grouped(l.Waiting) + " users at most", grouped(l.SlowRate) + " an hour", grouped(l.Accounts) + " accounts",
		grouped(l.Tried) + " numbers", strconv.Itoa(int(l.Keep/day)) + " days after the last sync"} {
		if !strings.Contains(string(text), words) {
			t.Errorf("docs/discovery.md does not say %q", words)
		}
	}
}

// grouped writes a number with commas.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
