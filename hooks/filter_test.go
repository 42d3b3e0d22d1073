package hooks

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

func mustFilter(t testing.TB, s string) Filter {
	t.Helper()
	f, err := ParseFilter(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return f
}

func TestParseFilter(t *testing.T) {
	for s, want := range map[string]error{
		"#": nil, "+/#": nil, "+/+": nil, "+/+/+": nil, "+/+/+/+": nil, "+/lobby/json": nil, "+/json": nil, "+/+/typing/bob": nil,
		"room/#": nil, "room/+/#": nil, "room/+/json": nil, "room/+/+": nil, "room/lobby/#": nil, "room/lobby/+": nil, "room/lobby/line": nil,
		"room/+/batch": nil, "room/+/text/#": nil, "room/+/typing/+": nil, "room/+/typing/#": nil, "room/+/typing/Bob": nil, "room/+/typing": nil,
		"room/+/read": nil, "room/+/edit": nil, "room/+/+/+": nil, "+/+/typing/+": nil, "user/+/json": nil, "user/bob/typing/bob": nil,
		"user/+/read": nil, "user/+/edit/#": nil, "channel/+/json": nil, "channel/+/edit": nil, "channel/+/ask/json": nil, "channel/cafe/ask/+": nil,
		"channel/cafe/progress": nil, "thread/cafe/+/json": nil, "thread/#": nil, "presence/+": nil, "presence/bob": nil, "notice/json": nil,
		"notice/+": nil, "notice/#": nil, "api/#": nil, "api/+/+": nil, "reply/#": nil, "reply/+": nil, "reply/Abc": nil, "reply/a/b": nil,
		"room/Lobby/text": nil,

		"": ErrOutside, "/": ErrOutside, "/#": ErrOutside, "foo": ErrOutside, "foo/#": ErrOutside, "t/#": ErrOutside, "t/kitchen": ErrOutside,
		"ROOM/#": ErrOutside, "a/b#": ErrOutside, "room/b#": ErrOutside, "room/#/json": ErrOutside, "room/+x/json": ErrOutside, "##": ErrOutside,
		"++": ErrOutside, "#/": ErrOutside, "room/\x00/json": ErrOutside, "room/\xff/json": ErrOutside, "$other/#": ErrOutside, "$": ErrOutside,
		"$SHARE/g/room/#": ErrOutside,
		"$share/g/room/#": ErrShared, "$share": ErrShared, "$share/": ErrShared, "$share/+/#": ErrShared,
		"$SYS/#": ErrSys, "$SYS": ErrSys, "$SYS/broker/+": ErrSys,
		"+": ErrNothing, "room": ErrNothing, "room/": ErrNothing, "room/lobby": ErrNothing, "room/lobby/": ErrNothing, "room/+/txt": ErrNothing,
		"room/+/text/+": ErrNothing, "room/lobby/json/x": ErrNothing, "room/../json": ErrNothing, "room/a b/json": ErrNothing, "room/한글/json": ErrNothing,
		"room/+/read/+": ErrNothing, "channel/+/edit/x": ErrNothing, "channel/+/typing/+": ErrNothing, "channel/x/ask": ErrNothing, "thread/x/json": ErrNothing,
		"presence": ErrNothing, "presence/a/b": ErrNothing, "notice": ErrNothing, "notice/edit": ErrNothing, "notice/json/x": ErrNothing,
		"reply": ErrNothing, "reply/": ErrNothing, "api/sync": ErrNothing, "+/+/+/+/+": nil, "+/x y/json": nil /* reply/x y/json */, "+/x y": nil, "+/": ErrNothing,
		"room/" + strings.Repeat("+/", 200) + "+": ErrTooLong, strings.Repeat("a", 513): ErrTooLong, strings.Repeat("/", 128): ErrTooLong,
	} {
		f, err := ParseFilter(s)
		if kindOf(t, err) != want || (err != nil) != (f == Filter{}) {
			t.Errorf("%q: %v (%v), want %v", s, err, kindOf(t, err), want)
			continue
		}
		if err != nil {
			checkText(t, err)
			continue
		}
		if again := mustFilter(t, f.String()); again != f {
			t.Errorf("%q: %+v is parsed again as %+v", s, f, again)
		}
	}
}

func TestOperatorFilter(t *testing.T) {
	for s, want := range map[string]error{"$SYS/#": nil, "$SYS/broker/+": nil, "$SYS": ErrNothing, "$SYS/": ErrNothing, "#": nil,
		"$share/g/$SYS/#": ErrShared, "$other/#": ErrOutside} {
		f, err := ParseOperatorFilter(s)
		if kindOf(t, err) != want {
			t.Errorf("%q: %v, want %v", s, err, want)
		}
		if sys := strings.HasPrefix(s, "$SYS/") && err == nil; f.Could(Sys, Metric) != sys || f.Matches("$SYS/broker/load") != sys {
			t.Errorf("%q: $SYS selected: %v", s, !sys)
		}
	}
}

func TestFilterTextIsHelpful(t *testing.T) {
	for s, want := range map[string]string{
		"room/lobby":    `"room/lobby" matches no topic; subscribe to room/+/json, room/lobby/line, room/+/typing/+ or room/#`,
		"room/a b/json": `"room/a b/json": "a b" is no name; a name is 1 to 64 characters of A-Z a-z 0-9 . _ ~ -`,
		"room/b#":       `"room/b#": + must stand alone between slashes, # alone at the end`,
		"t/#":           `"t/#": t/ is reserved for plain MQTT topics, which this server does not carry`,
	} {
		if _, err := ParseFilter(s); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", s, err, want)
		}
	}
}

