package cmd

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

const demoText = `It starts a server of its own on this machine, with temporary data, two users, alice and bob, who are
friends, a room, lobby, with both, and a channel, cafe, which alice follows and the user brand posts to. It prints commands
to paste into other terminals, and tells what the server does in words. Press k to kill the server with SIGKILL while it is written to, and see what is left. Press b to let
bob block alice: she sees nothing change. Press o to take bob's phone off the network: what alice writes then rings it,
through a simulator of Apple's push service. Press c to send a broadcast in two languages to all followers of cafe.

It needs no terminal: without one it runs until it is interrupted, and reads the same letters as lines.`

// The people of the demonstration. The robot writes while the server is killed.
const (
	demoRoom    = "lobby"
	demoRobot   = "robot"
	demoChannel = "cafe"
	demoBrand   = "brand" // publishes in it
)

// demonstration is a running `hwangso demo`.
type demonstration struct {
	Data   string            `json:"data"`
	MQTT   string            `json:"mqtt"` // host:port
	HTTP   string            `json:"http"`
	Tokens map[string]string `json:"tokens"` // by user
	PID    int               `json:"pid"`

	io    Streams
	self  string // how people call this program
	child *child
	round int // crashes so far

	blocked bool // bob blocks alice
	casts   int  // broadcasts so far
	phone   demoPhone

	mu sync.Mutex // guards io.Out
}

func demo(ctx context.Context, c command, args []string, io Streams) (err error) {
	f := c.flags(io)
	mqtt := f.String("mqtt", "", "the `address` for MQTT (default 127.0.0.1:1883, or a free port if that is taken)")
	http := f.String("http", "", "the `address` for HTTP and WebSocket (default 127.0.0.1:8080, or a free port)")
	if _, err := parse(f, args, 0, 0, io); err != nil {
		return err
	}
	d := &demonstration{io: io, self: selfName(), Tokens: make(map[string]string), PID: os.Getpid()}
	if d.MQTT, err = freeAddress(*mqtt, "127.0.0.1:1883"); err != nil {
		return fmt.Errorf("-mqtt: %w", err)
	}
	if d.HTTP, err = freeAddress(*http, "127.0.0.1:8080"); err != nil {
		return fmt.Errorf("-http: %w", err)
	}
	if d.Data, err = os.MkdirTemp("", "hwangso-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.Data)) }()
	if err := d.startSim(); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, d.phone.sim.Close()) }()
	if err := d.populate(ctx); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d.child, err = startChild(d.serveArgs(), d.said, d.complained)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, d.child.stop(10*time.Second)) }()
	forget, err := d.publish()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer forget()
	if err := d.connectPhone(ctx); err != nil {
		return fmt.Errorf("demo: bob's phone: %w", err)
	}
	defer func() {
		if d.phone.client != nil {
			closeClient(d.phone.client)
		}
	}()
	told, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { d.tellRings(told) })
	defer func() { stop(); wg.Wait() }()
	d.say("%s", d.welcome())
	return d.loop(ctx)
}

// loop obeys keys until q, or until ctx ends.
func (d *demonstration) loop(ctx context.Context) error {
	keys, restore := readKeys(d.io.In)
	defer restore()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var crash chan counted // of the crash under way, nil if there is none
	falls := 0
	for {
		var exited chan struct{}
		if crash == nil { // else the crash looks after the server
			exited = d.child.exited
		}
		select {
		case <-ctx.Done():
			d.end(cancel, crash)
			return nil
		case k, ok := <-keys:
			switch {
			case !ok:
				keys = nil
			case k == 'q' || k == 'Q' || k == 3 || k == 4:
				d.end(cancel, crash)
				return nil
			case k == '?' || k == 'h':
				d.say("%s", d.commands())
			case (k == 'b' || k == 'B') && crash == nil:
				text, err := d.block(ctx)
				if err != nil && ctx.Err() == nil {
					text = "✗ " + err.Error()
				}
				d.say("%s", text)
			case (k == 'o' || k == 'O') && crash == nil:
				text, err := d.turnPhone(ctx)
				if err != nil && ctx.Err() == nil {
					text = "✗ " + err.Error()
				}
				d.say("%s", text)
			case (k == 'c' || k == 'C') && crash == nil:
				text, err := d.broadcast(ctx)
				if err != nil && ctx.Err() == nil {
					text = "✗ " + err.Error()
				}
				d.say("%s", text)
			case (k == 'k' || k == 'K') && crash == nil:
				crash = make(chan counted, 1)
				go func() {
					verdict, err := d.crash(ctx)
					crash <- counted{verdict, err}
				}()
			}
		case c := <-crash:
			crash = nil
			if c.verdict != "" {
				d.say("%s", c.verdict)
			}
			if c.err != nil && ctx.Err() == nil {
				return fmt.Errorf("demo: %w", c.err)
			}
		case <-exited:
			if falls++; falls > 3 {
				return fmt.Errorf("demo: the server keeps ending: %w", d.child.err)
			}
			d.say("The server ended (%v). It is started again.", d.child.err)
			child, err := startChild(d.serveArgs(), d.said, d.complained)
			if err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			d.child = child
			d.say("It is back, with everything it had acknowledged.")
		}
	}
}

// counted is how a crash ended.
type counted struct {
	verdict string // "" if it was not counted
	err     error
}

// end waits for a crash under way, so that nobody starts a server any more.
func (d *demonstration) end(cancel context.CancelFunc, crash chan counted) {
	cancel()
	if crash != nil {
		<-crash
	}
	d.say("The server stops and the data is removed.")
}

