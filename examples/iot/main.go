// Iot is a small device: it speaks MQTT 3.1.1, written out in package mqtt3, publishes readings and checks what comes
// back: that each was acknowledged, came back once, unchanged, and in order.
//
//	go run ./examples/iot -addr 127.0.0.1:1883 -user alice -token TOKEN
//
// It writes into the user's notes to itself, or with -to into a room or to a friend. The exit code is 1 if something
// is wrong, so it can watch over a server.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/hwangso/hwangso/examples/iot/mqtt3"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "iot:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("iot", flag.ContinueOnError)
	f.SetOutput(out)
	addr := f.String("addr", "127.0.0.1:1883", "`host:port` of the server")
	user := f.String("user", "", "whose device it is")
	token := f.String("token", os.Getenv("IOT_TOKEN"), "the user's or the device's token (default: the environment's IOT_TOKEN)")
	id := f.String("id", "iot-sensor", "the client identifier")
	to := f.String("to", "", "`user/NAME or room/NAME` (default: notes to oneself)")
	n := f.Int("n", 20, "how many readings")
	qos := f.Int("qos", 1, "0, 1 or 2")
	patience := f.Duration("patience", 10*time.Second, "how long to wait for what is missing")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case *user == "" || *token == "":
		return errors.New("say whose device it is, with -user and -token")
	case *qos < 0 || *qos > 2 || *n < 1 || *n > 60_000:
		return errors.New("-qos is 0, 1 or 2, and -n 1 to 60000")
	}
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	c, present, err := mqtt3.New(nc, mqtt3.Options{ClientID: *id, User: *user, Password: *token, KeepAlive: time.Minute})
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	s := newSensor(c, cmp.Or(*to, "user/"+strings.ToLower(*user)), byte(*qos), *n)
	fmt.Fprintf(out, "connected with MQTT 3.1.1, a session was there: %v\n", present)
	if err := c.SetReadDeadline(time.Now().Add(*patience)); err != nil {
		return err
	}
	if err := s.subscribe(); err != nil {
		return errors.Join(err, c.Close())
	}
	err = s.work(*patience)
	fmt.Fprintln(out, s.report())
	return errors.Join(err, s.verdict(), c.Disconnect())
}

// sensor publishes readings and checks what comes back.
type sensor struct {
	c    *mqtt3.Conn
	to   string // "room/lobby"
	qos  byte
	name string // of this run, so that what earlier ones left is told apart

	readings []reading
	byCID    map[string]int
	lastSeq  uint64
	wrong    []string
}

type reading struct {
	text            string
	sent            time.Time
	acked, returned bool
	refused         string
	took            time.Duration // until it came back
}

func newSensor(c *mqtt3.Conn, to string, qos byte, n int) *sensor {
	var b [6]byte
	rand.Read(b[:])
	s := &sensor{c: c, to: to, qos: qos, name: hex.EncodeToString(b[:]), byCID: make(map[string]int)}
	for i := range n {
		s.readings = append(s.readings, reading{text: fmt.Sprintf("%d: %.1f °C", i, 20+float64(i%50)/10)})
		s.byCID[s.cid(i)] = i
	}
	return s
}

func (s *sensor) cid(i int) string { return fmt.Sprintf("%s-%d", s.name, i) }

// subscribe asks for the conversation, and for the reasons of refusals, which MQTT 3.1.1 cannot put into a PUBACK.
func (s *sensor) subscribe() error {
	filters := []string{s.to + "/json", "reply/+"}
	if err := s.c.Subscribe(1, 1, filters...); err != nil {
		return err
	}
	for {
		p, err := s.c.Read()
		if err != nil {
			return fmt.Errorf("waiting for the SUBACK: %w", err)
		}
		if p.Type != mqtt3.SubAck { // of an earlier session: acknowledged, and not ours
			if err := s.received(p); err != nil {
				return err
			}
			continue
		}
		for i, code := range p.Codes {
			if code == 0x80 {
				return fmt.Errorf("the server refuses the filter %s", filters[i])
			}
		}
		return nil
	}
}