func TestFilterNamesAreLowerCase(t *testing.T) {
	for s, want := range map[string]string{
		"user/Alice/json": "user/alice/json", "room/LOBBY/#": "room/lobby/#", "room/A/typing/Bob": "room/a/typing/bob",
		"thread/Cafe/K7F/json": "thread/cafe/k7f/json", "+/Alice/json": "+/alice/json", "reply/ABC": "reply/ABC", "+/ABC": "+/ABC",
		"api/X/ABC": "api/X/ABC", "room/+/json": "room/+/json", "presence/Bob": "presence/bob",
	} {
		if got := mustFilter(t, s).String(); got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
}

// naiveMatch is section 4.7 read aloud.
func naiveMatch(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && (filter[0] == '+' || filter[0] == '#') {
		return false
	}
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	if f[len(f)-1] == "#" {
		f = f[:len(f)-1]
		if len(t) < len(f) {
			return false
		}
		t = t[:len(f)]
	}
	return slices.EqualFunc(f, t, func(f, t string) bool { return f == "+" || f == t })
}

func TestMatches(t *testing.T) {
	// The examples of MQTT 5 section 4.7, raw: Matches does not need the grammar.
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"sport/tennis/player1/#", "sport/tennis/player1", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/#", "sport", true}, {"#", "a", true}, {"#", "/a", true}, {"#", "$SYS/a", false},
		{"sport/tennis/+", "sport/tennis/player1", true}, {"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false}, {"sport/+", "sport/", true}, {"+/+", "/finance", true}, {"/+", "/finance", true}, {"+", "/finance", false},
		{"+/monitor/Clients", "$SYS/monitor/Clients", false}, {"$SYS/#", "$SYS/x", true}, {"$SYS/monitor/+", "$SYS/monitor/Clients", true},
		{"a/b", "a/b/c", false}, {"a/b/c", "a/b", false}, {"a/b/#", "a", false}, {"a/+/#", "a", false}, {"a/+/#", "a/b", true},
		{"a", "A", false}, {"a//b", "a//b", true}, {"a/+/b", "a//b", true},
	} {
		if got := (Filter{s: c.filter}).Matches(c.topic); got != c.want || naiveMatch(c.filter, c.topic) != c.want {
			t.Errorf("%s ~ %s: %v, naive %v, want %v", c.filter, c.topic, got, naiveMatch(c.filter, c.topic), c.want)
		}
	}
	if (Filter{}).Matches("room/x/json") || (Filter{}).Matches("") {
		t.Error("the zero Filter matches")
	}
}

func TestSelect(t *testing.T) {
	lobby := Topic{Place: Room, Act: Message, Name: "lobby"}
	bob := Topic{Place: User, Act: Message, Name: "bob"}
	cafe := Topic{Place: Channel, Act: Message, Name: "cafe"}
	ask := Topic{Place: Channel, Act: Ask, Name: "cafe"}
	thread := Topic{Place: Thread, Act: Message, Name: "cafe", Sub: "k7"}
	notice := Topic{Place: Notice, Act: Message}
	for _, c := range []struct {
		filters string
		log     Topic
		want    Selection
	}{
		{"", lobby, Selection{}},
		{"#", lobby, Selection{View: JSON}},
		{"#", notice, Selection{View: JSON}},
		{"#", ask, Selection{View: JSON}},
		{"#", thread, Selection{View: JSON}},
		{"+/#", notice, Selection{View: JSON}},
		{"+/+", notice, Selection{View: JSON}},
		{"+/+", lobby, Selection{}},
		{"+/+/+", lobby, Selection{View: JSON}},
		{"+/+/+", notice, Selection{}},
		{"room/#", lobby, Selection{View: JSON}},
		{"room/#", bob, Selection{}},
		{"room/+/+", lobby, Selection{View: JSON}},
		{"room/+/+/+", lobby, Selection{}},
		{"room/+/text", lobby, Selection{View: Text, Explicit: true}},
		{"room/+/text/#", lobby, Selection{View: Text, Explicit: true}},
		{"room/lobby/text", lobby, Selection{View: Text, Explicit: true}},
		{"room/Lobby/text", lobby, Selection{View: Text, Explicit: true}},
		{"room/other/text", lobby, Selection{}},
		{"room/lobb/text room/lobbyy/text", lobby, Selection{}},
		{"+/lobby/line", lobby, Selection{View: Line, Explicit: true}},
		{"# room/+/text", lobby, Selection{View: Text, Explicit: true}},
		{"# room/+/text", bob, Selection{View: JSON}},
		{"room/+/text room/+/line", lobby, Selection{View: Line, Explicit: true}},
		{"room/+/line room/+/json", lobby, Selection{View: JSON, Explicit: true}},
		{"room/+/json room/+/cbor", lobby, Selection{View: CBOR, Explicit: true}},
		{"room/+/cbor room/+/batch room/#", lobby, Selection{View: Batch, Explicit: true}},
		{"room/lobby/text room/+/batch", lobby, Selection{View: Batch, Explicit: true}},
		{"room/+/typing/+ room/+/read", lobby, Selection{}},
		{"room/+/edit", lobby, Selection{Edits: true}},
		{"room/+/edit room/+/text", lobby, Selection{View: Text, Explicit: true, Edits: true}},
		{"room/edit/text", Topic{Place: Room, Act: Message, Name: "edit"}, Selection{View: Text, Explicit: true}},
		{"user/bob/cbor user/+/text", bob, Selection{View: CBOR, Explicit: true}},
		{"channel/+/json", cafe, Selection{View: JSON, Explicit: true}},
		{"channel/+/json", ask, Selection{}},
		{"channel/+/ask/text", cafe, Selection{}},
		{"channel/+/edit", cafe, Selection{Edits: true}},
		{"channel/+/edit", ask, Selection{}},
		{"channel/+/ask/text", ask, Selection{View: Text, Explicit: true}},
		{"channel/+/+/text", ask, Selection{View: Text, Explicit: true}},
		{"channel/cafe/#", ask, Selection{View: JSON}},
		{"channel/cafe/ask/#", ask, Selection{View: JSON}},
		{"channel/cafe/progress", cafe, Selection{}},
		{"thread/cafe/+/text", thread, Selection{View: Text, Explicit: true}},
		{"thread/cafe/k8/text", thread, Selection{}},
		{"thread/+/+/+", thread, Selection{View: JSON}},
		{"notice/text", notice, Selection{View: Text, Explicit: true}},
		{"notice/text/#", notice, Selection{View: Text, Explicit: true}},
		{"presence/+ reply/# api/#", lobby, Selection{}},
	} {
		var filters []Filter
		for _, s := range strings.Fields(c.filters) {
			filters = append(filters, mustFilter(t, s))
		}
		for range 2 { // and in the other order of subscribing
			if got := Select(filters, c.log); got != c.want {
				t.Errorf("%s for %v: %+v, want %+v", c.filters, c.log, got, c.want)
			}
			slices.Reverse(filters)
		}
	}
}

// naiveSelect tries every view's topic against every filter.
func naiveSelect(filters []Filter, log Topic) Selection {
	var s Selection
	wildcard := false
	for _, f := range filters {
		for v := Text; v < views; v++ {
			log.View = v
			topic := string(AppendDelivery(nil, log))
			if !naiveMatch(f.s, topic) {
				continue
			}
			other := topic[:strings.LastIndexByte(topic, '/')] + "/x"
			if naiveMatch(f.s, other) {
				wildcard = true
			} else {
				s.View, s.Explicit = max(s.View, v), true
			}
		}
		if log.Act == Message && log.Place != Thread && log.Place != Notice {
			prefix := log.Place.String() + "/" + log.Name
			s.Edits = s.Edits || naiveMatch(f.s, prefix+"/edit") && !naiveMatch(f.s, prefix+"/x")
		}
	}
	if s.View == 0 && wildcard {
		s.View = JSON
	}
	return s
}

func TestSelectAgainstNaive(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	words := []string{"+", "+", "#", "room", "user", "channel", "thread", "notice", "x", "y", "ask", "edit", "typing", "text", "line", "json", "cbor", "batch"}
	logs := []Topic{{Place: Room, Act: Message, Name: "x"}, {Place: User, Act: Message, Name: "y"}, {Place: Channel, Act: Message, Name: "x"},
		{Place: Channel, Act: Ask, Name: "x"}, {Place: Thread, Act: Message, Name: "x", Sub: "y"}, {Place: Notice, Act: Message}, {Place: Room, Act: Message, Name: "ask"}}
	chosen := 0
	for range 20_000 {
		var filters []Filter
		for range 1 + r.IntN(4) {
			var levels []string
			for range 1 + r.IntN(5) {
				levels = append(levels, words[r.IntN(len(words))])
			}
			if f, err := ParseFilter(strings.Join(levels, "/")); err == nil {
				filters = append(filters, f)
			}
		}
		for _, log := range logs {
			got, want := Select(filters, log), naiveSelect(filters, log)
			if got != want {
				t.Fatalf("%v for %v: %+v, want %+v", filters, log, got, want)
			}
			if !got.OK() {
				continue
			}
			chosen++
			log.View = got.View
			n := 0
			MatchDelivered(filters, log.String(), func(int) bool { n++; return true })
			if n == 0 {
				t.Fatalf("%v: the chosen %s is matched by none", filters, log)
			}
		}
	}
	if chosen < 1000 {
		t.Fatalf("only %d selections: the generator tests nothing", chosen)
	}
}

func TestMatchDelivered(t *testing.T) {
	filters := []Filter{mustFilter(t, "#"), mustFilter(t, "user/#"), mustFilter(t, "room/+/text"), mustFilter(t, "room/lobby/text")}
	var got []int
	MatchDelivered(filters, "room/lobby/text", func(i int) bool { got = append(got, i); return len(got) < 2 })
	if !slices.Equal(got, []int{0, 2}) {
		t.Errorf("stopped after two: %v", got)
	}
	got = nil
	MatchDelivered(filters, "room/lobby/text", func(i int) bool { got = append(got, i); return true })
	if !slices.Equal(got, []int{0, 2, 3}) {
		t.Errorf("all: %v", got)
	}
}

func TestSingleSilentCould(t *testing.T) {
	for s, want := range map[string]struct {
		place  Place
		name   string
		silent bool
	}{
		"room/lobby/json": {Room, "lobby", false}, "room/Lobby/#": {Room, "lobby", false}, "user/bob/typing/+": {User, "bob", false},
		"channel/cafe/ask/json": {Channel, "cafe", false}, "room/+/json": {}, "room/#": {}, "#": {}, "+/lobby/json": {},
		"presence/bob": {}, "thread/cafe/+/json": {}, "api/#": {silent: true}, "room/lobby/typing": {Room, "lobby", true}, "user/+/typing": {silent: true},
	} {
		f := mustFilter(t, s)
		place, name, ok := f.Single()
		if place != want.place || name != want.name || ok != (want.place != 0) || f.Silent() != want.silent {
			t.Errorf("%s: %v %s %v silent %v", s, place, name, ok, f.Silent())
		}
	}
	for s, want := range map[string]string{
		"#":               "room+message room+typing room+read room+edit user+message user+typing user+read user+edit channel+message channel+edit channel+ask channel+progress thread+message presence+status notice+message reply+answer",
		"room/+/json":     "room+message",
		"room/+/+":        "room+message room+read room+edit",
		"+/+/typing/+":    "room+typing user+typing thread+message reply+answer",
		"+/+":             "presence+status notice+message reply+answer",
		"channel/cafe/#":  "channel+message channel+edit channel+ask channel+progress",
		"+/+/+/json":      "channel+ask thread+message room+typing user+typing reply+answer", // a user may be called json
		"+/json":          "presence+status notice+message reply+answer",
		"room/lobby/read": "room+read",
		"api/+/+":         "",
	} {
		f := mustFilter(t, s)
		for p := Place(0); p <= places; p++ {
			for a := Act(0); a <= acts; a++ {
				could := slices.Contains(strings.Fields(want), p.String()+"+"+a.String())
				if f.Could(p, a) != could || AnyCould([]Filter{{}, f}, p, a) != could {
					t.Errorf("%s could %v %v: %v", s, p, a, !could)
				}
			}
		}
	}
}

func TestFilterIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Filter{}); n > 48 {
		t.Errorf("a Filter takes %d bytes; every session keeps some", n)
	}
	if len(grammar) > 32 {
		t.Error("more shapes than bits")
	}
}