func (d *demonstration) serveArgs() []string {
	return []string{
		"serve", "-data", d.Data, "-mqtt", d.MQTT, "-http", d.HTTP, "-narrate", "-log-level", "warn",
		"-min-free", "1", "-sms", smsLog, "-drain", "3s", "-stop-with-stdin",
		"-config", filepath.Join(d.simDir(), pushsim.FileConfig), "-push-texts", "server",
		"-webhook-allow", "127.0.0.0/8", // for examples/brand; the demo itself is reached from this machine alone
	}
}

// populate makes the people, their tokens and the room, before the server runs.
func (d *demonstration) populate(ctx context.Context) (err error) {
	st, err := bolt.Open(bolt.Config{Dir: d.Data, MinFree: 0.01})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	var ids []store.AccountID
	var members []store.Member
	for _, name := range []string{"alice", "bob", demoRobot, demoBrand} {
		a, err := st.CreateAccount(ctx, store.Account{Name: name, Created: time.Now().UnixMilli()})
		if err != nil {
			return err
		}
		token := shortToken()
		d.Tokens[name] = token
		if err := st.PutToken(ctx, store.Token{Account: a.ID, Hash: hooks.Secret(token).Hash(), Label: "demo", Created: a.Created}); err != nil {
			return err
		}
		ids = append(ids, a.ID)
		if name == demoBrand {
			continue // in no room
		}
		members = append(members, store.Member{Account: a.ID, Role: store.RoleMember})
	}
	members[0].Role = store.RoleOwner
	for i := range 2 {
		if _, err := st.SetEdge(ctx, store.EdgeFriend, ids[i], ids[1-i], true, 0); err != nil {
			return err
		}
	}
	if err := registerPhone(ctx, st, ids[1]); err != nil {
		return err
	}
	if err := openDemoChannel(ctx, st, ids[3], ids[0]); err != nil {
		return err
	}
	_, _, err = st.Open(ctx, store.RoomKey(demoRoom), store.Creation{By: ids[0], Title: "Lobby", Members: members})
	return err
}

// shortToken is short enough to look at in a command line: 80 bits for a server that lives for minutes on this machine.
func shortToken() string {
	var b [10]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// freeAddress is want, or else usual if it is free, or else a free port beside it. A port 0 is chosen now, so that a
// restarted server comes back to the same.
func freeAddress(want, usual string) (string, error) {
	try := []string{want}
	if want == "" {
		try = []string{usual, "127.0.0.1:0"}
	}
	var err error
	for _, addr := range try {
		var ln net.Listener
		if ln, err = net.Listen("tcp", addr); err == nil {
			addr = ln.Addr().String()
			return addr, ln.Close()
		}
	}
	return "", err
}

// selfName is how people call this program.
func selfName() string {
	exe, err := os.Executable()
	if err != nil {
		return "hwangso"
	}
	if strings.Contains(exe, string(filepath.Separator)+"go-build") {
		return "go run ."
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if sameFile(filepath.Join(dir, filepath.Base(exe)), exe) {
			return filepath.Base(exe)
		}
	}
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, exe); err == nil && len(rel) < len(exe) && !strings.HasPrefix(rel, "..") {
			return "." + string(filepath.Separator) + rel
		}
	}
	return exe
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// said passes on what the server tells, but what the robot does.
func (d *demonstration) said(line string) {
	if !strings.Contains(line, " "+demoRobot+" ") {
		d.say("%s", line)
	}
}

func (d *demonstration) complained(line string) { d.say("server: %s", line) }

func (d *demonstration) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.io.Out, format+"\n", args...)
}

func (d *demonstration) port() string {
	_, port, _ := net.SplitHostPort(d.MQTT)
	return port
}

func (d *demonstration) welcome() string {
	return fmt.Sprintf(`hwangso %s on %s (MQTT) and http://%s (WebSocket /mqtt, API /v1).
Users alice and bob are friends, and both are in the room %q. alice follows the channel %q.

%s
Everything is written to disk before it is acknowledged. What happens is told here:
`, Version(), d.MQTT, d.HTTP, demoRoom, demoChannel, d.commands())
}

// commands are what to paste, and the keys.
func (d *demonstration) commands() string {
	port := ""
	if d.port() != "1883" {
		port = " -p " + d.port()
	}
	alice := fmt.Sprintf("mosquitto_pub -V 5 -q 1%s -u alice -P %s", port, d.Tokens["alice"])
	return fmt.Sprintf(`Paste into a second terminal. bob listens, and finds what he missed when he comes back:
  mosquitto_sub -V 5 -q 1%[1]s -u bob -P %[2]s -i bob-laptop -c -x 3600 -t 'user/+/line' -t 'room/+/line'
and into a third. alice writes to bob, to the room, and where she may not:
  %[3]s -t user/bob/text -m 'hello bob'
  %[3]s -t room/%[4]s/text -m 'hello everybody'
  %[3]s -t room/secret/text -m 'may I come in?'
Without mosquitto, chat in two terminals:
  %[5]s chat -as bob
  %[5]s chat -as alice
alice follows a brand's channel. She listens, and the brand posts to all of its followers:
%[6]s
Keys: o takes bob's phone off the network, so that it rings, and brings it back · b lets bob block alice, and ends it
      c sends a broadcast in two languages to the followers of %[7]s
      k kills the server (SIGKILL) while it is written to · ? shows this again · q ends the demo
`, port, d.Tokens["bob"], alice, demoRoom, d.self, d.channelCommands(port), demoChannel)
}
