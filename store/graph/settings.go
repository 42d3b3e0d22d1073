package graph

import (
	"context"

	"github.com/hwangso/hwangso/store"
)

const tableSettings store.Table = "user.settings"

// Strangers says what becomes of messages of those who are neither friends nor answered.
type Strangers string

// What a user lets strangers do.
const (
	StrangersWarn    Strangers = "warn"    // delivered with a warning; the default
	StrangersOpen    Strangers = "open"    // delivered like a friend's
	StrangersRequest Strangers = "request" // kept in the request box until accepted
	StrangersClosed  Strangers = "closed"  // refused
)

// Invitations says who may bring a user into a room.
type Invitations string

// Who may invite.
const (
	InviteAsk     Invitations = "ask"     // everybody may ask, nobody may do it without asking; the default
	InviteAnyone  Invitations = "anyone"  // whoever has the user as a friend brings it in at once
	InviteFriends Invitations = "friends" // the user's friends bring it in at once, others ask
	InviteNobody  Invitations = "nobody"
)

// Preview says how much of a message a push shows.
type Preview string

// What a push shows.
const (
	PreviewSender Preview = "sender" // who has written, not what; the default
	PreviewFull   Preview = "full"
	PreviewHidden Preview = "hidden"
)

// Discovery says to whom a user appears who has its phone number.
type Discovery string

// To whom a user appears.
const (
	DiscoveryMutual Discovery = "mutual" // to those whose number the user has too; the default
	DiscoveryAnyone Discovery = "anyone"
	DiscoveryOff    Discovery = "off"
)

// Settings are what a user has chosen. The zero value, and "" in each field, is the default; use the methods to ask.
type Settings struct {
	Strangers      Strangers   `json:"strangers,omitempty"`
	Invitations    Invitations `json:"invitations,omitempty"`
	HideBlocked    bool        `json:"hide_blocked,omitempty"` // messages of blocked members are withheld in groups
	Presence       bool        `json:"presence,omitempty"`     // shares when it is online
	Unfindable     bool        `json:"unfindable,omitempty"`   // strangers do not find it by its identifier
	Preview        Preview     `json:"preview,omitempty"`
	ChannelPushes  bool        `json:"channel_pushes,omitempty"`   // posts of channels ring; the default is silent
	OpenRoomPushes bool        `json:"open_room_pushes,omitempty"` // every message of an open room rings, not mentions only
	Discovery      Discovery   `json:"discovery,omitempty"`
	Country        string      `json:"country,omitempty"` // ISO 3166-1 alpha-2; "": that of the phone number, if there is one

	// Closed is when strangers were last shut out (Unix milliseconds): whoever was answered before has to be answered
	// again. SetSettings keeps it.
	Closed int64 `json:"closed,omitempty"`
}

// StrangersMode is Strangers, or its default.
func (s *Settings) StrangersMode() Strangers { return or(s.Strangers, StrangersWarn) }

// InvitationsMode is Invitations, or its default.
func (s *Settings) InvitationsMode() Invitations { return or(s.Invitations, InviteAsk) }

// PreviewMode is Preview, or its default.
func (s *Settings) PreviewMode() Preview { return or(s.Preview, PreviewSender) }

// DiscoveryMode is Discovery, or its default.
func (s *Settings) DiscoveryMode() Discovery { return or(s.Discovery, DiscoveryMutual) }

func or[T ~string](v, d T) T {
	if v == "" {
		return d
	}
	return v
}

// Settings are a user's settings. Cheap: they are asked per message.
func (g *Graph) Settings(a store.AccountID) (*Settings, error) {
	return read[Settings](g, tableSettings, store.OwnerOf(a), "")
}

// SetSettings changes a user's settings durably. fn may be called several times; its error changes nothing and is
// returned. CodeNotFound: no such account.
func (g *Graph) SetSettings(ctx context.Context, a store.AccountID, fn func(*Settings) error) error {
	return change(ctx, g, tableSettings, store.OwnerOf(a), "", func(s *Settings) bool { return *s == Settings{} },
		func(s *Settings) ([]store.EdgePut, error) {
			was := s.StrangersMode()
			if err := fn(s); err != nil {
				return nil, err
			}
			if now := s.StrangersMode(); now == StrangersClosed && was != now {
				s.Closed = g.now().UnixMilli()
			}
			return nil, nil
		})
}
