package pushsim

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDocs holds docs/pushsim.md against what there is: every preset and operation with its text, every state, effect and
// field of a fault.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/pushsim.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, p := range Presets() {
		want(t, page, fmt.Sprintf("| `%s` | %s |\n", p.Name, p.Text))
	}
	for _, o := range (&control{}).operations() {
		want(t, page, fmt.Sprintf("| `%s %s` | %s |\n", o.Method, o.Path, o.Text))
	}
	for _, s := range []State{Online, Offline, Unregistered, Bad, WrongSender, Busy} {
		want(t, page, fmt.Sprintf("| `%s` |", s))
	}
	for _, e := range []Effect{Shown, Replaced, Repeated, Dropped, Cleared, Woken, Held, Lost} {
		want(t, page, fmt.Sprintf("`%s`", e))
	}
	for _, f := range []string{FileConfig, FileAPNs, FileFCM, FileWebPush, FileBrowsers, FileCA, FileCert, FileKey, FileSettings} {
		want(t, page, "`"+f+"`")
	}
	for reason, e := range fcmErrors {
		if e.fcm != "UNSPECIFIED_ERROR" && reason != "ExpiredProviderToken" {
			want(t, page, "`"+reason+"`")
		}
	}
}

func want(t *testing.T, page, text string) {
	t.Helper()
	if !strings.Contains(page, text) {
		t.Errorf("docs/pushsim.md has no %q", text)
	}
}
