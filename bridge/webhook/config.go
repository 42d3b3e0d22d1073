package webhook

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/store"
)

// Limits.
const (
	PerOwner        = 3                  // endpoints of a channel or app
	MaxWaiting      = 10_000             // events that wait for one endpoint
	MaxAge          = 3 * 24 * time.Hour // that an event waits, and that an endpoint may fail
	MaxURL          = 1024               // bytes
	RotateFor       = 24 * time.Hour     // that the signature under the secret before is sent too
	DefaultInFlight = 64

	perEndpoint = 4  // requests under way to one endpoint
	perHost     = 16 // and to one host
	failing     = 3  // failures in a row after which an endpoint gets one request at a time
	answersKept = 10

	timeout   = 10 * time.Second
	patience  = 5 * time.Second // of Close with what is under way
	maxAnswer = 64 << 10        // of a body, which is read only so that the connection can be used again
	firstWait = time.Second
	longest   = time.Hour
)

// Store is what webhooks are kept in and read from; every store.Store has it.
type Store interface {
	store.Tables
	Find(key store.Key) (store.LogInfo, error)
	Info(log store.LogID) (store.LogInfo, error)
	Read(q store.Query) (store.Page, error)
	Follow(ctx context.Context, from store.Position) (store.Batch, error)
	Bounds() (first, end store.Position)
	ReaderPosition(name string) (store.Position, error)
	PutReaderPosition(name string, p store.Position)
}

// Opened is what an app may know of a day that has ended.
type Opened struct {
	Day    string `json:"day"`    // such as 2026-03-02, UTC
	Sent   *int   `json:"sent"`   // rounded; nil: too few to be told
	Opened *int   `json:"opened"` // the same
}

// Config is what a Service is made of.
type Config struct {
	Store Store // required

	// Pseudonym is how a channel knows a follower. Required.
	Pseudonym func(channel store.LogID, who store.AccountID) string
	// Followers is the daily count of a channel as its brand may know it, with its day as in 2026-03-02 (UTC), "" without
	// one; nil: there are none.
	Followers func(channel store.LogID) (count *int, day string, err error)
	// Opened are the days of an app that have ended, the newest first, as the app may know them; CodeNotFound: the app is no
	// more. nil: there are none.
	Opened func(app string) ([]Opened, error)
	// Tell tells those to whom an endpoint belongs that it was disabled. It is repeated until it returns nil. nil: nobody is.
	Tell func(ctx context.Context, o Owner, h Hook) error

	Allow    []netip.Prefix // addresses that may be spoken to although they are not public, on every port and by http
	CA       *x509.CertPool // whose certificates are believed; nil: the system's
	InFlight int            // requests under way at once; 0: DefaultInFlight

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: metrics are counted and not shown
	Now        func() time.Time      // nil: time.Now
}

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Store == nil:
		return errors.New("webhook: no store")
	case c.Pseudonym == nil:
		return errors.New("webhook: no pseudonyms")
	case c.InFlight < 0:
		return errors.New("webhook: fewer than no requests in flight")
	}
	for _, p := range c.Allow {
		if !p.IsValid() {
			return errors.New("webhook: an allowed prefix is none")
		}
	}
	return nil
}
