package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// A sync token is a list of what its holder has: for every conversation, and for each of the other parts of the answer,
// the first bytes of a hash of what was told about it. So the server keeps nothing per client, an answer tells exactly
// what differs, whatever the reason, and paging needs no state either: the next page is the sync after this one.
//
//	version  1 byte
//	epoch    4 bytes
//	parts    7 × 6 bytes: profile, devices, friends, blocks, settings, quiet hours, requests
//	then per conversation 5 bytes that name it and 6 that tell its state, ascending
//
// Two states of one conversation have the same 6 bytes once in 2^48.
const (
	syncVersion  = 2
	syncParts    = 7
	syncState    = 6
	syncName     = 5
	syncHead     = 1 + 4 + syncParts*syncState
	syncMost     = 4000 // conversations a token has room for: the newest
	syncFriends  = 500  // friends told in a sync; more are read with contact.list
	syncPageSize = 50
)

type syncIn struct {
	Token string `json:"token,omitempty" doc:"That of the sync before; absent: everything."`
	Limit int    `json:"limit,omitempty" doc:"Conversations in one answer; absent: 50."`
}

type syncOut struct {
	Token    string       `json:"token" doc:"For the next sync."`
	More     bool         `json:"more,omitempty" doc:"Sync again at once with the token: this was not all."`
	Full     bool         `json:"full,omitempty" doc:"The token was unknown or older than a restore: what is not told any more is gone."`
	Profile  *profileOut  `json:"profile,omitempty" doc:"If it changed."`
	Devices  *[]device    `json:"devices,omitempty" doc:"All of them, if they changed."`
	Friends  *userList    `json:"friends,omitempty" doc:"If they changed."`
	Blocks   *userList    `json:"blocks,omitempty" doc:"If they changed."`
	Requests *int         `json:"requests,omitempty" doc:"How many users wait in the request box, if that changed: read it with request.list."`
	Settings *settingsOut `json:"settings,omitempty" doc:"If they changed."`
	Quiet    *quietOut    `json:"quiet,omitempty" doc:"The quiet hours, if they changed."`
	Rooms    []entry      `json:"rooms" doc:"Rooms and 1:1 conversations that changed, the newest first, hidden and left ones too."`
}

type userList struct {
	Count int    `json:"count"`
	Users []user `json:"users,omitempty" doc:"All of them; absent if there are more than 500: read them with contact.list or block.list."`
}

// syncToken is a token, read.
type syncToken struct {
	parts [syncParts][syncState]byte
	rooms map[[syncName]byte][syncState]byte
}

func (a *API) sync(ctx context.Context, c *caller, in *syncIn) (*syncOut, error) {
	limit, err := a.page(in.Limit, syncPageSize)
	if err != nil {
		return nil, err
	}
	me := c.account.ID
	old, known := readSyncToken(in.Token, a.store.Epoch())
	next := syncToken{rooms: make(map[[syncName]byte][syncState]byte)}
	out := &syncOut{Full: !known, Rooms: []entry{}}
	if err := a.syncParts(c, old, &next, known, out); err != nil {
		return nil, err
	}
	list, err := a.conversations(ctx, me)
	if err != nil {
		return nil, err
	}
	size := 0
	for i := range list[:min(len(list), syncMost)] {
		l := &list[i]
		marks, err := a.store.Standing(l.ID)
		if err != nil {
			return nil, fmt.Errorf("api: standing: %w", err)
		}
		key, state := nameHash(l.key), l.state(marks.Of(me))
		had, has := old.rooms[key]
		switch {
		case has && had == state:
		case !has && l.Me.Role == store.RoleNone && in.Token == "":
			// Who begins hears nothing of rooms it has left.
		case len(out.Rooms) == limit || size > answerBytes:
			if out.More = true; has {
				next.rooms[key] = had
			}
			continue
		default:
			e, err := a.entry(me, c.id.Device, l)
			if err != nil {
				return nil, err
			}
			out.Rooms = append(out.Rooms, e)
			size += len(e.Last)
		}
		next.rooms[key] = state
	}
	out.Token = next.String(a.store.Epoch())
	return out, nil
}

