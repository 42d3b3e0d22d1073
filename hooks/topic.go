package hooks

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/hwangso/hwangso/store"
)

// Place is the first level of a topic: whose conversation or service it is.
type Place uint8

// The places. The zero Place is none of them.
const (
	Room     Place = iota + 1 // room/{room}/…
	User                      // user/{peer}/…: a 1:1 conversation, named by the other side
	Channel                   // channel/{channel}/…
	Thread                    // thread/{channel}/{pseudonym}/…: a follower's questions, as the brand sees them
	Presence                  // presence/{user}
	Notice                    // notice/{view}
	API                       // api/{op}/{rid}
	Reply                     // reply/{rid}
	Sys                       // $SYS/…
	places
)

var placeWords = [places]string{Room: "room", User: "user", Channel: "channel", Thread: "thread",
	Presence: "presence", Notice: "notice", API: "api", Reply: "reply", Sys: "$SYS"}

// String returns the word that stands in topics.
func (p Place) String() string {
	if p == 0 || p >= places {
		return "Place(" + strconv.Itoa(int(p)) + ")"
	}
	return placeWords[p]
}

func parsePlace(s string) Place {
	switch s {
	case "room":
		return Room
	case "user":
		return User
	case "channel":
		return Channel
	case "thread":
		return Thread
	case "presence":
		return Presence
	case "notice":
		return Notice
	case "api":
		return API
	case "reply":
		return Reply
	case "$SYS":
		return Sys
	}
	return 0
}

// Act is what a topic is about.
type Act uint8

// The acts. The zero Act is none of them.
const (
	Message  Act = iota + 1 // a message in one of the views
	Typing                  // …/typing, delivered as …/typing/{user}
	Read                    // …/read
	Edit                    // …/edit: edit, recall, react, pin
	Ask                     // channel/{channel}/ask/{view}
	Progress                // channel/{channel}/progress
	Status                  // presence/{user}
	Call                    // api/{op}/{rid}
	Answer                  // reply/{rid}
	Metric                  // $SYS/…
	acts
)

var actWords = [acts]string{Message: "message", Typing: "typing", Read: "read", Edit: "edit", Ask: "ask",
	Progress: "progress", Status: "status", Call: "call", Answer: "answer", Metric: "metric"}

// String returns the act's name, for logs and metrics.
func (a Act) String() string {
	if a == 0 || a >= acts {
		return "Act(" + strconv.Itoa(int(a)) + ")"
	}
	return actWords[a]
}

// View is the encoding of a delivery or a publish: the last level of its
// topic. Greater views win where the filters of a device match several.
type View uint8

// The views, in rising order of preference. The zero View is none of them.
const (
	Text  View = iota + 1 // the body only
	Line                  // "alice: hi", for terminals; delivery only
	JSON                  // the envelope as JSON
	CBOR                  // the envelope as CBOR with integer keys
	Batch                 // a CBOR array of envelopes; delivery only
	views
)

var viewWords = [views]string{Text: "text", Line: "line", JSON: "json", CBOR: "cbor", Batch: "batch"}

// String returns the word that stands in topics.
func (v View) String() string {
	if v == 0 || v >= views {
		return "View(" + strconv.Itoa(int(v)) + ")"
	}
	return viewWords[v]
}

// ParseView returns the view of that name; false if there is none.
func ParseView(s string) (View, bool) {
	switch s {
	case "text":
		return Text, true
	case "line":
		return Line, true
	case "json":
		return JSON, true
	case "cbor":
		return CBOR, true
	case "batch":
		return Batch, true
	}
	return 0, false
}

// Why a topic or a filter is refused. The error that ParsePublish or
// ParseFilter returns wraps exactly one of them, its text is a sentence for the
// person who typed the topic, and to store.CodeOf it is CodeBad.
var (
	ErrOutside      = errors.New("hooks: outside the topic grammar")
	ErrReserved     = errors.New("hooks: only the server publishes there")
	ErrDeliveryOnly = errors.New("hooks: view is for delivery only")
	ErrBadName      = errors.New("hooks: invalid identifier")
	ErrBadCID       = errors.New("hooks: invalid cid")
	ErrTooLong      = errors.New("hooks: topic too long or too deep")
)

// ReasonTopic is the protocol's word for what is wrong with a topic or filter.
const ReasonTopic = "topic"

// topicError is a refusal: the text for the person, the sentinel for the code.
type topicError struct {
	kind error
	text string
}

func (e *topicError) Error() string { return e.text }
func (e *topicError) Unwrap() error { return e.kind }

// As makes every refusal a store.Error too, for those who only tell it on.
func (e *topicError) As(target any) bool {
	p, ok := target.(**store.Error)
	if ok {
		*p = &store.Error{Code: store.CodeBad, Reason: ReasonTopic, Text: e.text, Err: e.kind}
	}
	return ok
}

func refuse(kind error, format string, args ...any) error {
	return &topicError{kind, fmt.Sprintf(format, args...)}
}

