package api

import (
	"archive/zip"
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// withPushes sets every provider up.
func withPushes(c *Config) { c.Push = &Pushes{Providers: graph.PushProviders(), Key: "BKey"} }

// subscriptionKeys are p256dh and auth of a browser.
func subscriptionKeys(t *testing.T) (p256dh, auth string) {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()), base64.RawURLEncoding.EncodeToString(make([]byte, 16))
}

// deviceOf makes a device and returns its id and a token that opens only it.
func (w *world) deviceOf(user, client string) (id, secret string) {
	w.t.Helper()
	out := w.as(user, 200, "token.create", obj{"client_id": client})
	return store.DeviceOf(w.account(user).ID, client).String(), out["secret"].(string)
}

const apnsToken = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"

func TestDevicePush(t *testing.T) {
	w := newWorld(t, withPushes)
	w.users("alice", "bob")
	id, secret := w.deviceOf("alice", "phone")
	push := func(status int, body any) obj {
		t.Helper()
		r := do(t, w.public.URL, "device.push", "Bearer "+secret, body)
		if r.status != status {
			t.Fatalf("%v: %d %s", body, r.status, r.raw)
		}
		if strings.Contains(strings.ToLower(string(r.raw)), apnsToken) {
			t.Errorf("the token is told: %s", r.raw)
		}
		return r.body
	}
	listed := func() any {
		t.Helper()
		return w.as("alice", 200, "device.list", nil)["devices"].([]any)[0].(obj)["push"]
	}
	want(t, "nothing yet", say(push(200, nil)["push"], listed()), "<nil> <nil>")
	out := push(200, obj{"provider": "apns", "token": strings.ToUpper(apnsToken), "app": "com.example.chat", "sandbox": true})
	want(t, "registered", say(out["device"], out["changed"], out["push"].(obj)["provider"], out["push"].(obj)["sandbox"]), say(id, true, "apns", true))
	since, err := time.Parse(time.RFC3339, out["push"].(obj)["since"].(string))
	if err != nil || time.Since(since).Abs() > time.Hour {
		t.Errorf("since %v, %v", out["push"], err)
	}
	u := w.account("alice").ID
	r, err := w.api.graph.Registration(u, store.DeviceOf(u, "phone"))
	if err != nil || r.Token != apnsToken || r.App != "com.example.chat" || !r.Sandbox {
		t.Errorf("kept %+v, %v", r, err)
	}
	want(t, "again", push(200, obj{"provider": "apns", "token": apnsToken, "app": "com.example.chat", "sandbox": true})["changed"], false)
	want(t, "listed", listed().(obj)["provider"], "apns")
	want(t, "to operators", w.op(200, "device.list", obj{"account": "alice"})["devices"].([]any)[0].(obj)["push"].(obj)["provider"], "apns")

	// A browser, with the keys as some clients write them.
	p256dh, auth := subscriptionKeys(t)
	out = push(200, obj{"provider": "webpush", "endpoint": "https://push.example/x", "p256dh": p256dh + "=", "auth": strings.NewReplacer("-", "+", "_", "/").Replace(auth) + "=="})
	want(t, "web push", out["push"].(obj)["provider"], "webpush")

	// Another device of the user, by its id; another user's token moves with the phone.
	other, _ := w.deviceOf("alice", "tablet")
	w.as("alice", 200, "device.push", obj{"device": other, "provider": "fcm", "token": "abc:def_-"})
	want(t, "from no device", w.as("alice", 400, "device.push", nil)["text"], "device is missing: the request does not come from one")
	want(t, "another one's", w.as("bob", 404, "device.push", obj{"device": other})["text"], "there is no such device")
	bobs, _ := w.deviceOf("bob", "phone")
	w.as("bob", 200, "device.push", obj{"device": bobs, "provider": "fcm", "token": "abc:def_-"})
	want(t, "moved", w.as("alice", 200, "device.push", obj{"device": other})["push"], nil)

	want(t, "removed", say(push(200, obj{"remove": true})["changed"], listed(), push(200, obj{"remove": true})["changed"]), "true <nil> false")
}