func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{"#", "+", "+/#", "room/+/json", "room/Lobby/#", "user/+/typing/+", "$share/g/#", "$SYS/#", "t/#", "a/b#", "room/\x00/+",
		"thread/+/+/+", "reply/a/b", "", "/", "+/A/typing/B", "room/\xff/json", "notice/json/#", "$", "room/+/+/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseFilter(s)
		if err != nil {
			if got != (Filter{}) || kindOf(t, err) == nil {
				t.Fatalf("%q: %+v with %v", s, got, err)
			}
			checkText(t, err)
			return
		}
		if len(s) > MaxTopic || got.shapes == 0 || !strings.EqualFold(got.s, s) {
			t.Fatalf("%q: %+v", s, got)
		}
		if again, err := ParseFilter(got.String()); err != nil || again != got {
			t.Fatalf("%q: %+v is parsed again as %+v, %v", s, got, again, err)
		}
		_, _, _ = got.Single() // must not panic
		for _, log := range []Topic{{Place: Room, Act: Message, Name: "lobby"}, {Place: Channel, Act: Ask, Name: "a"},
			{Place: Thread, Act: Message, Name: "a", Sub: "b"}, {Place: Notice, Act: Message}} {
			if sel, want := Select([]Filter{got}, log), naiveSelect([]Filter{got}, log); sel != want {
				t.Fatalf("%q selects %+v of %v, want %+v", s, sel, log, want)
			}
		}
	})
}

