package view

import (
	"bytes"
	"strings"

	"github.com/hwangso/hwangso/store"
)

// Mentions reports whether a record mentions a user by name (in an open room: by the room's own id of the member), and
// whether everybody. extra is the record's, as the store returned it; what is none mentions nobody.
func Mentions(extra []byte, name string) (named, all bool) {
	if len(extra) == 0 {
		return false, false
	}
	pairs(extra, func(key uint64, value []byte) {
		if key != keyMentions {
			return
		}
		major, _, n, rest, ok := readHead(value)
		if !ok || major != majorArray {
			return
		}
		for ; n > 0; n-- {
			major, _, size, text, ok := readHead(rest)
			if !ok || major != majorText || size > uint64(len(text)) {
				return
			}
			switch m := text[:size]; {
			case string(m) == MentionAll:
				all = true
			case name != "" && string(m) == name:
				named = true
			}
			rest = text[size:]
		}
	})
	return named, all
}

// NoticeOf is what a notice tells; of a record that is none the zero Notice.
func NoticeOf(r *store.Record) Notice {
	if r.Kind != store.KindNotice {
		return Notice{}
	}
	return noticeOf(r.Extra)
}

// Clean is a user's text as one line that is safe to show anywhere: without control characters, escape sequences and
// characters that reorder other text.
func Clean(s []byte) string { return string(appendClean(nil, s)) }

// Nobody is what stands in place of the name of somebody who is gone.
func Nobody(l Lang) string { return phrase(l, textNobody) }

// PushKeys are the keys of push texts, in the order in which they are documented.
func PushKeys() []string {
	out := make([]string, 0, len(pushTexts)+2*len(pushKinds))
	for i := range pushTexts {
		out = append(out, pushTexts[i].key)
	}
	for i := range pushKinds {
		out = append(out, pushKinds[i].key, pushKinds[i].key+pushIn)
	}
	return out
}

// PushArgs are the names of a key's arguments, in their order.
func PushArgs(key string) []string {
	if t := pushText(key); t != nil {
		return strings.Fields(t.args)
	}
	switch _, room, ok := pushKind(key); {
	case ok && room:
		return []string{"who", "room", "text"}
	case ok:
		return []string{"who", "text"}
	}
	return nil
}

// PushText is the text of a push in a language: what an app shows for the key, for a client that has no texts of its own.
// The arguments are those of PushArgs and are cleaned; a missing one is empty, and so is the text of a key that does not
// exist. title is "" where the text has none.
func PushText(l Lang, key string, args []string) (title, body string) {
	if l >= langs {
		l = English
	}
	if t := pushText(key); t != nil {
		names := strings.Fields(t.args)
		return fillPush(t.title, names, args), fillPush(t.body[l], names, args)
	}
	kind, room, ok := pushKind(key)
	if !ok {
		return "", ""
	}
	said := "{text}"
	if kind != textNone {
		said = "[" + texts[l][kind] + "] {text}"
	}
	if room {
		return fillPush("{room}", kindInArgs, args), fillPush("{who}: "+said, kindInArgs, args)
	}
	return fillPush("{who}", kindArgs, args), fillPush(said, kindArgs, args)
}

// PushLine is a push text as an app keeps it: one line, with {1} for its first argument and so on. "" where there is no
// such key.
func PushLine(l Lang, key string) string {
	names := PushArgs(key)
	places := make([]string, len(names))
	for i := range places {
		places[i] = "{" + string(rune('1'+i)) + "}"
	}
	title, body := PushText(l, key, places)
	if title != "" {
		return title + ": " + body
	}
	return body
}

// KindWord is a message of another kind than text as one line: its kind in a word and its caption, as "[photo] hello". Of a
// link it shows no address.
func KindWord(l Lang, r *store.Record) string {
	if link, ok := LinkOf(r); ok && !gone(r) {
		said := append(appendPhrase([]byte{'['}, l, textLink, args{}), "] "...)
		return string(link.appendSaid(said, r.Text))
	}
	return string(appendBody(nil, r, l, 0))
}

// LinkLine is a link without its address, "app: text"; of any other record its text.
func LinkLine(r *store.Record) []byte {
	if link, ok := LinkOf(r); ok && !gone(r) {
		return link.appendSaid(nil, r.Text)
	}
	return r.Text
}

var kindArgs, kindInArgs = []string{"who", "text"}, []string{"who", "room", "text"}

// pushIn is the end of the keys of what was written in a room.
const pushIn = "_in"

// pushKinds are the keys of what was written, by kind.
var pushKinds = []struct {
	key  string
	word textKey
}{
	{"push_text", textNone}, {"push_image", textImage}, {"push_video", textVideo}, {"push_audio", textAudio}, {"push_file", textFile},
	{"push_poll", textPoll}, {"push_location", textLocation}, {"push_link", textLink}, {"push_coupon", textCoupon}, {"push_gift", textGift},
}

func pushKind(key string) (word textKey, room, ok bool) {
	key, room = strings.CutSuffix(key, pushIn)
	for i := range pushKinds {
		if pushKinds[i].key == key {
			return pushKinds[i].word, room, true
		}
	}
	return textNone, false, false
}

func pushText(key string) *pushPhrase {
	for i := range pushTexts {
		if pushTexts[i].key == key {
			return &pushTexts[i]
		}
	}
	return nil
}

// fillPush puts arguments into the places that have their names.
func fillPush(sentence string, names, args []string) string {
	var out []byte
	for s := []byte(sentence); ; {
		before, after, found := bytes.Cut(s, []byte("{"))
		out = append(out, before...)
		if !found {
			return strings.TrimSpace(string(out))
		}
		name, rest, _ := bytes.Cut(after, []byte("}"))
		for i := range names {
			if names[i] == string(name) && i < len(args) {
				out = appendClean(out, []byte(args[i]))
			}
		}
		s = rest
	}
}
