package view

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// attachedFile is the key under which an attachment names a file of this server.
const attachedFile = "file"

// fileOf is the file that an attachment names, "" if it names none. Errors are CodeBad: it names something that cannot
// be one.
func fileOf(attachment any) (string, error) {
	m, ok := attachment.(map[string]any)
	if !ok {
		return "", nil
	}
	v, ok := m[attachedFile]
	if !ok || v == nil {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", store.Bad("the key file of an attachment must be the identifier of a file")
	}
	if s, ok = hooks.NormalName(s); !ok {
		return "", store.Bad("the key file of an attachment must be the identifier of a file")
	}
	return s, nil
}

// Files are the files that a record's attachments name, each once, in order. Extra is as the store returned it; an error
// says that it was not made by this package.
func Files(extra []byte) ([]string, error) {
	if len(extra) == 0 {
		return nil, nil
	}
	var b struct {
		A []map[string]cbor.RawMessage `cbor:"8,keyasint"`
	}
	if err := decoder.Unmarshal(extra, &b); err != nil {
		return nil, fmt.Errorf("view: attachments: %w", err)
	}
	var out []string
next:
	for _, a := range b.A {
		raw, ok := a[attachedFile]
		if !ok {
			continue
		}
		var s string
		if decoder.Unmarshal(raw, &s) != nil {
			continue
		}
		for _, have := range out {
			if have == s {
				continue next
			}
		}
		out = append(out, s)
	}
	return out, nil
}
