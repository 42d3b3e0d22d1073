package view

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// PollOf is a poll as its message carries it: the text is the question, each attachment with the key option is one
// answer, and one with the key poll says how it is run.
//
//	{"k":"poll","b":"Where?","a":[{"option":"Seoul"},{"option":"Busan"},{"poll":{"multiple":true,"ends":1767225600000}}]}
type PollOf struct {
	Options  []string
	Multiple bool  // several answers may be chosen
	Ends     int64 // Unix milliseconds, 0: when it is closed
}

// Poll reads the poll out of a record's Extra. One that is none has no Options. Errors say that Extra was not made by this
// package.
func Poll(extra []byte) (p PollOf, err error) {
	if len(extra) == 0 {
		return p, nil
	}
	var b struct {
		A []map[string]cbor.RawMessage `cbor:"8,keyasint"`
	}
	if err := decoder.Unmarshal(extra, &b); err != nil {
		return p, fmt.Errorf("view: poll: %w", err)
	}
	for _, a := range b.A {
		var option string
		if raw, ok := a["option"]; ok && decoder.Unmarshal(raw, &option) == nil {
			p.Options = append(p.Options, option)
		}
		var how struct {
			Multiple bool  `cbor:"multiple"`
			Ends     int64 `cbor:"ends"`
		}
		if raw, ok := a["poll"]; ok && decoder.Unmarshal(raw, &how) == nil {
			p.Multiple, p.Ends = how.Multiple, how.Ends
		}
	}
	return p, nil
}
