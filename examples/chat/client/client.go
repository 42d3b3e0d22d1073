package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
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

// Config is what a Client is made of.
type Config struct {
	Server   string      // mqtt://host:port, mqtts://host:port, ws://host:port/mqtt or wss://…
	TLS      *tls.Config // for mqtts and wss; nil: the system's certificate authorities
	User     string
	Token    string
	ClientID string        // names the device among the user's; required
	Filters  []string      // nil: everything of the user's, as JSON
	Expiry   time.Duration // how long the server keeps the session of a device that is away; 0: 7 days
	Backoff  time.Duration // between attempts to connect; 0: half a second

	// The handlers. A nil one is not called.
	Message func(Message)          // each message once, as long as the Client lives
	Event   func(Event)            // typing and read marks
	State   func(up bool, e error) // the connection came up, or went down or could not be made, and why
}

// DefaultFilters select everything of the user's.
func DefaultFilters() []string {
	return []string{"user/+/json", "room/+/json", "notice/json", "user/+/typing/+", "room/+/typing/+", "user/+/read", "room/+/read", "reply/+"}
}

// Client is one device of one user.
type Client struct {
	cfg  Config
	conn *autopaho.ConnectionManager
	turn chan struct{} // holds a token when nobody sends

	last map[string]place // the newest message by conversation; of the connection's goroutine

	mu      sync.Mutex
	answers map[string]chan []byte // by request identifier
	ready   chan struct{}          // closed once the filters of the current connection are in force
	fatal   error                  // why connecting is useless
	ended   chan struct{}          // closed with fatal
}

// New starts connecting and returns. It goes on until Close or the end of ctx, except when the server says that the
// credentials are wrong.
func New(ctx context.Context, cfg Config) (*Client, error) {
	server, err := url.Parse(cfg.Server)
	if err != nil {
		return nil, fmt.Errorf("chat: server address: %w", err)
	}
	if cfg.ClientID == "" {
		return nil, errors.New("chat: a client identifier is missing")
	}
	if cfg.Filters == nil {
		cfg.Filters = DefaultFilters()
	}
	if cfg.Expiry == 0 {
		cfg.Expiry = 7 * 24 * time.Hour
	}
	if cfg.Backoff == 0 {
		cfg.Backoff = 500 * time.Millisecond
	}
	c := &Client{cfg: cfg, turn: make(chan struct{}, 1), last: make(map[string]place), answers: make(map[string]chan []byte), ready: make(chan struct{}), ended: make(chan struct{})}
	c.turn <- struct{}{}
	c.conn, err = autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{server}, TlsCfg: cfg.TLS, KeepAlive: 30,
		SessionExpiryInterval: uint32(cfg.Expiry / time.Second),
		ReconnectBackoff:      func(int) time.Duration { return cfg.Backoff },
		ConnectUsername:       cfg.User, ConnectPassword: []byte(cfg.Token),
		ConnectPacketBuilder: func(p *paho.Connect, _ *url.URL) (*paho.Connect, error) {
			p.Properties.RequestProblemInfo = true // else acknowledgements carry neither numbers nor sentences
			return p, nil
		},
		OnConnectionUp:   c.up,
		OnConnectionDown: c.down,
		OnConnectError:   c.failed,
		ClientConfig: paho.ClientConfig{
			ClientID:          cfg.ClientID,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){c.received},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("chat: %w", err)
	}
	return c, nil
}

// Close ends the connection in an orderly way; the session stays on the server.
func (c *Client) Close(ctx context.Context) error { return c.conn.Disconnect(ctx) }