func FuzzMatches(f *testing.F) {
	for _, s := range [][2]string{{"#", "a"}, {"#", "$SYS"}, {"+/+", "/a"}, {"a/#", "a"}, {"a/+/#", "a/b"}, {"room/+/json", "room/x/json"}, {"a/b", "a/b/"},
		{"$SYS/#", "$SYS/x"}, {"+", ""}, {"a//b", "a//b"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, filter, topic string) {
		if filter == "" || topic == "" || !validWildcards(filter) {
			return
		}
		if got, want := (Filter{s: filter}).Matches(topic), naiveMatch(filter, topic); got != want {
			t.Fatalf("%q ~ %q: %v, want %v", filter, topic, got, want)
		}
	})
}

func BenchmarkMatches(b *testing.B) {
	f := mustFilter(b, "room/+/json")
	b.ReportAllocs()
	for b.Loop() {
		f.Matches("room/lobby/json")
	}
}

func BenchmarkSelect(b *testing.B) {
	log := Topic{Place: Room, Act: Message, Name: "lobby"}
	for name, list := range map[string]string{
		"1":  "room/+/json",
		"4":  "# room/+/json user/+/json room/lobby/text",
		"50": "# " + strings.Repeat("room/lobby/line ", 49),
	} {
		var filters []Filter
		for _, s := range strings.Fields(list) {
			filters = append(filters, mustFilter(b, s))
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Select(filters, log)
			}
		})
	}
}
