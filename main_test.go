package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker/cmd"
	"github.com/hwangso/hwangso/examples/chat/client"
)

// TestTwoPeople is the main job: two users are added to a running server and chat; what is written while one of them
// is away is there when he comes back.
func TestTwoPeople(t *testing.T) {
	dir := dataDir(t)
	p := startServer(t, dir)
	p.out.wait(t, "There are no users yet")
	alice := addUser(t, dir, "alice")
	bob := addUser(t, dir, "bob", "alice")
	server := "mqtt://" + p.addrs["mqtt"]

	a := startSession(t, "chat", "-server", server, "-user", "alice", "-token", alice, "-to", "bob", "-id", "a")
	b := startSession(t, "chat", "-server", server, "-user", "bob", "-token", bob, "-to", "alice", "-id", "b")
	a.out.wait(t, "connected as alice")
	b.out.wait(t, "connected as bob")
	a.line("hello bob 안녕")
	b.out.wait(t, `(?m)^\d\d:\d\d alice: hello bob 안녕 #1$`)
	a.out.wait(t, `(?m)^\d\d:\d\d me: hello bob 안녕 #1$`)
	a.out.wait(t, `bob has read #1`)
	b.line("hello alice")
	a.out.wait(t, `bob: hello alice #2`)

	b.line("/new #plans Summer plans")
	b.out.wait(t, `bob is in the room now|bob joined|#1`)
	b.line("/invite alice")
	b.out.wait(t, `(?m)^· done$`)
	a.out.wait(t, `bob invites you to #plans`)
	a.line("/join #plans")
	b.out.wait(t, `alice is in the room now`)
	a.line("/to bob")
	b.line("where shall we go?")
	a.out.wait(t, `\[#plans\] bob: where shall we go\? #\d`)
	a.line("/to #plans")
	a.line("to the sea")
	b.out.wait(t, `alice: to the sea`)
	a.line("/to nobody")
	a.line("are you there?")
	a.out.wait(t, `✗ not sent to nobody: `)

	b.line("/quit")
	b.end()
	a.line("/to bob")
	for i := range 5 {
		a.line(fmt.Sprintf("while you were away %d", i))
	}
	a.out.wait(t, `me: while you were away 4 #7`)
	again := startSession(t, "chat", "-server", server, "-user", "bob", "-token", bob, "-to", "alice", "-id", "b")
	again.out.wait(t, `(?s)away 0 #3\n.*away 1 #4\n.*away 2 #5\n.*away 3 #6\n.*away 4 #7\n`)
	if strings.Contains(again.out.String(), "hello bob") {
		t.Errorf("what was read already came again:\n%s", again.out)
	}
	again.line("/history 3")
	again.out.wait(t, `(?s)  \d\d:\d\d alice: while you were away 2 #5.*away 4 #7`)

	// A new device of his is told to the others.
	third := startSession(t, "chat", "-server", server, "-user", "bob", "-token", bob, "-id", "tablet")
	third.out.wait(t, "connected as bob")
	again.out.wait(t, `(?m)^\d\d:\d\d · .*tablet`)

	// Suspended, she is put out and not let in.
	hwangso(t, "user", "suspend", "alice", "-reason", "spam", "-data", dir)
	a.out.wait(t, "the server refuses this user and token|the connection is lost")
	refused := startSession(t, "chat", "-server", server, "-user", "alice", "-token", alice, "-id", "z")
	refused.out.wait(t, "suspended")
	if err := <-refused.done; err == nil {
		t.Error("a suspended user's chat ends without an error")
	} else {
		refused.done <- err
	}
	p.stop()
}

