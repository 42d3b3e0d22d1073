package graph

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hwangso/hwangso/store"
)

const (
	tableNick     store.Table = "room.nick"    // by what nicknames are compared by: who has it
	tablePseudo   store.Table = "room.pseudo"  // by member id: who it is
	tableRequest  store.Table = "room.request" // by account: who wants to come in
	tableCodeTry  store.Table = "user.codetry" // when codes were tried
	maxNickKey                = 128            // bytes; what is longer is kept as its hash
	nickClaimed               = 10 * time.Minute
	nickKept                  = 7 * 24 * time.Hour
	requestKept               = 30 * 24 * time.Hour
	maxRequests               = 1000
	codeTries                 = 5
	codeTryWindow             = 10 * time.Minute
)

// ReasonPending is why a request to come in is refused when too many wait.
const ReasonPending = "requests"

var pseudoAlphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// PseudonymSize is the length of a room's own id of a member.
const PseudonymSize = 17

// IsPseudonym reports whether a name has the form of a room's own id of a member; no account's name begins like one.
func IsPseudonym(s string) bool { return strings.HasPrefix(s, "~") }

// OpenRooms lists the open rooms by number after the given one, at most max (0: 1,000), and the number to go on after,
// 0 at the end. Rooms that an operator closed are among them.
func (g *Graph) OpenRooms(after store.LogID, max int) (rooms []store.LogID, next store.LogID, err error) {
	if max <= 0 {
		max = 1000
	}
	var owner store.Owner
	if after != 0 {
		owner = store.OwnerOfLog(after)
	}
	rows, err := g.store.AllRows(tableRoom, owner, "", max)
	if err != nil {
		return nil, 0, fmt.Errorf("graph: %s: %w", tableRoom, err)
	}
	for _, row := range rows {
		var r Room
		if err := json.Unmarshal(row.Value, &r); err != nil {
			return nil, 0, fmt.Errorf("graph: %s: %w", tableRoom, err)
		}
		if log := store.LogID(row.Owner.Number()); r.Open && log != after {
			rooms = append(rooms, log)
		}
	}
	if len(rows) == max {
		next = store.LogID(rows[len(rows)-1].Owner.Number())
	}
	return rooms, next, nil
}

// nickRow says who has a nickname.
type nickRow struct {
	Account store.AccountID `json:"a"`
	Claimed int64           `json:"t"` // Unix milliseconds
}

func nickKey(skeleton string) string {
	if len(skeleton) <= maxNickKey {
		return skeleton
	}
	sum := sha256.Sum256([]byte(skeleton))
	return "\x00" + string(sum[:])
}

// Nick is who has a nickname in a room. A nickname is kept for who has it from the claim on, and for seven days after it
// left the room.
type Nick struct {
	Account store.AccountID // 0: nobody
	Fresh   bool            // it was claimed in the last ten minutes: its owner may be on its way in
	Left    bool            // its owner gave it up or left the room, and it is kept a while
}

// NickOf tells who has a nickname in a room. skeleton is what nicknames are compared by. Of an owner that is neither
// member, nor waits to be, nor Fresh or Left nothing came of its claim: the nickname is free.
func (g *Graph) NickOf(log store.LogID, skeleton string) (Nick, error) {
	row, err := g.store.Row(tableNick, store.OwnerOfLog(log), nickKey(skeleton))
	if err != nil {
		return Nick{}, fmt.Errorf("graph: %s: %w", tableNick, err)
	}
	return g.nick(row)
}

func (g *Graph) nick(row store.Row) (n Nick, err error) {
	if row.Version == 0 {
		return n, nil
	}
	var v nickRow
	if err := json.Unmarshal(row.Value, &v); err != nil {
		return n, fmt.Errorf("graph: %s: %w", tableNick, err)
	}
	return Nick{v.Account, g.now().Sub(time.UnixMilli(v.Claimed)) < nickClaimed, row.Expires != 0}, nil
}

