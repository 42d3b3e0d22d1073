package pushsim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// State is how a device is reached.
type State string

// The states.
const (
	Online       State = "online"
	Offline      State = "offline"      // what is sent is held as the provider does, and delivered when it is online again
	Unregistered State = "unregistered" // the app was removed: APNs 410, FCM UNREGISTERED, web push 410
	Bad          State = "bad"          // the provider does not know the token: BadDeviceToken, INVALID_ARGUMENT, 404
	WrongSender  State = "wrong_sender" // the token is of another app or project: DeviceTokenNotForTopic, SENDER_ID_MISMATCH
	Busy         State = "busy"         // the provider takes no more for this one device: 429
)

// Device is a device as its provider sees it. One that nobody has set is online from the first push on, and belongs to
// the environment and the topic of that push.
type Device struct {
	Provider Provider  `json:"provider"`
	Token    string    `json:"token"`
	Name     string    `json:"name,omitempty"` // for people: "bob's phone"; "" leaves it as it is
	State    State     `json:"state"`
	Since    time.Time `json:"since,omitzero"`    // Unregistered: when the provider learned of it; zero: when it was set
	Sandbox  bool      `json:"sandbox,omitempty"` // APNs: the token belongs to the development environment
	Topic    string    `json:"topic,omitempty"`   // APNs: "" is any
}

// Phone is what a device shows, and what it was told.
//
// A notification has an identifier: the collapse ID or else the apns-id on APNs; on the others, whose messages the app
// shows by itself, the thread or else the kind. The same identifier again replaces. An app with data messages drops what
// is not newer than what it showed of the thread; on APNs the same apns-id again is the same notification, and an
// extension (mutable-content) keeps it from sounding again. A clear takes away what is shown of its thread.
//
// While the phone is offline APNs keeps one notification (the newest), FCM 100 (more, and it drops all of them) with four
// collapse keys at most, web push 100 and one per topic; what has expired is not delivered any more, and what was to be
// delivered now or never is not kept. Of collapsible messages FCM delivers 20 at once and then one every three minutes,
// and holds the newest of each key till then.
type Phone struct {
	Device
	Notifications []Notification `json:"notifications"` // the last that came or changed is last
	Badge         int            `json:"badge"`
	// Version is how often anything of the phone or its device has changed.
	Version uint64 `json:"version"`

	Received int `json:"received"`           // pushes that reached the device
	Rang     int `json:"rang"`               // with a sound
	Replaced int `json:"replaced,omitempty"` // that took the place of another
	Repeated int `json:"repeated,omitempty"` // the same again
	Dropped  int `json:"dropped,omitempty"`  // the app showed something as new already
	Cleared  int `json:"cleared,omitempty"`  // notifications that were taken away
	Held     int `json:"held,omitempty"`     // wait at the provider
	Lost     int `json:"lost,omitempty"`     // not kept while it was offline
}

// Notification is one that a phone shows.
type Notification struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"` // when it was shown or replaced last
	Kind    string    `json:"kind,omitempty"`
	Thread  string    `json:"thread,omitempty"`
	Room    string    `json:"room,omitempty"`
	Seq     uint64    `json:"seq,omitempty"`
	Count   int       `json:"count,omitempty"`
	Title   string    `json:"title,omitempty"`
	Body    string    `json:"body,omitempty"`
	Key     string    `json:"key,omitempty"`
	Args    []string  `json:"args,omitempty"`
	Sounded bool      `json:"sounded,omitempty"` // the last time it came
	Updates int       `json:"updates,omitempty"` // how often it was replaced
}

// Count is how often a message was told to a phone.
type Count struct {
	Token     string `json:"token"`
	Thread    string `json:"thread"`
	Seq       uint64 `json:"seq"`
	Delivered int    `json:"delivered"` // pushes that reached the phone
	Shown     int    `json:"shown"`     // notifications with an identifier of their own: 2 are a duplicate
	Rang      int    `json:"rang"`      // with a sound: 2 are a duplicate
}

// Duplicate reports whether the user was told twice.
func (c Count) Duplicate() bool { return c.Shown > 1 || c.Rang > 1 }

// What is kept at most.
const (
	maxPhones        = 1_000_000 // more: 503
	maxNotifications = 200       // of a phone; the oldest goes
	maxHeld          = 100       // FCM and web push, of a phone
	maxSeen          = 1_000     // identifiers of APNs that a phone remembers
	maxCounts        = 2_000_000 // more: Counts says nothing of the rest
)

