package webpush

import (
	"bytes"
	"encoding/json"

	"github.com/hwangso/hwangso/bridge/push"
)

// payload is what a client decrypts: the same keys as everybody's, with the text in the user's language.
type payload struct {
	Kind   push.Kind `json:"kind"`
	Thread string    `json:"thread,omitempty"`
	Room   string    `json:"room,omitempty"`
	Seq    uint64    `json:"seq,omitempty"`
	Epoch  uint32    `json:"epoch,omitempty"`
	Count  int       `json:"count,omitempty"`
	Badge  *int      `json:"badge,omitempty"`
	Silent bool      `json:"silent,omitempty"`
	Title  string    `json:"title,omitempty"`
	Body   string    `json:"body,omitempty"`
}

func encode(n *push.Note) ([]byte, error) {
	p := payload{Kind: n.Kind, Thread: n.Thread, Room: n.Room, Seq: uint64(n.Seq), Epoch: uint32(n.Epoch), Count: n.Count,
		Silent: n.Silent, Title: n.Title, Body: n.Body}
	if n.Badge >= 0 {
		p.Badge = &n.Badge
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(&p); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