// Ready waits until the device is connected and its filters are in force. Its error says why that cannot be, or is
// ctx's.
func (c *Client) Ready(ctx context.Context) error {
	c.mu.Lock()
	ready := c.ready
	c.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-c.ended:
		return c.fatal
	case <-c.conn.Done():
		return errors.New("chat: the connection was closed")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) up(m *autopaho.ConnectionManager, _ *paho.Connack) {
	subs := make([]paho.SubscribeOptions, len(c.cfg.Filters))
	for i, f := range c.cfg.Filters {
		subs[i] = paho.SubscribeOptions{Topic: f, QoS: 1}
	}
	go func() { // up must not wait; ends with the SUBACK or the connection
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := m.Subscribe(ctx, &paho.Subscribe{Subscriptions: subs})
		if err == nil {
			c.mu.Lock()
			closeOnce(c.ready)
			c.mu.Unlock()
		}
		c.state(err == nil, err)
	}()
}

func (c *Client) down() bool {
	c.mu.Lock()
	select {
	case <-c.ready:
		c.ready = make(chan struct{})
	default: // it broke before the filters were in force: who waits waits on
	}
	c.mu.Unlock()
	c.state(false, nil)
	return true
}

func (c *Client) failed(err error) {
	var refused *autopaho.ConnackError
	if errors.As(err, &refused) && (refused.ReasonCode == 0x86 || refused.ReasonCode == 0x87 || refused.ReasonCode == 0x8A) {
		err = fmt.Errorf("the server refuses this user and token: %s", reasonText(refused.Reason, refused.ReasonCode))
		c.mu.Lock()
		if c.fatal == nil {
			c.fatal = err
			close(c.ended)
		}
		c.mu.Unlock()
	}
	c.state(false, err)
}

func (c *Client) state(up bool, err error) {
	if c.cfg.State != nil {
		c.cfg.State(up, err)
	}
}

func closeOnce(ch chan struct{}) {
	select {
	case <-ch:
	default:
		close(ch)
	}
}

func (c *Client) received(r paho.PublishReceived) (bool, error) {
	place, name, rest := splitTopic(r.Packet.Topic)
	switch {
	case place == "reply":
		c.mu.Lock()
		ch := c.answers[name]
		delete(c.answers, name)
		c.mu.Unlock()
		if ch != nil {
			ch <- r.Packet.Payload // one answer, and there is room for one
		}
	case rest == "json" || place == "notice" && name == "json":
		if m, ok := parseMessage(place, name, r.Packet.Payload); ok && c.first(m) && c.cfg.Message != nil {
			c.cfg.Message(m)
		}
	default:
		if e, ok := parseEvent(place, name, rest, r.Packet.Payload); ok && c.cfg.Event != nil {
			c.cfg.Event(e)
		}
	}
	return true, nil
}

// place is where a message stands.
type place struct {
	epoch uint32
	seq   uint64
}

// first reports whether the message was not handed over before. A server that crashed may deliver again what was
// acknowledged in its last seconds, and a broken connection what was under way, under the same number; a conversation
// is delivered in order. After a restore numbers begin again where the backup ended, in a higher epoch.
func (c *Client) first(m Message) bool {
	last := c.last[m.Conversation]
	if m.Epoch == last.epoch && m.Seq <= last.seq {
		return false
	}
	c.last[m.Conversation] = place{m.Epoch, m.Seq}
	return true
}

func splitTopic(topic string) (place, name, rest string) {
	place, rest, _ = strings.Cut(topic, "/")
	name, rest, _ = strings.Cut(rest, "/")
	return place, name, rest
}

// Refusal is the server's answer to what it did not do.
type Refusal struct {
	Reason byte   // MQTT's reason code
	Text   string // the server's sentence
}

func (r *Refusal) Error() string { return reasonText(r.Text, r.Reason) }

func reasonText(text string, code byte) string {
	if text != "" {
		return text
	}
	return fmt.Sprintf("reason code %#02x", code)
}

