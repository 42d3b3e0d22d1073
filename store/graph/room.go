package graph

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/hwangso/hwangso/store"
)

const (
	tableRoom   store.Table = "room.settings"
	tableMember store.Table = "room.member"
)

// Join says how somebody comes into an open room.
type Join string

// How to come in; the words of the truth tables.
const (
	JoinPublic  Join = "public"  // whoever wants to; the default
	JoinApprove Join = "approve" // moderators let in
	JoinCode    Join = "code"    // who knows the code
)

// History says what a new member of a room sees of what was written before.
type History string

// What a new member sees. A change of the setting counts for who joins from then on.
const (
	HistoryJoined History = "joined" // nothing from before it joined; the default
	HistoryOpen   History = "open"   // everything that is kept
)

// InvitesBy says who may invite into a room.
type InvitesBy string

// Who may invite.
const (
	InvitesMembers    InvitesBy = "members" // every member; the default
	InvitesModerators InvitesBy = "moderators"
)

// Room is what is set about a room beside its title and members. The zero value, and "" or 0 in each field, is the
// default; use the methods to ask.
type Room struct {
	Description string    `json:"description,omitempty"`
	Picture     string    `json:"picture,omitempty"` // identifier of a file
	History     History   `json:"history,omitempty"`
	InvitesBy   InvitesBy `json:"invites_by,omitempty"`
	Capacity    int       `json:"capacity,omitempty"` // members at most; 0: what the server allows
	Slow        int       `json:"slow,omitempty"`     // seconds from one message of a member to its next; 0: none
	Locked      bool      `json:"locked,omitempty"`   // only moderators and the owner write

	// Closed is when an operator closed the room (Unix milliseconds), 0: it is open for use. In a closed room nobody
	// writes and nobody comes in, whatever the role; what was written stays readable.
	Closed       int64  `json:"closed,omitempty"`
	ClosedReason string `json:"closed_reason,omitempty"` // one line, shown to the members

	// Heir is to whom the owner has offered the room, 0: to nobody; Offered is when (Unix milliseconds).
	Heir    store.AccountID `json:"heir,omitempty"`
	Offered int64           `json:"offered,omitempty"`

	Open     bool     `json:"open,omitempty"` // an open room: found by a search, its members under names of the room's own
	Join     Join     `json:"join,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	Language string   `json:"language,omitempty"`  // BCP 47, of the talk in it
	Country  string   `json:"country,omitempty"`   // ISO 3166-1 alpha-2
	CodeHash []byte   `json:"code_hash,omitempty"` // of the code of JoinCode
}

// JoinMode is Join, or its default.
func (r *Room) JoinMode() Join { return or(r.Join, JoinPublic) }

// HistoryMode is History, or its default.
func (r *Room) HistoryMode() History { return or(r.History, HistoryJoined) }

// InvitesMode is InvitesBy, or its default.
func (r *Room) InvitesMode() InvitesBy { return or(r.InvitesBy, InvitesMembers) }

// MayInvite reports whether a member with this role may invite.
func (r *Room) MayInvite(role store.Role) bool {
	return role >= store.RoleModerator || role == store.RoleMember && r.InvitesMode() == InvitesMembers
}

func (r *Room) empty() bool {
	return r.Description == "" && r.Picture == "" && r.History == "" && r.InvitesBy == "" && r.Capacity == 0 && r.Slow == 0 &&
		!r.Locked && r.Closed == 0 && r.ClosedReason == "" && r.Heir == 0 && r.Offered == 0 &&
		!r.Open && r.Join == "" && len(r.Tags) == 0 && r.Language == "" && r.Country == "" && len(r.CodeHash) == 0
}

// Room is what is set about a room. Cheap: it is asked per message.
func (g *Graph) Room(log store.LogID) (*Room, error) {
	return read[Room](g, tableRoom, store.OwnerOfLog(log), "")
}

// SetRoom changes what is set about a room durably. fn may be called several times; its error changes nothing and is
// returned. It must not modify a slice it finds but put another one in its place.
func (g *Graph) SetRoom(ctx context.Context, log store.LogID, fn func(*Room) error) error {
	return change(ctx, g, tableRoom, store.OwnerOfLog(log), "", (*Room).empty, func(r *Room) ([]store.EdgePut, error) { return nil, fn(r) })
}

// Forever is the end of a mute that has none.
const Forever = math.MaxInt64

// RoomMember is what a room says about one user beyond its role. It outlives the membership. The zero value is nothing.
type RoomMember struct {
	Muted  int64 `json:"muted,omitempty"`  // Unix milliseconds until which the member may not write, Forever without end
	Banned int64 `json:"banned,omitempty"` // Unix milliseconds of the ban, 0: none. A banned user does not come in

	// In open rooms.
	ID      string `json:"id,omitempty"` // "~" and 16 lower-case letters of base32: all that leaves the room of who it is
	Nick    string `json:"nick,omitempty"`
	Picture string `json:"picture,omitempty"` // identifier of a file
}

// MutedAt reports whether the member may not write at a moment (Unix milliseconds).
func (m *RoomMember) MutedAt(t int64) bool { return t < m.Muted }

func (m *RoomMember) empty() bool { return *m == RoomMember{} }

// RoomMember is what a room says about a user. Cheap: it is asked per message.
func (g *Graph) RoomMember(log store.LogID, a store.AccountID) (*RoomMember, error) {
	return read[RoomMember](g, tableMember, store.OwnerOfLog(log), store.KeyOf(a))
}

// SetRoomMember changes what a room says about a user durably. fn may be called several times; its error changes nothing
// and is returned.
func (g *Graph) SetRoomMember(ctx context.Context, log store.LogID, a store.AccountID, fn func(*RoomMember) error) error {
	return change(ctx, g, tableMember, store.OwnerOfLog(log), store.KeyOf(a), (*RoomMember).empty,
		func(m *RoomMember) ([]store.EdgePut, error) { return nil, fn(m) })
}

// RoomMembers lists the users about whom a room says something, by number after the given one, at most max (0: 1,000).
func (g *Graph) RoomMembers(log store.LogID, after store.AccountID, max int) ([]store.AccountID, error) {
	from := ""
	if after != 0 {
		from = store.KeyOf(after)
	}
	rows, err := g.store.Rows(tableMember, store.OwnerOfLog(log), "", from, max)
	if err != nil {
		return nil, fmt.Errorf("graph: %s: %w", tableMember, err)
	}
	out := make([]store.AccountID, len(rows))
	for i, r := range rows {
		out[i] = store.AccountID(store.NumberOf(r.Key))
	}
	return slices.Clip(out), nil
}
