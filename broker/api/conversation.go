package api

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Conversation names a room, or the 1:1 conversation with a user.
type Conversation struct {
	Room string `json:"room,omitempty" doc:"A room's identifier."`
	User string `json:"user,omitempty" doc:"The other side of a 1:1 conversation; oneself: one's notes."`
}

// Envelope is a record as MQTT delivers it in the json view.
type Envelope json.RawMessage

// MarshalJSON returns the envelope as it is.
func (e Envelope) MarshalJSON() ([]byte, error) { return e, nil }

// Schema describes an envelope for OpenAPI.
func (Envelope) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true,
		Description: "A record as MQTT delivers it in the json view: s sequence, f sender, t time in Unix milliseconds, b body, k kind, x what happened …"}
}

// Object is a JSON object that is passed on as it is.
type Object json.RawMessage

// MarshalJSON returns the object as it came.
func (o Object) MarshalJSON() ([]byte, error) { return o, nil }

// UnmarshalJSON keeps the object as it comes.
func (o *Object) UnmarshalJSON(b []byte) error {
	*o = append((*o)[:0], b...)
	return nil
}

// Schema describes the object for OpenAPI.
func (Object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

// The same for what does not exist and for what is not the asking user's.
var (
	errNoRoom = notFound("you have no such room")
	errNoTalk = notFound("you have no conversation with this user")
)

// topic reads which conversation a request names.
func (p Conversation) topic() (hooks.Topic, error) {
	switch {
	case p.Room != "" && p.User != "":
		return hooks.Topic{}, store.Bad("name a room or a user, not both")
	case p.Room != "":
		n, err := name("room", p.Room)
		return hooks.Topic{Place: hooks.Room, Name: n}, err
	case p.User != "":
		n, err := name("user", p.User)
		return hooks.Topic{Place: hooks.User, Name: n}, err
	}
	return hooks.Topic{}, store.Bad("room or user is missing")
}

// find returns the conversation that a request names, if the user is or was in it, and what the user sees of its end.
func (a *API) find(me store.AccountID, p Conversation) (info store.LogInfo, h heads, err error) {
	t, err := p.topic()
	if err != nil {
		return info, h, err
	}
	missing, key := errNoRoom, store.RoomKey(t.Name)
	if t.Place == hooks.User {
		missing = errNoTalk
		peer, err := a.store.AccountByName(t.Name)
		if store.CodeOf(err) == store.CodeNotFound {
			return info, h, missing
		}
		if err != nil {
			return info, h, fmt.Errorf("api: account: %w", err)
		}
		key = store.PairKey(me, peer.ID)
	}
	info, err = a.store.Find(key)
	if store.CodeOf(err) == store.CodeNotFound || err == nil && info.Members.Find(me) == nil {
		return info, h, missing
	}
	if err != nil {
		return info, h, fmt.Errorf("api: find: %w", err)
	}
	h, err = a.heads(me, info)
	if err == nil && h.seen == 0 && key.Kind == store.LogPair {
		err = missing // of a conversation in which it may see nothing the user does not learn that there is one
	}
	return info, h, err
}

// heads are what a user sees of a log's end.
type heads struct {
	seen store.Seq     // the newest sequence the user may see, 0: none
	time int64         // of it; of the log's creation, if there is none
	last *store.Record // the newest message among the newest records it may see, nil: none
}

const (
	lookMessage = 64   // sequences looked back for a message, once something visible is found
	lookVisible = 4096 // sequences looked back for something visible
)

// heads looks back from the end of a log for what the user may see. What lies beyond it does not exist for the user, so
// no answer may depend on it.
func (a *API) heads(me store.AccountID, info store.LogInfo) (heads, error) {
	out := heads{time: info.HeadTime}
	m := info.Members.Find(me)
	if m == nil || len(m.Spans) == 0 {
		return out, nil
	}
	hi := info.Head
	if info.Key.Kind == store.LogPair { // what comes after it does not exist for this user
		side := info.Side(me)
		hi, out.time = side.Head, side.HeadTime
	}
	if to := m.Spans[len(m.Spans)-1].To; to != 0 && to < hi {
		hi = to
	}
	low := max(info.First, m.Spans[0].From, 1)
	for window, looked := store.Seq(1), store.Seq(0); hi >= low && looked < lookVisible; window = min(window*8, 512) {
		from := low - 1
		if hi >= low+window {
			from = hi - window
		}
		records, err := a.visible(me, info.ID, from, hi)
		if err != nil {
			return out, err
		}
		for i := len(records) - 1; i >= 0; i-- {
			r := records[i]
			if out.seen == 0 {
				out.seen, out.time = r.Seq, r.Time
			}
			if r.Kind.ByUser() && r.Op.Kind == store.OpNone {
				out.last = r
				return out, nil
			}
		}
		looked += hi - from
		if hi = from; out.seen != 0 && looked >= lookMessage {
			break
		}
	}
	return out, nil
}

// read reads a page of what its viewer may see, as it is delivered to the viewer's devices.
func (a *API) read(q store.Query) (store.Page, error) {
	info, err := a.store.Info(q.Log)
	if err == nil {
		q.Withhold, err = a.broker.Access().Withhold(q.Viewer, info)
	}
	if err != nil {
		return store.Page{}, err
	}
	return a.store.Read(q)
}

// visible reads everything the user may see in (from, upto]. What retention removes meanwhile is left out.
func (a *API) visible(me store.AccountID, log store.LogID, from, upto store.Seq) (out []*store.Record, err error) {
	for from < upto {
		page, err := a.read(store.Query{Log: log, Viewer: me, After: from, Upto: upto, Max: a.limits().Page, Bytes: 4 * answerBytes})
		if store.CodeOf(err) == store.CodeTrimmed {
			info, err := a.store.Info(log)
			if err != nil {
				return nil, fmt.Errorf("api: info: %w", err)
			}
			if info.First-1 <= from {
				return nil, fmt.Errorf("api: read: %w", store.ErrTrimmed)
			}
			from = info.First - 1
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("api: read: %w", err)
		}
		out = append(out, page.Records...)
		if page.Next <= from {
			break
		}
		from = page.Next
	}
	return out, nil
}

// mostUnread is where counting stops: nobody reads a greater number.
const mostUnread = 100

// unread counts the messages of others after the user's mark; more tells that there may be more than were counted.
func (a *API) unread(me store.AccountID, info store.LogInfo, mark, seen store.Seq) (n int, more bool, err error) {
	m := info.Members.Find(me)
	if m == nil || m.Role == store.RoleNone {
		return 0, false, nil
	}
	from := max(mark, info.First-1, m.Spans[0].From-1)
	upto := min(seen, from+1024)
	if from >= seen {
		return 0, false, nil
	}
	records, err := a.visible(me, info.ID, from, upto)
	if err != nil {
		return 0, false, err
	}
	for _, r := range records {
		if r.Sender == me || !r.Kind.ByUser() || r.Op.Kind != store.OpNone || r.Recalled {
			continue
		}
		if n++; n == mostUnread {
			return n, true, nil
		}
	}
	return n, upto < seen, nil
}

// envelope is a record as this user gets it delivered, on this device; 0: on none.
func (a *API) envelope(me store.AccountID, device store.DeviceID, r *store.Record, marks store.Marks, base store.Seq) Envelope {
	own := view.Own{Viewer: me}
	if r.Kind.ByUser() && r.Op.Kind == store.OpNone && !r.Recalled {
		own.Unread = marks.Unread(r.Seq, r.Sender)
	}
	if base+1 < r.Seq && base != noBase {
		own.Withheld = store.Span{From: base + 1, To: r.Seq - 1}
	}
	env := a.broker.EnvOf(r.Log, me)
	env.System = a.broker.SystemFor(r, me, device)
	s := view.JSON(r, env)
	return s.Append(make([]byte, 0, s.Len()+view.MaxOwn), own)
}

// noBase says that what lies before a record is not told.
const noBase = ^store.Seq(0)

// entry is a conversation in a list.
type entry struct {
	Conversation
	Display string    `json:"display,omitempty" doc:"Of the other side of a 1:1 conversation."`
	Title   string    `json:"title,omitempty" doc:"Of a room."`
	Picture string    `json:"picture,omitempty" doc:"Of a room: a file's identifier."`
	Closed  bool      `json:"closed,omitempty" doc:"The room was closed by the operators: it can only be read."`
	Role    string    `json:"role" doc:"member, moderator or owner; none: the user has left."`
	Members int       `json:"members" doc:"How many there are now."`
	Head    store.Seq `json:"head" doc:"The newest sequence this user may see; 0: nothing yet."`
	Time    time.Time `json:"time" doc:"Of the newest record; of the creation when there is none."`
	Read    store.Seq `json:"read" doc:"How far this user has read, on whatever device."`
	Unread  int       `json:"unread" doc:"Messages of others after that, at most 100."`
	More    bool      `json:"unread_more,omitempty" doc:"There may be more unread than counted."`
	Hidden  bool      `json:"hidden,omitempty" doc:"Left out of the list until the next message."`
	Mute    *mute     `json:"mute,omitempty" doc:"Absent: the conversation rings."`
	Me      *openMe   `json:"me,omitempty" doc:"In an open room: who this user is in it, told to nobody else."`
	Last    Envelope  `json:"last,omitempty" doc:"The newest message among the newest records."`
}

// listed is a conversation on its way into a list.
type listed struct {
	store.LogRef
	heads
	key   string      // how pages and sync name it
	muted *graph.Mute // nil: it rings
	set   *graph.Room // of a room
}

// conversations returns what the user is or was in, the newest first, as the user sees it.
func (a *API) conversations(ctx context.Context, me store.AccountID) ([]listed, error) {
	var out []listed
	mutes, err := a.graph.Mutes(me)
	if err != nil {
		return nil, fmt.Errorf("api: mutes: %w", err)
	}
	for after := store.LogID(0); ; {
		refs, err := a.store.LogsOf(me, after, 0)
		if err != nil {
			return nil, fmt.Errorf("api: logs: %w", err)
		}
		for i := range refs {
			after = refs[i].ID
			l := listed{LogRef: refs[i]}
			if m, ok := mutes[l.ID]; ok {
				l.muted = &m
			}
			switch l.Key.Kind {
			case store.LogRoom:
				l.key = "r" + l.Key.Name
				if l.set, err = a.graph.Room(l.ID); err != nil {
					return nil, fmt.Errorf("api: room: %w", err)
				}
			case store.LogPair:
				peer := a.broker.Name(l.Key.Peer(me))
				if peer == "" {
					continue // gone
				}
				l.key = "u" + peer
			default:
				continue
			}
			if l.heads, err = a.heads(me, l.LogInfo); err != nil {
				return nil, err
			}
			if l.seen == 0 && (l.Key.Kind == store.LogPair || l.Me.Role == store.RoleNone) {
				continue
			}
			out = append(out, l)
		}
		if len(refs) == 0 {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, &store.Error{Code: store.CodeUnavailable, Text: "the request has ended", Err: err}
		}
	}
	sortListed(out)
	return out, nil
}

// active is how many members there are. Of a conversation of two both count, whether anything exists for the other one yet
// or not.
func (l *listed) active() int {
	if l.Key.Kind == store.LogPair && l.Key.A != l.Key.B {
		return 2
	}
	return l.Members.Active
}

func (l *listed) picture() string {
	if l.set == nil {
		return ""
	}
	return l.set.Picture
}

func (l *listed) closed() bool { return l.set != nil && l.set.Closed != 0 }

func (l *listed) hidden() bool { return l.Me.HiddenAt != 0 && l.seen <= l.Me.HiddenAt }

// entry completes a conversation for a list.
func (a *API) entry(me store.AccountID, device store.DeviceID, l *listed) (entry, error) {
	e := entry{Role: l.Me.Role.String(), Title: l.Title, Members: l.active(), Head: l.seen, Time: time.UnixMilli(l.time).UTC(),
		Hidden: l.hidden(), Mute: shownMute(l.muted)}
	if l.Key.Kind == store.LogRoom {
		me, err := a.meIn(me, l.LogInfo)
		if err != nil {
			return e, err
		}
		e.Me = me
		e.Room, e.Picture, e.Closed = l.Key.Name, l.picture(), l.closed()
	} else {
		peer, err := a.store.Account(l.Key.Peer(me))
		if err != nil {
			return e, fmt.Errorf("api: account: %w", err)
		}
		e.User, e.Display = peer.Name, peer.Shown()
	}
	marks, err := a.broker.MarksFor(me, &l.LogInfo)
	if err != nil {
		return e, fmt.Errorf("api: marks: %w", err)
	}
	e.Read = min(marks.Of(me), l.seen)
	if e.Unread, e.More, err = a.unread(me, l.LogInfo, marks.Of(me), l.seen); err != nil {
		return e, err
	}
	if l.last != nil {
		e.Last = a.envelope(me, device, l.last, marks, noBase)
	}
	return e, nil
}
