package hooks

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hwangso/hwangso/store"
)

var kinds = []error{ErrOutside, ErrReserved, ErrDeliveryOnly, ErrBadName, ErrBadCID, ErrTooLong, ErrShared, ErrSys, ErrNothing}

// kindOf returns the one sentinel that err wraps.
func kindOf(t testing.TB, err error) error {
	t.Helper()
	var found error
	for _, k := range kinds {
		if errors.Is(err, k) {
			if found != nil {
				t.Fatalf("%q is both %v and %v", err, found, k)
			}
			found = k
		}
	}
	if err != nil && found == nil {
		t.Fatalf("%q wraps no sentinel", err)
	}
	return found
}

func TestParsePublishAccepts(t *testing.T) {
	for topic, want := range map[string]Topic{
		"room/lobby/text":         {Place: Room, Act: Message, View: Text, Name: "lobby"},
		"room/Lobby/json/Cid-1":   {Place: Room, Act: Message, View: JSON, Name: "lobby", CID: "Cid-1"},
		"room/lobby/cbor":         {Place: Room, Act: Message, View: CBOR, Name: "lobby"},
		"room/lobby/typing":       {Place: Room, Act: Typing, Name: "lobby"},
		"room/lobby/read":         {Place: Room, Act: Read, Name: "lobby"},
		"room/lobby/edit":         {Place: Room, Act: Edit, Name: "lobby"},
		"room/lobby/edit/x.1":     {Place: Room, Act: Edit, Name: "lobby", CID: "x.1"},
		"user/Bob/text":           {Place: User, Act: Message, View: Text, Name: "bob"},
		"user/text/text/text":     {Place: User, Act: Message, View: Text, Name: "text", CID: "text"},
		"user/bob/typing":         {Place: User, Act: Typing, Name: "bob"},
		"user/bob/read":           {Place: User, Act: Read, Name: "bob"},
		"user/bob/edit/7":         {Place: User, Act: Edit, Name: "bob", CID: "7"},
		"user/a~b_c.d-e/cbor":     {Place: User, Act: Message, View: CBOR, Name: "a~b_c.d-e"},
		"user/.../text":           {Place: User, Act: Message, View: Text, Name: "..."},
		"channel/cafe/json/c":     {Place: Channel, Act: Message, View: JSON, Name: "cafe", CID: "c"},
		"channel/cafe/edit/7":     {Place: Channel, Act: Edit, Name: "cafe", CID: "7"},
		"channel/ask/text":        {Place: Channel, Act: Message, View: Text, Name: "ask"},
		"channel/cafe/ask/text":   {Place: Channel, Act: Ask, View: Text, Name: "cafe"},
		"thread/Cafe/K7/json":     {Place: Thread, Act: Message, View: JSON, Name: "cafe", Sub: "k7"},
		"api/room.create/Req-1":   {Place: API, Act: Call, Name: "room.create", Sub: "Req-1"},
		"room/" + n64 + "/text":   {Place: Room, Act: Message, View: Text, Name: n64},
		"room/r/text/" + n64[:36]: {Place: Room, Act: Message, View: Text, Name: "r", CID: n64[:36]},
	} {
		got, err := ParsePublish(topic)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", topic, got, err, want)
			continue
		}
		if again, err := ParsePublish(got.String()); err != nil || again != got {
			t.Errorf("%s: String %s parses as %+v, %v", topic, got, again, err)
		}
	}
}

var n64 = strings.Repeat("abcdefgh", 8)

