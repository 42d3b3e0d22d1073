package main

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/apns"
	"github.com/hwangso/hwangso/bridge/fcm"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/bridge/webpush"
	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// BenchmarkPush takes messages to users who are away the whole path: appended to a log, read from the journal, decided
// about, carried by the lane, sent to the provider over real HTTP/2 and TLS, and what became of it written to the disk. The
// provider is the simulator in a process of its own, so that server-µs/push is the server's CPU alone: this process's, the
// append included. Each push is the first one of a conversation, which is the dearest kind.
//
// shown-ms is from the append to the provider's answer, and post-ms from the POST to it, at the median and the hundredth
// part: the simulator answers after the phone shows it. As many messages are under way as fill the lane by three quarters.
//
//	go test -run '^$' -bench 'Push$' -benchtime 20000x .
func BenchmarkPush(b *testing.B) {
	for _, p := range graph.PushProviders() {
		b.Run(string(p), func(b *testing.B) { benchmarkPush(b, p) })
	}
}

// pushFlights is how many messages are under way: fewer than a lane has in flight.
var pushFlights = map[graph.PushProvider]int{graph.APNs: 375, graph.FCM: 67, graph.WebPush: 75}

// pushDevices is how many devices are away; with more pushes each is rung by several users.
const pushDevices = 4000

func benchmarkPush(b *testing.B, p graph.PushProvider) {
	devices := min(max(b.N, 50), pushDevices)
	s := newAway(b, p, devices, b.N+1)
	s.ring(b.N) // the connection, and access tokens
	s.reset()
	b.ReportAllocs()
	b.ResetTimer()
	before := ownCPU(b)
	began := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for k := next.Add(1) - 1; k < int64(b.N); k = next.Add(1) - 1 {
				s.ring(int(k))
			}
		})
	}
	wg.Wait()
	s.idle()
	for s.bridge.Status().Rings > 0 { // what became of the last ones is written
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	cpu := ownCPU(b) - before
	b.StopTimer()
	if n := s.failed.Load(); n > 0 {
		b.Errorf("%d pushes were not delivered", n)
	}
	b.ReportMetric(float64(b.N)/took.Seconds(), "pushes/s")
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "server-µs/push")
	for name, v := range map[string][]time.Duration{"shown": s.shown, "post": s.posts} {
		slices.Sort(v)
		b.ReportMetric(v[len(v)/2].Seconds()*1e3, name+"-p50-ms")
		b.ReportMetric(v[len(v)*99/100].Seconds()*1e3, name+"-p99-ms")
	}
	s.check(b.N + 1)
}

// away is a server with a bridge whose users are all away, and a simulator in another process.
type away struct {
	b       testing.TB
	store   *bolt.Store
	bridge  *bridge.Bridge
	control string // the simulator's
	logs    []store.LogID
	senders []store.AccountID
	at      map[string]int // by thread: which message
	flights chan struct{}
	failed  atomic.Int64

	mu           sync.Mutex
	began        []time.Time // by message
	shown, posts []time.Duration
}

func newAway(b *testing.B, p graph.PushProvider, devices, messages int) *away {
	b.Helper()
	ok := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	s := &away{b: b, at: make(map[string]int), flights: make(chan struct{}, pushFlights[p]), began: make([]time.Time, messages),
		logs: make([]store.LogID, messages), senders: make([]store.AccountID, messages)}
	files := s.simulate(b, filepath.Join(dir, "sim"))
	data := filepath.Join(dir, "data")
	ok(bolt.Load(b.Context(), bolt.Config{Dir: data, MinFree: -1}, bolt.Seed{Users: devices, Password: "pw"}, nil))
	var err error
	s.store, err = bolt.Open(bolt.Config{Dir: data, MinFree: -1})
	ok(err)
	srv, err := broker.New(broker.Config{Store: s.store})
	ok(err)
	real := provider(b, p, files)
	br, err := bridge.New(bridge.Config{Store: s.store, Access: srv.Access(), Live: srv, PerMin: 1 << 20,
		Providers: map[graph.PushProvider]push.Provider{p: timed{real, s}}})
	ok(err)
	s.bridge = br
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ok(srv.Close(ctx))
		ok(br.Close())
		ok(real.Close())
		ok(s.store.Close())
	})
	g := srv.Access().Relations()
	all(b, devices, func(i int) error {
		a := store.AccountID(i + 1)
		token := fmt.Sprintf("%064x", i+1)
		r := graph.Registration{Device: store.DeviceOf(a, "phone"), Provider: p, Token: token}
		if p == graph.WebPush {
			sub, err := s.subscribe(token)
			if err != nil {
				return err
			}
			r.Token, r.Key, r.Secret = sub.Endpoint, sub.P256dh, sub.Auth
		}
		_, err := g.Register(b.Context(), a, r)
		return err
	})
	var mu sync.Mutex
	all(b, messages, func(k int) error { // a conversation for each message
		to := store.AccountID(k%devices + 1)
		from := store.AccountID((k+1+k/devices)%devices + 1)
		c := store.Creation{By: from, Members: []store.Member{{Account: from, Role: store.RoleMember}, {Account: to, Role: store.RoleMember}}}
		info, _, err := s.store.Open(b.Context(), store.PairKey(from, to), c)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		s.logs[k], s.senders[k] = info.ID, from
		s.at[push.Thread(to, info.ID)] = k
		return nil
	})
	return s
}

