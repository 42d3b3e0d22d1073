package storetest

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

const (
	crashDir     = "HWANGSO_CRASH_DIR"    // set in the child: where its store lies
	crashRound   = "HWANGSO_CRASH_ROUND"  // set in the child
	crashRounds  = "HWANGSO_CRASH_ROUNDS" // how often to kill; 6 without it
	crashWorkers = 4
	crashLines   = 3000 // a child lives for so many lines at most
)

// Crash kills a process that works on a store, at random moments, and looks what is left: what was acknowledged is
// there (set), what was begun may be there (maybe), and nothing else is (unset); sequences have no gap; a cid repeated
// after the crash gets the sequence it has. It runs the test that calls it again, in a child, so that test must do
// nothing else and be at the top level. HWANGSO_CRASH_ROUNDS says how often.
func Crash(t *testing.T, open OpenStore) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(t, open(t, dir))
		return
	}
	rounds := 6
	if n, err := strconv.Atoi(os.Getenv(crashRounds)); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &crashCheck{rng: rand.New(rand.NewPCG(seed, 3)), begun: map[string]bool{}, acked: map[string]store.Receipt{}, marks: map[string][2]store.Seq{},
		recalled: map[string]bool{}}
	l := newLogCase(t, open)
	c.setUp(l)
	for round := range rounds {
		noError(t, l.Close())
		c.kill(t, l.dir, round)
		l.Store = open(t, l.dir)
		c.check(l, round)
	}
	noError(t, l.Close())
	t.Logf("%d rounds: %d begun, %d acknowledged, all of these found; %d recalled", rounds, len(c.begun), len(c.acked), len(c.recalled))
}

// crashLoad is the work of the child, told on its standard output line by line: "b" before an operation, "a" after its
// acknowledgement. A line is one write, so it is whole or not there.
type crashLoad struct {
	s     store.Store
	round string
	users []store.Account
	logs  []store.LogID
}

func (c *crashLoad) tell(format string, args ...any) {
	if _, err := fmt.Printf(format+"\n", args...); err != nil {
		os.Exit(1) // the parent is gone
	}
}

func crashChild(t *testing.T, s store.Store) {
	users, err := s.Accounts(0, 10)
	noError(t, err)
	c := &crashLoad{s: s, round: os.Getenv(crashRound), users: users}
	for i := range 3 {
		info, err := s.Find(store.RoomKey(fmt.Sprint("room", i)))
		noError(t, err)
		c.logs = append(c.logs, info.ID)
	}
	for _, u := range users { // the new process counts its packet identifiers from 1 again: a clean start
		_, err := s.Release(store.Release{Account: u.ID, Device: 2}).Result()
		noError(t, err)
	}
	var wg sync.WaitGroup
	for w := range crashWorkers {
		wg.Go(func() { c.work(w) })
	}
	wg.Wait() // until the parent kills it
}

// work keeps up to 16 operations of one user in flight.
func (c *crashLoad) work(w int) {
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(w)))
	me := c.users[w].ID
	type flight struct {
		name string
		p    *store.Pending
	}
	var flying []flight
	mine := map[store.LogID][]store.Seq{}
	for i := 0; ; i++ {
		log := c.logs[rng.IntN(len(c.logs))]
		f := flight{name: fmt.Sprintf("%s.%d.%d", c.round, w, i)}
		switch k := rng.IntN(20); {
		case k < 14:
			f.name = "m" + f.name
			c.tell("b %s", f.name)
			f.p = c.s.Append(store.Draft{Log: log, Sender: me, Device: 1, CID: f.name, Text: []byte(f.name), Need: store.RoleMember})
		case k < 16:
			info, err := c.s.Info(log)
			if err != nil {
				c.tell("error %v", err)
				return
			}
			f.name = fmt.Sprintf("r%d:%d:%d", log, me, info.Head)
			c.tell("b %s", f.name)
			f.p = c.s.SetMark(store.Mark{Log: log, Account: me, Seq: info.Head})
		case k < 17 && len(mine[log]) > 0:
			target := mine[log][rng.IntN(len(mine[log]))]
			f.name = fmt.Sprintf("x%d:%d", log, target)
			c.tell("b %s", f.name)
			f.p = c.s.Append(store.Draft{Log: log, Sender: me, Text: []byte(f.name), Op: store.Op{Kind: store.OpRecall, Target: target}})
		case k < 18:
			f.name = "c" + f.name
			c.tell("b %s", f.name)
			info, _, err := c.s.Open(context.Background(), store.RoomKey(f.name), store.Creation{By: me, Members: []store.Member{{Account: me}}})
			f.p = store.Resolved(store.Receipt{Log: info.ID}, err)
		default:
			f.name = "m" + f.name
			c.tell("b %s", f.name)
			f.p = c.s.Append(store.Draft{Log: log, Sender: me, Device: 2, PacketID: uint16(i%65535) + 1, Text: []byte(f.name)})
			if rng.IntN(2) == 0 {
				flying = append(flying, flight{"q", c.s.Release(store.Release{Account: me, Device: 2, PacketID: uint16(i%65535) + 1})})
			}
		}
		flying = append(flying, f)
		for len(flying) > rng.IntN(16) {
			r, err := flying[0].p.Result()
			if err != nil {
				c.tell("error %v", err)
				return
			}
			if name := flying[0].name; name != "q" {
				c.tell("a %s %d %d", name, r.Log, r.Seq)
				if name[0] == 'm' {
					mine[r.Log] = append(mine[r.Log], r.Seq)
				}
			}
			flying = flying[1:]
		}
	}
}

// crashCheck is what the parent knows.
type crashCheck struct {
	rng      *rand.Rand
	begun    map[string]bool
	acked    map[string]store.Receipt // messages and creations
	marks    map[string][2]store.Seq  // "log:account" → acknowledged, begun
	recalled map[string]bool          // "log:seq", acknowledged
	logs     []store.LogID
}

