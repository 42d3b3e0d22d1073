package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
)

// Config is what a Brand is made of.
type Config struct {
	Server   string // mqtt://host:port, mqtts://host:port, ws://host:port/mqtt or wss://…
	User     string // the publisher
	Token    string // a key of the channel, or the publisher's own token
	Channel  string
	ClientID string // names this program among the publisher's devices

	// Answer says what a follower is answered, "" for nothing. It is called once per message, one after the other, and may
	// take its time.
	Answer func(Question) string
	// Progress is told the newest of every broadcast. It must not wait.
	Progress func(Progress)
	// State is told when the connection came up, and when it is gone and why. It must not wait.
	State func(up bool, err error)
}

// Question is what a follower wrote. Follower is its pseudonym in this channel: nothing else is told of it.
type Question struct {
	Follower string
	Seq      uint64 // in the thread of this follower
	Text     string
}

// Progress is how far a broadcast has come.
type Progress struct {
	Broadcast string `json:"broadcast"` // its key
	State     string `json:"state"`     // scheduled, running, paused, done or canceled
	Percent   int    `json:"percent"`   // in steps of ten; of small channels nothing
	Why       string `json:"why"`
}

// inHand is how many deliveries the server may have sent without an acknowledgement: so many questions wait here at most.
const inHand = 32

// Brand is a channel's program on one MQTT connection.
type Brand struct {
	cfg  Config
	conn *autopaho.ConnectionManager
	end  context.CancelFunc
	wg   sync.WaitGroup

	mu        sync.Mutex
	ready     chan struct{} // closed once the filters of the current connection are in force
	fatal     error         // why connecting is useless
	ended     chan struct{} // closed with fatal
	questions []delivery    // at most inHand of a connection
	asked     chan struct{} // with room for one: there are questions
}

// delivery is a question that is not answered yet, and with which connection it came.
type delivery struct {
	Question
	cid    string // of the answer
	packet paho.PublishReceived
	ready  chan struct{}
}

// NewBrand starts connecting and returns. Close ends it.
func NewBrand(cfg Config) (*Brand, error) {
	server, err := url.Parse(cfg.Server)
	if err != nil {
		return nil, fmt.Errorf("server address: %w", err)
	}
	ctx, end := context.WithCancel(context.Background())
	b := &Brand{cfg: cfg, end: end, ready: make(chan struct{}), ended: make(chan struct{}), asked: make(chan struct{}, 1)}
	limit := uint16(inHand)
	b.conn, err = autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{server}, KeepAlive: 30,
		SessionExpiryInterval: 7 * 24 * 3600, // what followers write meanwhile waits so long for this program
		ReconnectBackoff:      func(int) time.Duration { return 500 * time.Millisecond },
		ConnectUsername:       cfg.User, ConnectPassword: []byte(cfg.Token),
		ConnectPacketBuilder: func(p *paho.Connect, _ *url.URL) (*paho.Connect, error) {
			p.Properties.RequestProblemInfo = true // else acknowledgements carry neither numbers nor sentences
			p.Properties.ReceiveMaximum = &limit
			return p, nil
		},
		OnConnectionUp:   b.up,
		OnConnectionDown: b.down,
		OnConnectError:   b.failed,
		ClientConfig: paho.ClientConfig{
			ClientID:                   cfg.ClientID,
			EnableManualAcknowledgment: true,
			OnPublishReceived:          []func(paho.PublishReceived) (bool, error){b.received},
		},
	})
	if err != nil {
		end()
		return nil, err
	}
	b.wg.Go(func() { b.answers(ctx) })
	return b, nil
}

// Close ends the connection; the session, and what is not answered, stays on the server.
func (b *Brand) Close(ctx context.Context) error {
	err := b.conn.Disconnect(ctx)
	b.end()
	b.wg.Wait()
	return err
}

// Ready waits until the program is connected and its filters are in force.
func (b *Brand) Ready(ctx context.Context) error {
	b.mu.Lock()
	ready := b.ready
	b.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-b.ended:
		return b.fatal
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *Brand) up(m *autopaho.ConnectionManager, _ *paho.Connack) {
	go func() { // up must not wait; ends with the SUBACK or the connection
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := m.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{
			{Topic: "thread/" + b.cfg.Channel + "/+/json", QoS: 1, NoLocal: true},
			{Topic: "channel/" + b.cfg.Channel + "/progress", QoS: 1},
		}})
		if err == nil {
			b.mu.Lock()
			select {
			case <-b.ready:
			default:
				close(b.ready)
			}
			b.mu.Unlock()
		}
		b.state(err == nil, err)
	}()
}

// down forgets what was not answered: the next connection brings it again.
func (b *Brand) down() bool {
	b.mu.Lock()
	b.questions = nil
	select {
	case <-b.ready:
		b.ready = make(chan struct{})
	default: // it broke before the filters were in force: who waits waits on
	}
	b.mu.Unlock()
	b.state(false, nil)
	return true
}

func (b *Brand) failed(err error) {
	var refused *autopaho.ConnackError
	if errors.As(err, &refused) && (refused.ReasonCode == 0x86 || refused.ReasonCode == 0x87 || refused.ReasonCode == 0x8A) {
		b.mu.Lock()
		if b.fatal == nil {
			b.fatal = fmt.Errorf("the server refuses this user and token: %s", reasonText(refused.Reason, refused.ReasonCode))
			close(b.ended)
		}
		b.mu.Unlock()
	}
	b.state(false, err)
}

func (b *Brand) state(up bool, err error) {
	if b.cfg.State != nil {
		b.cfg.State(up, err)
	}
}

