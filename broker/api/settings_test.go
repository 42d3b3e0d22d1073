package api

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// The table, the types that requests and answers have, and what the graph says of a user who never chose are the same.
func TestSettingTable(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[settingsOut](), reflect.TypeFor[settingsIn]()} {
		if typ.NumField() != len(settingTable) {
			t.Fatalf("%s has %d fields, the table %d rows", typ, typ.NumField(), len(settingTable))
		}
		for i, row := range settingTable {
			f := typ.Field(i)
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != row.name {
				t.Errorf("%s: field %d is %s, row %s", typ, i, name, row.name)
			}
			if row.valid != nil {
				continue
			}
			if want := strings.ReplaceAll(alternatives(row.values), "  ", " ") + "."; f.Tag.Get("doc") != want {
				t.Errorf("%s: %s is documented as %q, the table says %q", typ, row.name, f.Tag.Get("doc"), want)
			}
		}
	}
	for _, row := range settingTable {
		var s graph.Settings
		values := row.values
		if row.valid != nil {
			values = []string{"", "KR"}
		}
		for _, v := range append(values, values[0]) {
			if !row.takes(v) {
				t.Errorf("%s does not take %s", row.name, v)
			}
			row.set(&s, v)
			if got := row.get(&s); got != v {
				t.Errorf("%s: set %s, got %s", row.name, v, got)
			}
		}
	}
	// The defaults that the policy states.
	got := *shownSettings(&graph.Settings{})
	want := settingsOut{"warn", "ask", "off", "off", "on", "sender", "silent", "mentions", "mutual", ""}
	if got != want {
		t.Errorf("defaults are %+v", got)
	}
}

func TestSettings(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob")
	want(t, "defaults", w.as("alice", 200, "settings.get", nil)["strangers"], "warn")
	token := w.as("alice", 200, "sync", nil)["token"]
	out := w.as("alice", 200, "settings.set", obj{"strangers": "closed", "findable": "off", "presence": "on"})
	want(t, "changed", say(out["strangers"], out["findable"], out["presence"], out["invitations"]), "closed off on ask")
	s, err := w.api.graph.Settings(w.account("alice").ID)
	if err != nil || s.Closed == 0 || !s.Unfindable || !s.Presence {
		t.Errorf("kept %+v, %v", s, err)
	}
	w.as("alice", 200, "settings.set", obj{"strangers": "closed"}) // nothing moves: no notice
	want(t, "notices", w.notices("alice"), "[settings]")
	want(t, "of bob", w.as("bob", 200, "settings.get", nil)["strangers"], "warn")

	changed := w.as("alice", 200, "sync", obj{"token": token})
	want(t, "sync", changed["settings"].(obj)["findable"], "off")
	if again := w.as("alice", 200, "sync", obj{"token": changed["token"]}); again["settings"] != nil || again["quiet"] != nil {
		t.Errorf("told twice: %v", again)
	}
	w.as("alice", 200, "settings.set", obj{"strangers": "warn", "findable": "on", "presence": "off"})
	if s, err := w.api.graph.Settings(w.account("alice").ID); err != nil || s.Closed == 0 || s.StrangersMode() != graph.StrangersWarn {
		t.Errorf("opening forgets when strangers were shut out: %+v, %v", s, err)
	}

	for body, text := range map[string]string{
		`{"strangers":"everyone"}`:                    "strangers must be warn, open, request or closed",
		`{"strangers":""}`:                            "strangers must be warn, open, request or closed",
		`{"presence":"Yes"}`:                          "presence must be off or on",
		`{"preview":"full","discovery":"x"}`:          "discovery must be mutual, anyone or off",
		`{"country":"Korea"}`:                         "country must be a country's two letters of ISO 3166-1, such as KR, or empty",
		`{"country":"kr"}`:                            "country must be a country's two letters of ISO 3166-1, such as KR, or empty",
		`{"presence":true}`:                           "presence must be a string, not bool",
		`{"hide_blocked":"on","invitations":"none"}`:  "invitations must be ask, anyone, friends or nobody",
		`{"open_room_pushes":"\u202ementions\u0000"}`: "open_room_pushes must be mentions or all",
	} {
		want(t, body, w.as("alice", 400, "settings.set", body)["text"], text)
	}
	want(t, "after refusals", say(w.as("alice", 200, "settings.get", nil)["preview"], w.as("alice", 200, "settings.get", nil)["hide_blocked"]), "sender off")
	want(t, "country", say(w.as("bob", 200, "settings.set", obj{"country": "KR"})["country"], w.as("bob", 200, "settings.set", obj{"country": ""})["country"]), "KR")
	want(t, "over MQTT", w.mqtt("bob", "phone", "settings.set", "1", `{"preview":"hidden"}`)["preview"], "hidden")
}