func TestDevicePushRefuses(t *testing.T) {
	w := newWorld(t, withPushes, func(c *Config) {
		c.Push.Providers = []graph.PushProvider{graph.APNs, graph.WebPush}
		c.Push.Check = func(r *graph.Registration) error {
			if r.Provider == graph.APNs && len(r.Token) != 64 {
				return errors.New("a device token has 64 digits")
			}
			return nil
		}
	})
	w.users("alice")
	_, secret := w.deviceOf("alice", "phone")
	p256dh, auth := subscriptionKeys(t)
	sub := func(change obj) obj {
		o := obj{"provider": "webpush", "endpoint": "https://push.example/x", "p256dh": p256dh, "auth": auth}
		for k, v := range change {
			o[k] = v
		}
		return o
	}
	for _, c := range []struct {
		body obj
		code int
		text string
	}{
		{obj{"token": "x"}, 400, "provider is missing: apns, fcm or webpush"},
		{obj{"provider": "sms", "token": "x"}, 400, "provider must be apns, fcm or webpush"},
		{obj{"provider": "fcm", "token": "x"}, 403, "this server sends no pushes over fcm: see push.key"},
		{obj{"provider": "apns"}, 400, "token is missing"},
		{obj{"provider": "apns", "token": "x"}, 400, "a device token has 64 digits"},
		{obj{"provider": "apns", "token": "a b"}, 400, "token must be as the provider's library tells it: printable characters without spaces"},
		{obj{"provider": "apns", "token": "\u00e9"}, 400, "token must be as the provider's library tells it: printable characters without spaces"},
		{obj{"provider": "apns", "token": strings.Repeat("a", 4097)}, 413, "token may have at most 4096 bytes"},
		{obj{"provider": "apns", "token": apnsToken, "app": "../x"}, 400, "app must be a bundle identifier such as com.example.chat"},
		{obj{"provider": "apns", "token": apnsToken, "app": strings.Repeat("a", 156)}, 400, "app must be a bundle identifier such as com.example.chat"},
		{obj{"provider": "apns", "token": apnsToken, "auth": auth}, 400, "endpoint, p256dh and auth belong to webpush"},
		{obj{"provider": "apns", "token": apnsToken, "remove": true}, 400, "leave out what was registered with remove: all of it goes"},
		{sub(obj{"token": "x"}), 400, "webpush has an endpoint, p256dh and auth instead of a token"},
		{sub(obj{"sandbox": true}), 400, "app and sandbox belong to apns"},
		{sub(obj{"endpoint": ""}), 400, "endpoint is missing"},
		{sub(obj{"endpoint": "https://" + strings.Repeat("a", 4096)}), 413, "endpoint may have at most 4096 bytes"},
		{sub(obj{"p256dh": ""}), 400, "p256dh is missing"},
		{sub(obj{"p256dh": "!"}), 400, "p256dh must be base64url"},
		{sub(obj{"p256dh": auth}), 400, "p256dh must be a public key of P-256: 65 bytes, of which the first is 4"},
		{sub(obj{"p256dh": base64.RawURLEncoding.EncodeToString(append([]byte{4}, make([]byte, 64)...))}), 400, "p256dh must be a public key of P-256: 65 bytes, of which the first is 4"},
		{sub(obj{"auth": ""}), 400, "auth is missing"},
		{sub(obj{"auth": "AAAA"}), 400, "auth must be 16 bytes"},
		{obj{"device": "zzz"}, 400, "device must be a device's id as device.list tells it"},
	} {
		r := do(t, w.public.URL, "device.push", "Bearer "+secret, c.body)
		if r.status != c.code || r.body["text"] != c.text {
			t.Errorf("%v: %d %v, want %d %s", c.body, r.status, r.body["text"], c.code, c.text)
		}
	}
	if list, err := w.api.graph.Registrations(w.account("alice").ID); err != nil || len(list) != 0 {
		t.Errorf("kept %v, %v", list, err)
	}
}

// A server without pushes says so, and still lets go of what was registered when it had them.
func TestNoPushes(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	id, secret := w.deviceOf("alice", "phone")
	want(t, "key", string(do(t, w.public.URL, "push.key", "Bearer "+secret, nil).raw), `{"code":200,"providers":[]}`)
	r := do(t, w.public.URL, "device.push", "Bearer "+secret, obj{"provider": "fcm", "token": "x"})
	want(t, "refused", say(r.status, r.body["error"], r.body["text"]), "403 no_pushes this server sends no pushes")
	u := w.account("alice").ID
	if _, err := w.api.graph.Register(t.Context(), u, graph.Registration{Device: store.DeviceOf(u, "phone"), Provider: graph.FCM, Token: "old"}); err != nil {
		t.Fatal(err)
	}
	want(t, "removed", w.as("alice", 200, "device.push", obj{"device": id, "remove": true})["changed"], true)
}