// received is called for one delivery after the other, and must not wait: see answers.
func (b *Brand) received(r paho.PublishReceived) (bool, error) {
	if q, cid, ok := parseQuestion(b.cfg.Channel, r.Packet.Topic, r.Packet.Payload); ok {
		b.mu.Lock()
		b.questions = append(b.questions, delivery{q, cid, r, b.ready})
		b.mu.Unlock()
		select {
		case b.asked <- struct{}{}:
		default:
		}
		return true, nil
	}
	var p Progress
	if r.Packet.Topic == "channel/"+b.cfg.Channel+"/progress" && json.Unmarshal(r.Packet.Payload, &p) == nil && b.cfg.Progress != nil {
		b.cfg.Progress(p)
	}
	return true, r.Client.Ack(r.Packet)
}

// parseQuestion reads what a follower has written, and makes the identifier of the answer to it: the same one however often
// the question comes. What the channel itself said, and edits and recalls, are no questions.
func parseQuestion(channel, topic string, payload []byte) (q Question, cid string, ok bool) {
	rest, ok := strings.CutPrefix(topic, "thread/"+channel+"/")
	if !ok {
		return q, "", false
	}
	follower, v, _ := strings.Cut(rest, "/")
	var e struct {
		Seq   uint64 `json:"s"`
		From  string `json:"f"`
		Text  string `json:"b"`
		Epoch uint64 `json:"h"` // raised when the server was restored from a backup: sequences begin again
		Op    *struct {
			Target uint64 `json:"s"`
		} `json:"x"`
	}
	if v != "json" || json.Unmarshal(payload, &e) != nil || e.Seq == 0 || follower == "" || e.From != follower || e.Text == "" {
		return q, "", false
	}
	if e.Op != nil && e.Op.Target != e.Seq { // else it is a question that was edited before it came here
		return q, "", false
	}
	return Question{follower, e.Seq, e.Text}, fmt.Sprintf("a%d-%d", e.Epoch, e.Seq), true
}

// answers answers one question after the other, and acknowledges it then.
func (b *Brand) answers(ctx context.Context) {
	for {
		select {
		case <-b.asked:
		case <-ctx.Done():
			return
		}
		for {
			b.mu.Lock()
			if len(b.questions) == 0 {
				b.mu.Unlock()
				break
			}
			d := b.questions[0]
			b.questions = b.questions[1:]
			b.mu.Unlock()
			text := ""
			if b.cfg.Answer != nil {
				text = b.cfg.Answer(d.Question)
			}
			if text != "" {
				_, err := b.publish(ctx, "thread/"+b.cfg.Channel+"/"+d.Follower+"/text", text, d.cid)
				if ctx.Err() != nil {
					return // it comes again
				}
				if err != nil { // refused: asking again would not help
					b.state(true, fmt.Errorf("the answer was refused: %w", err))
				}
			}
			b.mu.Lock()
			same := d.ready == b.ready
			b.mu.Unlock()
			if same { // else the new connection brings it again
				_ = d.packet.Client.Ack(d.packet.Packet) // fails if the connection is gone: likewise
			}
		}
	}
}

// Post posts a notice to all followers and waits until the server has it on disk; it returns its number. Through broken
// connections it goes on, as the same post, until ctx ends. A *Refusal is final.
func (b *Brand) Post(ctx context.Context, text string) (seq uint64, err error) {
	return b.publish(ctx, "channel/"+b.cfg.Channel+"/text", text, newID())
}

func (b *Brand) publish(ctx context.Context, topic, text, cid string) (uint64, error) {
	for {
		if err := b.Ready(ctx); err != nil {
			return 0, err
		}
		ack, err := b.conn.Publish(ctx, &paho.Publish{QoS: 1, Topic: topic, Payload: []byte(text),
			Properties: &paho.PublishProperties{CorrelationData: []byte(cid)}})
		pause := 50 * time.Millisecond
		switch {
		case ack == nil: // nobody knows whether it arrived. Sent again it is the same message, because of its cid.
		case ack.ReasonCode == 0x83 || ack.ReasonCode == 0x97: // the server cannot now, or not so fast, and says when to come back
			pause = time.Second
			if ms, err := strconv.Atoi(property(ack, "retry_ms")); err == nil && ms > 0 {
				pause = time.Duration(ms) * time.Millisecond
			}
		case ack.ReasonCode >= 0x80:
			r := &Refusal{Code: ack.ReasonCode}
			if ack.Properties != nil {
				r.Text = ack.Properties.ReasonString
			}
			return 0, r
		case err == nil:
			seq, _ := strconv.ParseUint(property(ack, "seq"), 10, 64)
			return seq, nil
		}
		if err := wait(ctx, pause); err != nil {
			return 0, err
		}
	}
}

func property(ack *paho.PublishResponse, name string) string {
	if ack.Properties == nil {
		return ""
	}
	return ack.Properties.User.Get(name)
}

// Refusal is the server's answer to what it did not do.
type Refusal struct {
	Code byte   // MQTT's reason code
	Text string // the server's sentence
}

func (r *Refusal) Error() string { return reasonText(r.Text, r.Code) }

func reasonText(text string, code byte) string {
	if text != "" {
		return clean(text)
	}
	return fmt.Sprintf("reason code %#02x", code)
}

// newID makes an identifier for a request.
func newID() string {
	var b [9]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clean removes what could steer a terminal: control characters and those that turn the direction of writing.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ', r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c:
			return -1
		}
		return r
	}, s)
}
