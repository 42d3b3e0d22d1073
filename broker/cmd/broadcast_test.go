package cmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// typed runs a command line; what it wrote, and what would be printed of its error.
func typed(t *testing.T, ctx context.Context, args ...string) (string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	err := Run(ctx, args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	if err != nil && !errors.Is(err, ErrUsage) {
		errs.WriteString(err.Error())
	}
	return out.String() + errs.String(), err
}

// TestCommandsOfChannels: what is typed wrong is told and changes nothing; what is asked for is asked of the server.
func TestCommandsOfChannels(t *testing.T) {
	dir, asked := answering(t, map[string]string{
		"channel.plan.set": `{"code":200}`, "channel.plan.list": `{"code":200}`, "channel.create": `{"code":200,"title":"Old"}`, "app.suspend": `{"code":200}`, "app.approve": `{"code":200,"app":{"app":"chess","state":"suspended"}}`,
		"broadcast.create": `{"code":200,"new":true,"broadcast":{"key":"k","state":"done"}}`, "broadcast.get": `{"code":200,"broadcast":{"key":"k","state":"done"}}`,
	})
	for _, c := range []struct{ line, said, asked string }{
		{"channel plan gold -posts -5 -per-minute 0", "PLAN", `channel.plan.set {"per_minute":0,"plan":"gold","posts":-5}`},
		{"channel plan", "PLAN", "channel.plan.list {}"},
		{"channel plan -posts 3", "!say which plan", ""},
		{"channel plan -remove", "!say which plan", ""},
		{"channel plan gold -remove -posts 3", "!not both", ""},
		{"channel publisher cafe -remove", "!say whom", ""},
		{"channel publisher cafe -role owner", "!say whom", ""},
		{"channel create cafe -owner alice", "!-owner USER and -title TEXT", ""},
		{"channel create cafe -owner alice -title New", `alice has opened the channel cafe before, as "Old"`, `channel.create {"channel":"cafe","owner":"alice","title":"New"}`},
		{"app suspend chess -off", "", `app.suspend {"app":"chess","on":false,"reason":""}`},
		{"app approve chess", "hwangso app suspend chess -off", `app.approve {"app":"chess","rev":0}`},
		{"broadcast create cafe \xff", "!the text is not UTF-8", ""},
		{"broadcast create cafe -text en=hello -text ko=\xff", "!the text is not UTF-8", ""},
		{"broadcast create cafe -post -", "!the standard input is not JSON", ""},
		{"broadcast create cafe", "!say what is to be sent", ""},
		{"broadcast create cafe hello -at tomorrow", `!"tomorrow" is no time`, ""},
		{"broadcast create cafe hello -weeks 4", "!-weeks is MIN-MAX", ""},
		{"broadcast create cafe hello -post x", "!not both", ""},
		{"broadcast create cafe -post nowhere.json", "!nowhere.json: no such file", ""},
		{"broadcast create cafe hello -name k -sample 0 -wait=false", "k is on its way",
			`broadcast.create {"ad":false,"channel":"cafe","coupon":"","key":"k","post":{"text":"hello"},"segment":{"countries":[],"languages":[],"max_weeks":0,"min_weeks":0,"platforms":[],"sample":0},"silent":false}`},
		{"broadcast create cafe hello -name k -wait=false", "k is on its way", `broadcast.create {"ad":false,"channel":"cafe","coupon":"","key":"k","post":{"text":"hello"},"silent":false}`},
		{"broadcast watch cafe k", "k: done", `broadcast.get {"channel":"cafe","key":"k"}`},
	} {
		out, err := typed(t, t.Context(), append(strings.Fields(c.line), "-data", dir)...)
		said, fails := strings.CutPrefix(c.said, "!")
		if fails != (err != nil) || !strings.Contains(out, said) {
			t.Errorf("%s: %v, said %q, want %q", c.line, err, out, c.said)
		}
		if got := strings.Join(asked(), "\n"); got != c.asked {
			t.Errorf("%s: asked %s, want %s", c.line, got, c.asked)
		}
	}
	for _, line := range []string{"channel list", "broadcast list cafe", "app list"} { // a mistyped directory gets no data
		none := filepath.Join(t.TempDir(), "none")
		if out, err := typed(t, t.Context(), append(strings.Fields(line), "-data", none)...); err == nil || !strings.Contains(out, "there is no server's data in "+none+": say where it is with -data") {
			t.Errorf("%s: %v, %s", line, err, out)
		}
		if _, err := os.Stat(none); err == nil {
			t.Errorf("%s made %s", line, none)
		}
	}
	for _, line := range []string{"help broadcast create", "broadcast create --help"} {
		if out, err := typed(t, t.Context(), strings.Fields(line)...); err != nil || !strings.Contains(out, "Usage: hwangso broadcast create CHANNEL") || !strings.Contains(out, "-name key") {
			t.Errorf("%s: %v, %s", line, err, out)
		}
	}
}

// TestWatchEnds: who stops watching, or whose server stops, is told that the broadcast does not depend on it.
func TestWatchEnds(t *testing.T) {
	running := `{"code":200,"new":true,"broadcast":{"key":"k","state":"running"}}`
	dir, _ := answering(t, map[string]string{"broadcast.get": running})
	ctx, stop := context.WithCancel(t.Context())
	first := &firstLine{then: stop}
	err := Run(ctx, []string{"broadcast", "watch", "cafe", "k", "-data", dir}, Streams{In: strings.NewReader(""), Out: first, Err: first})
	if err == nil || !strings.Contains(err.Error(), `The broadcast goes on: "hwangso broadcast watch cafe k" looks again`) || first.String() != "k: running\n" {
		t.Errorf("stopped: %v, said %q", err, first.String())
	}
	o := &operator{client: http.Client{Transport: &stopping{answer: running}}, running: true, path: "data/admin.sock"}
	var out bytes.Buffer
	err = watchBroadcast(t.Context(), o, "cafe", "k", &out)
	if !errors.Is(err, errUnanswered) || !strings.Contains(err.Error(), `(data/admin.sock). The broadcast goes on when it runs again: "hwangso broadcast watch cafe k" looks again`) {
		t.Errorf("the server is gone: %v, said %q", err, out.String())
	}
	out.Reset()
	o = &operator{client: http.Client{Transport: &stopping{answer: running}}}
	if err := watchBroadcast(t.Context(), o, "cafe", "k", &out); err != nil || out.String() != "k: running\nNo server is running on this data: it goes on when one does.\n" {
		t.Errorf("no server: %v, said %q", err, out.String())
	}
	// Whether it was taken is not known: the name that the command has made up is needed to ask again.
	dir, _ = answering(t, map[string]string{"broadcast.create": "abort"})
	if _, err := typed(t, t.Context(), "broadcast", "create", "cafe", "hello", "-data", dir); !errors.Is(err, errUnanswered) || !strings.Contains(err.Error(), "With -name broadcast-2") {
		t.Errorf("no answer: %v", err)
	}
}

// firstLine calls then when it is first written to.
type firstLine struct {
	bytes.Buffer
	then func()
}

func (f *firstLine) Write(p []byte) (int, error) {
	if f.Len() == 0 {
		f.then()
	}
	return f.Buffer.Write(p)
}

// stopping is a server that answers once.
type stopping struct {
	answer string
	asked  bool
}

func (s *stopping) RoundTrip(*http.Request) (*http.Response, error) {
	if s.asked {
		return nil, errors.New("dial unix data/admin.sock: no such file")
	}
	s.asked = true
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(s.answer))}, nil
}