// TestOperator: the same commands on the data and through the running server.
func TestOperator(t *testing.T) {
	dir := dataDir(t)
	for _, running := range []bool{false, true} {
		var suffix string
		if running {
			startServer(t, dir)
			suffix = "2"
			info, err := os.Stat(filepath.Join(dir, "admin.sock"))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("admin.sock has mode %v, %v", info.Mode(), err)
			}
		}
		alice, bob := "alice"+suffix, "bob"+suffix
		room := "club" + suffix
		addUser(t, dir, alice)
		addUser(t, dir, bob, alice)
		hwangso(t, "room", "create", room, "-owner", alice, "-title", "The club", "-data", dir)
		hwangso(t, "room", "add", room, bob, "-data", dir)
		expect(t, hwangso(t, "room", "members", room, "-data", dir), alice+` +`+alice+` +owner\n`+bob+` +`+bob+` +member`)
		expect(t, hwangso(t, "room", "list", bob, "-data", dir), room+` +The club +member +2`)
		hwangso(t, "room", "role", room, bob, "moderator", "-data", dir)
		expect(t, hwangso(t, "room", "members", room, "-data", dir), bob+` +`+bob+` +moderator`)
		expect(t, hwangso(t, "room", "mute", room, bob, "-for", "1h", "-data", dir), bob+" does not write in "+room)
		expect(t, hwangso(t, "room", "mute", room, bob, "-off", "-data", dir), bob+" writes again in "+room)
		hwangso(t, "room", "close", room, "-reason", "spam", "-data", dir)
		expect(t, hwangso(t, "room", "show", room, "-data", dir), `kind +closed\nmembers +2 of 500\n(?s).*closed for +spam`)
		expect(t, hwangso(t, "room", "list", "-data", dir), room+` +The club +closed +2 `)
		hwangso(t, "room", "reopen", room, "-data", dir)
		expect(t, hwangso(t, "room", "list", "-data", dir), room+` +The club +group +2 `)
		hwangso(t, "room", "remove", room, bob, "-data", dir)
		if _, _, err := try(t, "room", "add", room, bob, "nobody", "-data", dir); err == nil || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("adding nobody: %v", err)
		}
		expect(t, hwangso(t, "device", "add", bob, "phone", "-label", "Bob's phone", "-data", dir), `hwt_`)
		expect(t, hwangso(t, "device", "list", bob, "-data", dir), `[0-9a-f]+ +phone +Bob's phone`)
		hwangso(t, "device", "remove", bob, "phone", "-data", dir)
		if out := hwangso(t, "device", "list", bob, "-data", dir); strings.Contains(out, "phone") {
			t.Errorf("the device is still there:\n%s", out)
		}
		expect(t, hwangso(t, "token", "add", "-scopes", "status,rooms", "-label", "watch"+suffix, "-data", dir), `hwt_`)
		id := regexp.MustCompile(`([0-9a-f]{32}) +rooms,status +watch` + suffix).FindStringSubmatch(hwangso(t, "token", "list", "-data", dir))
		if id == nil {
			t.Fatal("the operator's token is not listed")
		}
		hwangso(t, "token", "remove", id[1], "-data", dir)
		expect(t, hwangso(t, "token", "list", "-user", bob, "-data", dir), `every device +user add`)
		expect(t, hwangso(t, "user", "token", bob, "-data", dir), `hwt_`)
		hwangso(t, "user", "friend", alice, bob, "-off", "-data", dir)
		hwangso(t, "user", "suspend", bob, "-reason", "spam", "-data", dir)
		expect(t, hwangso(t, "user", "list", "-data", dir), bob+` +`+bob+` +suspended`)
		hwangso(t, "user", "restore", bob, "-data", dir)
		expect(t, hwangso(t, "user", "list", "-data", dir), bob+` +`+bob+` +ok`)
		_, _, err := try(t, "user", "add", alice, "-data", dir)
		if err == nil || !strings.Contains(err.Error(), "exists") {
			t.Errorf("a second user of the same name: %v", err)
		}
		out := hwangso(t, "status", "-data", dir)
		if running != strings.Contains(out, "mqtt ") || running == strings.Contains(out, "No server is running") {
			t.Errorf("status with a server running %v:\n%s", running, out)
		}
	}
	_, _, err := try(t, "check", "-data", dir)
	if err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("check beside a server: %v", err)
	}
	_, _, err = try(t, "seed", "-users", "5", "-password", "p", "-data", dir)
	if err == nil || !strings.Contains(err.Error(), "stop the server first") {
		t.Errorf("seed beside a server: %v", err)
	}
}

