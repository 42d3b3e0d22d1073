package view

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// Limits of a body. The length of the whole payload is limited before it comes here.
const (
	MaxMentions    = 20
	MaxAttachments = 10
	MaxAttachment  = 4096 // bytes of one attachment in CBOR
)

// MentionAll is the mention of everybody in a room.
const MentionAll = "@all"

// Content is what a client says in a message. It has been checked for its form only: whether the sender may mention
// everybody, and whether the mentioned are members, is the caller's to decide.
type Content struct {
	Kind     store.Kind // one of store.Kind.ByClient
	Text     []byte     // UTF-8 without NUL; of ParseText it is the payload itself
	Extra    []byte     // ReplyTo, the mentions and the attachments for store.Draft, nil if there are none
	ReplyTo  store.Seq  // 0: none
	Mentions []string   // identifiers in lower case, each once
	All      bool       // MentionAll is among the mentions
	Files    []string   // files of this server that attachments name, as Files tells them
	Expiry   int64      // Unix milliseconds, 0: none
}

// ParseText reads the payload of a publish to …/text. Errors are *store.Error of CodeBad.
func ParseText(payload []byte) (Content, error) {
	c := Content{Text: payload}
	if len(payload) == 0 {
		return Content{}, store.Bad("the message is empty")
	}
	return c, checkText(payload, "the message")
}

// ParseJSON reads the payload of a publish to …/json: an object with b (text), k (kind), r (a sequence), m (an array
// of identifiers and "@all", at most MaxMentions), a (an array of at most MaxAttachments objects of at most
// MaxAttachment bytes), e (Unix milliseconds). Other keys are ignored, except x, which is refused. At most 64 keys or
// elements per object or array, nested at most 6 deep. A text message needs a text, any other kind a text or an
// attachment.
//
// Errors are *store.Error: CodeBad, CodeTooLarge for an attachment, CodeForbidden for a kind that clients may not send.
func ParseJSON(payload []byte) (Content, error) {
	b, err := readJSON(payload)
	if err != nil {
		return Content{}, err
	}
	return b.content()
}

// ParseCBOR reads the payload of a publish to …/cbor: a map as ParseJSON describes, with integer keys. Keys of
// attachments are texts; tags are refused.
func ParseCBOR(payload []byte) (Content, error) {
	b, err := readCBOR(payload)
	if err != nil {
		return Content{}, err
	}
	return b.content()
}

// body is what the keys that we read hold, before it is known whether that is what they should hold: nil (absent or
// null), bool, int64, uint64, float64, string, []byte, []any, map[string]any; of CBOR also what plain refuses.
type body struct {
	S any             `cbor:"0,keyasint"`
	B any             `cbor:"4,keyasint"`
	K any             `cbor:"5,keyasint"`
	R any             `cbor:"6,keyasint"`
	M any             `cbor:"7,keyasint"`
	A any             `cbor:"8,keyasint"`
	X cbor.RawMessage `cbor:"10,keyasint"`
	E any             `cbor:"14,keyasint"`

	op, x any // JSON: the keys op and x
}

func readJSON(payload []byte) (body, error) {
	var b body
	j := jsonReader{src: payload}
	if j.peek() != '{' {
		return b, store.Bad(`the body must be a JSON object such as {"b":"hello"}`)
	}
	ok := j.object(func(key string) bool {
		v, ok := j.value(maxDepth - 1)
		switch key {
		case "s":
			b.S = v
		case "b":
			b.B = v
		case "k":
			b.K = v
		case "r":
			b.R = v
		case "m":
			b.M = v
		case "a":
			b.A = v
		case "x":
			b.x = v
		case "e":
			b.E = v
		case "op":
			b.op = v
		}
		return ok
	})
	if ok && j.peek() != 0 || ok && j.pos < len(payload) {
		ok = j.fail("something follows the object")
	}
	if !ok {
		return b, store.Bad("the body is not valid JSON: " + j.err)
	}
	return b, nil
}

var (
	decoder = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   maxDepth,
		MaxArrayElements:  maxItems,
		MaxMapPairs:       maxItems,
		TagsMd:            cbor.TagsForbidden,
		UTF8:              cbor.UTF8RejectInvalid,
		DefaultMapType:    reflect.TypeFor[map[string]any](),
		NaN:               cbor.NaNDecodeForbidden,
		Inf:               cbor.InfDecodeForbidden,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	}.DecMode())
	encoder = must(cbor.CoreDetEncOptions().EncMode())
)

