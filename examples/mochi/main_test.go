package main

import (
	"context"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// start runs the program and returns its address and the printed tokens by user.
func start(t *testing.T, args ...string) (addr string, tokens map[string]string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"-mqtt", "127.0.0.1:0"}, args...), w, io.Discard)
		w.CloseWithError(errors.Join(errors.New("the program ended"), err))
		done <- err
	}()
	t.Cleanup(func() {
		stop()
		r.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var text strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(text.String(), "Ctrl-C") {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(buf[:n])
	}
	tokens = make(map[string]string)
	for _, m := range regexp.MustCompile(`-h (\S+) -p (\d+) -u (\w+) -P (\S+)`).FindAllStringSubmatch(text.String(), -1) {
		addr, tokens[m[3]] = net.JoinHostPort(m[1], m[2]), m[4]
	}
	return addr, tokens
}

// connect logs a paho client in; received gets its messages as "topic: payload".
func connect(t *testing.T, addr, user, secret string) (c *paho.Client, received <-chan string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	messages := make(chan string, 16)
	c = paho.NewClient(paho.ClientConfig{
		Conn: conn,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			messages <- p.Packet.Topic + ": " + string(p.Packet.Payload)
			return true, nil
		}},
	})
	ack, err := c.Connect(t.Context(), &paho.Connect{ClientID: "test", CleanStart: true, KeepAlive: 60,
		UsernameFlag: true, Username: user, PasswordFlag: true, Password: []byte(secret)})
	if err != nil || ack.ReasonCode != 0 {
		t.Fatalf("connect as %s: %+v, %v", user, ack, err)
	}
	t.Cleanup(func() { c.Disconnect(&paho.Disconnect{}) })
	return c, messages
}

func TestChatWithARealClient(t *testing.T) {
	dir := t.TempDir()
	addr, tokens := start(t, "-data", dir)
	alice, _ := connect(t, addr, "alice", tokens["alice"])
	bob, received := connect(t, addr, "bob", tokens["bob"])
	if _, err := bob.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "#", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	publish := func(topic, text string) (byte, string) {
		ack, err := alice.Publish(t.Context(), &paho.Publish{Topic: topic, QoS: 1, Payload: []byte(text)})
		if ack == nil {
			t.Fatalf("publish to %s: %v", topic, err)
		}
		if ack.Properties == nil {
			return ack.ReasonCode, ""
		}
		return ack.ReasonCode, ack.Properties.ReasonString
	}
	for topic, want := range map[string]string{"user/bob/text": "user/alice/text: hello", "room/lobby/text": "room/lobby/text: hello"} {
		if code, _ := publish(topic, "hello"); code != 0 {
			t.Errorf("%s: %#x", topic, code)
		}
		select {
		case got := <-received:
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s did not arrive", want)
		}
	}
	if code, reason := publish("user/carol/text", "hello"); code != 0x87 || !strings.Contains(reason, "reach") {
		t.Errorf("to a stranger: %#x %q", code, reason)
	}
	if code, _ := publish("user/bob/text", "still connected"); code != 0 {
		t.Errorf("after a refusal: %#x", code)
	}
}

// The users outlive the program, and a second start makes them not again.
func TestSecondStart(t *testing.T) {
	dir := t.TempDir()
	var old map[string]string
	t.Run("first", func(t *testing.T) { _, old = start(t, "-data", dir) })
	t.Run("second", func(t *testing.T) {
		addr, tokens := start(t, "-data", dir)
		connect(t, addr, "alice", old["alice"])
		connect(t, addr, "bob", tokens["bob"])
	})
}

func TestHelp(t *testing.T) {
	var text strings.Builder
	if err := run(t.Context(), []string{"-h"}, io.Discard, &text); err == nil || !strings.Contains(text.String(), "-mqtt") {
		t.Errorf("%v: %s", err, text.String())
	}
}