func (c *crashCheck) setUp(l *logCase) {
	for i := range 3 {
		c.logs = append(c.logs, l.room(fmt.Sprint("room", i), l.a, l.b, l.c, l.d))
	}
}

// kill runs a child, reads what it tells, and kills it after a random number of lines.
func (c *crashCheck) kill(t *testing.T, dir string, round int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprintf("%s=%d", crashRound, round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	noError(t, err)
	noError(t, cmd.Start())
	left := 1 + c.rng.IntN(crashLines)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		c.line(t, lines.Text())
		if left--; left == 0 {
			noError(t, cmd.Process.Kill())
		}
	}
	if err := cmd.Wait(); left > 0 {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

func (c *crashCheck) line(t *testing.T, line string) {
	t.Helper()
	f := strings.Fields(line)
	if len(f) < 2 || f[0] != "b" && f[0] != "a" {
		t.Fatalf("the child says: %s", line)
	}
	name := f[1]
	var a, b, m uint64
	switch name[0] {
	case 'r':
		_, err := fmt.Sscanf(name, "r%d:%d:%d", &a, &b, &m)
		noError(t, err)
		k := fmt.Sprintf("%d:%d", a, b)
		v := c.marks[k]
		if v[1] = max(v[1], store.Seq(m)); f[0] == "a" {
			v[0] = max(v[0], store.Seq(m))
		}
		c.marks[k] = v
		return
	case 'x':
		if f[0] == "a" {
			c.recalled[name[1:]] = true
		}
		c.begun[name] = true
		return
	}
	if f[0] == "b" {
		c.begun[name] = true
		return
	}
	_, err := fmt.Sscan(f[2]+" "+f[3], &a, &b)
	noError(t, err)
	c.acked[name] = store.Receipt{Log: store.LogID(a), Seq: store.Seq(b)}
}

func (c *crashCheck) check(l *logCase, round int) {
	t := l.t
	t.Helper()
	found := map[string]store.Receipt{}
	for _, log := range c.logs {
		c.checkLog(l, log, found)
	}
	for name, r := range c.acked {
		if name[0] == 'c' {
			info, err := l.Find(store.RoomKey(name))
			if err != nil || info.ID != r.Log {
				t.Fatalf("room %s was acknowledged as %d: %d %v", name, r.Log, info.ID, err)
			}
			continue
		}
		if f, ok := found[name]; ok && f != r {
			t.Fatalf("%s was acknowledged as %+v and is %+v", name, r, f)
		} else if !ok && !c.recalled[fmt.Sprintf("%d:%d", r.Log, r.Seq)] && !c.begun[fmt.Sprintf("x%d:%d", r.Log, r.Seq)] {
			t.Fatalf("%s was acknowledged as %+v and is gone", name, r)
		}
	}
	for k, v := range c.marks {
		var log store.LogID
		var a store.AccountID
		_, err := fmt.Sscanf(k, "%d:%d", &log, &a)
		noError(t, err)
		m, err := l.Standing(log)
		noError(t, err)
		if at := m.Of(a); at < v[0] || at > v[1] {
			t.Fatalf("mark of %s is %d, acknowledged was %d, begun %d", k, at, v[0], v[1])
		}
	}
	c.repeat(l, found, round)
}

// checkLog reads a log to its end: no gap, nothing twice, nothing that was never begun, each sender's in its order.
func (c *crashCheck) checkLog(l *logCase, log store.LogID, found map[string]store.Receipt) {
	t := l.t
	t.Helper()
	info, err := l.Info(log)
	noError(t, err)
	order := map[string]int{}
	for after := store.Seq(0); after < info.Head; {
		p, err := l.Read(store.Query{Log: log, After: after, Max: 500})
		noError(t, err)
		for _, r := range p.Records {
			if after++; r.Seq != after {
				t.Fatalf("log %d: %d follows %d", log, r.Seq, after-1)
			}
			name := string(r.Text)
			switch {
			case r.Recalled:
				continue
			case c.recalled[fmt.Sprintf("%d:%d", log, r.Seq)]:
				t.Fatalf("log %d: %d was recalled and says %q", log, r.Seq, name)
			case !c.begun[name]:
				t.Fatalf("log %d: %d is %q, which was never begun", log, r.Seq, name)
			case name[0] != 'm':
				continue
			}
			if old, twice := found[name]; twice {
				t.Fatalf("%s is %d and %d", name, old.Seq, r.Seq)
			}
			found[name] = store.Receipt{Log: log, Seq: r.Seq}
			f := strings.Split(name, ".")
			n, err := strconv.Atoi(f[2])
			noError(t, err)
			if k := f[0] + "." + f[1]; order[k] > n {
				t.Fatalf("log %d: %s follows message %d of the same sender", log, name, order[k])
			} else {
				order[k] = n
			}
		}
	}
}

// repeat sends messages of the dead process again; older ones may be beyond the look-back.
func (c *crashCheck) repeat(l *logCase, found map[string]store.Receipt, round int) {
	t := l.t
	t.Helper()
	left := 50
	for name, r := range found { // in the random order of maps
		if !strings.HasPrefix(name, fmt.Sprintf("m%d.", round)) {
			continue
		}
		p, err := l.Read(store.Query{Log: r.Log, After: r.Seq - 1, Max: 1})
		noError(t, err)
		if p.Records[0].CID == "" {
			continue
		}
		if left--; left == 0 {
			return
		}
		l.repeated(store.Draft{Log: r.Log, Sender: p.Records[0].Sender, Device: 1, CID: name, Text: []byte(name)}, r.Seq)
	}
}
