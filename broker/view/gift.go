package view

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/hwangso/hwangso/store"
)

// GiftOf is a gift as its message carries it: the text is the title, and one attachment names the rest. There is no code
// in it; gift.show has it.
//
//	{"k":"gift","b":"Free coffee","a":[{"gift":{"id":"mzxw6ytboi","channel":"cafe","campaign":"coffee"}}]}
type GiftOf struct {
	ID       string
	Channel  string
	Campaign string
	Title    string
}

// Gift is the content of a gift's message.
func Gift(g GiftOf) (Content, error) {
	extra, err := appendAttachment([]byte{majorMap | 1, keyAttached, majorArray | 1},
		map[string]any{"gift": map[string]any{"id": g.ID, "channel": g.Channel, "campaign": g.Campaign}})
	return Content{Kind: store.KindGift, Text: []byte(g.Title), Extra: extra}, err
}

// ReadGift reads the gift out of a record's Extra; Title is empty. One that is none has no ID. Errors say that Extra was
// not made by this package.
func ReadGift(extra []byte) (g GiftOf, err error) {
	if len(extra) == 0 {
		return g, nil
	}
	var b struct {
		A []map[string]cbor.RawMessage `cbor:"8,keyasint"`
	}
	if err := decoder.Unmarshal(extra, &b); err != nil {
		return g, fmt.Errorf("view: gift: %w", err)
	}
	for _, a := range b.A {
		var of struct {
			ID       string `cbor:"id"`
			Channel  string `cbor:"channel"`
			Campaign string `cbor:"campaign"`
		}
		if raw, ok := a["gift"]; ok && decoder.Unmarshal(raw, &of) == nil {
			return GiftOf{ID: of.ID, Channel: of.Channel, Campaign: of.Campaign}, nil
		}
	}
	return g, nil
}
