package pushsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	fcmPayload = 4096 // bytes of keys and values that a message may have
	fcmTopic   = 2048 // the same for a message to a topic
	fcmMaxTTL  = 28 * 24 * time.Hour
)

// fcmMessage is a message as FCM's HTTP v1 API takes it
// (firebase.google.com/docs/reference/fcm/rest/v1/projects.messages), as far as an Android phone sees it.
type fcmMessage struct {
	ValidateOnly bool

	Token, Topic, Condition string // one of them
	Data                    map[string]string
	Title, Body             string // of the notification that the system shows by itself
	Notification            bool   // there is one
	CollapseKey             string
	High                    bool // android.priority
	TTL                     time.Duration
	TTLSet                  bool   // android.ttl was there
	Package                 string // android.restricted_package_name
}

// collapsible reports whether FCM keeps only the newest of such messages, and throttles them. A message with a
// notification is, with the package's name as its key.
func (m *fcmMessage) collapsible() bool { return m.CollapseKey != "" || m.Notification }

// parseFCM reads the body of a send request as strictly as Google's JSON does: an unknown name, a number where a string
// belongs and a second target are errors that name the field.
func parseFCM(body []byte) (*fcmMessage, *googleError) {
	m := &fcmMessage{TTL: fcmMaxTTL}
	if !utf8.Valid(body) {
		return nil, malformed("", "Invalid JSON payload received. It is not valid UTF-8.")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, malformed("", "Invalid JSON payload received. Unexpected end of string.")
	}
	seen := false
	err := walk("", body, func(name, at string, v json.RawMessage) error {
		switch name {
		case "validate_only", "validateOnly":
			return readBool(at, v, &m.ValidateOnly)
		case "message":
			seen = true
			return m.message(at, v)
		}
		return unknownName("", name)
	})
	if err == nil && !seen {
		err = invalid("message", "Message is missing.")
	}
	if err == nil {
		err = m.check()
	}
	if err != nil {
		var e *googleError
		if !errors.As(err, &e) {
			e = malformed("", err.Error())
		}
		return nil, e
	}
	return m, nil
}

// Error implements error.
func (e *googleError) Error() string { return e.message }

func (m *fcmMessage) message(at string, v json.RawMessage) error {
	target := ""
	return walk(at, v, func(name, at string, v json.RawMessage) error {
		switch name {
		case "name":
			return readString(at, v, new(string)) // output only: ignored
		case "token", "topic", "condition":
			var s string
			if err := readString(at, v, &s); err != nil {
				return err
			}
			if isNull(v) {
				return nil
			}
			if target != "" {
				return malformed("message", fmt.Sprintf("Invalid value at 'message' (oneof), oneof field 'target' is already set. Cannot set '%s'", name))
			}
			target = name
			*map[string]*string{"token": &m.Token, "topic": &m.Topic, "condition": &m.Condition}[name] = s
			return nil
		case "data":
			return readStrings(at, v, &m.Data)
		case "notification":
			if isNull(v) {
				return nil
			}
			m.Notification = true
			return walk(at, v, func(name, at string, v json.RawMessage) error {
				switch name {
				case "title":
					return readString(at, v, &m.Title)
				case "body":
					return readString(at, v, &m.Body)
				case "image":
					return readString(at, v, new(string))
				}
				return unknownName(parent(at), name)
			})
		case "android":
			return m.android(at, v)
		case "webpush", "apns", "fcm_options", "fcmOptions":
			return walk(at, v, func(string, string, json.RawMessage) error { return nil }) // not for this phone
		}
		return unknownName("message", name)
	})
}

func (m *fcmMessage) android(at string, v json.RawMessage) error {
	return walk(at, v, func(name, at string, v json.RawMessage) error {
		switch name {
		case "collapse_key", "collapseKey":
			return readString(at, v, &m.CollapseKey)
		case "priority":
			return readPriority(at, v, &m.High)
		case "ttl":
			m.TTLSet = !isNull(v)
			return readDuration(at, v, &m.TTL)
		case "restricted_package_name", "restrictedPackageName":
			return readString(at, v, &m.Package)
		case "data":
			return readStrings(at, v, &m.Data) // in place of the message's
		case "notification":
			if isNull(v) {
				return nil
			}
			m.Notification = true
			return walk(at, v, func(name, at string, v json.RawMessage) error {
				switch name {
				case "title":
					return readString(at, v, &m.Title)
				case "body":
					return readString(at, v, &m.Body)
				}
				return nil // some thirty more, none of which rings or not
			})
		case "direct_boot_ok", "directBootOk", "bandwidth_constrained_ok", "bandwidthConstrainedOk", "restricted_satellite_ok", "restrictedSatelliteOk":
			return readBool(at, v, new(bool))
		case "fcm_options", "fcmOptions":
			return walk(at, v, func(string, string, json.RawMessage) error { return nil })
		}
		return unknownName("message.android", name)
	})
}

// check holds a well-formed message against FCM's own rules.
func (m *fcmMessage) check() error {
	if m.Token == "" && m.Topic == "" && m.Condition == "" {
		return invalid("message", "Recipient of the message is not set.")
	}
	if m.TTL < 0 || m.TTL > fcmMaxTTL {
		return invalid("message.android.ttl", "Invalid TTL: it must be between 0 and 2419200 seconds.")
	}
	size := len(m.Title) + len(m.Body)
	for k, v := range m.Data {
		if reservedKey(k) {
			return invalid("message.data", "Invalid data payload key: "+k)
		}
		size += len(k) + len(v)
	}
	limit := fcmPayload
	if m.Token == "" {
		limit = fcmTopic
	}
	if size > limit {
		return invalid("message.android", "Android message is too big")
	}
	return nil
}

