package link

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

const (
	tableTicket store.Table = "user.linkticket"    // key: the ticket's hash. For what it is good
	tableWhose  store.Table = "service.linkticket" // owner: none; key: the ticket's hash. Whose it is

	// TicketLife is how long a ticket waits for its message.
	TicketLife = 10 * time.Minute
	// ticketKept is how long the answer is known to who shows it again.
	ticketKept = 24 * time.Hour
)

// The refusals of tickets. What is wrong, too old, spent by a device that was signed out and another app's is one answer.
var (
	ErrTicket = &store.Error{Code: store.CodeForbidden, Reason: "ticket", Text: "the ticket is not good: ask the user for another one"}
	ErrUsed   = &store.Error{Code: store.CodeConflict, Reason: "ticket", Text: "the ticket was used for another message: ask the user for another one"}
	ErrRules  = &store.Error{Code: store.CodeForbidden, Reason: "refused", Text: "the message cannot be sent into this conversation"}
	errMany   = &store.Error{Code: store.CodeTooMany, Reason: "tickets", Text: "too many tickets wait for their messages", Retry: TicketLife}
)

// What became of a ticket.
const (
	ticketFresh   = ""
	ticketTaken   = "taken" // its message is being sent, or was when the server died
	ticketDone    = "done"
	ticketRefused = "refused"
)

// ticket is a ticket as it is stored.
type ticket struct {
	App    string         `json:"a"`
	Room   string         `json:"r,omitempty"`
	User   string         `json:"u,omitempty"`
	Device store.DeviceID `json:"d,omitempty"` // that asked for it, if it has a row
	Ends   int64          `json:"e"`           // Unix milliseconds

	State string `json:"s,omitempty"`
	Print []byte `json:"p,omitempty"` // fingerprint of its message
	Time  int64  `json:"t,omitempty"` // when it was sent, Unix milliseconds

	hash    [sha256.Size]byte
	owner   store.AccountID
	expires int64
	version uint64
}

var base32Lower = base32.StdEncoding.WithPadding(base32.NoPadding)

// Ticket gives a user's device a ticket for one message of an app into one conversation. app is the app's identifier or one
// of its keys. Whether the message may go there is decided when it is sent. CodeNotFound: there is no such app, or a room in
// which the user is not. CodeTooMany: too many wait.
func (s *Service) Ticket(ctx context.Context, id hooks.Identity, app string, t hooks.Topic) (string, time.Time, error) {
	a, err := s.Named(app)
	if err != nil {
		return "", time.Time{}, err
	}
	if err := s.maySend(&a, id.Account, t.Place == hooks.User && t.Name == id.Name); err != nil {
		s.metrics.refused.WithLabelValues(byApp).Inc()
		return "", time.Time{}, err
	}
	now := s.now()
	k := ticket{App: a.ID, Ends: now.Add(TicketLife).UnixMilli(), owner: id.Account, expires: now.Add(ticketKept).UnixMilli()}
	switch t.Place {
	case hooks.Room:
		info, err := s.store.Find(store.RoomKey(t.Name))
		if store.CodeOf(err) == store.CodeNotFound || err == nil && info.Members.Role(id.Account) == store.RoleNone {
			return "", time.Time{}, &store.Error{Code: store.CodeNotFound, Text: "you have no such room"}
		}
		if err != nil {
			return "", time.Time{}, fmt.Errorf("link: room: %w", err)
		}
		k.Room = t.Name
	case hooks.User:
		k.User = t.Name
	default:
		return "", time.Time{}, store.Bad("name a room or a user")
	}
	if id.Device != 0 {
		if _, err := s.store.Device(id.Account, id.Device); err == nil {
			k.Device = id.Device
		} else if store.CodeOf(err) != store.CodeNotFound {
			return "", time.Time{}, fmt.Errorf("link: device: %w", err)
		}
	}
	var secret [16]byte
	rand.Read(secret[:]) // never fails: see crypto/rand
	said := strings.ToLower(base32Lower.EncodeToString(secret[:]))
	k.hash = sha256.Sum256([]byte(said))

	end, err := s.turn(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	defer end()
	if err := s.roomForTicket(id.Account, now); err != nil {
		return "", time.Time{}, err
	}
	if err := s.save(ctx, &k); err != nil {
		return "", time.Time{}, err
	}
	err = s.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tableWhose, Key: string(k.hash[:]), Value: []byte(store.KeyOf(id.Account)),
		Expires: k.expires, If: store.IfVersion(0)}}})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("link: ticket: %w", err)
	}
	s.metrics.tickets.Inc()
	return said, now.Add(TicketLife), nil
}

