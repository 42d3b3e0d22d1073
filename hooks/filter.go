package hooks

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Why a filter is refused, beside ErrOutside and ErrTooLong. MQTT 5 answers
// ErrOutside and ErrTooLong with 0x8F, ErrShared with 0x9E, ErrSys and
// ErrNothing with 0x87; MQTT 3.1.1 knows 0x80 only.
var (
	ErrShared  = errors.New("hooks: shared subscriptions are not supported")
	ErrSys     = errors.New("hooks: $SYS is for operators")
	ErrNothing = errors.New("hooks: filter can match no topic")
)

// Filter is a topic filter that can match at least one topic of the grammar.
// It selects and never grants. The zero Filter matches nothing. Two Filters are
// the same subscription if their Strings are equal.
type Filter struct {
	s      string // names in lower case
	shapes uint32 // bit i: can match a topic of grammar[i]
}

// ParseFilter reads a filter. Names in it are put into lower case, so that
// user/Alice/json selects what is delivered on user/alice/json. It refuses what
// can match no topic of the grammar; what it accepts may still select nothing
// today (see Silent).
func ParseFilter(s string) (Filter, error) { return parseFilter(s, false) }

// ParseOperatorFilter is ParseFilter for operators, who may select $SYS/… too.
func ParseOperatorFilter(s string) (Filter, error) { return parseFilter(s, true) }

func parseFilter(s string, operator bool) (Filter, error) {
	if err := checkSize(s); err != nil {
		return Filter{}, err
	}
	if !validText(s) {
		return Filter{}, refuse(ErrOutside, "%s is no valid UTF-8 text", show(s))
	}
	word, rest, _ := strings.Cut(s, "/")
	if word == "$share" {
		return Filter{}, refuse(ErrShared, "%s: shared subscriptions are not supported; every device has its own session", show(s))
	}
	if !validWildcards(s) {
		return Filter{}, refuse(ErrOutside, "%s: + must stand alone between slashes, # alone at the end", show(s))
	}
	place := parsePlace(word)
	switch {
	case place == Sys && !operator:
		return Filter{}, refuse(ErrSys, "%s: $SYS is for operators", show(s))
	case place == 0 && word != "+" && word != "#":
		return Filter{}, outsidePlace(s, word, ErrOutside)
	}
	f := Filter{s: normalFilter(s, place, rest)}
	for i := range grammar {
		if grammar[i].meets(f.s) {
			f.shapes |= 1 << i
		}
	}
	if f.shapes == 0 {
		return Filter{}, nothing(s, place, rest)
	}
	return f, nil
}

// normalFilter puts the names of a filter into lower case. Request ids keep
// their case: under reply/ and api/, and in "+/x", which may mean reply/x.
func normalFilter(s string, place Place, rest string) string {
	switch place {
	case API, Reply, Sys, Notice:
		return s
	case 0:
		if !strings.Contains(rest, "/") {
			return s
		}
	}
	// Only levels that can be names are touched: the second everywhere, the
	// third of a thread, the fourth (who is typing) of others. All other words
	// of the grammar are matched exactly.
	for n, start := 0, 0; start <= len(s); n++ {
		word, _, _ := cut(s[start:])
		end := start + len(word)
		if low := lower(word); low != word && (n == 1 || n == 2 && place == Thread || n == 3 && place != Thread && place != Channel) {
			s = s[:start] + low + s[end:]
		}
		start = end + 1
	}
	return s
}

// String returns the filter with its names in lower case.
func (f Filter) String() string { return f.s }

// Matches reports whether the filter matches the topic, by MQTT's own rules
// (MQTT 5 section 4.7): + is one level, # the rest and also the level above, a
// wildcard in front matches no topic that begins with $. Linear in the topic;
// no allocation.
func (f Filter) Matches(topic string) bool {
	filter := f.s
	if filter == "" || topic == "" {
		return false
	}
	if topic[0] == '$' && filter[0] != '$' {
		return false
	}
	for {
		if filter == "#" {
			return true
		}
		fl, frest, fmore := cut(filter)
		tl, trest, tmore := cut(topic)
		if fl != "+" && fl != tl {
			return false
		}
		switch {
		case !tmore:
			return !fmore || frest == "#"
		case !fmore:
			return false
		}
		filter, topic = frest, trest
	}
}

// Could reports whether the filter can match a delivery about act in place:
// false means it can be skipped without building the topic. For deliveries of
// one log ask Select.
func (f Filter) Could(place Place, act Act) bool { return f.shapes&shapesOf(place, act) != 0 }

// AnyCould reports whether one of the filters could match a delivery about act
// in place.
func AnyCould(filters []Filter, place Place, act Act) bool {
	mask := shapesOf(place, act)
	for i := range filters {
		if filters[i].shapes&mask != 0 {
			return true
		}
	}
	return false
}

// Silent reports whether the filter matches only topics on which nothing is
// ever delivered, such as api/# or room/+/typing (typing is delivered on
// room/+/typing/+). It is accepted, and worth a hint.
func (f Filter) Silent() bool { return f.shapes&deliveredShapes == 0 }

