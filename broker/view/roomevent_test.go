package view

import (
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// nicks are names of a room's own.
type nicks struct{}

func (nicks) Name(a store.AccountID) string {
	return map[store.AccountID]string{1: "~one", 2: "~two"}[a]
}
func (nicks) Nickname(a store.AccountID) string {
	return map[store.AccountID]string{1: "Whale", 2: "Otter"}[a]
}

func TestRoomEvents(t *testing.T) {
	for _, c := range []struct {
		e          RoomEvent
		json, line string
	}{
		{RoomEvent{What: RoomLocked}, `"x":{"op":"locked"}`, "· Whale locked the room"},
		{RoomEvent{What: RoomUnlocked}, `"x":{"op":"unlocked"}`, "· Whale unlocked the room"},
		{RoomEvent{What: RoomSlow, At: 30}, `"x":{"op":"slow","at":30}`, "· Whale turned on slow mode: one message every 30 s"},
		{RoomEvent{What: RoomSlow}, `"x":{"op":"slow"}`, "· Whale turned off slow mode"},
		{RoomEvent{What: RoomMuted, Who: 2, At: 99}, `"x":{"op":"muted","who":"~two","at":99}`, "· Whale muted Otter"},
		{RoomEvent{What: RoomMuted, Who: 2}, `"x":{"op":"muted","who":"~two"}`, "· Whale muted Otter"},
		{RoomEvent{What: RoomUnmuted, Who: 2}, `"x":{"op":"unmuted","who":"~two"}`, "· Whale lets Otter write again"},
	} {
		r := &store.Record{Seq: 3, Sender: 1, Kind: store.KindSystem, Extra: c.e.Extra()}
		if got := string(JSON(r, Env{Names: nicks{}}).Append(nil, Own{})); !strings.Contains(got, c.json) || !strings.Contains(got, `"f":"~one"`) {
			t.Errorf("%s has no %s", got, c.json)
		}
		if got := string(Line(nil, r, English, nicks{}, Own{})); got != c.line {
			t.Errorf("%q, want %q", got, c.line)
		}
		if got := string(CBOR(r, Env{Names: nicks{}}).Append(nil, Own{})); !strings.Contains(got, c.e.What) {
			t.Errorf("CBOR %q", got)
		}
		for l := range langs {
			got := string(Text(nil, r, l, nicks{}))
			if got == "" || strings.Contains(got, "{") || !strings.Contains(got, "Whale") || c.e.Who != 0 && !strings.Contains(got, "Otter") {
				t.Errorf("%v: %q", l, got)
			}
		}
	}
	r := &store.Record{Seq: 3, Sender: 1, Kind: store.KindSystem, Extra: []byte{0xff}, Text: []byte("closed")}
	if got := string(Line(nil, r, English, nicks{}, Own{})); got != "· closed" {
		t.Errorf("what is no event: %q", got)
	}
}

// The sender's own id of a message goes back to the sender alone where envelopes are private.
func TestPrivateCID(t *testing.T) {
	r := &store.Record{Seq: 3, Time: 5, Sender: 1, CID: "c1", Text: []byte("hi")}
	for _, encode := range []func(*store.Record, Env) Shared{JSON, CBOR} {
		open, private := encode(r, Env{Names: nicks{}}), encode(r, Env{Names: nicks{}, Private: true})
		if a, b := string(open.Append(nil, Own{Viewer: 1})), string(private.Append(nil, Own{Viewer: 1})); a != b {
			t.Errorf("the sender gets %q, want %q", b, a)
		}
		if got := string(private.Append(nil, Own{Viewer: 2})); strings.Contains(got, "c1") {
			t.Errorf("another one gets %q", got)
		}
		without := &store.Record{Seq: 3, Time: 5, Sender: 1, Text: []byte("hi")}
		if a, b := string(encode(without, Env{Names: nicks{}}).Append(nil, Own{Viewer: 2})), string(private.Append(nil, Own{Viewer: 2})); a != b {
			t.Errorf("another one gets %q, want %q", b, a)
		}
	}
}