// ClaimNick gives a user of an open room its nickname, and its id in the room if it has none yet: one durable change. old
// and skeleton are what its nickname before ("" for none) and this one are compared by. free is asked whether somebody
// else's claim on the nickname counts for nothing; if not, the error is CodeConflict. It returns the user's id.
func (g *Graph) ClaimNick(ctx context.Context, log store.LogID, a store.AccountID, nick, skeleton, old, picture string, free func(Nick) bool) (id string, err error) {
	o, key := store.OwnerOfLog(log), nickKey(skeleton)
	for try := 0; ; try++ {
		m, version, err := g.member(log, a)
		if err != nil {
			return "", err
		}
		row, err := g.store.Row(tableNick, o, key)
		if err != nil {
			return "", fmt.Errorf("graph: %s: %w", tableNick, err)
		}
		n, err := g.nick(row)
		if err != nil {
			return "", err
		}
		if n.Account != 0 && n.Account != a && !free(n) {
			return "", &store.Error{Code: store.CodeConflict, Reason: store.ReasonNick, Text: "this nickname is taken"}
		}
		u := store.Update{Owner: o}
		if m.ID == "" {
			m.ID = newPseudonym()
			u.Rows = append(u.Rows, store.RowPut{Table: tablePseudo, Key: m.ID, Value: []byte(store.KeyOf(a)), If: store.IfVersion(0)})
		}
		m.Nick, m.Picture = nick, picture
		value, err := json.Marshal(m)
		if err != nil {
			return "", fmt.Errorf("graph: %s: %w", tableMember, err)
		}
		claim, err := json.Marshal(nickRow{a, g.now().UnixMilli()})
		if err != nil {
			return "", fmt.Errorf("graph: %s: %w", tableNick, err)
		}
		u.Rows = append(u.Rows, store.RowPut{Table: tableMember, Key: store.KeyOf(a), Value: value, If: &version},
			store.RowPut{Table: tableNick, Key: key, Value: claim, If: &row.Version})
		if was := nickKey(old); old != "" && was != key {
			u.Rows = append(u.Rows, g.keepNick(a, was))
		}
		err = g.store.Update(ctx, u)
		if store.CodeOf(err) == store.CodeConflict && try < races {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("graph: nickname: %w", err)
		}
		return m.ID, nil
	}
}

// member is a copy of what a room says about a user, and its version.
func (g *Graph) member(log store.LogID, a store.AccountID) (m RoomMember, version uint64, err error) {
	row, err := g.store.Row(tableMember, store.OwnerOfLog(log), store.KeyOf(a))
	if err == nil && row.Version != 0 {
		err = json.Unmarshal(row.Value, &m)
	}
	if err != nil {
		return m, 0, fmt.Errorf("graph: %s: %w", tableMember, err)
	}
	return m, row.Version, nil
}

func newPseudonym() string {
	var b [10]byte
	rand.Read(b[:])
	return "~" + pseudoAlphabet.EncodeToString(b[:])
}

// keepNick is the change that keeps a given-up nickname a while, so that nobody takes it over the next minute.
func (g *Graph) keepNick(a store.AccountID, key string) store.RowPut {
	now := g.now()
	value, _ := json.Marshal(nickRow{a, now.UnixMilli()}) // two numbers
	return store.RowPut{Table: tableNick, Key: key, Value: value, Expires: now.Add(nickKept).UnixMilli()}
}

// LeaveNick keeps the nickname of a user who left for seven days. A nickname that is somebody else's by now stays so.
func (g *Graph) LeaveNick(ctx context.Context, log store.LogID, a store.AccountID, skeleton string) error {
	key, o := nickKey(skeleton), store.OwnerOfLog(log)
	for try := 0; ; try++ {
		row, err := g.store.Row(tableNick, o, key)
		if err != nil {
			return fmt.Errorf("graph: %s: %w", tableNick, err)
		}
		if n, err := g.nick(row); err != nil || n.Account != a {
			return err
		}
		put := g.keepNick(a, key)
		put.If = &row.Version
		err = g.store.Update(ctx, store.Update{Owner: o, Rows: []store.RowPut{put}})
		if store.CodeOf(err) == store.CodeConflict && try < races {
			continue
		}
		if err != nil {
			return fmt.Errorf("graph: %s: %w", tableNick, err)
		}
		return nil
	}
}

// MemberOf is the user behind a room's own id of it, 0 for an id that is nobody's. It is for rules, reports and
// operators: nothing that leaves the room may tell it.
func (g *Graph) MemberOf(log store.LogID, id string) (store.AccountID, error) {
	if !IsPseudonym(id) || len(id) != PseudonymSize {
		return 0, nil
	}
	row, err := g.store.Row(tablePseudo, store.OwnerOfLog(log), id)
	if err != nil {
		return 0, fmt.Errorf("graph: %s: %w", tablePseudo, err)
	}
	return store.AccountID(store.NumberOf(string(row.Value))), nil
}

// ForgetMember removes everything that an open room says about a user: its id, nickname, ban and request. It is for an
// account that ends; skeleton is what its nickname is compared by, "" for none. The messages stay, by nobody.
func (g *Graph) ForgetMember(ctx context.Context, log store.LogID, a store.AccountID, skeleton string) error {
	o := store.OwnerOfLog(log)
	for try := 0; ; try++ {
		m, version, err := g.member(log, a)
		if err != nil {
			return err
		}
		u := store.Update{Owner: o, Rows: []store.RowPut{
			{Table: tableMember, Key: store.KeyOf(a), If: &version}, {Table: tableRequest, Key: store.KeyOf(a)}}}
		if m.ID != "" {
			u.Rows = append(u.Rows, store.RowPut{Table: tablePseudo, Key: m.ID})
		}
		if skeleton != "" {
			n, err := g.NickOf(log, skeleton)
			if err != nil {
				return err
			}
			if n.Account == a {
				u.Rows = append(u.Rows, store.RowPut{Table: tableNick, Key: nickKey(skeleton)})
			}
		}
		err = g.store.Update(ctx, u)
		if store.CodeOf(err) == store.CodeConflict && try < races {
			continue
		}
		if err != nil {
			return fmt.Errorf("graph: forget a member: %w", err)
		}
		return nil
	}
}