// Topic is a parsed topic.
type Topic struct {
	Place Place
	Act   Act
	View  View   // of Message and Ask; else 0
	Name  string // room, peer, channel, presence user, operation; lower case
	// Sub is what stands deeper: the pseudonym of a thread, who is typing (in
	// deliveries only), the request id of an API call or a reply.
	Sub string
	CID string // the sender's own id of the message; in a publish only
}

// ParsePublish reads a topic that a client publishes to:
//
//	room/{room}/{view}[/{cid}]    user/{peer}/{view}[/{cid}]
//	room/{room}/edit[/{cid}]      user/{peer}/edit[/{cid}]
//	room/{room}/typing            user/{peer}/typing
//	room/{room}/read              user/{peer}/read
//	channel/{channel}/{view}[/{cid}]
//	channel/{channel}/edit[/{cid}]
//	channel/{channel}/ask/{view}
//	thread/{channel}/{pseudonym}/{view}
//	api/{op}/{rid}
//
// where view is text, json or cbor. It grants nothing: whether the client may
// write there is the policy's answer. It allocates only for errors and for
// names in upper case; the strings of the Topic share the topic's memory.
func ParsePublish(topic string) (Topic, error) {
	if err := checkSize(topic); err != nil {
		return Topic{}, err
	}
	word, rest, more := strings.Cut(topic, "/")
	place := parsePlace(word)
	switch place {
	case Notice, Reply, Presence, Sys:
		return Topic{}, refuse(ErrReserved, "%s is written by the server only", show(topic))
	case 0:
		return Topic{}, outsidePlace(topic, word, ErrReserved)
	}
	if strings.ContainsAny(topic, "+#") {
		return Topic{}, refuse(ErrOutside, "%s: + and # are for subscribing; a message goes to one topic", show(topic))
	}
	if !more {
		return Topic{}, refuse(ErrOutside, "%s: say to whom and how, as in %s", show(topic), publishExample[place])
	}
	name, rest, more := strings.Cut(rest, "/")
	name, ok := NormalName(name)
	if !ok {
		return Topic{}, badName(topic, 1)
	}
	if !more {
		return Topic{}, refuse(ErrOutside, "%s: the last part is missing, as in %s", show(topic), publishExample[place])
	}
	t := Topic{Place: place, Act: Message, Name: name}
	switch place {
	case API:
		if !ValidRequestID(rest) {
			return Topic{}, refuse(ErrBadName, "%s: the request id must be 1 to %d characters of A-Z a-z 0-9 . _ ~ -", show(topic), MaxName)
		}
		t.Act, t.Sub = Call, rest
		return t, nil
	case Thread:
		pseudonym, rest, more := strings.Cut(rest, "/")
		if t.Sub, ok = NormalName(pseudonym); !ok {
			return Topic{}, badName(topic, 2)
		}
		if !more {
			return Topic{}, refuse(ErrOutside, "%s: the last part is missing, as in %s", show(topic), publishExample[Thread])
		}
		return t.withView(topic, rest, false)
	}
	return t.parseConversation(topic, rest)
}

// parseConversation reads what follows room/{room}/, user/{peer}/ and
// channel/{channel}/.
func (t Topic) parseConversation(topic, rest string) (Topic, error) {
	word, tail, more := strings.Cut(rest, "/")
	switch {
	case t.Place == Channel && word == "ask":
		if !more {
			return Topic{}, refuse(ErrOutside, "%s: the last part is missing, as in channel/cafe/ask/text", show(topic))
		}
		t.Act = Ask
		return t.withView(topic, tail, false)
	case t.Place == Channel && word == "progress":
		return Topic{}, refuse(ErrReserved, "%s is written by the server only", show(topic))
	case t.Place == Channel && word != "edit":
	case word == "typing" || word == "read":
		t.Act = Read
		if word == "typing" {
			t.Act = Typing
		}
		if more && t.Act == Typing {
			return Topic{}, refuse(ErrReserved, "%s: publish to …/typing; the server adds who is typing", show(topic))
		}
		if more {
			return Topic{}, refuse(ErrOutside, "%s: nothing may follow …/read", show(topic))
		}
		return t, nil
	case word == "edit":
		t.Act = Edit
		if more {
			return t.withCID(topic, tail)
		}
		return t, nil
	}
	return t.withView(topic, rest, true)
}

// withView reads {view} or, where a cid is allowed, {view}[/{cid}].
func (t Topic) withView(topic, rest string, cid bool) (Topic, error) {
	word, tail, more := strings.Cut(rest, "/")
	view, ok := ParseView(word)
	switch {
	case !ok:
		return Topic{}, refuse(ErrOutside, "%s: %s is no encoding; publish as text, json or cbor%s", show(topic), show(word), otherActs(t.Place))
	case view == Line || view == Batch:
		return Topic{}, refuse(ErrDeliveryOnly, "%s: %s is for receiving; publish as text, json or cbor", show(topic), view)
	}
	t.View = view
	if !more {
		return t, nil
	}
	if !cid {
		return Topic{}, refuse(ErrOutside, "%s: nothing may follow the encoding", show(topic))
	}
	return t.withCID(topic, tail)
}