func TestMutes(t *testing.T) {
	w := newWorld(t)
	w.users("alice", "bob", "carol")
	w.friends("alice", "bob")
	w.as("alice", 200, "room.create", obj{"room": "lobby"})
	w.op(200, "room.add", obj{"room": "lobby", "users": []string{"bob"}})
	w.as("bob", 200, "message.send", obj{"user": "alice", "text": "hi"})
	token := w.as("alice", 200, "sync", nil)["token"]

	until := w.now().Add(time.Hour).UTC().Truncate(time.Second)
	out := w.as("alice", 200, "mute.set", obj{"room": "lobby", "until": until.Format(time.RFC3339), "mentions": true})
	want(t, "muted", say(out["changed"], out["mute"]), say(true, obj{"until": until.Format(time.RFC3339), "mentions": true}))
	want(t, "again", w.as("alice", 200, "mute.set", obj{"room": "lobby", "until": until.Format(time.RFC3339), "mentions": true})["changed"], false)
	w.as("alice", 200, "mute.set", obj{"user": "bob"})
	want(t, "notices", w.notices("alice"), "[mute lobby mute bob]")
	want(t, "list", w.as("alice", 200, "mute.list", nil)["mutes"],
		[]any{obj{"user": "bob", "mute": obj{}}, obj{"room": "lobby", "mute": obj{"until": until.Format(time.RFC3339), "mentions": true}}})
	for _, r := range w.as("alice", 200, "room.list", nil)["rooms"].([]any) {
		if r.(obj)["mute"] == nil {
			t.Errorf("not shown as muted: %v", r)
		}
	}
	want(t, "of bob", w.as("bob", 200, "mute.list", nil)["mutes"], "[]")
	changed := w.as("alice", 200, "sync", obj{"token": token})
	want(t, "changed in sync", len(changed["rooms"].([]any)), 2)
	want(t, "told once", len(w.as("alice", 200, "sync", obj{"token": changed["token"]})["rooms"].([]any)), 0)

	info, err := w.store.Find(store.RoomKey("lobby"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.api.graph.Mute(w.account("alice").ID, info.ID)
	if err != nil || m == nil || m.Until != until.UnixMilli() || !m.Mentions {
		t.Errorf("kept %+v, %v", m, err)
	}
	want(t, "heard", w.as("alice", 200, "mute.set", obj{"room": "lobby", "on": false})["changed"], true)
	want(t, "list", len(w.as("alice", 200, "mute.list", nil)["mutes"].([]any)), 1)
	want(t, "in sync", len(w.as("alice", 200, "sync", obj{"token": changed["token"]})["rooms"].([]any)), 1)

	for body, text := range map[string]string{
		`{}`:                              "room or user is missing",
		`{"room":"lobby","until":"soon"}`: "until must be a time such as 2026-01-31T08:00:00Z",
		`{"room":"lobby","until":"2020-01-01T00:00:00Z"}`:            "until must lie in the future, at most ten years; leave it out to mute for ever",
		`{"room":"lobby","until":"9999-01-01T00:00:00Z"}`:            "until must lie in the future, at most ten years; leave it out to mute for ever",
		`{"room":"lobby","on":false,"until":"2030-01-01T00:00:00Z"}`: "until and mentions belong to a mute: leave them out with on false",
	} {
		want(t, body, w.as("alice", 400, "mute.set", body)["text"], text)
	}
	// Nobody learns what there is by muting it.
	missing := w.as("carol", 404, "mute.set", obj{"room": "nowhere"})["text"]
	want(t, "a foreign room", w.as("carol", 404, "mute.set", obj{"room": "lobby"})["text"], missing)
	missing = w.as("carol", 404, "mute.set", obj{"user": "nobody"})["text"]
	want(t, "a stranger", w.as("carol", 404, "mute.set", obj{"user": "bob"})["text"], missing)
	w.as("bob", 200, "room.leave", obj{"room": "lobby"})
	w.as("bob", 404, "mute.set", obj{"room": "lobby"})
}

func TestQuiet(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	want(t, "none", w.as("alice", 200, "quiet.get", nil), obj{"code": 200, "on": false})
	out := w.as("alice", 200, "quiet.set", obj{"zone": "Asia/Seoul", "from": "22:00", "to": "07:30", "days": []string{"sun", "Mon"}})
	delete(out, "ends")
	want(t, "set", out, obj{"code": 200, "on": true, "zone": "Asia/Seoul", "from": "22:00", "to": "07:30", "days": []string{"mon", "sun"}})
	always := w.as("alice", 200, "quiet.set", obj{"zone": "UTC", "from": "00:00", "to": "00:00", "days": []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}})
	if always["to"] != "24:00" || always["days"] != nil || always["ends"] == nil {
		t.Errorf("a quiet week is %v", always)
	}
	want(t, "in sync", w.as("alice", 200, "sync", nil)["quiet"].(obj)["zone"], "UTC")
	w.as("alice", 200, "quiet.set", obj{"on": false})
	w.as("alice", 200, "quiet.set", obj{"on": false})
	want(t, "ended", w.as("alice", 200, "quiet.get", nil)["on"], false)
	want(t, "notices", w.notices("alice"), "[quiet quiet quiet]")
	for body, text := range map[string]string{
		`{"from":"22:00","to":"07:00"}`:                                 "zone is missing: the IANA name of a time zone, such as Asia/Seoul",
		`{"zone":"KST+9","from":"22:00","to":"07:00"}`:                  "zone must be the IANA name of a time zone, such as Asia/Seoul",
		`{"zone":"../UTC","from":"22:00","to":"07:00"}`:                 "zone must be the IANA name of a time zone, such as Asia/Seoul",
		`{"zone":"UTC","to":"07:00"}`:                                   "from must be a time of day such as 07:30",
		`{"zone":"UTC","from":"7:30","to":"07:00"}`:                     "from must be a time of day such as 07:30",
		`{"zone":"UTC","from":"22:00","to":"25:00"}`:                    "to must be a time of day such as 07:30",
		`{"zone":"UTC","from":"24:00","to":"07:00"}`:                    "from must be a time of day from 00:00 to 23:59",
		`{"zone":"UTC","from":"07:00","to":"07:00"}`:                    "from and to must differ; a whole day is 00:00 to 24:00",
		`{"zone":"UTC","from":"07:00","to":"08:00","days":["someday"]}`: "days must be mon, tue, wed, thu, fri, sat or sun",
		`{"on":false,"zone":"UTC"}`:                                     "leave the hours out with on false",
		`{"zone":"UTC","from":"07:00","to":"08:00","days":"mon"}`:       "days must be a list, not string",
	} {
		want(t, body, w.as("alice", 400, "quiet.set", body)["text"], text)
	}
}