// JoinRequest is somebody who waits to be let into an open room.
type JoinRequest struct {
	Account store.AccountID `json:"a"`
	Text    string          `json:"text,omitempty"` // what it says to the moderators
	Time    int64           `json:"t"`              // Unix milliseconds
}

// AskToJoin leaves a request, or puts another text in its place. It lapses after 30 days. More than 1,000 in a room are
// CodeFull.
func (g *Graph) AskToJoin(ctx context.Context, log store.LogID, r JoinRequest) error {
	o := store.OwnerOfLog(log)
	rows, err := g.store.Rows(tableRequest, o, "", "", maxRequests)
	if err != nil {
		return fmt.Errorf("graph: %s: %w", tableRequest, err)
	}
	if len(rows) >= maxRequests && !slices.ContainsFunc(rows, func(row store.Row) bool { return row.Key == store.KeyOf(r.Account) }) {
		return &store.Error{Code: store.CodeFull, Reason: ReasonPending, Text: "too many wait to be let in: try again later"}
	}
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("graph: %s: %w", tableRequest, err)
	}
	put := store.RowPut{Table: tableRequest, Key: store.KeyOf(r.Account), Value: value, Expires: g.now().Add(requestKept).UnixMilli()}
	if err := g.store.Update(ctx, store.Update{Owner: o, Rows: []store.RowPut{put}}); err != nil {
		return fmt.Errorf("graph: %s: %w", tableRequest, err)
	}
	return nil
}

// Asks reports whether a user waits to be let in.
func (g *Graph) Asks(log store.LogID, a store.AccountID) (bool, error) {
	row, err := g.store.Row(tableRequest, store.OwnerOfLog(log), store.KeyOf(a))
	if err != nil {
		return false, fmt.Errorf("graph: %s: %w", tableRequest, err)
	}
	return row.Version != 0, nil
}

// Requests lists who waits to be let in, the oldest first.
func (g *Graph) Requests(log store.LogID) ([]JoinRequest, error) {
	rows, err := g.store.Rows(tableRequest, store.OwnerOfLog(log), "", "", maxRequests)
	if err != nil {
		return nil, fmt.Errorf("graph: %s: %w", tableRequest, err)
	}
	out := make([]JoinRequest, len(rows))
	for i, row := range rows {
		if err := json.Unmarshal(row.Value, &out[i]); err != nil {
			return nil, fmt.Errorf("graph: %s: %w", tableRequest, err)
		}
	}
	slices.SortStableFunc(out, func(x, y JoinRequest) int { return cmp.Compare(x.Time, y.Time) })
	return out, nil
}

// EndRequest removes a request, if there is one.
func (g *Graph) EndRequest(ctx context.Context, log store.LogID, a store.AccountID) error {
	if asks, err := g.Asks(log, a); err != nil || !asks {
		return err
	}
	put := store.RowPut{Table: tableRequest, Key: store.KeyOf(a)}
	if err := g.store.Update(ctx, store.Update{Owner: store.OwnerOfLog(log), Rows: []store.RowPut{put}}); err != nil {
		return fmt.Errorf("graph: %s: %w", tableRequest, err)
	}
	return nil
}

// CodeHash is how a room keeps the code that lets in.
func CodeHash(log store.LogID, code string) []byte {
	h := sha256.New()
	h.Write([]byte("hwangso room code\x00" + store.KeyOf(log)))
	h.Write([]byte(code))
	return h.Sum(nil)
}

// HasCode reports whether a code is the room's. It takes as long for a wrong one.
func (r *Room) HasCode(log store.LogID, code string) bool {
	hash := CodeHash(log, code)
	return len(r.CodeHash) > 0 && subtle.ConstantTimeCompare(hash, r.CodeHash) == 1
}

// TryCode counts one try of a code, whatever the room and whether there is one: 5 per 10 minutes. ok is false, and the
// try is not counted, where they are used up; retry is then when the next one is free.
func (g *Graph) TryCode(ctx context.Context, a store.AccountID) (ok bool, retry time.Duration, err error) {
	type tries struct {
		At []int64 `json:"t"` // Unix milliseconds
	}
	now := g.now().UnixMilli()
	err = change(ctx, g, tableCodeTry, store.OwnerOf(a), "", func(t *tries) bool { return len(t.At) == 0 },
		func(t *tries) ([]store.EdgePut, error) {
			var recent []int64
			for _, at := range t.At {
				if now-at < codeTryWindow.Milliseconds() {
					recent = append(recent, at)
				}
			}
			if ok = len(recent) < codeTries; !ok {
				retry = time.Duration(recent[0]+codeTryWindow.Milliseconds()-now) * time.Millisecond
				return nil, errSpent
			}
			t.At = append(recent, now)
			return nil, nil
		})
	if errors.Is(err, errSpent) {
		err = nil
	}
	return ok, retry, err
}
