package mochihook

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// Keys of log attributes.
const (
	keyClient = "client"
	keyUser   = "user"
	keyErr    = "err"
)

// Authenticator tells who a client is; *hooks.Authenticator does.
type Authenticator interface {
	Connect(ctx context.Context, c hooks.Credentials) (hooks.Identity, error)
}

// Access tells who may publish where; *hooks.Access does.
type Access interface {
	Publish(me store.AccountID, t hooks.Topic) (hooks.Grant, error)
}

// Accounts turns the numbers of members into names; every store.Directory does.
type Accounts interface {
	Account(id store.AccountID) (store.Account, error)
}

// Options is the configuration of the hook, given to mqtt.Server.AddHook.
type Options struct {
	Server        *mqtt.Server // required, with Options.InlineClient: messages are published through it
	Authenticator Authenticator
	Access        Access
	Accounts      Accounts
	Guests        int // guest sessions of an account at a time; 0: hooks.DefaultGuests
}

// Validate tells what is missing, nil if nothing.
func (o *Options) Validate() error {
	if o.Server == nil || o.Authenticator == nil || o.Access == nil || o.Accounts == nil {
		return errors.New("mochihook: Server, Authenticator, Access and Accounts are required")
	}
	if !o.Server.Options.InlineClient {
		return errors.New("mochihook: the server needs Options.InlineClient")
	}
	return nil
}

// Hook is the mochi hook. It must be the only one that authenticates: mochi lets a client in if any hook does.
type Hook struct {
	mqtt.HookBase
	opt Options

	mu       sync.Mutex // guards what follows; never held over a write or a callback
	sessions map[*mqtt.Client]*session
	guests   map[store.AccountID]int
	sweepAt  int
}

// session is what the hook knows of a connection.
type session struct {
	id    hooks.Identity
	space string // the user's namespace, with the slash
	guest bool   // counted in guests
	timer *time.Timer
}

// ID names the hook.
func (h *Hook) ID() string { return "hwangso" }

// Provides tells which events the hook wants.
func (h *Hook) Provides(event byte) bool {
	switch event {
	case mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablished, mqtt.OnDisconnect, mqtt.OnACLCheck, mqtt.OnSubscribe,
		mqtt.OnUnsubscribe, mqtt.OnPublish, mqtt.OnPacketEncode:
		return true
	}
	return false
}

// Init takes *Options.
func (h *Hook) Init(config any) error {
	opt, ok := config.(*Options)
	if !ok || opt == nil {
		return mqtt.ErrInvalidConfigType
	}
	if err := opt.Validate(); err != nil {
		return err
	}
	h.opt = *opt
	if h.opt.Guests == 0 {
		h.opt.Guests = hooks.DefaultGuests
	}
	h.sessions = make(map[*mqtt.Client]*session)
	h.guests = make(map[store.AccountID]int)
	return nil
}

// Stop ends the timers.
func (h *Hook) Stop() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sessions {
		if s.timer != nil {
			s.timer.Stop()
		}
	}
	return nil
}

// OnConnectAuthenticate lets a client in, and makes its client identifier its user's own: mochi would otherwise hand
// one user's session to another who knows the identifier.
func (h *Hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	clean := pk.Connect.Clean
	if pk.ProtocolVersion == 5 {
		clean = pk.Properties.SessionExpiryInterval == 0
	}
	id, err := h.opt.Authenticator.Connect(context.Background(), hooks.Credentials{
		User:     string(pk.Connect.Username),
		Secret:   hooks.Secret(pk.Connect.Password),
		ClientID: pk.Connect.ClientIdentifier,
		Clean:    clean,
	})
	if err != nil {
		h.Log.Info("login refused", keyClient, pk.Connect.ClientIdentifier, keyErr, err)
		return false
	}
	if id.Key() { // it opens a channel or an app, and a plain server has neither
		h.Log.Info("login refused", keyClient, pk.Connect.ClientIdentifier, keyErr, hooks.ErrKey())
		return false
	}
	cl.ID = id.Name + "/" + id.ClientID
	if id.Assigned {
		cl.Properties.Props.AssignedClientID = id.ClientID
	}
	// mochi publishes wills past every check, and as retained messages.
	cl.Properties.Will = mqtt.Will{}
	h.add(cl, &session{id: id, space: space(id.Name)})
	return true
}

// OnSessionEstablished counts guests and starts the clock of a token that expires.
func (h *Hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	h.mu.Lock()
	s := h.sessions[cl]
	full := false
	if s != nil && s.id.Guest {
		if full = h.guests[s.id.Account] >= h.opt.Guests; !full {
			h.guests[s.id.Account]++
			s.guest = true
		}
	}
	if s != nil && !full && !s.id.Expires.IsZero() {
		s.timer = time.AfterFunc(time.Until(s.id.Expires), func() { cl.Stop(hooks.ErrExpired) })
	}
	h.mu.Unlock()
	if full {
		h.Log.Info("guest refused", keyUser, s.id.Name, keyErr, hooks.ErrGuests)
		cl.Stop(hooks.ErrGuests)
	}
}

// OnDisconnect forgets the connection.
func (h *Hook) OnDisconnect(cl *mqtt.Client, _ error, _ bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sessions[cl]
	if s == nil {
		return
	}
	delete(h.sessions, cl)
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.guest {
		if h.guests[s.id.Account]--; h.guests[s.id.Account] == 0 {
			delete(h.guests, s.id.Account)
		}
	}
}

// OnACLCheck lets everybody publish, because OnPublish decides: it knows the topic behind an alias, and can refuse
// without disconnecting. Whatever is subscribed or delivered must lie in the user's namespace.
func (h *Hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	if write {
		return true
	}
	s := h.session(cl)
	return s != nil && strings.HasPrefix(topic, s.space)
}

// OnSubscribe puts the filters into the user's namespace.
func (h *Hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	return h.inSpace(cl, pk)
}

// OnUnsubscribe does the same.
func (h *Hook) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	return h.inSpace(cl, pk)
}

// refused stands for a filter outside the grammar: short, so that a deep one never reaches the server's topic tree,
// and in nobody's namespace, so that OnACLCheck refuses it.
const refused = "!"

func (h *Hook) inSpace(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	s := h.session(cl)
	filters := make(packets.Subscriptions, len(pk.Filters))
	for i, sub := range pk.Filters {
		f, err := hooks.ParseFilter(sub.Filter)
		if err == nil && s != nil {
			sub.Filter = s.space + f.String()
		} else {
			sub.Filter = refused
		}
		filters[i] = sub
	}
	pk.Filters = filters
	return pk
}

// OnPacketEncode takes the namespace off the topic of a delivery.
func (h *Hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type != packets.Publish {
		return pk
	}
	if s := h.session(cl); s != nil {
		pk.TopicName = strings.TrimPrefix(pk.TopicName, s.space)
	}
	return pk
}

// space is the namespace of a user. A tilde starts no topic of the grammar, so clients cannot name one.
func space(name string) string { return "~" + name + "/" }

func (h *Hook) session(cl *mqtt.Client) *session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[cl]
}

// add remembers a connection. One that ends between its authentication and its establishment is never reported as
// disconnected: such entries are swept whenever the map has doubled.
func (h *Hook) add(cl *mqtt.Client, s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.sessions) >= h.sweepAt {
		for old, s := range h.sessions {
			if old.Closed() && !s.guest && s.timer == nil {
				delete(h.sessions, old)
			}
		}
		h.sweepAt = 2*len(h.sessions) + 16
	}
	h.sessions[cl] = s
}
