package view

import (
	"bytes"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/hwangso/hwangso/store"
)

// systemMark begins the lines that the server itself says in the line view. No line with a user's words begins so.
const systemMark = "· "

// Text appends a record as the text view shows it: of a text message its text, byte for byte, so that what was
// published to …/text arrives as it was; below it, the buttons of a post, each on a line of its own. Anything else is one
// clean line in the language: another kind as "[image] caption", a link as "app: text https://…", a recalled message as
// "(message deleted)", an operation or a system event as a sentence.
func Text(dst []byte, r *store.Record, l Lang, names Names) []byte {
	return TextOn(dst, r, l, names, 0)
}

// TextOn is Text for a device of a system: of a link it shows the address that is for it.
func TextOn(dst []byte, r *store.Record, l Lang, names Names, s System) []byte {
	if out, ok := appendSentence(dst, r, l, names); ok {
		return out
	}
	if r.Kind == store.KindText && !gone(r) {
		return appendButtons(append(dst, r.Text...), r, "\n")
	}
	return appendButtons(appendBody(dst, r, l, s), r, "\n")
}

// Line appends a record as the line view shows it, "alice: hi": always one line without a line break at its end, safe
// to write to a terminal whatever the users wrote. Operations and system events begin with "· "; so does nothing else.
// A message that was edited says so. A stranger's message says so to everybody but its sender. With own.Unread above 0
// the number stands at the end; deliveries leave it 0.
func Line(dst []byte, r *store.Record, l Lang, names Names, own Own) []byte {
	mark := len(dst)
	if out, ok := appendSentence(append(dst, systemMark...), r, l, names); ok {
		return out
	}
	dst = appendName(dst[:mark], r.Sender, l, names)
	if r.Warn && own.Viewer != r.Sender {
		dst = appendPhrase(append(dst, ' '), l, textStranger, args{})
	}
	dst = append(dst, ": "...)
	mark = len(dst)
	dst = appendBody(dst, r, l, own.System)
	if c, _ := utf8.DecodeRune(dst[mark:]); dot(c) {
		dst = slices.Insert(dst, mark, '\\') // a text that begins like a line of the server
	}
	if r.Edited != 0 && !gone(r) {
		dst = appendPhrase(append(dst, ' '), l, textEdited, args{})
	}
	dst = appendButtons(dst, r, " "+lineBreak)
	if own.Unread > 0 {
		var digits [20]byte
		n := strconv.AppendInt(digits[:0], int64(own.Unread), 10)
		dst = appendPhrase(append(dst, ' ', '('), l, textUnread, args{text: n})
		dst = append(dst, ')')
	}
	return dst
}

// appendBody appends what a user said, as one clean line.
func appendBody(dst []byte, r *store.Record, l Lang, s System) []byte {
	if gone(r) {
		return appendPhrase(dst, l, textRecalled, args{})
	}
	if link, ok := LinkOf(r); ok {
		return link.appendLine(dst, r.Text, s)
	}
	if key, ok := kindTexts[r.Kind]; ok {
		dst = append(appendPhrase(append(dst, '['), l, key, args{}), ']')
		if len(r.Text) > 0 {
			dst = append(dst, ' ')
		}
	}
	return appendClean(dst, r.Text)
}

var kindTexts = map[store.Kind]textKey{
	store.KindImage: textImage, store.KindVideo: textVideo, store.KindAudio: textAudio, store.KindFile: textFile,
	store.KindPoll: textPoll, store.KindLocation: textLocation, store.KindLink: textLink, store.KindCoupon: textCoupon,
	store.KindGift: textGift,
}