// all does something n times, many at once.
func all(b testing.TB, n int, do func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := do(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// ring writes a message, once there is room for its push.
func (s *away) ring(k int) {
	s.flights <- struct{}{}
	s.mu.Lock()
	s.began[k] = time.Now()
	s.mu.Unlock()
	if _, err := s.store.Append(store.Draft{Log: s.logs[k], Sender: s.senders[k], Text: []byte("see you at six, in front of the station")}).Result(); err != nil {
		s.b.Error(err)
		<-s.flights
	}
}

// idle waits until nothing is under way.
func (s *away) idle() {
	for range cap(s.flights) {
		s.flights <- struct{}{}
	}
	for range cap(s.flights) {
		<-s.flights
	}
}

// reset forgets what was measured.
func (s *away) reset() {
	s.idle()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown, s.posts = nil, nil
}

// timed is a provider that notes how long a push took.
type timed struct {
	push.Provider
	s *away
}

// Send implements push.Provider.
func (t timed) Send(ctx context.Context, p *push.Push) push.Answer {
	began := time.Now()
	a := t.Provider.Send(ctx, p)
	now := time.Now()
	if a.Outcome != push.Delivered {
		t.s.failed.Add(1)
		return a // the lane tries again
	}
	t.s.mu.Lock()
	t.s.posts = append(t.s.posts, now.Sub(began))
	if k, known := t.s.at[p.Note.Thread]; known {
		t.s.shown = append(t.s.shown, now.Sub(t.s.began[k]))
	}
	t.s.mu.Unlock()
	<-t.s.flights
	return a
}

// provider is one that talks to the simulator.
func provider(b *testing.B, p graph.PushProvider, f simulated) (out push.Provider) {
	b.Helper()
	var err error
	switch p {
	case graph.APNs:
		out, err = apns.New(apns.Config{KeyFile: f.APNsKey, KeyID: f.KeyID, TeamID: f.Team, Topic: f.Topic, URL: f.urls["apns"],
			SandboxURL: f.urls["apns sandbox"], CA: f.ca})
	case graph.FCM:
		out, err = fcm.New(fcm.Config{Credentials: f.FCMCredentials, URL: f.urls["fcm"], CA: f.ca})
	default:
		out, err = webpush.New(webpush.Config{Key: f.WebPushKey, Contact: "mailto:push@example.com", CA: f.ca,
			Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	}
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// simulated are the files of a simulator that runs, and where it listens.
type simulated struct {
	pushsim.Files
	urls map[string]string // "apns" → address
	ca   *x509.CertPool
}

var simListens = regexp.MustCompile(`(?m)^  (apns|apns sandbox|fcm|web push|control) +(https?://\S+)$`)

// simulate runs `hwangso pushsim run` in a process of its own.
func (s *away) simulate(b *testing.B, dir string) simulated {
	b.Helper()
	if _, err := pushsim.Init(dir, pushsim.InitOptions{Listen: pushsim.FreePorts()}); err != nil {
		b.Fatal(err)
	}
	out, done := newScreen(), make(chan error, 1)
	cmd := exec.Command(os.Args[0], "pushsim", "run", "-dir", dir, "-quiet", "-keep", "1000")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	go func() {
		done <- cmd.Wait()
		out.Close()
	}()
	b.Cleanup(func() {
		cmd.Process.Kill() // it may have ended
		<-done
	})
	out.wait(b, `(?m)^ready$`)
	f := simulated{urls: make(map[string]string), ca: x509.NewCertPool()}
	for _, m := range simListens.FindAllStringSubmatch(out.String(), -1) {
		f.urls[m[1]] = m[2]
	}
	s.control = f.urls["control"]
	var err error
	if f.Files, err = pushsim.Open(dir); err != nil {
		b.Fatal(err)
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil || !f.ca.AppendCertsFromPEM(pem) {
		b.Fatalf("%s: no certificate: %v", f.CA, err)
	}
	return f
}

// call asks the simulator's control port.
func (s *away) call(method, path, body string, answer any) error {
	req, err := http.NewRequestWithContext(s.b.Context(), method, s.control+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// subscribe is a browser's subscription.
func (s *away) subscribe(token string) (keys struct {
	Endpoint     string
	P256dh, Auth []byte
}, err error) {
	var sub struct {
		Endpoint string
		Keys     struct{ P256dh, Auth string }
	}
	if err := s.call("POST", "/v1/subscriptions", fmt.Sprintf(`{"token":%q}`, token), &sub); err != nil {
		return keys, err
	}
	keys.Endpoint = sub.Endpoint
	if keys.P256dh, err = base64.RawURLEncoding.DecodeString(sub.Keys.P256dh); err != nil {
		return keys, err
	}
	keys.Auth, err = base64.RawURLEncoding.DecodeString(sub.Keys.Auth)
	return keys, err
}

// check asks the simulator whether each message was told, and none twice.
func (s *away) check(messages int) {
	s.b.Helper()
	var status struct{ Messages int }
	if err := s.call("GET", "/v1/status", "", &status); err != nil || status.Messages != messages {
		s.b.Errorf("%d messages were told, not %d: %v", status.Messages, messages, err)
	}
	var twice []json.RawMessage
	if err := s.call("GET", "/v1/counts?duplicates=true", "", &twice); err != nil || len(twice) > 0 {
		s.b.Errorf("%d messages were told twice: %v", len(twice), err)
	}
}

// ownCPU is the processor time of this process, all threads, user and system.
func ownCPU(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkChatBesideBridge measures what the bridge costs a message that needs no push, which is nearly every one: pairs
// write and acknowledge at once, and each receiver's device is registered. Two servers in processes of their own, one with
// pushes and one without, have the same load in turns. off-µs and on-µs are the servers' CPU a message (user and system),
// with the second look at whether the device has acknowledged.
//
//	go test -run '^$' -bench ChatBesideBridge -benchtime 50000x .
func BenchmarkChatBesideBridge(b *testing.B) {
	const pairs, block = 64, 4000
	var s away
	s.b = b
	sim := s.simulate(b, filepath.Join(b.TempDir(), "sim"))
	sides := []*beside{{name: "off"}, {name: "on"}}
	for _, side := range sides {
		dir := b.TempDir()
		hwangso(b, "seed", "-data", dir, "-users", strconv.Itoa(2*pairs), "-friends", "2", "-password", "pw", "-push", "apns,fcm", "-push-client", "receiver")
		side.server = startServer(b, dir, "-config", sim.Config, "-push", side.name, "-push-grace", "500ms", "-limits", "off")
		stage := &stage{t: b, addr: side.server.addrs["mqtt"]}
		for i := range pairs {
			to, from := stage.device(fmt.Sprint("u", 2*i), "receiver", 4), stage.device(fmt.Sprint("u", 2*i+1), "sender", 4)
			to.connect(true)
			to.subscribe("user/+/text")
			from.connect(true)
			from.publish(fmt.Sprintf("user/u%d/text", 2*i), "hello") // the conversation exists
			side.to, side.from = append(side.to, to), append(side.from, from)
		}
		b.Cleanup(func() {
			for _, a := range append(side.to, side.from...) {
				a.conn.Close()
				<-a.ended
			}
			side.server.stop()
		})
	}
	b.ResetTimer()
	for n := 0; n < b.N; n += block {
		for _, side := range sides {
			side.write(b, min(block, b.N-n))
		}
	}
	b.StopTimer()
	for _, side := range sides {
		b.ReportMetric(float64(side.cpu.Nanoseconds())/1e3/float64(b.N), side.name+"-µs/message")
	}
	var status struct{ Attempts int }
	if err := s.call("GET", "/v1/status", "", &status); err != nil || status.Attempts != 0 {
		b.Errorf("%d pushes were sent: %v", status.Attempts, err)
	}
}

// beside is one of two servers that have the same load.
type beside struct {
	name     string
	server   *process
	to, from []*actor
	cpu      time.Duration
}

// write has the pairs write so many messages, and waits until the server has nothing to do with them any more.
func (s *beside) write(b *testing.B, messages int) {
	before := s.used(b)
	var next atomic.Int64
	var wg sync.WaitGroup
	for i, from := range s.from {
		wg.Go(func() {
			to := s.to[i]
			topic := "user/" + to.user + "/text"
			for next.Add(1) <= int64(messages) {
				for _, a := range []*actor{from, to} {
					a.mu.Lock()
					a.frames = a.frames[:0]
					a.mu.Unlock()
				}
				from.publish(topic, "see you at six, in front of the station")
			}
		})
	}
	wg.Wait()
	time.Sleep(time.Second) // twice what a device has to acknowledge: part of the measurement
	s.cpu += s.used(b) - before
}

// used is the processor time of the server's process.
func (s *beside) used(b *testing.B) (sum time.Duration) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.server.cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		b.Skip("the processor time of a process is read from /proc")
	}
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err) // Go's threads stay
		}
		ns, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(ns, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(n)
	}
	return sum
}
