package view

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hwangso/hwangso/store"
)

// MaxEmoji is the length of a reaction in bytes: the longest emoji of Unicode fit.
const MaxEmoji = 32

// Operation is what a client does to an earlier message.
type Operation struct {
	Op   store.Op
	Text []byte // the new text of an edit, the emoji of a reaction, else nil
}

const opExample = `, such as "edit 12 new text", "recall 12", "react 12 👍", "pin 12", or {"op":"edit","s":12,"b":"new text"}`

// ParseOp reads the payload of a publish to …/edit, in one of the forms that the package's documentation shows.
// Errors are *store.Error of CodeBad.
func ParseOp(payload []byte) (Operation, error) {
	trimmed := bytes.TrimLeft(payload, " \t\r\n")
	if len(trimmed) == 0 {
		return Operation{}, store.Bad("the operation is empty; say what to do" + opExample)
	}
	switch c := trimmed[0]; {
	case c == '{':
		b, err := readJSON(payload)
		if err != nil {
			return Operation{}, err
		}
		return b.jsonOperation()
	case payload[0]&0xe0 == majorMap:
		b, err := readCBOR(payload)
		if err != nil {
			return Operation{}, err
		}
		return b.cborOperation()
	}
	if !utf8.Valid(payload) {
		return Operation{}, store.Bad("the operation is not valid UTF-8")
	}
	word, rest := cutWord(string(trimmed))
	number, rest := cutWord(rest)
	seq, ok := parseSeq(number)
	if !ok {
		return Operation{}, store.Bad("an operation is a word and the sequence of a message" + opExample)
	}
	return operation(strings.ToLower(word), uint64(seq), rest)
}

func (b *body) jsonOperation() (Operation, error) {
	op, seq := b.op, b.S
	if x, ok := b.x.(map[string]any); ok && op == nil {
		op, seq = x["op"], x["s"]
	}
	return anyOperation(op, seq, b.B)
}

func (b *body) cborOperation() (Operation, error) {
	var x struct {
		Op  any `cbor:"0,keyasint"`
		Seq any `cbor:"1,keyasint"`
	}
	var err error
	if len(b.X) > 0 && b.X[0]&0xe0 == majorMap {
		err = decoder.Unmarshal(b.X, &x)
	} else if len(b.X) > 0 {
		x.Seq = b.S
		err = decoder.Unmarshal(b.X, &x.Op)
	}
	if err != nil {
		return Operation{}, &store.Error{Code: store.CodeBad, Text: "key 10 is not valid CBOR, or beyond its limits", Err: err}
	}
	return anyOperation(x.Op, x.Seq, b.B)
}

func anyOperation(op, seq, text any) (Operation, error) {
	word, ok := op.(string)
	if !ok {
		return Operation{}, store.Bad("op must say what to do: edit, recall, react, unreact, pin or unpin")
	}
	target, ok := number(seq)
	if !ok {
		return Operation{}, store.Bad("s must be the sequence of the message")
	}
	s, ok := text.(string)
	if !ok && text != nil {
		return Operation{}, store.Bad("b must be a text")
	}
	return operation(word, target, s)
}

func operation(word string, target uint64, text string) (Operation, error) {
	kind, ok := store.ParseOp(word)
	if !ok {
		return Operation{}, store.Bad("there is no such operation; there are edit, recall, react, unreact, pin and unpin")
	}
	if target == 0 {
		return Operation{}, store.Bad("s must be the sequence of the message; sequences begin at 1")
	}
	o := Operation{Op: store.Op{Kind: kind, Target: store.Seq(target)}}
	switch kind {
	case store.OpEdit:
		if text == "" {
			return Operation{}, store.Bad("the new text is missing; recall takes a message back")
		}
		o.Text = []byte(text)
		if err := checkText(o.Text, "the new text"); err != nil {
			return Operation{}, err
		}
	case store.OpReact, store.OpUnreact:
		if text = strings.TrimSpace(text); !emoji(text) {
			return Operation{}, store.Bad("a reaction is one emoji, such as 👍")
		}
		o.Text = []byte(text)
	}
	return o, nil
}

// cutWord cuts a line after its first word: "edit 12 new text" gives "edit" and "12 new text".
func cutWord(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t\r\n")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

// emoji reports whether s is one emoji: one character that is a symbol, or a keycap digit, or a flag, with what
// modifies it and what a zero width joiner joins to it. It knows no table of emoji, which grows every year; letters
// and words are what it keeps out.
func emoji(s string) bool {
	if s == "" || len(s) > MaxEmoji || !utf8.ValidString(s) {
		return false
	}
	const (
		joiner = '\u200d'
		keycap = '\u20e3'
	)
	wanted := true // a base character comes next
	var flags int  // regional indicators
	digit := false // the base was a digit, # or *: it needs a keycap
	for i, r := range s {
		switch {
		case r >= 0x1f1e6 && r <= 0x1f1ff:
			if flags++; i > 0 && flags != 2 || flags > 2 {
				return false
			}
			wanted = false
		case r == joiner:
			if wanted {
				return false
			}
			wanted = true
		case r == keycap:
			if !digit {
				return false
			}
			digit = false
		case r >= 0x1f3fb && r <= 0x1f3ff && !wanted, // skin tones
			r >= 0xe0020 && r <= 0xe007f && !wanted, // tags: flags of England, Scotland, Wales
			unicode.In(r, unicode.Mn, unicode.Me) && !wanted:
		case !wanted:
			return false
		case r >= '0' && r <= '9' || r == '#' || r == '*':
			if i > 0 {
				return false
			}
			digit, wanted = true, false
		case r < 0x80 || !unicode.In(r, unicode.So, unicode.Sm, unicode.Sk, unicode.Po, unicode.Pd) && r != 'ℹ':
			return false
		default:
			wanted = false
		}
	}
	return !wanted && !digit && flags != 1
}