func TestParsePublishRefuses(t *testing.T) {
	for topic, want := range map[string]error{
		"":                                  ErrOutside,
		"/":                                 ErrOutside,
		"/room/lobby/text":                  ErrOutside,
		"room":                              ErrOutside,
		"room/":                             ErrBadName,
		"room/lobby":                        ErrOutside,
		"room/lobby/":                       ErrOutside,
		"room/lobby/txt":                    ErrOutside,
		"room/lobby/TEXT":                   ErrOutside,
		"ROOM/lobby/text":                   ErrOutside,
		"foo/bar":                           ErrOutside,
		"t":                                 ErrOutside,
		"t/kitchen/lamp":                    ErrOutside,
		"room/+/text":                       ErrOutside,
		"room/lobby/#":                      ErrOutside,
		"#":                                 ErrOutside,
		"room/lobby/line":                   ErrDeliveryOnly,
		"room/lobby/batch":                  ErrDeliveryOnly,
		"user/bob/line/c":                   ErrDeliveryOnly,
		"channel/cafe/batch":                ErrDeliveryOnly,
		"channel/cafe/ask/line":             ErrDeliveryOnly,
		"thread/cafe/k7/batch":              ErrDeliveryOnly,
		"room/./text":                       ErrBadName,
		"room/../text":                      ErrBadName,
		"room//text":                        ErrBadName,
		"room/a b/text":                     ErrBadName,
		"room/한글/text":                      ErrBadName,
		"room/\u212a/text":                  ErrBadName, // Kelvin sign folds to k
		"room/a\x00b/text":                  ErrBadName,
		"room/\xff/text":                    ErrBadName,
		"room/" + n64 + "a/text":            ErrBadName,
		"thread/cafe//text":                 ErrBadName,
		"thread/cafe/../text":               ErrBadName,
		"api/profile.get/":                  ErrBadName,
		"api/profile.get/a/b":               ErrBadName,
		"api/a b/1":                         ErrBadName,
		"room/lobby/text/":                  ErrBadCID,
		"room/lobby/text/a b":               ErrBadCID,
		"room/lobby/text/a/b":               ErrBadCID,
		"room/r/text/" + n64[:37]:           ErrBadCID,
		"room/lobby/edit/":                  ErrBadCID,
		"user/bob/edit/a/b":                 ErrBadCID,
		"room/lobby/read/5":                 ErrOutside,
		"room/lobby/typing/alice":           ErrReserved,
		"channel/cafe":                      ErrOutside,
		"channel/cafe/ask":                  ErrOutside,
		"channel/cafe/ask/text/c":           ErrOutside,
		"channel/cafe/typing":               ErrOutside,
		"channel/cafe/read":                 ErrOutside,
		"channel/cafe/progress":             ErrReserved,
		"thread":                            ErrOutside,
		"thread/cafe":                       ErrOutside,
		"thread/cafe/k7":                    ErrOutside,
		"thread/cafe/k7/text/c":             ErrOutside,
		"api":                               ErrOutside,
		"api/profile.get":                   ErrOutside,
		"reply":                             ErrReserved,
		"reply/1":                           ErrReserved,
		"notice/json":                       ErrReserved,
		"presence/bob":                      ErrReserved,
		"$SYS/broker/uptime":                ErrReserved,
		"$share/g/room/lobby/text":          ErrReserved,
		"$x":                                ErrReserved,
		strings.Repeat("a", 513):            ErrTooLong,
		strings.Repeat("/", 128):            ErrTooLong,
		strings.Repeat("/", 127):            ErrOutside,
		"room/" + strings.Repeat("x/", 200): ErrTooLong,
	} {
		got, err := ParsePublish(topic)
		if err == nil || got != (Topic{}) || kindOf(t, err) != want {
			t.Errorf("%q: %+v, %v (%v); want %v", topic, got, err, kindOf(t, err), want)
			continue
		}
		checkText(t, err)
	}
}

// checkText holds that an error's text is fit for a terminal and a reason string.
func checkText(t testing.TB, err error) {
	t.Helper()
	s := err.Error()
	if e, ok := errors.AsType[*store.Error](err); !ok || e.Code != store.CodeBad || e.Reason != ReasonTopic || e.Text != s || store.CodeOf(err) != store.CodeBad {
		t.Errorf("%q is no store.Error", s)
	}
	if len(s) > 512 || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e }) {
		t.Errorf("unfit error text %q", s)
	}
}

func TestErrorTextIsHelpful(t *testing.T) {
	for topic, want := range map[string]string{
		"room/lobby":      `"room/lobby": the last part is missing, as in room/lobby/text`,
		"room/lobby/txt":  `"room/lobby/txt": "txt" is no encoding; publish as text, json or cbor, or send to …/typing, …/read or …/edit`,
		"user/bob/line":   `"user/bob/line": line is for receiving; publish as text, json or cbor`,
		"t/lamp":          `"t/lamp": t/ is reserved for plain MQTT topics, which this server does not carry`,
		"Room/lobby/text": `"Room/lobby/text": write "Room" in lower case`,
	} {
		if _, err := ParsePublish(topic); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", topic, err, want)
		}
	}
}

func TestAppendDelivery(t *testing.T) {
	for want, topic := range map[string]Topic{
		"room/lobby/batch":        {Place: Room, Act: Message, Name: "lobby", View: Batch, CID: "dropped"},
		"room/lobby/typing/alice": {Place: Room, Act: Typing, Name: "lobby", Sub: "alice"},
		"room/lobby/read":         {Place: Room, Act: Read, Name: "lobby"},
		"room/lobby/edit":         {Place: Room, Act: Edit, Name: "lobby", CID: "dropped"},
		"user/bob/line":           {Place: User, Act: Message, Name: "bob", View: Line},
		"user/bob/typing/bob":     {Place: User, Act: Typing, Name: "bob", Sub: "bob"},
		"user/bob/read":           {Place: User, Act: Read, Name: "bob"},
		"channel/cafe/cbor":       {Place: Channel, Act: Message, Name: "cafe", View: CBOR},
		"channel/cafe/edit":       {Place: Channel, Act: Edit, Name: "cafe"},
		"channel/cafe/ask/json":   {Place: Channel, Act: Ask, Name: "cafe", View: JSON},
		"channel/cafe/progress":   {Place: Channel, Act: Progress, Name: "cafe"},
		"thread/cafe/k7/text":     {Place: Thread, Act: Message, Name: "cafe", Sub: "k7", View: Text},
		"presence/bob":            {Place: Presence, Act: Status, Name: "bob"},
		"notice/json":             {Place: Notice, Act: Message, View: JSON},
		"reply/Rid-1":             {Place: Reply, Act: Answer, Sub: "Rid-1"},
		"api/sync/1":              {Place: API, Act: Call, Name: "sync", Sub: "1"},
	} {
		if got := string(AppendDelivery([]byte("x"), topic)); got != "x"+want {
			t.Errorf("got %s, want x%s", got, want)
		}
		all, _ := ParseFilter("#")
		one, err := ParseFilter(want)
		if err != nil || !one.Matches(want) || !all.Matches(want) {
			t.Errorf("%s: its own filter: %v", want, err)
		}
		if topic.Place != API && !one.Could(topic.Place, topic.Act) {
			t.Errorf("%s: the filter could not match %v %v", want, topic.Place, topic.Act)
		}
	}
}

