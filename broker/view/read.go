package view

import (
	"bytes"
	"strconv"

	"github.com/hwangso/hwangso/store"
)

// MaxTyping is the longest payload of a publish to …/typing.
const MaxTyping = 64

// ParseRead reads the payload of a publish to …/read, the sequence read up to: decimal digits with or without white
// space around them, or one CBOR unsigned integer. The two cannot be confused but for a single tab, line feed,
// carriage return, which are the CBOR of 9, 10 and 13. Errors are *store.Error of CodeBad.
func ParseRead(payload []byte) (store.Seq, error) {
	if major, _, n, rest, ok := readHead(payload); ok && major == majorUint && len(rest) == 0 && n > 0 {
		return store.Seq(n), nil
	}
	if seq, ok := parseSeq(string(bytes.TrimSpace(payload))); ok {
		return seq, nil
	}
	return 0, store.Bad("say up to which sequence you have read, as in 118")
}

// ParseTyping checks the payload of a publish to …/typing, whose content means nothing. Errors are *store.Error of
// CodeTooLarge.
func ParseTyping(payload []byte) error {
	if len(payload) > MaxTyping {
		return &store.Error{Code: store.CodeTooLarge, Text: "typing needs no payload; at most " +
			strconv.Itoa(MaxTyping) + " bytes are ignored"}
	}
	return nil
}

// AppendMarks appends the payload of a delivery on …/read: how far the members have read, without names, ascending.
// [[118,2],[130,0]] says that two stand at 118 and nobody has read up to 130, the head.
func AppendMarks(dst []byte, steps []store.Step) []byte {
	dst = append(dst, '[')
	for i, s := range steps {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(append(dst, '['), uint64(s.Seq), 10)
		dst = strconv.AppendInt(append(dst, ','), int64(s.Members), 10)
		dst = append(dst, ']')
	}
	return append(dst, ']')
}

// parseSeq reads a sequence of at most 19 decimal digits, from 1.
func parseSeq(s string) (store.Seq, bool) {
	if len(s) == 0 || len(s) > 19 || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return store.Seq(n), err == nil && n > 0
}