type phones struct {
	mu      sync.Mutex
	all     map[deviceKey]*phone // guarded by mu
	counts  map[countKey]*counted
	changed chan struct{} // guarded by mu: closed at the next change; nil if nobody waits
}

type deviceKey struct {
	provider Provider
	token    string
}

type countKey struct {
	provider      Provider
	token, thread string
	seq           uint64
}

type counted struct {
	delivered, shown, rang int
	ids                    []string // of notifications, at most a few
}

type phone struct {
	Phone
	held []parcel
	seen [2]map[string]bool  // APNs: the last identifiers of pushes; when the first is full it becomes the second
	pace bucket              // FCM: of collapsible messages
	last map[string]position // data clients: by thread
}

type position struct {
	epoch string
	seq   uint64
}

// parcel is a push on its way to a phone.
type parcel struct {
	note
	id, collapse string
	expires      time.Time
}

// verdict is what the state of a device says about a push.
type verdict uint8

const (
	taken verdict = iota
	unregistered
	unknownToken
	wrongEnvironment
	wrongTopic
	tooMany
	full
)

// deliver takes a push to its phone, and says in the attempt what that did there.
func (ps *phones) deliver(a *Attempt, now time.Time) (verdict, time.Time) {
	p := parcel{note: noteOf(a), id: a.ID, collapse: a.Collapse, expires: a.Expires}
	a.Thread, a.Seq = p.thread, p.seq
	ps.mu.Lock()
	ph := ps.all[deviceKey{a.Provider, a.Token}]
	if ph == nil {
		if len(ps.all) >= maxPhones {
			ps.mu.Unlock()
			return full, time.Time{}
		}
		ph = ps.create(Device{Provider: a.Provider, Token: a.Token, State: Online, Sandbox: a.Sandbox, Topic: a.Topic})
	}
	v := ph.judge(a)
	if v == taken {
		ph.Version++
		ps.thaw(ph, now)
		if ph.State == Offline || a.Provider == FCM && p.collapse != "" && !ph.pace.take(now) {
			a.Effect = ph.hold(p, now)
		} else {
			a.Effect, a.Rang = ps.arrive(ph, p, now)
		}
	}
	since := ph.Since
	changed := ps.wake()
	ps.mu.Unlock()
	if changed != nil {
		close(changed)
	}
	return v, since
}

// consult tells what deliver would, and delivers nothing. A device that is not there is not made.
func (ps *phones) consult(a *Attempt, _ time.Time) (verdict, time.Time) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ph := ps.all[deviceKey{a.Provider, a.Token}]
	if ph == nil {
		return taken, time.Time{}
	}
	return ph.judge(a), ph.Since
}

// judge tells by the state of a device whether a push can go there.
func (ph *phone) judge(a *Attempt) verdict {
	switch {
	case ph.Sandbox != a.Sandbox:
		return wrongEnvironment
	case ph.State == Unregistered:
		return unregistered
	case ph.State == Bad:
		return unknownToken
	case ph.State == WrongSender, ph.Provider == APNs && ph.Topic != "" && ph.Topic != a.Topic:
		return wrongTopic
	case ph.State == Busy:
		return tooMany
	}
	return taken
}

func (ps *phones) create(d Device) *phone {
	ph := &phone{Phone: Phone{Device: d}}
	ps.all[deviceKey{d.Provider, d.Token}] = ph
	return ph
}

// wake returns the channel to close once the lock is free.
func (ps *phones) wake() chan struct{} {
	changed := ps.changed
	ps.changed = nil
	return changed
}

// hold keeps a push for a phone that is offline, as its provider does.
func (ph *phone) hold(p parcel, now time.Time) Effect {
	if !p.expires.IsZero() && !p.expires.After(now) {
		ph.Lost++
		return Lost
	}
	switch {
	case ph.Provider == APNs:
		ph.Lost += len(ph.held)
		ph.held = ph.held[:0]
	case p.collapse != "":
		ph.held = slices.DeleteFunc(ph.held, func(h parcel) bool { return h.collapse == p.collapse })
		if ph.Provider == FCM {
			ph.keys()
		}
	}
	if ph.Provider != APNs && len(ph.held) >= maxHeld {
		if ph.Provider == FCM {
			ph.Lost += len(ph.held) + 1
			ph.held, ph.Phone.Held = nil, 0
			return Lost
		}
		ph.Lost++
		ph.held = slices.Delete(ph.held, 0, 1)
	}
	ph.held = append(ph.held, p)
	ph.Phone.Held = len(ph.held)
	return Held
}

