package view

import (
	"strconv"

	"github.com/hwangso/hwangso/store"
)

// The keys of x in CBOR, and their names in JSON.
const (
	eventOp      = 0 // op
	eventTarget  = 1 // s
	eventWho     = 2 // who
	eventRole    = 3 // role
	eventTitle   = 4 // title
	eventAt      = 5 // at
	eventRoom    = 6 // room
	eventDevice  = 7 // device
	eventChannel = 8 // channel
)

// The words of op for changes of a conversation.
const (
	opJoined  = "joined"
	opLeft    = "left"
	opRemoved = "removed"
	opRole    = "role"
	opTitle   = "title"
)

// event is what x says.
type event struct {
	op           string
	target, at   store.Seq
	who, role    string
	title        string
	titled       bool // title is told, also if it is ""
	room, device string
	channel      string
}

// eventOf is what a record's x says; false if it has none.
func eventOf(r *store.Record, names Names) (event, bool) {
	switch {
	case gone(r):
		return event{op: store.OpRecall.String(), target: r.Seq}, true
	case r.Op.Kind != store.OpNone:
		return event{op: r.Op.Kind.String(), target: r.Op.Target}, true
	case r.Change.Kind != store.ChangeNone:
		return changeOf(r.Change, names)
	case r.Kind == store.KindNotice:
		return noticeOf(r.Extra).event(names)
	case r.Kind == store.KindSystem && len(r.Extra) > 0:
		return roomEventOf(r.Extra).event(names)
	case r.Edited != 0:
		return event{op: store.OpEdit.String(), target: r.Seq, at: r.Edited}, true
	}
	return event{}, false
}

func changeOf(c store.Change, names Names) (event, bool) {
	e := event{who: nameOf(c.Account, names)}
	switch c.Kind {
	case store.ChangeJoin:
		e.op, e.role = opJoined, max(c.Role, store.RoleMember).String()
	case store.ChangeLeave:
		e.op = opLeft
	case store.ChangeRemove:
		e.op = opRemoved
	case store.ChangeRole:
		e.op, e.role = opRole, c.Role.String()
	case store.ChangeTitle:
		e.op, e.title, e.titled, e.who = opTitle, c.Title, true, ""
	default:
		return event{}, false
	}
	return e, true
}

// size is about how many bytes x takes.
func (e *event) size() int {
	if e.op == "" {
		return 0
	}
	return 64 + len(e.who) + len(e.title) + len(e.room) + len(e.device) + len(e.channel)
}

func (e *event) appendJSON(dst []byte) []byte {
	dst = appendJSONString(append(dst, `{"op":`...), []byte(e.op))
	if e.target != 0 {
		dst = strconv.AppendUint(append(dst, `,"s":`...), uint64(e.target), 10)
	}
	if e.who != "" {
		dst = appendJSONString(append(dst, `,"who":`...), []byte(e.who))
	}
	if e.role != "" {
		dst = appendJSONString(append(dst, `,"role":`...), []byte(e.role))
	}
	if e.titled {
		dst = appendJSONString(append(dst, `,"title":`...), []byte(e.title))
	}
	if e.at != 0 {
		dst = strconv.AppendUint(append(dst, `,"at":`...), uint64(e.at), 10)
	}
	if e.room != "" {
		dst = appendJSONString(append(dst, `,"room":`...), []byte(e.room))
	}
	if e.device != "" {
		dst = appendJSONString(append(dst, `,"device":`...), []byte(e.device))
	}
	if e.channel != "" {
		dst = appendJSONString(append(dst, `,"channel":`...), []byte(e.channel))
	}
	return append(dst, '}')
}

func (e *event) appendCBOR(dst []byte) []byte {
	head := len(dst)
	dst = appendCBORText(append(dst, majorMap|1, eventOp), []byte(e.op))
	if e.target != 0 {
		dst[head]++
		dst = appendHead(append(dst, eventTarget), majorUint, uint64(e.target))
	}
	if e.who != "" {
		dst[head]++
		dst = appendCBORText(append(dst, eventWho), []byte(e.who))
	}
	if e.role != "" {
		dst[head]++
		dst = appendCBORText(append(dst, eventRole), []byte(e.role))
	}
	if e.titled {
		dst[head]++
		dst = appendCBORText(append(dst, eventTitle), []byte(e.title))
	}
	if e.at != 0 {
		dst[head]++
		dst = appendHead(append(dst, eventAt), majorUint, uint64(e.at))
	}
	if e.room != "" {
		dst[head]++
		dst = appendCBORText(append(dst, eventRoom), []byte(e.room))
	}
	if e.device != "" {
		dst[head]++
		dst = appendCBORText(append(dst, eventDevice), []byte(e.device))
	}
	if e.channel != "" {
		dst[head]++
		dst = appendCBORText(append(dst, eventChannel), []byte(e.channel))
	}
	return dst
}
