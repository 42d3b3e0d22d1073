package hooks

import (
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// Graph is what Access asks about users and their conversations; every store.Store has it.
type Graph interface {
	graph.Store
	Account(id store.AccountID) (store.Account, error)
	AccountByName(name string) (store.Account, error)
	Read(q store.Query) (store.Page, error)
	LogsOf(a store.AccountID, after store.LogID, max int) ([]store.LogRef, error)
	Info(log store.LogID) (store.LogInfo, error)
}

// AccessConfig is what may differ from one Access to another. The zero value is the defaults.
type AccessConfig struct {
	// Strangers is to how many users a day an account may write that neither have it as a friend nor have answered it;
	// young: it is not older than YoungAge. nil: StrangersYoung and StrangersADay. It is asked per message.
	Strangers func(young bool) int
	// Secret makes of a text what nobody outside can make: pseudonyms, and who is in a sample. purpose keeps texts of
	// different kinds apart. It must stay the same for good, or pseudonyms change. nil: a key for this process alone.
	Secret func(purpose, text string) [32]byte
	// Country is where a user's phone number is from (ISO 3166-1 alpha-2), "" where nothing is known. nil: of nobody.
	Country func(store.AccountID) string
	Nights  Nights           // nil: DefaultNights; empty: nowhere is night for advertising
	AdCap   int              // advertising posts that a follower gets in 24 hours; 0: AdCap, negative: no cap
	Now     func() time.Time // nil: time.Now
}

// The default budgets for new strangers, per day in UTC.
const (
	StrangersADay  = 50
	StrangersYoung = 10
	YoungAge       = 7 * 24 * time.Hour
)

// Access gathers the facts for the policy and tells its outcome. It keeps no state of its own but what can be read again,
// and may be used from any goroutine. The one thing it changes is the budget for strangers, since whoever asks to write to one has to pay for the
// answer.
type Access struct {
	store Graph
	graph *graph.Graph
	cfg   AccessConfig
	paces paces // of slow mode
	ads   adBook
}

// NewAccess returns an Access over a store.
func NewAccess(s Graph, cfg AccessConfig) *Access {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Strangers == nil {
		cfg.Strangers = func(young bool) int {
			if young {
				return StrangersYoung
			}
			return StrangersADay
		}
	}
	if cfg.Nights == nil {
		cfg.Nights = DefaultNights()
	}
	if cfg.AdCap == 0 {
		cfg.AdCap = AdCap
	}
	if cfg.Secret == nil {
		cfg.Secret = newSecret()
	}
	return &Access{store: s, graph: graph.New(s, cfg.Now), cfg: cfg}
}

// Relations is what users have decided about each other, which the decisions are made from.
func (a *Access) Relations() *graph.Graph { return a.graph }

// Grant is the permission to publish to a topic, and what the append needs to know of how it was decided.
type Grant struct {
	Key     store.Key
	Outcome policy.Outcome // Deliver, DeliverWarn, Request or Shadow
	Log     store.LogInfo  // the conversation; ID 0: none yet, the first message opens it
	Peer    store.Account  // of a 1:1 conversation: the other side
	// Accepts says that the message takes up what the peer has asked: its requests wait for the sender, or the sender
	// declined them.
	Accepts bool
	Open    bool          // the room is an open one: who is in it is known by the room's own ids
	Slow    time.Duration // the sender is held to the room's slow mode: see Pace
	Channel store.LogInfo // of what is published in a channel or a thread: the channel's notices
}

// Audience is who may ever see a record written under the grant, of those who are members then.
func (g Grant) Audience() store.Audience {
	switch g.Outcome {
	case policy.Shadow:
		if g.Key.Kind == store.LogThread {
			return store.AudienceBoth // of those who are in: who must not see it is none of them
		}
		return store.AudienceSender
	case policy.Request:
		return store.AudienceRequest
	}
	return store.AudienceBoth
}

// Delivers reports whether the peer sees the message without being asked.
func (g Grant) Delivers() bool {
	return g.Outcome == policy.Deliver || g.Outcome == policy.DeliverWarn
}

// Warn reports whether the receiver is to be warned of a stranger.
func (g Grant) Warn() bool { return g.Outcome == policy.DeliverWarn }

// Version is the membership version the grant was decided under, for Draft.Version; 0 if there is no log yet.
func (g Grant) Version() uint64 {
	if g.Log.Members == nil {
		return 0
	}
	return g.Log.Members.Version
}

// Publish decides whether a user may publish to a topic of a room, a 1:1 conversation or a channel: a message, an operation on an
// earlier one (Edit; whether this user may do it to that message is decided by who knows the message), Typing or Read.
// A denial is what Refusal says; storage errors are passed on. Other places are CodeNotFound: there is nobody to publish
// to. A first message of the day to a stranger waits for the disk, whatever becomes of it: see AccessConfig.Strangers.
func (a *Access) Publish(me store.AccountID, t Topic) (Grant, error) {
	switch t.Place {
	case Room:
		return a.room(me, t)
	case User:
		return a.pair(me, t)
	case Channel:
		if t.Act == Ask {
			return a.ask(me, t)
		}
		return a.post(me, t)
	case Thread:
		return a.answer(me, t)
	}
	return Grant{}, &store.Error{Code: store.CodeNotFound, Text: "there is no such " + t.Place.String()}
}

func (a *Access) room(me store.AccountID, t Topic) (Grant, error) {
	account, err := a.store.Account(me)
	if err != nil {
		return Grant{}, fmt.Errorf("hooks: account: %w", err)
	}
	g := Grant{Key: store.RoomKey(t.Name)}
	if g.Log, err = a.find(g.Key); err != nil {
		return Grant{}, err
	}
	room, err := a.graph.Room(g.Log.ID)
	if err != nil {
		return Grant{}, fmt.Errorf("hooks: room: %w", err)
	}
	if room.Open {
		return a.openWrite(me, g, account.State, room, t.Act)
	}
	outcome, retry, err := a.groupWrite(me, g.Log, account.State, room, t.Act == Read)
	if err == nil {
		err = later(outcome, retry)
	}
	if err != nil {
		return Grant{}, err
	}
	g.Outcome = outcome
	return g, nil
}

// Inside reports whether a filter for exactly this room or user can select anything: me is a member of the room, has a
// conversation with the user, or is among its friends. If not, the client deserves a hint; the same one whether the place
// exists or not.
func (a *Access) Inside(me store.AccountID, place Place, name string) (bool, error) {
	switch place {
	case Room:
		log, err := a.find(store.RoomKey(name))
		return log.Members.Role(me) != store.RoleNone, err
	case User:
		p, err := a.facts(me, name)
		if err != nil {
			return false, err
		}
		return p.self || p.BHasA || p.log.Members.Role(me) != store.RoleNone, nil
	}
	return false, nil
}

// find returns the log, or an empty one if there is none.
func (a *Access) find(key store.Key) (store.LogInfo, error) {
	log, err := a.store.Find(key)
	if store.CodeOf(err) == store.CodeNotFound {
		return store.LogInfo{}, nil
	}
	if err != nil {
		return store.LogInfo{}, fmt.Errorf("hooks: log: %w", err)
	}
	return log, nil
}

func decide(g Grant, outcome policy.Outcome, retry time.Duration) (Grant, error) {
	if err := Refusal(outcome, retry); err != nil {
		return Grant{}, err
	}
	g.Outcome = outcome
	return g, nil
}
