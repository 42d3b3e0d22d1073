package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// buildExample builds a program of examples/.
func buildExample(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", path, "./examples/"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// TestExampleIoT: the MQTT 3.1.1 device against a server, with every QoS, a second time with the session it left, and
// where it may not write.
func TestExampleIoT(t *testing.T) {
	iot := buildExample(t, "iot")
	dir := dataDir(t)
	p := startServer(t, dir)
	alice := addUser(t, dir, "alice")
	addUser(t, dir, "bob")
	line := fmt.Sprintf("%s -addr %s -user alice -token %s -patience 1m", iot, p.addrs["mqtt"], alice)
	for _, qos := range []string{"0", "1", "2", "1"} {
		out, err := shell(t, line+" -n 300 -qos "+qos)
		if err != nil || !strings.Contains(out, "300 came back") || qos != "0" && !strings.Contains(out, "300 acknowledged") {
			t.Errorf("QoS %s: %v\n%s", qos, err, out)
		}
	}
	out, err := shell(t, line+" -n 2 -to user/nobody")
	if err == nil || !strings.Contains(out, "reading 0 was refused: ") || !strings.Contains(out, "2 acknowledged, 0 came back") {
		t.Errorf("writing to nobody: %v\n%s", err, out)
	}
	out, err = shell(t, strings.Replace(line, alice, "wrong", 1))
	if err == nil || !strings.Contains(out, "bad user name or password") {
		t.Errorf("a wrong token: %v\n%s", err, out)
	}
}

// TestExampleChat: the example is the chat that the program offers.
func TestExampleChat(t *testing.T) {
	chat := buildExample(t, "chat")
	dir := dataDir(t)
	p := startServer(t, dir)
	alice := addUser(t, dir, "alice")
	line := fmt.Sprintf("echo remember the milk | CHAT_TOKEN=%s %s -server mqtt://%s -user alice -to alice", alice, chat, p.addrs["mqtt"])
	if out, err := shell(t, line); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := startSession(t, "chat", "-server", "ws://"+p.addrs["http"]+"/mqtt", "-user", "alice", "-token", alice, "-to", "alice", "-id", "phone")
	s.out.wait(t, "connected as alice")
	s.line("/history")
	s.out.wait(t, "me: remember the milk #1")
}

// TestExampleBrand: the brand's program against a server: its posts reach a follower, a question is answered, a code that is typed
// in is redeemed once, and webhooks that it has set come, while one that is not signed is not believed.
func TestExampleBrand(t *testing.T) {
	needs(t, "mosquitto_pub")
	needs(t, "curl")
	brand := buildExample(t, "brand")
	dir := dataDir(t)
	p := startServer(t, dir, "-webhook-allow", "127.0.0.0/8")
	alice := addUser(t, dir, "alice")
	owner := addUser(t, dir, "owner")
	hwangso(t, "channel", "create", "cafe", "-owner", "owner", "-title", "The cafe", "-data", dir)
	api := "http://" + p.addrs["http"]
	ask := func(token, op, body string) string {
		t.Helper()
		out, err := shell(t, fmt.Sprintf("curl -sS -H 'Authorization: Bearer %s' -d '%s' %s/v1/%s", token, body, api, op))
		if err != nil {
			t.Fatalf("%s: %v\n%s", op, err, out)
		}
		return out
	}
	expect(t, ask(alice, "channel.follow", `{"channel":"cafe"}`), `"changed":true`)
	key := tokenPattern.FindString(ask(owner, "channel.key.create", `{"channel":"cafe","label":"program"}`))
	host, port, _ := net.SplitHostPort(p.addrs["mqtt"])
	place := fmt.Sprintf("-V 5 -q 1 -h %s -p %s -u alice -P %s", host, port, alice)
	listen := fmt.Sprintf("mosquitto_sub %s -i alice -c -x 3600 -v -t 'channel/+/text' -t 'channel/+/ask/line'", place)
	if text, err := shell(t, listen+" -E"); err != nil { // the session is there before anything is posted
		t.Fatalf("%v\n%s", err, text)
	}
	follower := background(t, listen)

	hook := freePort(t)
	cmd := exec.CommandContext(t.Context(), brand, "-server", "mqtt://"+p.addrs["mqtt"], "-api", api, "-user", "owner", "-channel", "cafe",
		"-webhook", hook, "-webhook-url", "http://"+hook+"/events")
	cmd.Env = append(os.Environ(), "BRAND_TOKEN="+key)
	out := newScreen()
	cmd.Stdout, cmd.Stderr = out, out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait(); out.Close() }()
	hooks := out.wait(t, `webhooks are taken at (http://\S+)`)[1]
	out.wait(t, "Now followers are answered")
	expect(t, out.String(), `posted over MQTT: #1(?s:.*)posted over HTTP: #2(?s:.*)autumn-\S+: scheduled(?s:.*)autumn-\S+: done(?s:.*)cake-\S+: done`)
	follower.wait(t, `channel/cafe/text We are open until midnight today\.\nchannel/cafe/text And there is cake\.\nchannel/cafe/text The autumn menu`)
	follower.wait(t, `channel/cafe/text \[coupon\] A piece of cake for you`)

	if text, err := shell(t, "mosquitto_pub "+place+" -i asks -t channel/cafe/ask/text -m 'when do you open?'"); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	follower.wait(t, `channel/cafe/ask/line cafe: We are open from eight to midnight\.`)
	if out.wait(t, `\? ([a-z2-7]{16}) asks: when do you open\?`); strings.Contains(out.String(), "alice") {
		t.Errorf("the brand knows who asks:\n%s", out)
	}
	out.wait(t, `@ broadcast\.finished \{"broadcast":"autumn-\S+","state":"done"\}`)
	out.wait(t, `@ thread\.message \{"thread":"[a-z2-7]{16}","seq":1,"kind":"text","text":"when do you open\?"\}`)
	campaign := out.wait(t, `campaign (\S+): 500`)[1]
	code := regexp.MustCompile(`"coupon":"([0-9A-Z]{26})"`).FindStringSubmatch(ask(alice, "coupon.show", `{"channel":"cafe","campaign":"`+campaign+`"}`))
	if code == nil {
		t.Fatal("no code")
	}
	fmt.Fprintf(in, "%s\n%s\nnonsense\n", code[1], code[1])
	out.wait(t, `= valid: A piece of cake \(any cake, not to take away\)\n= used: A piece of cake\n= unknown`)
	if text, err := shell(t, "curl -sS -o /dev/null -w '%{http_code}' -d '{}' "+hooks); err != nil || text != "401" {
		t.Errorf("a webhook that nobody signed: %s %v", text, err)
	}
	in.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	case <-time.After(patience):
		t.Errorf("does not end:\n%s", out)
	}
}