// appendSentence appends an operation, a change of the conversation or a notice as a sentence; false if the record is
// none of these.
func appendSentence(dst []byte, r *store.Record, l Lang, names Names) ([]byte, bool) {
	if gone(r) {
		return dst, false
	}
	switch {
	case r.Op.Kind != store.OpNone:
		key, ok := opTexts[r.Op.Kind]
		return appendPhrase(dst, l, key, args{by: appendName(nil, r.Sender, l, names), text: r.Text}), ok
	case r.Change.Kind != store.ChangeNone:
		a := args{by: appendName(nil, r.Sender, l, names), who: appendName(nil, r.Change.Account, l, names), text: []byte(r.Change.Title)}
		key, ok := changeText(r)
		return appendPhrase(dst, l, key, a), ok
	case r.Kind == store.KindNotice:
		return appendNotice(dst, r, l, names), true
	case r.Kind == store.KindSystem && len(r.Extra) > 0:
		return appendRoomEvent(dst, r, l, names), true
	case r.Kind == store.KindSystem:
		return appendClean(dst, r.Text), true
	}
	return dst, false
}

// appendNotice appends a notice as a sentence, one without a sentence of its own as the text that came with it.
func appendNotice(dst []byte, r *store.Record, l Lang, names Names) []byte {
	n := noticeOf(r.Extra)
	said, ok := notices[n.What]
	if !ok {
		return appendClean(dst, r.Text)
	}
	if l >= langs {
		l = English
	}
	a := args{who: appendName(nil, n.Who, l, names), text: []byte(n.Room)}
	if n.Device != "" {
		a.text = []byte(n.Device)
	}
	switch {
	case n.Channel != "":
		a.text = []byte(n.Channel)
	case n.Device == "" && n.Room == "":
		a.text = r.Text
	}
	return bytes.TrimRight(appendFilled(dst, said[l], a), " ")
}

var opTexts = map[store.OpKind]textKey{
	store.OpEdit: textEdit, store.OpRecall: textRecall, store.OpReact: textReact, store.OpUnreact: textUnreact,
	store.OpPin: textPin, store.OpUnpin: textUnpin,
}

func changeText(r *store.Record) (textKey, bool) {
	other := r.Sender != 0 && r.Sender != r.Change.Account // somebody else did it
	switch r.Change.Kind {
	case store.ChangeJoin:
		if other {
			return textInvited, true
		}
		return textJoined, true
	case store.ChangeLeave:
		return textLeft, true
	case store.ChangeRemove:
		if other {
			return textRemovedBy, true
		}
		return textRemoved, true
	case store.ChangeRole:
		switch r.Change.Role {
		case store.RoleOwner:
			return textOwner, true
		case store.RoleModerator:
			return textModerator, true
		}
		return textMember, true
	case store.ChangeTitle:
		switch {
		case r.Change.Title == "" && r.Sender != 0:
			return textUntitledBy, true
		case r.Change.Title == "":
			return textUntitled, true
		case r.Sender != 0:
			return textTitledBy, true
		}
		return textTitled, true
	}
	return 0, false
}

// appendName appends the name of an account, clean and never beginning like a line of the server.
func appendName(dst []byte, a store.AccountID, l Lang, names Names) []byte {
	mark := len(dst)
	name := ""
	if n, ok := names.(Nicknames); ok {
		name = n.Nickname(a)
	} else {
		name = nameOf(a, names)
	}
	dst = appendClean(dst, []byte(name))
	from := mark
	for from < len(dst) {
		r, size := utf8.DecodeRune(dst[from:])
		if !dot(r) && !unicode.IsSpace(r) {
			break
		}
		from += size
	}
	dst = slices.Delete(dst, mark, from)
	if len(dst) == mark {
		return appendPhrase(dst, l, textNobody, args{})
	}
	return dst
}

// dot reports whether a character looks like the dot of systemMark.
func dot(r rune) bool {
	switch r {
	case 0x00b7, 0x0387, 0x2022, 0x2027, 0x2219, 0x22c5, 0x2e31, 0x2e33, 0x30fb, 0xff65, 0x16eb, 0x10101:
		return true
	}
	return false
}