func (t Topic) withCID(topic, cid string) (Topic, error) {
	if !ValidCID(cid) {
		return Topic{}, refuse(ErrBadCID, "%s: what follows the encoding is your own id of the message, 1 to %d characters of A-Z a-z 0-9 . _ ~ -", show(topic), MaxCID)
	}
	t.CID = cid
	return t, nil
}

// ParseResponse checks an MQTT 5 Response Topic. It must lie under reply/ and
// be a topic that can be published to; anything else is refused with
// ErrOutside, ErrTooLong or ErrReserved (a place of somebody else's).
func ParseResponse(topic string) error {
	if err := checkSize(topic); err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(topic, "reply/")
	if !ok {
		return refuse(ErrReserved, "%s: a response topic must lie under reply/", show(topic))
	}
	if rest == "" || strings.ContainsAny(rest, "+#") || !validText(rest) {
		return refuse(ErrOutside, "%s cannot be a response topic", show(topic))
	}
	return nil
}

// String returns the topic as it is published or delivered; with the cid, if
// it has one.
func (t Topic) String() string {
	b := AppendDelivery(make([]byte, 0, 64), t)
	if t.CID != "" {
		b = append(append(b, '/'), t.CID...)
	}
	return string(b)
}

// AppendDelivery appends the topic on which t is delivered: t without its cid.
// It does not check: names and views are those of a parsed Topic or of the
// directory. Typing takes the typing user from Sub. A call has no delivery; its
// topic is appended as it was published.
func AppendDelivery(dst []byte, t Topic) []byte {
	dst = append(dst, t.Place.String()...)
	if t.Name != "" {
		dst = append(append(dst, '/'), t.Name...)
	}
	switch t.Act {
	case Typing:
		dst = append(dst, "/typing"...)
	case Read:
		return append(dst, "/read"...)
	case Edit:
		return append(dst, "/edit"...)
	case Progress:
		return append(dst, "/progress"...)
	case Ask:
		dst = append(dst, "/ask"...)
	}
	if t.Sub != "" {
		dst = append(append(dst, '/'), t.Sub...)
	}
	if t.View != 0 {
		dst = append(append(dst, '/'), t.View.String()...)
	}
	return dst
}

var publishExample = [places]string{Room: "room/lobby/text", User: "user/bob/text", Channel: "channel/cafe/text",
	Thread: "thread/cafe/k7f2/text", API: "api/profile.get/1"}

func otherActs(p Place) string {
	switch p {
	case Room, User:
		return ", or send to …/typing, …/read or …/edit"
	case Channel:
		return ", send to …/edit, or ask with …/ask/text"
	}
	return ""
}

// outsidePlace says why a topic or filter with that first level is refused.
// dollar is the sentinel for a first level that begins with $.
func outsidePlace(topic, word string, dollar error) error {
	switch {
	case topic == "":
		return refuse(ErrOutside, "the topic is empty")
	case word == "t":
		return refuse(ErrOutside, "%s: t/ is reserved for plain MQTT topics, which this server does not carry", show(topic))
	case word == "":
		return refuse(ErrOutside, "%s: a topic must not begin with a slash", show(topic))
	case word[0] == '$':
		return refuse(dollar, "%s: topics that begin with $ belong to the server", show(topic))
	case parsePlace(lower(word)) != 0:
		return refuse(ErrOutside, "%s: write %s in lower case", show(topic), show(word))
	}
	return refuse(ErrOutside, "%s: topics begin with room/, user/, channel/, thread/ or api/", show(topic))
}

func badName(topic string, level int) error {
	word := strings.Split(topic, "/")[level]
	if word == "" {
		return refuse(ErrBadName, "%s: a name is missing between the slashes", show(topic))
	}
	return refuse(ErrBadName, "%s: %s is no name; a name is 1 to %d characters of A-Z a-z 0-9 . _ ~ -", show(topic), show(word), MaxName)
}

func checkSize(s string) error {
	if len(s) > MaxTopic {
		return refuse(ErrTooLong, "the topic has %d bytes; the limit is %d", len(s), MaxTopic)
	}
	if len(s) >= MaxTopicDeep && strings.Count(s, "/") >= MaxTopicDeep {
		return refuse(ErrTooLong, "the topic has more than %d levels", MaxTopicDeep)
	}
	return nil
}

// show quotes a client's word for an error text: short, also where every byte
// is escaped, and nothing in it can steer a terminal.
func show(s string) string {
	const most = 80
	n := min(len(s), most)
	word := strconv.Quote(s[:n])
	for len(word) > 2*most {
		n /= 2
		word = strconv.Quote(s[:n])
	}
	if n < len(s) {
		word += "…"
	}
	return word
}
