package view

import (
	"bytes"

	"github.com/hwangso/hwangso/store"
)

// Buttons are the buttons of a record, those that CheckPost allows: in a post all of them. Extra is as the store returned
// it.
func Buttons(extra []byte) []Button {
	if !bytes.Contains(extra, []byte(typeButton)) {
		return nil
	}
	list, err := attachmentsOf(extra)
	if err != nil {
		return nil
	}
	var out []Button
	for _, a := range list {
		m, ok := a.(map[string]any)
		if !ok || m[attachedType] != typeButton || checkButton(m) != nil || len(out) == MaxButtons {
			continue
		}
		label, _ := m[attachedText].(string)
		address, _ := m[attachedURL].(string)
		out = append(out, Button{Text: label, URL: address})
	}
	return out
}

// appendButtons appends the buttons of a record for people who read text, each after a break: "· label: address".
func appendButtons(dst []byte, r *store.Record, lineBreak string) []byte {
	if gone(r) || r.Op.Kind != store.OpNone {
		return dst
	}
	for _, b := range Buttons(r.Extra) {
		dst = append(append(dst, lineBreak...), systemMark...)
		dst = append(append(append(dst, b.Text...), ": "...), b.URL...)
	}
	return dst
}
