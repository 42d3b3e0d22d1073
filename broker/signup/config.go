package signup

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
)

// Keys of log attributes.
const (
	keyErr     = "err"
	keyUser    = "user"
	keyCountry = "country"
	keyRange   = "range"
	keyUntil   = "until"
)

// Host is what the service asks of the server around it.
type Host interface {
	// Notify writes a notice to a user's devices. A notice that cannot be written is the host's to log.
	Notify(ctx context.Context, to store.AccountID, n view.Notice, text string)
	// Disconnect ends the connections of a device, of all devices with 0, and waits until nothing more is sent to them.
	Disconnect(ctx context.Context, a store.AccountID, d store.DeviceID, why error) error
	// Leave takes an account out of every room it is in and hands over those it owns. It can be repeated.
	Leave(ctx context.Context, a store.AccountID) error
	// Files removes an account's files, wherever they are shown. It can be repeated.
	Files(ctx context.Context, a store.AccountID) error
	// Pushes removes where an account's devices are woken. It can be repeated.
	Pushes(ctx context.Context, a store.AccountID) error
	// Change changes an account's row, one change after the other.
	Change(ctx context.Context, a store.AccountID, change func(*store.Account) error) (store.Account, error)
	// Numbered is called after an account got a number, its first or another, perhaps more than once.
	Numbered(ctx context.Context, a store.AccountID, e phone.Entry) error
}

// Settings are the numbers of the service. A zero field means its default.
type Settings struct {
	CodeLife time.Duration // how long a code is good; 10 minutes
	Tries    int           // wrong codes per ticket; 5
	Consent  time.Duration // how long a proven ticket waits for an old device or a PIN; 15 minutes
	Lock     time.Duration // how long an account is locked whose number went to somebody new; 7 days
	Undo     time.Duration // how long a removal can be undone; 7 days
	Devices  int           // devices of an account; 10

	Number  []Window // codes to one number; 1 a minute, 5 an hour, 10 a day
	Device  []Window // codes asked for by one device; 5 an hour, 10 a day
	Address []Window // codes asked for from one address (IPv6: /64); 10 a minute, 30 an hour, 100 a day
	Range   []Window // codes to one range of 10,000 numbers; 50 an hour, 200 a day
	Global  []Window // codes in all; 600 a minute, 100,000 a day

	CountryDay   int            // codes to one country and day (UTC); 10,000
	CountryCaps  map[string]int // other numbers for single countries, by ISO 3166-1 letters; 0 closes the country
	Allow        []string       // the only countries that get codes; none: all
	Deny         []string       // countries that get none
	AnyLine      bool           // codes also to numbers that do not look like a mobile's
	WatchCountry Watch          // closes a country whose codes nobody uses; 200 codes, 10 %
	WatchRange   Watch          // closes a range of 10,000 numbers; 20 codes, 10 %
}

// Watch closes a country or range until the end of the day (UTC) when of at least Codes whose time has passed less than
// Percent were used. A negative Codes watches nothing.
type Watch struct {
	Codes   int
	Percent int
}

// Window is a limit: at most Count within Per, counted from the first.
type Window struct {
	Count int
	Per   time.Duration
}

