package cmd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/hwangso/hwangso/examples/chat/client"
)

// How the robot writes while the server is killed.
const (
	robotPace   = 30 * time.Millisecond // between a message's acknowledgement and the next message
	robotBefore = 12                    // at least so many acknowledged before the kill
	robotAfter  = 18                    // so many after it
)

// crash kills the server while the robot writes into the room, starts it again, counts what is there, and says so.
func (d *demonstration) crash(ctx context.Context) (verdict string, err error) {
	d.round++
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	d.say("A robot writes into the room %q, message after message. In a moment the server is killed.", demoRoom)
	t := &tally{round: d.round, found: make(map[string][]uint64), grown: make(chan struct{}, 1)}
	reader, err := d.robot(ctx, "demo-reader", []string{"room/" + demoRoom + "/json"}, t.read)
	if err != nil {
		return "", err
	}
	defer closeClient(reader)
	writer, err := d.robot(ctx, "demo-writer", []string{"reply/+"}, nil)
	if err != nil {
		return "", err
	}
	defer closeClient(writer)
	if err := reader.Ready(ctx); err != nil {
		return "", err
	}

	killAt := robotBefore + rand.IntN(10)
	now := make(chan struct{})
	wrote := make(chan error, 1)
	go func() { wrote <- t.write(ctx, writer, killAt, killAt+robotAfter, now) }()
	select {
	case <-now:
	case err := <-wrote:
		return "", err
	}
	time.Sleep(rand.N(robotPace)) // somewhere within sending, writing, acknowledging
	if err := d.child.kill(); err != nil {
		return "", err
	}
	began := time.Now()
	d.say("✝ killed with SIGKILL after %d acknowledged messages; it could not save anything.", killAt)
	if d.child, err = startChild(d.serveArgs(), d.said, d.complained); err != nil {
		return "", err
	}
	d.say("The server is back after %d ms, on the same data. The robot goes on.", time.Since(began).Milliseconds())
	if err := <-wrote; err != nil {
		return "", err
	}
	err = t.wait(ctx)
	return t.verdict(), err
}

func (d *demonstration) robot(ctx context.Context, id string, filters []string, message func(client.Message)) (*client.Client, error) {
	return client.New(ctx, client.Config{
		Server: "mqtt://" + d.MQTT, User: demoRobot, Token: d.Tokens[demoRobot], ClientID: id, Filters: filters,
		Backoff: 50 * time.Millisecond, Message: message,
	})
}

func closeClient(c *client.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

// tally counts what the server acknowledged to the writer and what it gave to the reader.
type tally struct {
	round int
	grown chan struct{} // has a value after read found something

	mu    sync.Mutex
	acked map[string]uint64   // number by cid
	found map[string][]uint64 // numbers by cid, each once
	order []uint64            // numbers as they arrived, repetitions left out
}

func (t *tally) cid(n int) string { return fmt.Sprintf("k%d-%d", t.round, n) }

// write writes messages until `until` of them are acknowledged, and closes now after killAt.
func (t *tally) write(ctx context.Context, c *client.Client, killAt, until int, now chan struct{}) error {
	t.mu.Lock()
	t.acked = make(map[string]uint64)
	t.mu.Unlock()
	for n := 1; n <= until; n++ {
		cid := t.cid(n)
		seq, err := c.Send(ctx, "room/"+demoRoom, fmt.Sprintf("message %d", n), cid)
		if err != nil {
			return fmt.Errorf("the robot could not write: %w", err)
		}
		t.mu.Lock()
		t.acked[cid] = seq
		t.mu.Unlock()
		if n == killAt {
			close(now)
		}
		select {
		case <-time.After(robotPace):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (t *tally) read(m client.Message) {
	if !strings.HasPrefix(m.CID, fmt.Sprintf("k%d-", t.round)) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, seq := range t.found[m.CID] {
		if seq == m.Seq {
			return // the same message again: the server could not know that it had arrived
		}
	}
	t.found[m.CID] = append(t.found[m.CID], m.Seq)
	t.order = append(t.order, m.Seq)
	select {
	case t.grown <- struct{}{}:
	default:
	}
}

// wait waits until everything acknowledged was found.
func (t *tally) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		t.mu.Lock()
		missing := 0
		for cid := range t.acked {
			if len(t.found[cid]) == 0 {
				missing++
			}
		}
		t.mu.Unlock()
		if missing == 0 {
			return nil
		}
		select {
		case <-t.grown:
		case <-ctx.Done():
			return errors.New("messages are missing")
		}
	}
}

// verdict says in one line what became of the messages.
func (t *tally) verdict() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, twice, other, unordered := 0, 0, 0, 0
	for cid, seq := range t.acked {
		at := t.found[cid]
		switch {
		case len(at) > 1:
			twice++
		case len(at) == 1:
			found++
			if at[0] != seq {
				other++
			}
		}
	}
	for i := 1; i < len(t.order); i++ {
		if t.order[i] < t.order[i-1] {
			unordered++
		}
	}
	s := fmt.Sprintf("✓ %d acknowledged, %d found", len(t.acked), found)
	if twice+other+unordered == 0 && found == len(t.acked) {
		return s + ", each once, in order, under the number it was acknowledged with."
	}
	return fmt.Sprintf("✗%s; %d stored twice, %d under another number, %d out of order.", strings.TrimPrefix(s, "✓"), twice, other, unordered)
}
