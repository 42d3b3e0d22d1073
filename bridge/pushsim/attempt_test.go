package pushsim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// TestJournalWraps: the log keeps the last so many, and a reader sees by the numbers what it has missed.
func TestJournalWraps(t *testing.T) {
	j := &journal{keep: 4}
	numbers := func(n uint64, limit int) string {
		list, _ := j.after(n, limit)
		out := ""
		for _, a := range list {
			out += fmt.Sprintf("%d %v ", a.N, a.Payload["n"])
		}
		return out
	}
	for i := 1; i <= 10; i++ {
		j.append(&Attempt{Payload: map[string]any{"n": fmt.Sprint(i)}})
		if i == 3 && numbers(0, 9) != "1 1 2 2 3 3 " {
			t.Error(numbers(0, 9))
		}
	}
	for _, e := range []struct {
		after uint64
		limit int
		want  string
	}{{0, 9, "7 7 8 8 9 9 10 10 "}, {8, 9, "9 9 10 10 "}, {6, 2, "7 7 8 8 "}, {10, 9, ""}, {99, 9, ""}} {
		if got := numbers(e.after, e.limit); got != e.want {
			t.Errorf("after %d: %q, want %q", e.after, got, e.want)
		}
	}
	j.forget()
	if numbers(0, 9) != "" {
		t.Error(numbers(0, 9))
	}
	j.append(&Attempt{Payload: map[string]any{"n": "x"}})
	if numbers(0, 9) != "11 x " {
		t.Error(numbers(0, 9))
	}
}

// TestWait: who waits misses nothing that comes between two looks, and ends with its context or the simulator.
func TestWait(t *testing.T) {
	s := startSim(t, Config{})
	const readers, each = 8, 2000
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			next := uint64(1)
			if _, err := s.Wait(context30(t), func(a Attempt) bool {
				if a.N != next {
					t.Errorf("%d, want %d", a.N, next)
				}
				next++
				return a.N == 4*each
			}); err != nil {
				t.Error(err)
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for range each {
				s.journal.append(&Attempt{})
			}
		})
	}
	wg.Wait()

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.WaitAfter(ctx, s.Last(), func(Attempt) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := s.WaitPhone(ctx, "none", func(Phone) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, wait := range []func() error{
		func() error {
			_, err := s.WaitAfter(context30(t), s.Last(), func(Attempt) bool { return true })
			return err
		},
		func() error {
			_, err := s.WaitPhone(context30(t), "none", func(Phone) bool { return true })
			return err
		},
	} {
		wg.Go(func() {
			if err := wait(); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
