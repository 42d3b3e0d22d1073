//go:build linux

package proc

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestReadSeesAllocationAndWork(t *testing.T) {
	a, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 32<<20)
	for i := 0; i < len(block); i += 4096 {
		block[i] = 1
	}
	for x := 0; ; x++ { // until the clock of 10 ms ticks
		b, err := Read(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if b.CPU > a.CPU {
			if b.Anon-a.Anon < 30<<20 {
				t.Errorf("32 MiB more are seen as %d bytes", b.Anon-a.Anon)
			}
			break
		}
	}
	runtime.KeepAlive(block)
}

func TestNoSuchProcess(t *testing.T) {
	if _, err := Read(1 << 30); err == nil || !strings.Contains(err.Error(), "no process") {
		t.Errorf("%v", err)
	}
}

func TestParse(t *testing.T) {
	stat := "71 (a) b (c)) S 1 71 71 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 1 0 5 6 7"
	if d, err := parseCPU([]byte(stat)); err != nil || d != 2*time.Second {
		t.Errorf("%v %v", d, err)
	}
	for _, bad := range []string{"", "71", "71 (x) S 1 2", "71 (x) S 1 71 71 0 -1 4194560 1 2 3 4 x 50 9"} {
		if _, err := parseCPU([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
	if n, err := parseAnon([]byte("Name:\tx\nRssAnon:\t    1024 kB\nRssFile:\t 1 kB\n")); err != nil || n != 1<<20 {
		t.Errorf("%d %v", n, err)
	}
	for _, bad := range []string{"", "RssAnon:\n", "RssAnon: 5 MB\n", "RssAnon: x kB\n"} {
		if _, err := parseAnon([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