// TestMinFree: what a server goes by that is set up in the environment, commands on its data go by.
func TestMinFree(t *testing.T) {
	dir := dataDir(t)
	addUser(t, dir, "alice")
	t.Setenv("HWANGSO_MIN_FREE", "150") // on whatever disk this runs, it does not have so much
	for _, args := range [][]string{
		{"room", "create", "club", "-owner", "alice", "-data", dir},
		{"seed", "-users", "3", "-friends", "1", "-password", "pw", "-rooms", "1", "-room-size", "2", "-data", dataDir(t)},
	} {
		if _, _, err := try(t, args...); err == nil || !strings.Contains(err.Error(), "MinFree is 1.5") {
			t.Errorf("%s: %v", args[0], err)
		}
	}
	t.Setenv("HWANGSO_MIN_FREE", "0")
	hwangso(t, "room", "create", "club", "-owner", "alice", "-data", dir)
}

func expect(t testing.TB, out, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(out) {
		t.Errorf("no %q in:\n%s", pattern, out)
	}
}

// TestLocked: data that somebody has open, but not as a server.
func TestLocked(t *testing.T) {
	dir := dataDir(t)
	addUser(t, dir, "alice")
	startServer(t, dir)
	if err := os.Remove(filepath.Join(dir, "admin.sock")); err != nil {
		t.Fatal(err)
	}
	_, _, err := try(t, "user", "list", "-data", dir)
	if err == nil || !strings.Contains(err.Error(), "locked by process") {
		t.Errorf("%v", err)
	}
	_, _, err = try(t, "serve", "-data", dir, "-mqtt", "127.0.0.1:0", "-http", "127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second server: %v", err)
	}
}

