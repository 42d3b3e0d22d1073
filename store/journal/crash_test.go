package journal_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store/journal"
)

// Environment of the child process that TestKill kills.
const childDir = "JOURNAL_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child appends until it is killed. Before an Append it tells that it will ("maybe"), after it that
// it has ("set"). Numbers go on where the journal ends.
func child(dir string, out io.Writer) error {
	j, err := journal.Open(journal.Config{Dir: dir, SegmentBytes: 256 << 10})
	if err != nil {
		return err
	}
	n := uint64(0)
	if err := j.Scan(j.First(), func(_, _ journal.Position, r []byte) error { n++; return nil }); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(n, 1))
	for {
		batch := make([][]byte, 1+rng.IntN(50))
		for i := range batch {
			batch[i] = numbered(n + uint64(i))
		}
		if _, err := fmt.Fprintln(out, "maybe", n+uint64(len(batch))); err != nil {
			return err
		}
		if _, err := j.Append(batch); err != nil {
			return err
		}
		n += uint64(len(batch))
		if _, err := fmt.Fprintln(out, "set", n); err != nil {
			return err
		}
	}
}

// numbered is the record that belongs to a number, up to some kilobytes long.
func numbered(n uint64) []byte {
	rng := rand.New(rand.NewPCG(n, 2))
	r := make([]byte, 12+rng.IntN(600))
	if rng.IntN(50) == 0 {
		r = make([]byte, 30_000)
	}
	for i := 12; i+8 <= len(r); i += 8 {
		binary.LittleEndian.PutUint64(r[i:], rng.Uint64())
	}
	binary.LittleEndian.PutUint64(r, n)
	binary.LittleEndian.PutUint32(r[8:], crc32.ChecksumIEEE(r[12:]))
	return r
}

// TestKill kills a process with -9 while it appends, again and again. What it had been told of is
// there, in order and once; of the Append under way all or nothing.
func TestKill(t *testing.T) {
	rounds := 10
	if s := os.Getenv("JOURNAL_KILLS"); s != "" {
		fmt.Sscan(s, &rounds)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "j")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	set, maybe := uint64(0), uint64(0)
	for round := range rounds {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Some lines, and then some microseconds into what comes next.
		lines, later := 1+rng.IntN(100), time.Duration(rng.IntN(500))*time.Microsecond
		in := bufio.NewScanner(out)
		for n := 0; in.Scan(); n++ {
			if n == lines {
				time.AfterFunc(later, func() { _ = cmd.Process.Kill() }) // it may be dead already
			}
			var word string
			var number uint64
			if _, err := fmt.Sscan(in.Text(), &word, &number); err != nil {
				continue // a line that the kill cut
			}
			switch word {
			case "set":
				set = number
			case "maybe":
				maybe = number
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}

		j, err := journal.Open(journal.Config{Dir: dir, SegmentBytes: 256 << 10})
		if err != nil {
			t.Fatal(err)
		}
		found := uint64(0)
		err = j.Scan(j.First(), func(pos, _ journal.Position, r []byte) error {
			if string(r) != string(numbered(found)) {
				return fmt.Errorf("at %d: not record %d", pos, found)
			}
			found++
			return nil
		})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if found != set && found != maybe {
			t.Fatalf("round %d: found %d records; %d were acknowledged, %d begun", round, found, set, maybe)
		}
		set, maybe = found, found
		mustClose(t, j)
	}
	t.Logf("%d records over %d kills", set, rounds)
}