func (s *Settings) setDefaults() {
	for _, f := range []struct {
		v *time.Duration
		d time.Duration
	}{{&s.CodeLife, 10 * time.Minute}, {&s.Consent, 15 * time.Minute}, {&s.Lock, week}, {&s.Undo, week}} {
		if *f.v == 0 {
			*f.v = f.d
		}
	}
	for _, f := range []struct {
		v *int
		d int
	}{{&s.Tries, 5}, {&s.Devices, 10}, {&s.CountryDay, 10_000}} {
		if *f.v == 0 {
			*f.v = f.d
		}
	}
	for _, f := range []struct {
		v *[]Window
		d []Window
	}{
		{&s.Number, []Window{{1, time.Minute}, {5, time.Hour}, {10, day}}},
		{&s.Device, []Window{{5, time.Hour}, {10, day}}},
		{&s.Address, []Window{{10, time.Minute}, {30, time.Hour}, {100, day}}},
		{&s.Range, []Window{{50, time.Hour}, {200, day}}},
		{&s.Global, []Window{{600, time.Minute}, {100_000, day}}},
	} {
		if *f.v == nil {
			*f.v = f.d
		}
	}
	for _, f := range []struct {
		v *Watch
		d Watch
	}{{&s.WatchCountry, Watch{200, 10}}, {&s.WatchRange, Watch{20, 10}}} {
		if *f.v == (Watch{}) {
			*f.v = f.d
		}
	}
}

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// Validate tells what is wrong with the settings, nil if nothing.
func (s Settings) Validate() error {
	for _, d := range []time.Duration{s.CodeLife, s.Consent, s.Lock, s.Undo} {
		if d < 0 {
			return errors.New("signup: a duration is negative")
		}
	}
	for _, n := range []int{s.Tries, s.Devices, s.CountryDay, s.WatchCountry.Percent, s.WatchRange.Percent} {
		if n < 0 {
			return errors.New("signup: a number is negative")
		}
	}
	for _, list := range [][]Window{s.Number, s.Device, s.Address, s.Range, s.Global} {
		if len(list) > maxWindows {
			return errors.New("signup: too many limits of one kind")
		}
		for _, w := range list {
			if w.Count <= 0 || w.Per <= 0 {
				return errors.New("signup: a limit needs a count and a time above 0")
			}
		}
	}
	for c, n := range s.CountryCaps {
		if !phone.KnownRegion(c) || n < 0 {
			return errors.New("signup: a country's number needs two letters such as KR, and 0 or more")
		}
	}
	for _, list := range [][]string{s.Allow, s.Deny} {
		for _, c := range list {
			if !phone.KnownRegion(c) {
				return errors.New("signup: a country is two letters such as KR")
			}
		}
	}
	return nil
}

// Config is what a Service is made of.
type Config struct {
	Store    store.Store // required
	Book     *phone.Book // required
	Host     Host        // required
	Sender   Sender      // nil: nobody can ask for a code (ErrClosed)
	Settings Settings

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: metrics are counted and not shown
	Now        func() time.Time      // nil: time.Now
}

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Store == nil:
		return errors.New("signup: no store")
	case c.Book == nil:
		return errors.New("signup: no book of numbers")
	case c.Host == nil:
		return errors.New("signup: no host")
	}
	return c.Settings.Validate()
}

// Service signs people up, in and off. Its methods may be called from any goroutine.
type Service struct {
	store   store.Store
	book    *phone.Book
	host    Host
	sender  Sender
	set     Settings
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics

	limits  *limits
	watch   *watch
	tickets turns // by ticket
	numbers turns // by number; taken within a ticket's turn
	persons turns // by account; taken within the other two
	hashing chan struct{}
	sending chan struct{}
}

// Bounds of work under way. What is beyond waits, for as long as its request does.
const (
	hashesAtOnce = 2  // PINs being hashed, 19 MiB each
	sendsAtOnce  = 64 // codes being handed over
)

// New returns a Service.
func New(c Config) (*Service, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Settings.setDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Service{
		store: c.Store, book: c.Book, host: c.Host, sender: c.Sender, set: c.Settings, log: c.Logger, now: c.Now,
		hashing: make(chan struct{}, hashesAtOnce), sending: make(chan struct{}, sendsAtOnce),
	}
	s.limits = newLimits(c.Store, c.Book.Key())
	s.tickets.init()
	s.numbers.init()
	s.persons.init()
	var err error
	if s.metrics, err = newMetrics(c.Registerer); err != nil {
		return nil, err
	}
	if s.watch, err = newWatch(s); err != nil {
		return nil, err
	}
	return s, nil
}

// Offered reports whether there is a sender, so that people can sign up.
func (s *Service) Offered() bool { return s.sender != nil }