// TestSettings: a flag goes before the environment, the environment before the file.
func TestSettings(t *testing.T) {
	dir := dataDir(t)
	file := filepath.Join(t.TempDir(), "hwangso.conf")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The listeners that nobody opened with the flag are closed by the environment, or by the file.
	write("# a comment\n\ndata = \"" + dir + "\"\nmqtt = 127.0.0.1:bad\nhttp = 127.0.0.1:bad\nadmin = 127.0.0.1:0\nlog-level = warn\nmin-free = 1\n")
	t.Setenv("HWANGSO_CONFIG", file)
	t.Setenv("HWANGSO_MQTT", "127.0.0.1:worse")
	t.Setenv("HWANGSO_HTTP", "")
	s := startSession(t, "-mqtt", "127.0.0.1:0") // no command means serve
	s.out.wait(t, `(?m)^ready$`)
	out := s.out.String()
	expect(t, out, `mqtt +127\.0\.0\.1:\d+`)
	expect(t, out, `admin +127\.0\.0\.1:\d+`)
	if strings.Contains(out, "  http ") {
		t.Errorf("the environment's empty -http does not count:\n%s", out)
	}
	expect(t, out, regexp.QuoteMeta(dir))
	expect(t, hwangso(t, "status", "-config", file), `mqtt +127`) // finds the data through the same file

	for _, c := range []struct{ text, want string }{
		{"mqqt = 1", `line 1: there is no setting "mqqt"`},
		{"\nmax-group = many", `line 2: max-group`},
		{"nonsense", `line 1: it must read name = value`},
		{"mqtt = a\nmqtt = b", `line 2: mqtt stands there twice`},
		{"config = x", `there is no setting "config"`},
	} {
		write(c.text)
		_, _, err := try(t, "serve", "-config", file, "-mqtt", "127.0.0.1:0")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
	write("")
	t.Setenv("HWANGSO_MAX_GROUP", "many")
	_, _, err := try(t, "serve", "-mqtt", "127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), "HWANGSO_MAX_GROUP") {
		t.Errorf("%v", err)
	}
}

// TestRefusesToServe: what would be unsafe or cannot work is said before anything is opened.
func TestRefusesToServe(t *testing.T) {
	dir := dataDir(t)
	for _, c := range []struct{ args, want string }{
		{"-mqtt 0.0.0.0:0", "reachable beyond this machine"},
		{"-mqtt :0", "reachable beyond this machine"},
		{"-http [::]:0", "reachable beyond this machine"},
		{"-http example.com:80", "reachable beyond this machine"},
		{"-admin 0.0.0.0:0 -insecure-listen", "-admin 0.0.0.0:0 is reachable beyond this machine"},
		{"-mqtts 127.0.0.1:0", "-mqtts needs -tls-cert and -tls-key"},
		{"-tls-cert x.pem", "go together"},
		{"-tls-cert none.pem -tls-key none.pem -mqtts 127.0.0.1:0", "none.pem"},
		{"-mqtt= -http=", "no address to listen on"},
		{"-mqtt nonsense", "missing port"},
		{"-min-free 200", "-min-free"},
		{"-retention 0s", "-retention"},
		{"-log-format xml", "-log-format"},
		{"-log-level loud", "-log-level"},
		{"-sms log -insecure-listen -mqtt 0.0.0.0:0", "-sms log prints codes"},
		{"-sms log -trusted-proxies 127.0.0.1", "-trusted-proxies make this server reachable"},
		{"-sms https://sms.example.com", "needs -sms-key"},
		{"-sms http://sms.example.com -sms-key go.mod", "go.mod can be read by others"},
		{"-sms-deny Korea", "two letters"},
		{"-sms-caps KR", "-sms-caps"},
		{"-sms-country-day 0", "-sms-country-day"},
		{"-proxy-protocol", "-proxy-protocol needs -trusted-proxies"},
		{"-trusted-proxies 10.0.0.0/33", "no network"},
		{"-trusted-proxies 0.0.0.0/0", "every address"},
	} {
		args := append([]string{"serve", "-data", dir, "-mqtt", "127.0.0.1:0", "-http", "127.0.0.1:0"}, strings.Fields(c.args)...)
		_, _, err := try(t, args...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("serve %s: %v, want %s", c.args, err, c.want)
		}
	}
}

// TestHelp: every command tells what it does and how it is used, and says what is wrong with its arguments.
func TestHelp(t *testing.T) {
	usage := hwangso(t, "--help")
	names := regexp.MustCompile(`(?m)^  ([a-z]+) `).FindAllStringSubmatch(usage, -1)
	if len(names) < 12 {
		t.Fatalf("only %d commands in:\n%s", len(names), usage)
	}
	for _, n := range names {
		help := hwangso(t, n[1], "--help")
		expect(t, help, `Usage:`)
		if again := hwangso(t, "help", n[1]); again != help {
			t.Errorf("help %s differs from %s --help", n[1], n[1])
		}
		subs := regexp.MustCompile(`(?m)^  hwangso `+n[1]+` ([a-z]+) `).FindAllStringSubmatch(help, -1)
		if len(subs) == 0 {
			_, errs, err := try(t, n[1], "-no-such-flag")
			if !errors.Is(err, cmd.ErrUsage) || !strings.Contains(errs, "no-such-flag") {
				t.Errorf("%s -no-such-flag: %v %q", n[1], err, errs)
			}
		} else if _, _, err := try(t, n[1]); !errors.Is(err, cmd.ErrUsage) {
			t.Errorf("%s alone: %v", n[1], err)
		}
		for _, s := range subs {
			if n[1] == "pushsim" { // it has no data of a server, and commands of commands
				expect(t, hwangso(t, n[1], s[1], "--help"), `hwangso pushsim `+s[1])
				continue
			}
			expect(t, hwangso(t, n[1], s[1], "--help"), `(?s)Usage: hwangso `+n[1]+` `+s[1]+`.*-data`)
			_, _, err := try(t, n[1], s[1], "-data", dataDir(t), "one", "two", "three", "four", "-no-such-flag")
			if !errors.Is(err, cmd.ErrUsage) {
				t.Errorf("%s %s with a flag that does not exist: %v", n[1], s[1], err)
			}
		}
	}
	if _, errs, err := try(t, "sevre"); !errors.Is(err, cmd.ErrUsage) || !strings.Contains(errs, `no command "sevre"`) {
		t.Errorf("sevre: %v %q", err, errs)
	}
	expect(t, hwangso(t, "version"), `^hwangso \S+ go`)
}

// TestHTTP: health, metrics and the two kinds of authentication, and that the admin address asks for an operator.
func TestHTTP(t *testing.T) {
	dir := dataDir(t)
	alice := addUser(t, dir, "alice")
	operator := tokenPattern.FindString(hwangso(t, "token", "add", "-scopes", "status", "-data", dir))
	p := startServer(t, dir, "-admin", "127.0.0.1:0")
	public, admin := "http://"+p.addrs["http"], "http://"+p.addrs["admin"]
	for _, c := range []struct {
		method, url, bearer string
		want                int
	}{
		{"GET", public + "/healthz", "", 200},
		{"GET", public + "/readyz", "", 200},
		{"GET", public + "/metrics", "", 404}, // with -admin they are there
		{"GET", admin + "/metrics", "", 200},
		{"POST", public + "/v1/account.me", alice, 200},
		{"POST", public + "/v1/account.me", "", 401},
		{"POST", public + "/v1/account.me", "wrong", 401},
		{"POST", public + "/v1/account.create", alice, 404},
		{"POST", public + "/local/backup", alice, 404},
		{"POST", admin + "/local/backup", operator, 404},
		{"POST", admin + "/v1/server.status", operator, 200},
		{"POST", admin + "/v1/server.status", "", 401},
		{"POST", admin + "/v1/server.status", alice, 403},
		{"POST", admin + "/v1/account.list", operator, 403}, // not its scope
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.bearer != "" {
			r.Header.Set("Authorization", "Bearer "+c.bearer)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.url, resp.StatusCode, c.want)
		}
	}
}