// work sends every reading and reads until all came back, or nothing comes for too long.
func (s *sensor) work(patience time.Duration) error {
	sent := make(chan error, 1)
	began := time.Now()
	for i := range s.readings {
		s.readings[i].sent = began
	}
	go func() { // ends when everything is written, or the connection is broken
		for i, r := range s.readings {
			if err := s.c.Publish(s.to+"/text/"+s.cid(i), []byte(r.text), s.qos, uint16(i+1), false); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for !s.done() {
		if err := s.c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		p, err := s.c.Read()
		if err != nil {
			return errors.Join(fmt.Errorf("waiting for what is missing: %w", err), s.c.Close(), <-sent)
		}
		if err := s.received(p); err != nil {
			return err
		}
	}
	return <-sent
}

func (s *sensor) done() bool {
	return !slices.ContainsFunc(s.readings, func(r reading) bool {
		return r.refused == "" && !r.returned || s.qos > 0 && !r.acked
	})
}

func (s *sensor) received(p mqtt3.Packet) error {
	switch p.Type {
	case mqtt3.PubAck, mqtt3.PubComp:
		if i := int(p.ID) - 1; i >= 0 && i < len(s.readings) {
			s.readings[i].acked = true
		}
	case mqtt3.PubRec:
		return s.c.Release(p.ID)
	case mqtt3.Publish:
		s.came(p)
		if p.QoS > 0 {
			return s.c.Ack(p.ID)
		}
	}
	return nil
}

// came checks a message.
func (s *sensor) came(p mqtt3.Packet) {
	if cid, ok := strings.CutPrefix(p.Topic, "reply/"); ok {
		var o struct {
			Code        int
			Error, Text string
		}
		if i, mine := s.byCID[cid]; mine && json.Unmarshal(p.Payload, &o) == nil && o.Code >= 300 {
			s.readings[i].refused = cmp.Or(o.Text, o.Error)
		}
		return
	}
	var e struct {
		S uint64
		B string
		I string
	}
	if err := json.Unmarshal(p.Payload, &e); err != nil {
		s.wrong = append(s.wrong, "a message that is not JSON")
		return
	}
	i, mine := s.byCID[e.I]
	if !mine {
		return // somebody else's, or an earlier run's
	}
	r := &s.readings[i]
	switch {
	case r.returned && !p.Dup:
		s.wrong = append(s.wrong, fmt.Sprintf("reading %d came twice", i))
	case e.B != r.text:
		s.wrong = append(s.wrong, fmt.Sprintf("reading %d came back changed", i))
	case e.S <= s.lastSeq && !p.Dup:
		s.wrong = append(s.wrong, fmt.Sprintf("reading %d came out of order", i))
	}
	if !r.returned {
		r.returned, r.took = true, time.Since(r.sent)
	}
	s.lastSeq = max(s.lastSeq, e.S)
}

func (s *sensor) report() string {
	var acked, returned int
	var took []time.Duration
	for _, r := range s.readings {
		if r.acked {
			acked++
		}
		if r.returned {
			returned++
			took = append(took, r.took)
		}
	}
	line := fmt.Sprintf("%d readings to %s with QoS %d: %d acknowledged, %d came back", len(s.readings), s.to, s.qos, acked, returned)
	if len(took) > 0 {
		line += fmt.Sprintf(", all %d within %v", len(took), slices.Max(took).Round(100*time.Microsecond))
	}
	return line
}

// verdict is nil if everything is as it should be.
func (s *sensor) verdict() error {
	wrong := s.wrong
	for i, r := range s.readings {
		switch {
		case r.refused != "":
			wrong = append(wrong, fmt.Sprintf("reading %d was refused: %s", i, r.refused))
		case s.qos > 0 && !r.acked:
			wrong = append(wrong, fmt.Sprintf("reading %d was not acknowledged", i))
		case !r.returned:
			wrong = append(wrong, fmt.Sprintf("reading %d did not come back", i))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	more := ""
	if len(wrong) > 5 {
		more = fmt.Sprintf(", and %d more", len(wrong)-5)
		wrong = wrong[:5]
	}
	return errors.New(strings.Join(wrong, "; ") + more)
}