// syncParts fills in what else changed.
func (a *API) syncParts(c *caller, old syncToken, next *syncToken, known bool, out *syncOut) error {
	me := c.account.ID
	profile, err := a.ownProfile(c.account)
	if err != nil {
		return err
	}
	changed := func(i int, v any) bool {
		next.parts[i] = stateHash(v)
		return !known || next.parts[i] != old.parts[i]
	}
	if changed(0, *profile) {
		out.Profile = profile
	}
	devices, err := a.devicesOf(me, c.id.Device)
	if err != nil {
		return err
	}
	lasting := slices.Clone(devices.Devices) // who is online is no change
	for i := range lasting {
		lasting[i].Online, lasting[i].LastSeen, lasting[i].Created = false, nil, nil
	}
	if changed(1, lasting) {
		out.Devices = &devices.Devices
	}
	friends, err := a.friendsOf(me, 0, a.limits().Friends)
	if err != nil {
		return err
	}
	blocks, err := a.blocked(me, 0, a.limits().Blocks)
	if err != nil {
		return err
	}
	for i, ids := range [][]related{friends, blocks} {
		l := &userList{Count: len(ids)}
		if len(ids) <= syncFriends {
			if l.Users, err = a.shown(ids); err != nil {
				return err
			}
		}
		if !changed(2+i, []any{ids, l.Users}) {
			continue
		}
		if i == 0 {
			out.Friends = l
		} else {
			out.Blocks = l
		}
	}
	requests, err := a.store.RequestsTo(me, 0, 0)
	if err != nil {
		return fmt.Errorf("api: requests: %w", err)
	}
	asked := make([][2]uint64, len(requests)) // whose, and how many
	for i := range requests {
		peer := requests[i].Key.Peer(me)
		asked[i] = [2]uint64{uint64(peer), uint64(requests[i].Side(peer).Requests)}
	}
	if n := len(asked); changed(6, asked) {
		out.Requests = &n
	}
	settings, err := a.settingsOf(me)
	if err != nil {
		return err
	}
	if changed(4, *settings) {
		out.Settings = settings
	}
	quiet, err := a.graph.Quiet(me)
	if err != nil {
		return fmt.Errorf("api: quiet: %w", err)
	}
	if changed(5, *quiet) {
		out.Quiet = a.shownQuiet(quiet)
	}
	return nil
}

// state is what a list tells about a conversation, in a few bytes: everything that can change its entry.
func (l *listed) state(mark store.Seq) [syncState]byte {
	last := store.Seq(0)
	if l.last != nil {
		last = l.last.Seq
	}
	return stateHash([]any{l.seen, last, l.Title, l.Me.Role, l.active(), min(mark, l.seen), l.hidden(), l.Me.Deleted,
		l.muted != nil, mutedOr(l.muted), l.picture(), l.closed()})
}

// mutedOr is a mute by value: an address would be a new state at each look.
func mutedOr(m *graph.Mute) graph.Mute {
	if m == nil {
		return graph.Mute{}
	}
	return *m
}

func stateHash(v any) (out [syncState]byte) {
	h := sha256.Sum256(fmt.Appendf(nil, "%+v", v))
	copy(out[:], h[:])
	return out
}

func nameHash(key string) (out [syncName]byte) {
	h := sha256.Sum256([]byte(key))
	copy(out[:], h[:])
	return out
}

func (t *syncToken) String(epoch store.Epoch) string {
	b := binary.BigEndian.AppendUint32([]byte{syncVersion}, uint32(epoch))
	for _, p := range t.parts {
		b = append(b, p[:]...)
	}
	keys := make([][syncName]byte, 0, len(t.rooms))
	for k := range t.rooms {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y [syncName]byte) int { return slices.Compare(x[:], y[:]) })
	for _, k := range keys {
		state := t.rooms[k]
		b = append(append(b, k[:]...), state[:]...)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// readSyncToken reads a token. One that is not ours, or from before a restore, is as good as none.
func readSyncToken(s string, epoch store.Epoch) (t syncToken, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < syncHead || b[0] != syncVersion || binary.BigEndian.Uint32(b[1:]) != uint32(epoch) ||
		(len(b)-syncHead)%(syncName+syncState) != 0 || len(b) > syncHead+syncMost*(syncName+syncState) {
		return t, false
	}
	b = b[5:]
	for i := range t.parts {
		copy(t.parts[i][:], b)
		b = b[syncState:]
	}
	t.rooms = make(map[[syncName]byte][syncState]byte, len(b)/(syncName+syncState))
	for len(b) > 0 {
		t.rooms[[syncName]byte(b)] = [syncState]byte(b[syncName:])
		b = b[syncName+syncState:]
	}
	return t, true
}