// TestDemo is what a newcomer does: paste, write where one may not, kill the server, quit.
func TestDemo(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	d := startSession(t, "demo", "-mqtt", freePort(t), "-http", freePort(t))
	d.out.wait(t, `Keys: o`)
	b := startSession(t, "chat", "-as", "bob", "-id", "bob-test")
	b.out.wait(t, "connected as bob")
	text := d.out.String()
	pub := regexp.MustCompile(`mosquitto_pub -V 5 -q 1 -p \d+ -u alice -P \S+ -t .*`).FindAllString(text, -1)
	sub := regexp.MustCompile(`mosquitto_sub .*`).FindString(text)
	if len(pub) != 4 || sub == "" {
		t.Fatalf("the commands to paste are missing:\n%s", text)
	}
	post := regexp.MustCompile(`mosquitto_pub -V 5 -q 1 -p \d+ -u brand -P (\S+) -t channel/cafe/text .*`).FindStringSubmatch(text)
	at := regexp.MustCompile(`on (\S+) \(MQTT\) and http://(\S+) `).FindStringSubmatch(text)
	if post == nil || at == nil || !strings.Contains(text, "go run ./examples/brand -channel cafe -user brand -token "+post[1]+" -server mqtt://"+at[1]+" -api http://"+at[2]) {
		t.Fatalf("the commands for the channel are missing:\n%s", text)
	}
	a := startSession(t, "chat", "-as", "alice", "-id", "alice-test")
	a.out.wait(t, "connected as alice")
	brand := make(chan client.Message, 8)
	listener, err := client.New(t.Context(), client.Config{Server: "mqtt://" + at[1], User: "alice", Token: regexp.MustCompile(`-u alice -P (\S+)`).FindStringSubmatch(text)[1],
		ClientID: "listener", Filters: []string{"channel/+/json"}, Message: func(m client.Message) { brand <- m }})
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.line("c")
	if m := <-brand; m.Conversation != "channel/cafe" || m.Text != "The autumn menu is here." || m.From != "" {
		t.Errorf("alice got %+v", m)
	}
	if err := listener.Close(t.Context()); err != nil {
		t.Error(err)
	}
	d.out.wait(t, `✓ the server → the followers of cafe: text of 24 bytes \(#1, on disk\)`)
	a.line("a secret word")
	b.out.wait(t, `alice: a secret word #1`)
	d.out.wait(t, `✓ alice → bob: text of 13 bytes \(#1, on disk\)`)
	a.line("/to #secret")
	a.line("may I?")
	d.out.wait(t, `✗ alice → room secret refused: `)
	a.out.wait(t, `✗ not sent to #secret`)

	for round := range 2 {
		d.line("k")
		m := d.out.wait(t, `(?:(?s:.*)[✓✗] (\d+) acknowledged, (\d+) found(.*)){`+fmt.Sprint(round+1)+`}`)
		if m[1] != m[2] || !strings.Contains(m[3], "each once, in order, under the number") {
			t.Fatalf("%s", m[0])
		}
	}
	// Both are back and go on.
	a.line("/to bob")
	a.line("still there?")
	b.out.wait(t, `alice: still there\? #2`)
	// bob blocks alice, who is told what she was told before.
	d.line("b")
	d.out.wait(t, "bob blocks alice")
	a.line("are you angry?")
	d.out.wait(t, `✓ alice → bob: on disk \(#3\), and nobody but alice`)
	a.out.wait(t, `are you angry\? #3`)
	a.line("/history 3")
	a.out.wait(t, `(?s)are you angry\?.*#3.*still there.*are you angry\?`)
	d.line("b")
	d.out.wait(t, "blocks alice no more")
	a.line("good")
	b.out.wait(t, `alice: good #4`)
	if strings.Contains(b.out.String(), "angry") {
		t.Errorf("bob sees what was written while he blocked:\n%s", b.out)
	}
	if _, _, err := try(t, "chat", "-as", "robot"); err == nil {
		t.Error("chat -as robot works")
	}
	server := regexp.MustCompile(`(?m)^.*bob's phone.*$`).ReplaceAllString(d.out.String(), "") // a client, which the demo runs too
	if strings.Contains(server, "secret word") || strings.Contains(server, "still there") {
		t.Errorf("the server's side prints what people write:\n%s", server)
	}
	dir := regexp.MustCompile(`"data":"([^"]+)"`)
	file, err := os.ReadFile(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "hwangso-demo.json"))
	if err != nil {
		t.Fatal(err)
	}
	d.line("q")
	d.end()
	data := dir.FindSubmatch(file)
	if _, err := os.Stat(string(data[1])); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data %s is still there: %v", data[1], err)
	}
	if _, _, err := try(t, "chat", "-as", "bob"); err == nil || !strings.Contains(err.Error(), "no demo is running") {
		t.Errorf("chat after the demo's end: %v", err)
	}
}

