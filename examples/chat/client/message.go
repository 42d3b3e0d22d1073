package client

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Message is one entry of a conversation.
type Message struct {
	Conversation string // "user/bob", "room/lobby", "channel/cafe", its advertising "channel/cafe/ads"; "notice": what the server tells this user
	Seq          uint64 // its number in the conversation
	Epoch        uint32 // raised when the server was restored from a backup
	From         string // "" for the server
	Time         time.Time
	CID          string
	Text         string
	Kind         string // "" for text, else image, system, notice …
	Unread       int    // members who have not read it
	Change       Change // what happened, for Kind system and for operations
}

// Change is what a message tells that is no text: an operation on an earlier message, or a change of the room.
type Change struct {
	Op     string `json:"op"` // edit, recall, react, pin; joined, left, removed, role, title
	Seq    uint64 `json:"s"`  // the earlier message
	Who    string `json:"who"`
	Role   string `json:"role"`
	Title  string `json:"title"`
	Room   string `json:"room"`
	Device string `json:"device"`
}

// Event is something that is not kept: somebody types, somebody has read.
type Event struct {
	Conversation string
	Typing       string // who types; "" if this is about reading
	// Marks are how far the members have read, without names: Marks[i][1] members stand at number Marks[i][0].
	Marks [][2]uint64
}

// UnreadBy is how many members, the sender not counted, have not read a message, as the marks have it. They count
// the sender as having read what it wrote.
func (e Event) UnreadBy(seq uint64) (n int) {
	for _, m := range e.Marks {
		if m[0] < seq {
			n += int(m[1])
		}
	}
	return n
}

// envelope is the JSON view, as far as this client looks at it.
type envelope struct {
	S uint64  `json:"s"`
	F string  `json:"f"`
	T int64   `json:"t"`
	I string  `json:"i"`
	B string  `json:"b"`
	K string  `json:"k"`
	U int     `json:"u"`
	H uint32  `json:"h"`
	D bool    `json:"d"`
	X *Change `json:"x"`
}

func parseMessage(place, name string, payload []byte) (Message, bool) {
	if place == "notice" {
		return ParseEnvelope(place, payload)
	}
	return ParseEnvelope(place+"/"+name, payload)
}

// ParseEnvelope reads a message in the JSON view; false if it is none.
func ParseEnvelope(conversation string, payload []byte) (Message, bool) {
	var e envelope
	if json.Unmarshal(payload, &e) != nil || e.S == 0 {
		return Message{}, false
	}
	if e.D { // it counts apart from the notices on the same topic
		conversation += "/ads"
	}
	m := Message{Conversation: conversation, Seq: e.S, Epoch: max(e.H, 1), From: e.F, Time: time.UnixMilli(e.T), CID: e.I, Text: e.B, Kind: e.K, Unread: e.U}
	if e.X != nil {
		m.Change = *e.X
	}
	return m, true
}

func parseEvent(place, name, rest string, payload []byte) (Event, bool) {
	e := Event{Conversation: place + "/" + name}
	if who, ok := strings.CutPrefix(rest, "typing/"); ok {
		e.Typing = who
		return e, true
	}
	if rest != "read" || json.Unmarshal(payload, &e.Marks) != nil {
		return Event{}, false
	}
	return e, true
}

// Line is the message in words for a terminal. Control characters are left out, so that nobody's text can steer the
// terminal of another.
func (m Message) Line() string {
	who := m.From
	if who == "" {
		who = "the server"
	}
	c := m.Change
	switch c.Op {
	case "":
		return Clean(who + ": " + m.body())
	case "edit":
		if c.Seq == m.Seq {
			return Clean(who + ": " + m.body() + " (edited)")
		}
		return Clean(fmt.Sprintf("· %s edited #%d: %s", who, c.Seq, m.Text))
	case "recall":
		return Clean(fmt.Sprintf("· %s took #%d back", who, c.Seq))
	case "react":
		return Clean(fmt.Sprintf("· %s: %s to #%d", who, m.Text, c.Seq))
	case "pin":
		return Clean(fmt.Sprintf("· %s pinned #%d", who, c.Seq))
	case "joined":
		return Clean("· " + c.Who + " is in the room now")
	case "left":
		return Clean("· " + c.Who + " left the room")
	case "removed":
		return Clean("· " + c.Who + " was removed from the room")
	case "role":
		return Clean("· " + c.Who + " is " + c.Role + " now")
	case "invited":
		return Clean("· " + c.Who + " invites you to #" + c.Room + ": /join #" + c.Room)
	case "added":
		return Clean("· you are in #" + c.Room + " now")
	case "device":
		return Clean("· a device of yours has signed in: " + c.Device)
	case "title":
		return Clean("· the room is called " + c.Title + " now")
	}
	what := []string{"·", strings.ReplaceAll(c.Op, "_", " ")}
	for _, s := range []string{c.Who, c.Room, c.Device, m.Text} {
		if s != "" {
			what = append(what, s)
		}
	}
	return Clean(strings.Join(what, " "))
}

func (m Message) body() string {
	if m.Kind != "" && m.Kind != "text" {
		return strings.TrimSpace("[" + m.Kind + "] " + m.Text)
	}
	return m.Text
}

// Clean removes what could steer a terminal: control characters and those that turn the direction of writing.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ', r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c:
			return -1
		}
		return r
	}, s)
}