// reservedKey: "The key should not be a reserved word ("from", "message_type", or any word starting with "google." or
// "gcm.notification.")".
func reservedKey(k string) bool {
	return k == "from" || k == "message_type" || strings.HasPrefix(k, "google.") || strings.HasPrefix(k, "gcm.notification.")
}

// walk calls member for every member of a JSON object, in the order in which they stand; at is where the object is. null
// is an object without members. A name that stands twice is refused.
func walk(at string, v json.RawMessage, member func(name, at string, v json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(v))
	first, err := d.Token()
	if err != nil {
		return malformed(at, "Invalid JSON payload received. "+syntax(err))
	}
	if first == nil {
		return end(d, at)
	}
	if first != json.Delim('{') {
		return malformed(at, fmt.Sprintf("Invalid value at '%s' (type.googleapis.com/google.protobuf.Message), %.40s", at, v))
	}
	var names []string
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return malformed(at, "Invalid JSON payload received. "+syntax(err))
		}
		name, ok := t.(string)
		if !ok {
			return malformed(at, "Invalid JSON payload received. Expected an object key or }.")
		}
		if slices.Contains(names, name) {
			return malformed(at, fmt.Sprintf("Invalid JSON payload received. The name %q stands twice.", clip(name)))
		}
		if names = append(names, name); len(names) > 1000 {
			return malformed(at, "Invalid JSON payload received. Too many members.")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return malformed(at, "Invalid JSON payload received. "+syntax(err))
		}
		below := name
		if at != "" {
			below = at + "." + name
		}
		if err := member(name, below, value); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return malformed(at, "Invalid JSON payload received. "+syntax(err))
	}
	return end(d, at)
}

func end(d *json.Decoder, at string) error {
	if d.More() {
		return malformed(at, "Invalid JSON payload received. Unexpected text after the end.")
	}
	return nil
}

func syntax(err error) string {
	var s *json.SyntaxError
	if errors.As(err, &s) {
		return "Unexpected token at byte " + strconv.FormatInt(s.Offset, 10) + "."
	}
	return "Unexpected end of string."
}

func unknownName(at, name string) error {
	return malformed(at, fmt.Sprintf("Invalid JSON payload received. Unknown name %q at '%s': Cannot find field.", clip(name), at))
}

func parent(at string) string {
	if i := strings.LastIndexByte(at, '.'); i >= 0 {
		return at[:i]
	}
	return ""
}

func clip(s string) string {
	const most = 64
	for i := range s {
		if i >= most {
			return s[:i] + "…"
		}
	}
	return s
}

func isNull(v json.RawMessage) bool { return string(bytes.TrimSpace(v)) == "null" }

func wrong(at, kind string, v json.RawMessage) error {
	return malformed(at, fmt.Sprintf("Invalid value at '%s' (%s), %s", at, kind, clip(string(v))))
}

func readString(at string, v json.RawMessage, into *string) error {
	if isNull(v) {
		return nil
	}
	if v[0] != '"' || json.Unmarshal(v, into) != nil {
		return wrong(at, "TYPE_STRING", v)
	}
	return nil
}

func readBool(at string, v json.RawMessage, into *bool) error {
	if json.Unmarshal(v, into) != nil {
		return wrong(at, "TYPE_BOOL", v)
	}
	return nil
}

// readStrings reads a map of strings. Google counts its entries in the names of fields.
func readStrings(at string, v json.RawMessage, into *map[string]string) error {
	m, n := make(map[string]string), 0
	err := walk(at, v, func(name, _ string, v json.RawMessage) error {
		field := fmt.Sprintf("%s[%d].value", at, n)
		n++
		var s string
		if isNull(v) {
			return wrong(field, "TYPE_STRING", v)
		}
		if err := readString(field, v, &s); err != nil {
			return err
		}
		m[name] = s
		return nil
	})
	if err == nil && len(m) > 0 {
		*into = m
	}
	return err
}

// readPriority takes the names of the enum in either case, as FCM does.
func readPriority(at string, v json.RawMessage, high *bool) error {
	var s string
	if isNull(v) {
		return nil
	}
	if json.Unmarshal(v, &s) == nil {
		switch strings.ToUpper(s) {
		case "HIGH":
			*high = true
			return nil
		case "NORMAL":
			*high = false
			return nil
		}
	}
	return wrong(at, "type.googleapis.com/google.firebase.fcm.v1.AndroidMessagePriority", v)
}

// readDuration reads a duration in the JSON form of protocol buffers: seconds with up to nine digits after the point,
// and an s.
func readDuration(at string, v json.RawMessage, into *time.Duration) error {
	const kind = "type.googleapis.com/google.protobuf.Duration"
	if isNull(v) {
		return nil
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return wrong(at, kind, v)
	}
	bad := func(why string) error {
		return malformed(at, fmt.Sprintf("Invalid value at '%s' (%s), Field 'ttl', Illegal duration format; %s", at, kind, why))
	}
	number, ok := strings.CutSuffix(s, "s")
	if !ok {
		return bad("duration must end with 's'")
	}
	number, minus := strings.CutPrefix(number, "-")
	whole, part, point := strings.Cut(number, ".")
	digits := func(s string) bool {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
	}
	if !digits(whole) || point && !digits(part) || len(part) > 9 {
		return bad("it must be a number of seconds")
	}
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds > math.MaxInt64/int64(time.Second)-1 {
		return bad("it is out of range")
	}
	nanos, _ := strconv.ParseInt((part + "000000000")[:9], 10, 64)
	if *into = time.Duration(seconds)*time.Second + time.Duration(nanos); minus {
		*into = -*into
	}
	return nil
}