func TestPushKey(t *testing.T) {
	w := newWorld(t, withPushes)
	w.users("alice")
	r := do(t, w.public.URL, "push.key", "Bearer "+w.tokens["alice"], nil)
	want(t, "key", string(r.raw), `{"code":200,"providers":["apns","fcm","webpush"],"key":"BKey"}`)
}

// A connection without a session that is kept is no device.
func TestGuestHasNoPush(t *testing.T) {
	w := newWorld(t, withPushes)
	w.users("alice")
	id := w.connect("alice", "phone").session.Identity()
	id.Guest = true
	var out obj
	unmarshal(t, w.api.Request(t.Context(), id, "device.push", "r", []byte(`{"provider":"fcm","token":"x"}`)), &out)
	want(t, "refused", out["code"], 400)
}

// Signing a device out, by whomever and however, ends its pushes, and nothing else's.
func TestSignedOutIsNotWoken(t *testing.T) {
	w := newWorld(t, withPushes)
	w.users("alice")
	u := w.account("alice").ID
	ids := make(map[string]string)
	var mine string
	for _, d := range []string{"phone", "tablet", "laptop", "watch"} {
		ids[d], mine = w.deviceOf("alice", d)
		w.as("alice", 200, "device.push", obj{"device": ids[d], "provider": "fcm", "token": "token-of-" + d})
	}
	registered := func() (out []string) {
		t.Helper()
		for _, d := range []string{"phone", "tablet", "laptop", "watch"} {
			r, err := w.api.graph.Registration(u, store.DeviceOf(u, d))
			if err != nil {
				t.Fatal(err)
			}
			owner, err := w.api.graph.Owns(u, &graph.Registration{Device: store.DeviceOf(u, d), Provider: graph.FCM, Token: "token-of-" + d})
			if err != nil || owner != (r != nil) {
				t.Errorf("%s: registered %v, its token's owner %v, %v", d, r != nil, owner, err)
			}
			if r != nil {
				out = append(out, d)
			}
		}
		return out
	}
	w.as("alice", 200, "device.remove", obj{"device": ids["phone"]})
	want(t, "removed", registered(), "[tablet laptop watch]")
	w.op(200, "device.remove", obj{"account": "alice", "device": ids["tablet"]})
	want(t, "removed by an operator", registered(), "[laptop watch]")
	want(t, "signed out", do(t, w.public.URL, "account.signout_others", "Bearer "+mine, nil).status, 200) // the watch's own token
	want(t, "signed out", registered(), "[watch]")
	w.op(200, "account.set", obj{"account": "alice", "state": "suspended"})
	want(t, "suspended", registered(), "[watch]") // it comes back with the account
	w.op(200, "account.set", obj{"account": "alice", "state": "ok"})
	want(t, "restored", registered(), "[watch]")
}

// A device that registers while it is being removed has nothing registered afterwards.
func TestPushWhileRemoved(t *testing.T) {
	w := newWorld(t, withPushes)
	w.users("alice")
	u := w.account("alice").ID
	for i := range 10 {
		id, _ := w.deviceOf("alice", "phone")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				do(t, w.public.URL, "device.push", "Bearer "+w.tokens["alice"], obj{"device": id, "provider": "fcm", "token": "t"})
			})
		}
		wg.Go(func() { do(t, w.public.URL, "device.remove", "Bearer "+w.tokens["alice"], obj{"device": id}) })
		wg.Wait()
		if list, err := w.api.graph.Registrations(u); err != nil || len(list) != 0 {
			t.Fatalf("round %d: %+v, %v", i, list, err)
		}
	}
}