func TestParseResponse(t *testing.T) {
	for topic, want := range map[string]error{
		"reply/1": nil, "reply/a/b": nil, "reply/한글": nil, "reply/Ab": nil,
		"reply": ErrReserved, "reply/": ErrOutside, "reply/+": ErrOutside, "reply/#": ErrOutside, "reply/\x00": ErrOutside,
		"reply/\xff": ErrOutside, "user/bob/text": ErrReserved, "": ErrReserved, "Reply/x": ErrReserved,
		"reply/" + strings.Repeat("a", 512): ErrTooLong, "reply/" + strings.Repeat("/", 128): ErrTooLong,
	} {
		if err := ParseResponse(topic); kindOf(t, err) != want {
			t.Errorf("%q: %v, want %v", topic, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{"Alice": "alice", "a": "a", "A-B.c_D~9": "a-b.c_d~9", n64: n64,
		"": "!", ".": "!", "..": "!", "a/b": "!", "a+": "!", "#": "!", " a": "!", "ä": "!", n64 + "a": "!", "a\n": "!"} {
		got, ok := NormalName(name)
		if ok != (want != "!") || ok != ValidName(name) || ok && got != want {
			t.Errorf("%q: %q %v", name, got, ok)
		}
	}
	for i := range 256 {
		c := byte(i)
		want := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._~-", c) >= 0
		if ValidCID(string([]byte{c})) != want {
			t.Errorf("byte %#x: valid %v", i, !want)
		}
	}
	if !ValidCID(n64[:36]) || ValidCID(n64[:37]) || ValidCID("") || !ValidRequestID(n64) || ValidRequestID(n64+"a") {
		t.Error("length of cid or request id")
	}
}

func TestWordsRoundTrip(t *testing.T) {
	for p := Room; p < places; p++ {
		if parsePlace(p.String()) != p {
			t.Errorf("place %v", p)
		}
	}
	for v := Text; v < views; v++ {
		if got, ok := ParseView(v.String()); !ok || got != v {
			t.Errorf("view %v", v)
		}
	}
	if s := fmt.Sprint(Place(0), Act(0), View(0), places, acts, views); strings.Count(s, "(") != 6 {
		t.Errorf("out of range: %s", s)
	}
	if !(Batch > CBOR && CBOR > JSON && JSON > Line && Line > Text) {
		t.Error("the order of the views is their preference")
	}
}

func TestParsingDoesNotAllocate(t *testing.T) {
	one := mustFilter(t, "room/+/json")
	filters := []Filter{one, mustFilter(t, "user/#"), mustFilter(t, "notice/text")}
	buf := make([]byte, 0, 64)
	var sink Topic
	n := testing.AllocsPerRun(100, func() {
		sink, _ = ParsePublish("room/lobby/text/cid-1")
		buf = AppendDelivery(buf[:0], sink)
		Select(filters, sink)
		count := 0
		MatchDelivered(filters, "room/lobby/json", func(int) bool { count++; return true })
		AnyCould(filters, Room, Typing)
		_, _, _ = filters[0].Single()
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParsePublish(f *testing.F) {
	for _, s := range []string{"room/lobby/text", "room/Lobby/json/Cid", "user/bob/edit/7", "user/bob/typing", "channel/c/ask/text",
		"thread/c/p/json", "api/sync/1", "reply/x", "$SYS/x", "t/x", "room/+/text", "room//text", "", "/", "room/a\x00/text", "room/\xff/text"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParsePublish(s)
		if err != nil {
			if got != (Topic{}) || kindOf(t, err) == nil {
				t.Fatalf("%q: %+v with %v", s, got, err)
			}
			checkText(t, err)
			return
		}
		if len(s) > MaxTopic || !ValidName(got.Name) || got.Name != lower(got.Name) || got.CID != "" && !ValidCID(got.CID) {
			t.Fatalf("%q: %+v", s, got)
		}
		if !strings.EqualFold(s, got.String()) {
			t.Fatalf("%q: String is %q", s, got)
		}
		again, err := ParsePublish(got.String())
		if err != nil || again != got {
			t.Fatalf("%q: %+v parses again as %+v, %v", s, got, again, err)
		}
		// Whoever subscribes to everything is offered the delivery.
		d := string(AppendDelivery(nil, got))
		if _, err := ParseFilter(d); err != nil {
			t.Fatalf("%q: delivery topic %q is no filter: %v", s, d, err)
		}
	})
}

func BenchmarkParsePublish(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = ParsePublish("room/lobby/text/f3a9c2")
	}
}