// TestDemoWithoutTerminal: without any input it runs until it is interrupted, and cleans up.
func TestDemoWithoutTerminal(t *testing.T) {
	runtime := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	out := newScreen()
	d := exec.Command(os.Args[0], "demo", "-mqtt", freePort(t), "-http", freePort(t))
	d.Stdout, d.Stderr = out, out
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Wait(); out.Close() }()
	t.Cleanup(func() { d.Process.Kill() })
	out.wait(t, `Keys: o`)
	c := startSession(t, "chat", "-as", "alice")
	c.out.wait(t, "connected as alice")
	c.line("/quit")
	c.end()
	if err := d.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	case <-time.After(patience):
		t.Fatalf("does not end:\n%s", out)
	}
	for _, dir := range []string{tmp, runtime} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind in %s: %v %v", dir, left, err)
		}
	}
}

// TestStopsWithStdin: a server that another program runs ends with that program.
func TestStopsWithStdin(t *testing.T) {
	s := startSession(t, "serve", "-data", dataDir(t), "-mqtt", "127.0.0.1:0", "-http", "127.0.0.1:0", "-stop-with-stdin")
	s.out.wait(t, `(?m)^ready$`)
	s.in.Close()
	s.end()
}

// TestEraseAndExport: operators remove users and write their archives, whether the server runs or not.
func TestEraseAndExport(t *testing.T) {
	dir := dataDir(t)
	addUser(t, dir, "alice")
	addUser(t, dir, "bob", "alice")
	for _, running := range []bool{false, true} {
		user := "alice"
		if running {
			user = "bob"
			defer startServer(t, dir).stop()
		}
		file := filepath.Join(t.TempDir(), "me.zip")
		expect(t, hwangso(t, "export", user, "-o", file, "-data", dir), `me\.zip: \d+ bytes`)
		z, err := zip.OpenReader(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(z.File) < 8 {
			t.Errorf("%d files in the archive", len(z.File))
		}
		z.Close()
		if _, _, err := try(t, "export", user, "-o", file, "-data", dir); err == nil || !strings.Contains(err.Error(), "there already") {
			t.Errorf("a file was replaced: %v", err)
		}
		if _, _, err := try(t, "export", "nobody", "-o", file+"2", "-data", dir); err == nil || !strings.Contains(err.Error(), "no such user") {
			t.Errorf("nobody's archive: %v", err)
		}
		if _, _, err := try(t, "erase", user, "-data", dir); err == nil || !strings.Contains(err.Error(), "-yes") {
			t.Errorf("erased without -yes: %v", err)
		}
		expect(t, hwangso(t, "erase", user, "-undo", "-data", dir), "will be removed on")
		expect(t, hwangso(t, "erase", user, "-yes", "-data", dir), "was removed")
		if out := hwangso(t, "user", "list", "-data", dir); strings.Contains(out, user) {
			t.Errorf("still there:\n%s", out)
		}
	}
}