// NewCID makes an identifier for a message.
func NewCID() string {
	var b [9]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Send sends a text to a conversation, "user/bob" or "room/lobby", and waits until the server has it on disk; it
// returns the number the message has there. Through broken connections it goes on, with the same cid, until ctx ends.
// A *Refusal is final. Sends of one client happen one after the other.
func (c *Client) Send(ctx context.Context, conversation, text, cid string) (seq uint64, err error) {
	return c.publish(ctx, conversation+"/text/"+cid, []byte(text))
}

// Edit does something to an earlier message: "edit 12 new text", "recall 12", "react 12 👍".
func (c *Client) Edit(ctx context.Context, conversation, operation, cid string) (seq uint64, err error) {
	return c.publish(ctx, conversation+"/edit/"+cid, []byte(operation))
}

func (c *Client) publish(ctx context.Context, topic string, payload []byte) (uint64, error) {
	select {
	case <-c.turn:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { c.turn <- struct{}{} }()
	for {
		if err := c.Ready(ctx); err != nil {
			return 0, err
		}
		ack, err := c.conn.Publish(ctx, &paho.Publish{QoS: 1, Topic: topic, Payload: payload})
		switch {
		case ack != nil && (ack.ReasonCode == 0x83 || ack.ReasonCode == 0x97):
			// The server cannot now, or not so fast: it says when to come back.
			if err := wait(ctx, retryAfter(ack)); err != nil {
				return 0, err
			}
		case ack != nil && ack.ReasonCode >= 0x80:
			r := &Refusal{Reason: ack.ReasonCode}
			if ack.Properties != nil {
				r.Text = ack.Properties.ReasonString
			}
			return 0, r
		case err == nil && ack != nil:
			if ack.Properties == nil {
				return 0, nil
			}
			seq, _ := strconv.ParseUint(ack.Properties.User.Get("seq"), 10, 64)
			return seq, nil
		default:
			// Nobody knows whether it arrived. Sent again it is the same message, because of its cid.
			if err := wait(ctx, 50*time.Millisecond); err != nil {
				return 0, err
			}
		}
	}
}

func retryAfter(ack *paho.PublishResponse) time.Duration {
	if ack.Properties != nil {
		if ms, err := strconv.Atoi(ack.Properties.User.Get("retry_ms")); err == nil && ms > 0 {
			return time.Duration(ms) * time.Millisecond
		}
	}
	return time.Second
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

// Typing says that the user is typing. Nothing is promised.
func (c *Client) Typing(ctx context.Context, conversation string) {
	_, _ = c.conn.Publish(ctx, &paho.Publish{Topic: conversation + "/typing"})
}

// Read says up to which number the user has read a conversation. It is lost if the connection is; the next one says
// more.
func (c *Client) Read(ctx context.Context, conversation string, seq uint64) {
	_, _ = c.conn.Publish(ctx, &paho.Publish{Topic: conversation + "/read", Payload: strconv.AppendUint(nil, seq, 10)})
}

// Call asks the server for an operation of the control API and returns the answer, or its refusal as an error. A
// changing request is sent again after a broken connection with the same identifier: it is carried out once.
func (c *Client) Call(ctx context.Context, op string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("chat: %s: %w", op, err)
	}
	rid := NewCID()
	ch := make(chan []byte, 1)
	for {
		c.mu.Lock()
		c.answers[rid] = ch
		c.mu.Unlock()
		if err := c.Ready(ctx); err != nil {
			return err
		}
		if _, err := c.conn.Publish(ctx, &paho.Publish{QoS: 1, Topic: "api/" + op + "/" + rid, Payload: body}); err != nil {
			if err := wait(ctx, 50*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		select {
		case answer := <-ch:
			return decodeAnswer(op, answer, out)
		case <-time.After(5 * time.Second): // the connection broke between the request and its answer
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func decodeAnswer(op string, answer []byte, out any) error {
	var head struct {
		Code  int    `json:"code"`
		Error string `json:"error"`
		Text  string `json:"text"`
	}
	if err := json.Unmarshal(answer, &head); err != nil {
		return fmt.Errorf("chat: %s: the answer is not JSON: %w", op, err)
	}
	if head.Code >= 300 {
		if head.Text == "" {
			head.Text = head.Error
		}
		return errors.New(head.Text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