// Single returns the room, user or channel if the filter is for exactly one.
// Such a filter is worth a hint if its owner is not in there.
func (f Filter) Single() (place Place, name string, ok bool) {
	word, rest, _ := cut(f.s)
	place = parsePlace(word)
	if place != Room && place != User && place != Channel {
		return 0, "", false
	}
	name, _, _ = cut(rest)
	if name == "+" || name == "#" {
		return 0, "", false
	}
	return place, name, true
}

// Selection is how a device receives a log.
type Selection struct {
	View View // 0: the filters select no view of the log
	// Explicit says that a filter names the view. A wildcard in the view's
	// place means JSON.
	Explicit bool
	// Edits says that a filter names …/edit: the device wants operations on
	// earlier messages under that topic, too or only.
	Edits bool
}

// OK reports whether the filters select a view of the log.
func (s Selection) OK() bool { return s.View != 0 }

// Select chooses the view in which the filters of a device select a log.
// Place, Act (Message, or Ask for a follower's side of a thread), Name and Sub
// of log say which log, as the device sees it; its View is ignored. A filter
// that names the view goes before one with a wildcard there, which means JSON;
// then batch, cbor, json, line, text in this order, however they were
// subscribed. The delivery topic of the chosen view is matched by at least one
// of the filters. No allocation.
func Select(filters []Filter, log Topic) Selection {
	mask := shapesOf(log.Place, log.Act)
	if log.Act == Message {
		mask |= shapesOf(log.Place, Edit)
	}
	var s Selection
	wildcard := false
	for i := range filters {
		if filters[i].shapes&mask == 0 {
			continue
		}
		last, ok := lastLevel(filters[i].s, log)
		if !ok {
			continue
		}
		switch {
		case last == "+" || last == "#":
			wildcard = true
		case last == "edit":
			s.Edits = s.Edits || log.Act == Message && (log.Place == Room || log.Place == User || log.Place == Channel)
		default:
			if v, ok := ParseView(last); ok {
				s.View, s.Explicit = max(s.View, v), true
			}
		}
	}
	if s.View == 0 && wildcard {
		s.View = JSON
	}
	return s
}

// lastLevel walks the filter along the log's topics and returns what stands in
// the view's place: a word, "+", or "#". It reports false if the filter does
// not lead there or goes deeper.
func lastLevel(filter string, log Topic) (string, bool) {
	words := [3]string{log.Place.String(), log.Name, log.Sub}
	n := 2
	switch {
	case log.Place == Notice:
		n = 1
	case log.Act == Ask:
		words[2], n = "ask", 3
	case log.Place == Thread:
		n = 3
	}
	for _, word := range words[:n] {
		if filter == "#" {
			return filter, true
		}
		level, rest, more := cut(filter)
		if !more || level != "+" && level != word {
			return "", false
		}
		filter = rest
	}
	level, rest, more := cut(filter)
	return level, !more || rest == "#"
}

// MatchDelivered calls yield with the index of every filter that matches the
// delivered topic, until yield returns false. QoS and subscription identifiers
// of a delivery come from these. It allocates nothing itself.
func MatchDelivered(filters []Filter, topic string, yield func(i int) bool) {
	for i := range filters {
		if filters[i].Matches(topic) && !yield(i) {
			return
		}
	}
}

// cut is strings.Cut at the first slash; written out it is twice as fast on
// the short levels of topics.
func cut(s string) (level, rest string, more bool) {
	for i := 0; i < len(s); i++ {
		if s[i] == '/' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// validWildcards reports whether + and # stand where MQTT allows them.
func validWildcards(s string) bool {
	for more := true; more; {
		var level string
		level, s, more = cut(s)
		if len(level) > 1 && strings.ContainsAny(level, "+#") || level == "#" && more {
			return false
		}
	}
	return true
}

// validText reports whether s is what MQTT allows in a UTF-8 string: well
// formed and without U+0000.
func validText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

var filterExample = [places]string{
	Room:     "room/+/json, room/lobby/line, room/+/typing/+ or room/#",
	User:     "user/+/json, user/bob/text, user/+/typing/+ or user/#",
	Channel:  "channel/+/json, channel/cafe/text, channel/+/ask/json or channel/#",
	Thread:   "thread/cafe/+/json or thread/#",
	Presence: "presence/+ or presence/bob",
	Notice:   "notice/json or notice/#",
	API:      "api/#",
	Reply:    "reply/#",
	Sys:      "$SYS/#",
}

func nothing(s string, place Place, rest string) error {
	if place == 0 {
		return refuse(ErrNothing, "%s matches no topic of this server; try #", show(s))
	}
	name, _, _ := cut(rest)
	switch place {
	case Notice, Reply, Sys:
	default:
		if name != "" && name != "+" && name != "#" && !ValidName(name) {
			return refuse(ErrNothing, "%s: %s is no name; a name is 1 to %d characters of A-Z a-z 0-9 . _ ~ -", show(s), show(name), MaxName)
		}
	}
	return refuse(ErrNothing, "%s matches no topic; subscribe to %s", show(s), filterExample[place])
}