func readCBOR(payload []byte) (body, error) {
	var b body
	if len(payload) == 0 || payload[0]&0xe0 != majorMap {
		return b, store.Bad(`the body must be a CBOR map with integer keys such as {4: "hello"}`)
	}
	if err := decoder.Unmarshal(payload, &b); err != nil {
		return b, &store.Error{Code: store.CodeBad, Text: "the body is not valid CBOR, or beyond its limits", Err: err}
	}
	if len(b.X) == 1 && (b.X[0] == cborNull || b.X[0] == cborUndefined) {
		b.X = nil
	}
	return b, nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (b *body) content() (Content, error) {
	var c Content
	if b.x != nil || len(b.X) > 0 {
		return c, store.Bad("an operation on an earlier message goes to …/edit")
	}
	if err := b.kind(&c); err != nil {
		return Content{}, err
	}
	if b.B != nil {
		s, ok := b.B.(string)
		if !ok {
			return Content{}, store.Bad("b must be a text")
		}
		c.Text = []byte(s)
		if err := checkText(c.Text, "b"); err != nil {
			return Content{}, err
		}
	}
	if b.E != nil {
		n, ok := number(b.E)
		if !ok || n == 0 || n > math.MaxInt64 {
			return Content{}, store.Bad("e must be a time in Unix milliseconds")
		}
		c.Expiry = int64(n)
	}
	attached, err := b.extra(&c)
	switch {
	case err != nil:
		return Content{}, err
	case len(c.Text) == 0 && c.Kind == store.KindText:
		return Content{}, store.Bad("the message is empty: b must hold its text")
	case len(c.Text) == 0 && attached == 0:
		return Content{}, store.Bad("the message is empty: kind " + c.Kind.String() + " needs an attachment or a text")
	}
	return c, nil
}

func (b *body) kind(c *Content) error {
	if b.K == nil {
		return nil
	}
	s, ok := b.K.(string)
	if !ok {
		return store.Bad("k must be a text")
	}
	if c.Kind, ok = store.ParseKind(s); !ok {
		return store.Bad("there is no such kind; clients send text, image, video, audio, file, poll or location")
	}
	if !c.Kind.ByClient() {
		return store.Forbidden("", "clients send text, image, video, audio, file, poll or location; "+
			"coupons, gifts and links have operations of their own")
	}
	return nil
}

// extra reads r, m and a, and encodes what is there. It returns the number of attachments.
func (b *body) extra(c *Content) (attached int, err error) {
	if b.R == nil && b.M == nil && b.A == nil {
		return 0, nil
	}
	out := []byte{majorMap}
	if b.R != nil {
		n, ok := number(b.R)
		if !ok || n == 0 {
			return 0, store.Bad("r must be the sequence of the message that this one answers")
		}
		c.ReplyTo = store.Seq(n)
		out[0]++
		out = appendHead(append(out, keyReply), majorUint, n)
	}
	if b.M != nil {
		if err := b.mentions(c); err != nil {
			return 0, err
		}
		n := len(c.Mentions)
		if c.All {
			n++
		}
		if n > 0 {
			out[0]++
			out = appendHead(append(out, keyMentions), majorArray, uint64(n))
			for _, m := range c.Mentions {
				out = appendCBORText(out, []byte(m))
			}
			if c.All {
				out = appendCBORText(out, []byte(MentionAll))
			}
		}
	}
	if b.A != nil {
		list, ok := b.A.([]any)
		if !ok {
			return 0, store.Bad("a must be an array of attachments")
		}
		if len(list) > MaxAttachments {
			return 0, store.Bad("at most " + strconv.Itoa(MaxAttachments) + " attachments")
		}
		if attached = len(list); attached > 0 {
			out[0]++
			out = appendHead(append(out, keyAttached), majorArray, uint64(attached))
			for _, a := range list {
				file, err := fileOf(a)
				if err != nil {
					return 0, err
				}
				if file != "" {
					a.(map[string]any)[attachedFile] = file // in lower case
					if !slices.Contains(c.Files, file) {
						c.Files = append(c.Files, file)
					}
				}
				if out, err = appendAttachment(out, a); err != nil {
					return 0, err
				}
			}
		}
	}
	if out[0] > majorMap {
		c.Extra = out
	}
	return attached, nil
}

func (b *body) mentions(c *Content) error {
	list, ok := b.M.([]any)
	if !ok {
		return store.Bad("m must be an array of identifiers")
	}
	if len(list) > MaxMentions {
		return store.Bad("at most " + strconv.Itoa(MaxMentions) + " mentions")
	}
next:
	for _, v := range list {
		s, _ := v.(string)
		if s == MentionAll {
			c.All = true
			continue
		}
		name, ok := hooks.NormalName(s)
		if !ok {
			return store.Bad(`m must be an array of identifiers, or "` + MentionAll + `"`)
		}
		for _, have := range c.Mentions {
			if have == name {
				continue next
			}
		}
		c.Mentions = append(c.Mentions, name)
	}
	return nil
}

func appendAttachment(dst []byte, a any) ([]byte, error) {
	if _, ok := a.(map[string]any); !ok {
		return nil, store.Bad("an attachment must be a map with texts as keys")
	}
	if !plain(a) {
		return nil, store.Bad("an attachment holds something that is not in both JSON and CBOR")
	}
	enc, err := encoder.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("view: encode attachment: %w", err)
	}
	if len(enc) > MaxAttachment {
		return nil, &store.Error{Code: store.CodeTooLarge, Text: "an attachment has more than " +
			strconv.Itoa(MaxAttachment) + " bytes; put large things into a file and attach its address"}
	}
	return append(dst, enc...), nil
}

// plain reports whether a value means the same in JSON and CBOR: no big numbers, undefined or other simple values,
// infinities.
func plain(v any) bool {
	switch v := v.(type) {
	case nil, bool, string, []byte, int64, uint64:
		return true
	case float64:
		return !math.IsNaN(v) && !math.IsInf(v, 0)
	case []any:
		for _, e := range v {
			if !plain(e) {
				return false
			}
		}
		return true
	case map[string]any:
		for _, e := range v {
			if !plain(e) {
				return false
			}
		}
		return true
	}
	return false
}

// number is a value that is written as an integer and not negative.
func number(v any) (uint64, bool) {
	switch n := v.(type) {
	case uint64:
		return n, true
	case int64:
		return uint64(n), n >= 0
	}
	return 0, false
}

func checkText(s []byte, what string) error {
	if !utf8.Valid(s) {
		return store.Bad(what + " is not valid UTF-8")
	}
	if bytes.IndexByte(s, 0) >= 0 {
		return store.Bad(what + " holds a NUL character")
	}
	return nil
}