// release delivers what was held.
func (ps *phones) release(ph *phone, now time.Time) {
	held := ph.held
	ph.held, ph.Phone.Held = nil, 0
	for _, p := range held {
		if !p.expires.IsZero() && !p.expires.After(now) {
			ph.Lost++
			continue
		}
		ps.arrive(ph, p, now)
	}
}

// arrive is a push that reaches a phone.
func (ps *phones) arrive(ph *phone, p parcel, now time.Time) (e Effect, rang bool) {
	ph.Received++
	e, rang = ph.show(p, now)
	if rang {
		ph.Rang++
	}
	if p.seq != 0 && p.kind != kindClear {
		ps.count(ph, p, e, rang)
	}
	return e, rang
}

func (ps *phones) count(ph *phone, p parcel, e Effect, rang bool) {
	k := countKey{ph.Provider, ph.Token, p.thread, p.seq}
	c := ps.counts[k]
	if c == nil {
		if len(ps.counts) >= maxCounts {
			return
		}
		c = new(counted)
		ps.counts[k] = c
	}
	c.delivered++
	if rang {
		c.rang++
	}
	if id := ph.identifier(p); (e == Shown || e == Replaced) && len(c.ids) < 16 && !slices.Contains(c.ids, id) {
		c.ids = append(c.ids, id)
		c.shown++
	}
}

// identifier names the notification that a push shows.
func (ph *phone) identifier(p parcel) string {
	switch {
	case ph.Provider == APNs:
		return cmp.Or(p.collapse, p.id)
	case p.thread != "":
		return p.thread
	case p.kind == "summary" || p.kind == "messages" || p.kind == "requests":
		return p.kind
	}
	return cmp.Or(p.collapse, p.id)
}

// show does what the system and the app of a phone do with a push.
func (ph *phone) show(p parcel, now time.Time) (e Effect, rang bool) {
	repeated := ph.Provider == APNs && ph.again(p.id)
	if p.badge != nil {
		ph.Badge = *p.badge
	}
	switch {
	case p.kind == kindClear:
		return ph.clear(p), false
	case !p.alert:
		return Woken, p.sound && !repeated
	case repeated:
		ph.Repeated++
		return Repeated, p.sound && !p.mutable
	case ph.Provider != APNs && ph.stale(p):
		ph.Dropped++
		return Dropped, false
	}
	n := Notification{ID: ph.identifier(p), Time: now, Kind: p.kind, Thread: p.thread, Room: p.room, Seq: p.seq,
		Count: p.count, Title: p.title, Body: p.body, Key: p.key, Args: p.args, Sounded: p.sound}
	e = Shown
	if i := slices.IndexFunc(ph.Notifications, func(o Notification) bool { return o.ID == n.ID }); i >= 0 {
		e = Replaced
		ph.Replaced++
		n.Updates = ph.Notifications[i].Updates + 1
		ph.Notifications = slices.Delete(ph.Notifications, i, i+1)
	} else if len(ph.Notifications) >= maxNotifications {
		ph.Notifications = slices.Delete(ph.Notifications, 0, 1)
	}
	ph.Notifications = append(ph.Notifications, n)
	return e, p.sound
}

// again tells whether a push with this identifier came before, and remembers it.
func (ph *phone) again(id string) bool {
	if ph.seen[0][id] || ph.seen[1][id] {
		return true
	}
	if ph.seen[0] == nil || len(ph.seen[0]) >= maxSeen/2 {
		ph.seen[0], ph.seen[1] = make(map[string]bool), ph.seen[0]
	}
	ph.seen[0][id] = true
	return false
}

// clear takes away what is shown of a thread. One of no thread sets a badge and nothing else.
func (ph *phone) clear(p parcel) Effect {
	was := len(ph.Notifications)
	ph.Notifications = slices.DeleteFunc(ph.Notifications, func(n Notification) bool {
		return p.thread != "" && n.Thread == p.thread
	})
	ph.Cleared += was - len(ph.Notifications)
	return Cleared
}

// stale reports whether an app has shown something as new of the thread, and remembers what it shows now.
func (ph *phone) stale(p parcel) bool {
	if p.thread == "" || p.seq == 0 {
		return false
	}
	if was, ok := ph.last[p.thread]; ok && was.epoch == p.epoch && p.seq <= was.seq {
		return true
	}
	if ph.last == nil {
		ph.last = make(map[string]position)
	}
	ph.last[p.thread] = position{p.epoch, p.seq}
	return false
}