// roomForTicket refuses another ticket while too many wait.
func (s *Service) roomForTicket(a store.AccountID, now time.Time) error {
	waiting := 0
	for after := ""; ; {
		rows, err := s.store.Rows(tableTicket, store.OwnerOf(a), "", after, 1000)
		if err != nil {
			return fmt.Errorf("link: tickets: %w", err)
		}
		for _, r := range rows {
			after = r.Key
			var k ticket
			if json.Unmarshal(r.Value, &k) == nil && k.State == ticketFresh && k.Ends > now.UnixMilli() {
				waiting++
			}
		}
		if waiting >= s.cfg.Limits.Tickets {
			return errMany
		}
		if len(rows) < 1000 {
			return nil
		}
	}
}

// find reads the ticket that an app shows; ErrTicket if it is not good for that app.
func (s *Service) find(said, app string) (*ticket, error) {
	if len(said) != base32Lower.EncodedLen(16) {
		return nil, ErrTicket
	}
	k := &ticket{hash: sha256.Sum256([]byte(strings.ToLower(said)))}
	whose, err := s.store.Row(tableWhose, "", string(k.hash[:]))
	if err != nil {
		return nil, fmt.Errorf("link: ticket: %w", err)
	}
	now := s.now().UnixMilli()
	if whose.Version == 0 || whose.Expires <= now {
		return nil, ErrTicket
	}
	k.owner = store.AccountID(store.NumberOf(string(whose.Value)))
	r, err := s.store.Row(tableTicket, store.OwnerOf(k.owner), string(k.hash[:]))
	if err != nil {
		return nil, fmt.Errorf("link: ticket: %w", err)
	}
	if r.Version == 0 || r.Expires <= now {
		return nil, ErrTicket // its user is gone
	}
	if err := json.Unmarshal(r.Value, k); err != nil {
		return nil, fmt.Errorf("link: ticket: %w", err)
	}
	k.version, k.expires = r.Version, r.Expires
	if k.App != app {
		return nil, ErrTicket
	}
	return k, nil
}

// save writes a ticket, unless it has changed since it was read (CodeConflict).
func (s *Service) save(ctx context.Context, k *ticket) error {
	v, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("link: ticket: %w", err)
	}
	err = s.store.Update(ctx, store.Update{Owner: store.OwnerOf(k.owner), Rows: []store.RowPut{{Table: tableTicket, Key: string(k.hash[:]), Value: v,
		Expires: k.expires, If: store.IfVersion(k.version)}}})
	if err != nil {
		return fmt.Errorf("link: ticket: %w", err)
	}
	return nil
}

// topic is where a ticket's message goes. The same ticket always has the same cid, so that a message that was sent before
// the server died is not sent again.
func (k *ticket) topic() hooks.Topic {
	t := hooks.Topic{Place: hooks.User, Act: hooks.Message, View: hooks.JSON, Name: k.User,
		CID: "link." + strings.ToLower(base32Lower.EncodeToString(k.hash[:16]))}
	if k.Room != "" {
		t.Place, t.Name = hooks.Room, k.Room
	}
	return t
}

// holder is who a ticket's message is sent as; ErrTicket if the device that asked for it was signed out, or its user may not
// do anything.
func (s *Service) holder(k *ticket) (hooks.Identity, error) {
	u, err := s.store.Account(k.owner)
	if store.CodeOf(err) == store.CodeNotFound {
		return hooks.Identity{}, ErrTicket
	}
	if err != nil {
		return hooks.Identity{}, fmt.Errorf("link: account: %w", err)
	}
	if u.State >= store.AccountSuspended {
		return hooks.Identity{}, ErrTicket
	}
	if k.Device != 0 {
		if _, err := s.store.Device(k.owner, k.Device); store.CodeOf(err) == store.CodeNotFound {
			return hooks.Identity{}, ErrTicket
		} else if err != nil {
			return hooks.Identity{}, fmt.Errorf("link: device: %w", err)
		}
	}
	return hooks.Identity{Account: u.ID, Name: u.Name}, nil
}