func TestDeviceNotifiesAndBackground(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	l := w.connect("alice", "phone")
	u := w.account("alice").ID
	d := store.DeviceOf(u, "phone")
	ask := func(body string) obj {
		t.Helper()
		return w.mqtt("alice", "phone", "device.set", "", body)
	}
	want(t, "platform", ask(`{"platform":"ios","notifies":true}`)["device"].(obj)["notifies"], true)
	want(t, "platform stays", say(ask(`{"notifies":true}`)["device"].(obj)["platform"]), "ios")
	want(t, "notifies stays", say(ask(`{"platform":"android"}`)["device"].(obj)["notifies"]), "true")
	want(t, "in the background", ask(`{"background":true}`)["device"].(obj)["background"], true)
	if _, _, background := w.broker.Link(u, d); !background {
		t.Error("not in the background")
	}
	want(t, "notifies no more", say(ask(`{"notifies":false}`)["device"].(obj)["notifies"], ask(``)["device"].(obj)["background"]), "<nil> true")
	want(t, "in front", ask(`{"background":false}`)["device"].(obj)["background"], nil)
	want(t, "for another device", w.as("alice", 400, "device.set", obj{"device": d.String(), "background": true})["text"], "background is said by the device itself")
	if more, err := w.api.graph.Device(u, d); err != nil || more.Platform != graph.PlatformAndroid || more.Notifies {
		t.Errorf("%+v, %v", more, err)
	}
	ask(`{"background":true}`)
	l.Close(io.EOF)
	for connected := true; connected; connected, _, _ = w.broker.Link(u, d) {
		time.Sleep(time.Millisecond) // its reader detaches it
	}
	want(t, "without a connection", say(ask(`{"background":true}`)["code"], ask(`{"background":true}`)["text"]), "409 background is of a connection, and the device has none")
	w.connect("alice", "phone")
	want(t, "forgotten", ask(``)["device"].(obj)["background"], nil)
}

func TestPreviewOfOneConversation(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol")
	w.friends("alice", "bob")
	w.as("alice", 200, "room.create", obj{"room": "lobby"})
	w.as("bob", 200, "message.send", obj{"user": "alice", "text": "hi"})
	before := len(w.notices("alice"))
	set := func(body obj) string {
		t.Helper()
		out := w.as("alice", 200, "preview.set", body)
		return say(out["changed"], out["preview"])
	}
	want(t, "room", set(obj{"room": "lobby", "preview": "hidden"}), "true hidden")
	want(t, "again", set(obj{"room": "lobby", "preview": "hidden"}), "false hidden")
	want(t, "user", set(obj{"user": "bob", "preview": "full"}), "true full")
	want(t, "notices", w.notices("alice")[before:], "[settings lobby settings bob]")
	want(t, "list", w.as("alice", 200, "preview.list", nil)["previews"], []any{obj{"user": "bob", "preview": "full"}, obj{"room": "lobby", "preview": "hidden"}})
	w.as("alice", 200, "settings.set", obj{"preview": "full"})
	want(t, "as for all", set(obj{"room": "lobby", "preview": ""}), "true full")
	want(t, "of bob's", w.as("bob", 200, "preview.list", nil)["previews"], "[]")
	for _, c := range []struct {
		body obj
		code int
		text string
	}{
		{obj{"room": "lobby"}, 400, "preview must be sender, full or hidden, or empty for what is set for all"},
		{obj{"room": "lobby", "preview": "none"}, 400, "preview must be sender, full or hidden, or empty for what is set for all"},
		{obj{"room": "nowhere", "preview": "full"}, 404, "you have no such room"},
		{obj{"user": "carol", "preview": "full"}, 404, "you have no conversation with this user"},
		{obj{"preview": "full"}, 400, "room or user is missing"},
	} {
		want(t, say(c.body), w.as("alice", c.code, "preview.set", c.body)["text"], c.text)
	}
	set(obj{"room": "lobby", "preview": "hidden"})
	w.as("alice", 200, "room.leave", obj{"room": "lobby"})
	want(t, "left", w.as("alice", 200, "preview.list", nil)["previews"], []any{obj{"user": "bob", "preview": "full"}})
}

// The copy of one's data tells that a device is woken, and never the address by which it is.
func TestPushInTheExport(t *testing.T) {
	w := newWorld(t, withPushes)
	w.users("alice")
	id, _ := w.deviceOf("alice", "phone")
	w.as("alice", 200, "device.push", obj{"device": id, "provider": "apns", "token": apnsToken})
	var b bytes.Buffer
	if err := w.api.Export(t.Context(), w.account("alice").ID, &b); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	told := false
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(apnsToken)) {
			t.Errorf("%s holds the token", f.Name)
		}
		told = told || f.Name == "devices.jsonl" && bytes.Contains(text, []byte(`"push":{"provider":"apns","since":`))
	}
	if !told {
		t.Error("devices.jsonl does not tell it")
	}
}