// SetDevice puts a device into a state. What was held for it is delivered if it is online again. No such device: there is
// one from now on.
func (s *Sim) SetDevice(d Device) error {
	switch {
	case d.Provider != APNs && d.Provider != FCM && d.Provider != WebPush:
		return fmt.Errorf("pushsim: provider %.20q is none of apns, fcm, webpush", d.Provider)
	case d.Token == "" || len(d.Token) > 4096:
		return errors.New("pushsim: a device has a token of at most 4,096 bytes")
	case len(d.Topic) > 256 || len(d.Name) > 256:
		return errors.New("pushsim: a topic and a name have at most 256 bytes")
	}
	switch d.State {
	case "":
		d.State = Online
	case Online, Offline, Unregistered, Bad, WrongSender, Busy:
	default:
		return fmt.Errorf("pushsim: state %.20q is none of online, offline, unregistered, bad, wrong_sender, busy", d.State)
	}
	if d.Provider == APNs {
		d.Token = strings.ToLower(d.Token)
	}
	now := s.now()
	if d.State != Unregistered {
		d.Since = time.Time{}
	} else if d.Since.IsZero() {
		d.Since = now
	}
	ps := &s.phones
	ps.mu.Lock()
	ph := ps.all[deviceKey{d.Provider, d.Token}]
	switch {
	case ph != nil:
		d.Name = cmp.Or(d.Name, ph.Name)
		ph.Device = d
	case len(ps.all) >= maxPhones:
		ps.mu.Unlock()
		return fmt.Errorf("pushsim: there are %d devices already", maxPhones)
	default:
		ph = ps.create(d)
	}
	ph.Version++
	if d.State == Online {
		ps.release(ph, now)
	}
	changed := ps.wake()
	ps.mu.Unlock()
	if changed != nil {
		close(changed)
	}
	return nil
}

// Phone is what the device with a token shows; false if nobody has heard of it.
func (s *Sim) Phone(token string) (Phone, bool) {
	now := s.now()
	s.phones.mu.Lock()
	defer s.phones.mu.Unlock()
	return s.phones.get(token, now)
}

func (ps *phones) get(token string, now time.Time) (Phone, bool) {
	for _, k := range []deviceKey{{APNs, strings.ToLower(token)}, {FCM, token}, {WebPush, token}} {
		if ph := ps.all[k]; ph != nil {
			ps.thaw(ph, now)
			return ph.copy(), true
		}
	}
	return Phone{}, false
}

func (ph *phone) copy() Phone {
	p := ph.Phone
	p.Notifications = slices.Clone(p.Notifications)
	return p
}

// WaitPhone returns the phone as soon as f is true of it. The error is that of ctx, or ErrClosed.
func (s *Sim) WaitPhone(ctx context.Context, token string, f func(Phone) bool) (Phone, error) {
	for {
		now := s.now()
		s.phones.mu.Lock()
		p, ok := s.phones.get(token, now)
		if s.phones.changed == nil {
			s.phones.changed = make(chan struct{})
		}
		changed := s.phones.changed
		s.phones.mu.Unlock()
		if ok && f(p) {
			return p, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Phone{}, ctx.Err()
		case <-s.ctx.Done():
			return Phone{}, ErrClosed
		}
	}
}

// Phones are all of them, by provider and token.
func (s *Sim) Phones() []Phone {
	now := s.now()
	s.phones.mu.Lock()
	out := make([]Phone, 0, len(s.phones.all))
	for _, ph := range s.phones.all {
		s.phones.thaw(ph, now)
		out = append(out, ph.copy())
	}
	s.phones.mu.Unlock()
	slices.SortFunc(out, func(a, b Phone) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Token, b.Token))
	})
	return out
}

// Counts tells how often each message was told to each phone, by token, thread and number.
func (s *Sim) Counts() []Count {
	s.phones.mu.Lock()
	out := make([]Count, 0, len(s.phones.counts))
	for k, c := range s.phones.counts {
		out = append(out, Count{k.token, k.thread, k.seq, c.delivered, c.shown, c.rang})
	}
	s.phones.mu.Unlock()
	slices.SortFunc(out, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Token, b.Token), cmp.Compare(a.Thread, b.Thread), cmp.Compare(a.Seq, b.Seq))
	})
	return out
}
