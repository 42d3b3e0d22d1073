package broadcast

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// TestDeathInEachStep lets the store die at each of its changes in turn, before and after the change is made, while a
// broadcast is created, paused, resumed, goes out, is done and counted. Whoever begins anew and asks for the same again
// has it whole, with one record. Its end and its report are told, and if one is told again it is the same.
func TestDeathInEachStep(t *testing.T) {
	w := newWorld(t)
	n := 0
	for _, made := range []bool{false, true} {
		for after := 1; ; after++ {
			n++
			key := fmt.Sprint("k", n)
			w.set(func() { w.all = true })
			at := w.now().Add(time.Hour)
			life := func() {
				wish := Wish{Key: key, Post: text("hello"), At: at}
				if _, _, err := w.b.Create(t.Context(), w.channel, w.by, wish); err != nil {
					return
				}
				if w.get(key).State == Scheduled {
					_, _ = w.b.Pause(t.Context(), w.channel, key, w.by)
				}
				_, _ = w.b.Resume(t.Context(), w.channel, key, w.by)
				if w.now().Before(at) {
					w.later(time.Hour)
				}
				for range 2 { // runs
					w.step()
				}
				if !w.get(key).Over() {
					_, _ = w.b.Pause(t.Context(), w.channel, key, w.by)
					_, _ = w.b.Resume(t.Context(), w.channel, key, w.by)
				}
				w.step()
				w.later(ReportAfter)
				w.step()
			}
			w.failing.die(after, made)
			life()
			died := w.failing.dead
			w.failing.die(0, false)
			w.still()
			life()
			w.later(ReportAfter)
			w.step()
			c := w.get(key)
			if c.State != Done || c.Report == nil || c.Seq == 0 || c.Settle {
				t.Fatalf("dead at change %d (made: %v): %+v", after, made, c)
			}
			if r := w.records(w.channel, key); len(r) != 1 || r[0].Seq != c.Seq {
				t.Fatalf("dead at change %d (made: %v): %d records", after, made, len(r))
			}
			p, err := w.graph.Post(w.channel, key)
			w.must(err)
			if p.State != graph.PostOut {
				t.Fatalf("dead at change %d (made: %v): the post is %s", after, made, p.State)
			}
			if d := w.dues(); d != 0 {
				t.Fatalf("dead at change %d (made: %v): %d rows are due", after, made, d)
			}
			want := []string{fmt.Sprint(key, " done ", c.Ended, " false"), fmt.Sprint(key, " done ", c.Ended, " true")}
			if news := slices.Compact(w.news); !slices.Equal(news, want) {
				t.Fatalf("dead at change %d (made: %v): told %q, not %q", after, made, news, want)
			}
			w.news = nil
			if !died {
				if after < 10 {
					t.Fatalf("a whole life has only %d changes", after)
				}
				break
			}
		}
	}
}

// TestDeathWhilePausing lets the store die at each change while a broadcast that runs is paused, and canceled: begun anew,
// deliveries follow what the broadcast says.
func TestDeathWhilePausing(t *testing.T) {
	w := newWorld(t)
	n := 0
	for _, cancel := range []bool{false, true} {
		for _, made := range []bool{false, true} {
			for after := 1; ; after++ {
				n++
				key := fmt.Sprint("k", n)
				w.create(Wish{Key: key, Post: text("hello")})
				w.step()
				control, want := w.b.Pause, map[State]graph.PostState{Paused: graph.PostPaused, Running: graph.PostOut}
				if cancel {
					control, want = w.b.Cancel, map[State]graph.PostState{Canceled: graph.PostCanceled, Running: graph.PostOut}
				}
				w.failing.die(after, made)
				_, err := control(t.Context(), w.channel, key, w.by)
				died := w.failing.dead
				w.failing.die(0, false)
				w.still()
				w.step()
				c := w.get(key)
				p, perr := w.graph.Post(w.channel, key)
				w.must(perr)
				if state, ok := want[c.State]; !ok || p.State != state || c.Settle || err == nil && c.State == Running {
					t.Fatalf("dead at change %d (made: %v): answered %v, the broadcast is %s, its post %q", after, made, err, c.State, p.State)
				}
				if !died {
					break
				}
			}
		}
	}
}

