package api

import (
	"errors"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/store"
)

func TestDeviceSaysWhatItIs(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	w.connect("alice", "phone")
	id := store.DeviceOf(w.account("alice").ID, "phone").String()
	list := func() obj { return w.as("alice", 200, "device.list", nil)["devices"].([]any)[0].(obj) }
	d := list()
	seen, err := time.Parse(time.RFC3339, d["last_seen"].(string))
	if err != nil || seen.Second() != 0 || time.Since(seen) > time.Hour || d["platform"] != nil {
		t.Errorf("%v, %v", d, err)
	}
	want(t, "platform", w.as("alice", 200, "device.set", obj{"device": id, "platform": "ios"})["device"].(obj)["platform"], "ios")
	w.as("alice", 200, "device.set", obj{"device": id, "label": "Mine"})
	want(t, "platform", say(list()["platform"], list()["label"]), "ios Mine")
	want(t, "unknown", w.as("alice", 400, "device.set", obj{"device": id, "platform": "symbian"})["text"],
		"platform must be android, ios, blackberry, windows, macos, linux, web or other")
	w.as("alice", 200, "device.set", obj{"device": id, "platform": ""})
	want(t, "not said", list()["platform"], nil)
	w.as("alice", 200, "device.set", obj{"device": id, "platform": "web"})
	w.as("alice", 200, "device.remove", obj{"device": id})
	w.connect("alice", "phone") // another one of the same name
	want(t, "forgotten", list()["platform"], nil)
}

func TestSignOutOthers(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	phone, tablet := w.connect("alice", "phone"), w.connect("alice", "tablet")
	secret := w.as("alice", 200, "token.create", obj{"client_id": "tablet"})["secret"].(string)
	mine := w.as("alice", 200, "token.create", obj{"client_id": "phone"})["secret"].(string)
	other := w.op(200, "account.token", obj{"account": "alice"})["secret"].(string)
	bob := w.connect("bob", "phone")

	r := do(t, w.public.URL, "account.signout_others", "Bearer "+mine, nil)
	want(t, "signed out", string(r.raw), `{"code":200,"devices":1,"tokens":2}`)
	<-tablet.closed
	if !errors.Is(tablet.why, broker.ErrRemoved) {
		t.Errorf("the tablet ended with %v", tablet.why)
	}
	for _, l := range []*wired{phone, bob} {
		select {
		case <-l.closed:
			t.Errorf("another connection ended: %v", l.why)
		default:
		}
	}
	for token, status := range map[string]int{secret: 401, other: 401, w.tokens["alice"]: 401, mine: 200} {
		want(t, "token", do(t, w.public.URL, "account.me", "Bearer "+token, nil).status, status)
	}
	w.tokens["alice"] = mine
	want(t, "notices", w.notices("alice"), "[device_removed tablet]")
	want(t, "devices", len(w.as("alice", 200, "device.list", nil)["devices"].([]any)), 1)

	// With a token that opens every device, all of them go, and the answer says what is left open.
	account := w.op(200, "account.token", obj{"account": "alice"})["secret"].(string)
	r = do(t, w.public.URL, "account.signout_others", "Bearer "+account, nil)
	want(t, "signed out", string(r.raw), `{"code":200,"devices":1,"tokens":0,"rotate":true}`)
	<-phone.closed
}