const (
	envKilled    = "HWANGSO_BROADCAST_KILLED" // the directory of the child that is killed
	killedPosts  = 200
	killedRounds = 3
)

// TestKilled runs broadcasts in a process of its own, which is killed in the middle, several times. In the end each has one
// record, and is done.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(envKilled); dir != "" {
		killed(t, dir)
		return
	}
	dir := t.TempDir()
	s, g := openKilled(t, dir)
	account, err := s.CreateAccount(t.Context(), store.Account{Name: "brand"})
	if err != nil {
		t.Fatal(err)
	}
	channel := makeChannel(t, s, g, account.ID)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	interrupted := 0
	for round := range killedRounds {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), envKilled+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// It tells each broadcast that it creates: after some, in each round more, it is killed wherever the others are.
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan() && n < 30*(round+1); {
			if strings.HasPrefix(lines.Text(), "posted") {
				n++
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			interrupted++
		}
	}
	if interrupted == 0 {
		t.Fatal("no process was killed before its end")
	}
	s, g = openKilled(t, dir)
	defer func() { _ = s.Close() }()
	b, err := still(Config{Store: s, Graph: g, Poster: real{s: s}})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for from := ""; ; {
		list, next, err := b.List(channel, from, 500)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			keys = append(keys, c.Key)
		}
		if from = next; from == "" {
			break
		}
	}
	if len(keys) == 0 {
		t.Fatal("no broadcast was created")
	}
	_, left := b.pass(t.Context(), time.Now(), true)
	for i := 0; left && i < 3; i++ {
		_, left = b.pass(t.Context(), time.Now().Add(watchEvery), true)
	}
	found := map[string]int{}
	for after := store.Seq(0); ; {
		page, err := s.Read(store.Query{Log: channel, After: after, Max: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Records {
			found[graph.PostID(r)]++
		}
		if after = page.Next; after >= page.Head {
			break
		}
	}
	for _, k := range keys {
		c, err := b.Get(channel, k)
		if err != nil {
			t.Fatal(err)
		}
		if c.State != Done || found[k] != 1 {
			t.Errorf("%s is %s, with %d records", k, c.State, found[k])
		}
		delete(found, k)
	}
	if len(found) != 0 {
		t.Errorf("records of %d broadcasts that there are not", len(found))
	}
	rows, err := s.Rows(tableDue, "", "", "", 0)
	if err != nil || len(rows) != 0 {
		t.Errorf("%d rows are due, %v", len(rows), err)
	}
	t.Logf("%d broadcasts, %d processes killed", len(keys), interrupted)
}

func openKilled(t *testing.T, dir string) (*bolt.Store, *graph.Graph) {
	t.Helper()
	s, err := bolt.Open(bolt.Config{Dir: dir, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	return s, graph.New(s, nil)
}

// killed is the process that is killed: it asks for the same broadcasts as the ones before it.
func killed(t *testing.T, dir string) {
	s, g := openKilled(t, dir)
	info, err := s.Find(store.ChannelKey("acme"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(Config{Store: s, Graph: g, Poster: real{s: s, tell: true}, Open: killedPosts})
	if err != nil {
		t.Fatal(err)
	}
	for i := range killedPosts {
		c, _, err := b.Create(t.Context(), info.ID, 1, Wish{Key: fmt.Sprintf("k%03d", i), Post: text("hello")})
		if err != nil {
			t.Fatal(err)
		}
		if c.Seq != 0 {
			fmt.Println("posted", c.Key, "before") // who counts does not wait for what is done
		}
	}
	select {} // until it is killed
}

// real appends to a store.
type real struct {
	s    *bolt.Store
	tell bool
}

func (r real) Post(_ context.Context, channel store.LogID, _ bool, id string, c view.Content) (store.Receipt, error) {
	got, err := r.s.Append(store.Draft{Log: channel, CID: graph.PostCID(id), Text: c.Text}).Result()
	if r.tell && err == nil {
		fmt.Println("posted", id)
	}
	return got, err
}

func (real) PostChanged(store.LogID)            {}
func (real) TellPublishers(store.LogID, []byte) {}
