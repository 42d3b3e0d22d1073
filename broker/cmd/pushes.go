package cmd

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/apns"
	"github.com/hwangso/hwangso/bridge/bulk"
	"github.com/hwangso/hwangso/bridge/fcm"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/bridge/webpush"
	"github.com/hwangso/hwangso/broker/api"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// pushSettings are what `hwangso serve` is told about pushes.
type pushSettings struct {
	mode, ca, texts                 string
	apnsKey, apnsKeyID, apnsTeam    string
	apnsSandboxKey, apnsSandboxID   string
	apnsTopic, apnsURL, apnsSandbox string
	fcmCredentials, fcmURL          string
	webKey, webContact, webAllow    string
	times                           bridge.Config // its durations and numbers alone
	stored                          bool          // the server does not run: what is stored is looked at and changed, and nothing sent
}

func (s *pushSettings) register(f *flag.FlagSet) {
	f.StringVar(&s.mode, "push", "on", "`on` or off: wake devices that are away, by the providers below (docs/push.md)")
	f.StringVar(&s.ca, "push-ca", "", "a `file` with certificates in PEM that providers may show besides those the system trusts")
	f.StringVar(&s.texts, "push-texts", string(apns.TextsPhone), "phone: APNs and FCM get keys of texts that the app has in its languages; server: `texts` in the user's language")
	f.StringVar(&s.apnsKey, "apns-key", "", "the signing key `file` (.p8) of Apple's push service, read again when it changes; empty: no pushes to Apple's devices")
	f.StringVar(&s.apnsKeyID, "apns-key-id", "", "the key's `identifier` (default: from a file name AuthKey_IDENTIFIER.p8)")
	f.StringVar(&s.apnsSandboxKey, "apns-sandbox-key", "", "another key `file` for the development environment, for keys that Apple restricts to one (default: the same)")
	f.StringVar(&s.apnsSandboxID, "apns-sandbox-key-id", "", "and its `identifier`")
	f.StringVar(&s.apnsTeam, "apns-team", "", "the `identifier` of the team in Apple's developer account")
	f.StringVar(&s.apnsTopic, "apns-topic", "", "the app's bundle `identifier`; of several, with commas, the first is the default")
	f.StringVar(&s.apnsURL, "apns-url", "", "another `address` for Apple's production service, such as a simulator's")
	f.StringVar(&s.apnsSandbox, "apns-sandbox-url", "", "another `address` for its development environment")
	f.StringVar(&s.fcmCredentials, "fcm-credentials", "", "the `file` of a Google service account (JSON), read again when it changes; empty: no pushes by FCM")
	f.StringVar(&s.fcmURL, "fcm-url", "", "another `address` for Firebase Cloud Messaging, such as a simulator's")
	f.StringVar(&s.webKey, "webpush-key", "", "the key `file` for web push and UnifiedPush (default webpush.pem beside the master key, made if it does not exist); none: no web push. Subscriptions depend on it, so keep a copy")
	f.StringVar(&s.webContact, "webpush-contact", "", "how a push service reaches you: mailto:you@example.com or an https `address`; some refuse without")
	f.StringVar(&s.webAllow, "webpush-allow", "", "private `networks` that web pushes may go to, such as 10.0.0.0/8, with commas; else only public addresses")
	f.DurationVar(&s.times.Grace, "push-grace", bridge.DefaultGrace, "how long a connected device has to acknowledge a message before it is woken")
	f.DurationVar(&s.times.Hold, "push-hold", bridge.DefaultHold, "how long a device waits while its user is active on another one")
	f.DurationVar(&s.times.TTL, "push-ttl", bridge.DefaultTTL, "how long a provider keeps a message's push for a phone that is off")
	f.DurationVar(&s.times.Stale, "push-stale", bridge.DefaultStale, "after how long what could not be sent becomes a summary")
	f.IntVar(&s.times.PerMin, "push-per-minute", bridge.DefaultPerMin, "pushes of a device a minute, before they become a summary")
}

func (s *pushSettings) validate(bad func(format string, args ...any)) {
	if s.mode != "on" && s.mode != "off" {
		bad("-push is on or off")
	}
	if s.texts != string(apns.TextsPhone) && s.texts != string(apns.TextsServer) {
		bad("-push-texts is phone or server")
	}
	if s.apnsKey != "" && (s.apnsTeam == "" || s.apnsTopic == "") {
		bad("-apns-key needs -apns-team and -apns-topic")
	}
	if s.apnsKey == "" && s.apnsTeam+s.apnsTopic+s.apnsKeyID != "" {
		bad("-apns-team, -apns-topic and -apns-key-id need -apns-key")
	}
	for _, u := range []struct{ flag, url string }{{"-apns-url", s.apnsURL}, {"-apns-sandbox-url", s.apnsSandbox}, {"-fcm-url", s.fcmURL}} {
		if u.url == "" {
			continue
		}
		if at, err := url.Parse(u.url); err != nil || at.Scheme != "https" || at.Host == "" || strings.Trim(at.Path, "/")+at.RawQuery+at.Fragment != "" {
			bad("%s must be https:// with a host, and a port if it is not 443", u.flag)
		}
	}
	if c := s.webContact; c != "" && !strings.HasPrefix(c, "mailto:") && !strings.HasPrefix(c, "https://") {
		bad("-webpush-contact is mailto:you@example.com or an https address")
	}
	if s.times.Grace <= 0 || s.times.Hold <= 0 || s.times.TTL <= 0 || s.times.Stale <= 0 || s.times.PerMin <= 0 {
		bad("-push-grace, -push-hold, -push-ttl, -push-stale and -push-per-minute must be above 0")
	}
	if _, err := s.allowed(); err != nil {
		bad("-webpush-allow: %w", err)
	}
}

func (s *pushSettings) allowed() (out []netip.Prefix, err error) {
	for _, text := range strings.FieldsFunc(s.webAllow, func(r rune) bool { return r == ',' || r == ' ' }) {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no network such as 10.0.0.0/8", text)
		}
		out = append(out, p)
	}
	return out, nil
}

// certificates are whom providers are believed by, nil for whom the system trusts.
func (s *pushSettings) certificates() (*x509.CertPool, error) {
	if s.ca == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(s.ca)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", s.ca)
	}
	return pool, nil
}

// pushes are the parts of a server that wake devices.
type pushes struct {
	bridge    *bridge.Bridge // nil: the server does not run
	bulk      *bulk.Bulk
	providers map[graph.PushProvider]push.Provider
	web       *webpush.Provider // nil: no web push
}

// openPushes starts what wakes devices, nil if that is switched off.
func (srv *server) openPushes() (err error) {
	set := &srv.set.push
	if set.mode == "off" {
		return nil
	}
	p := &pushes{providers: make(map[graph.PushProvider]push.Provider)}
	srv.pushes = p  // so that what was opened is closed after an error
	if set.stored { // jobs can be made and looked at
		rel := srv.broker.Access().Relations()
		p.bulk, err = bulk.New(bulk.Config{Store: srv.store, Graph: rel, Logger: srv.log,
			Sources: map[string]bulk.Source{bridge.SourceAnnouncements: bridge.NewAnnouncements(srv.store, rel, nil)}})
		return err
	}
	if err := srv.openProviders(p); err != nil {
		return err
	}
	cfg := set.times
	cfg.Store, cfg.Access, cfg.Live, cfg.Providers, cfg.Followers = srv.store, srv.broker.Access(), srv.broker, p.providers, srv.store
	cfg.Pace = func(ctx context.Context, n int) error { return srv.broker.Bulk(ctx, max(1, n/perDelivery)) }
	cfg.Logger, cfg.Registerer = srv.log, srv.reg
	if p.bridge, err = bridge.New(cfg); err != nil {
		return err
	}
	p.bulk = p.bridge.Bulk()
	return nil
}

// perDelivery is how many followers are considered at the price of one delivery, in the server's CPU.
const perDelivery = 4

func (srv *server) openProviders(p *pushes) error {
	set := &srv.set.push
	ca, err := set.certificates()
	if err != nil {
		return fmt.Errorf("-push-ca: %w", err)
	}
	if set.apnsKey != "" {
		c, err := apns.New(apns.Config{KeyFile: set.apnsKey, KeyID: set.apnsKeyID, SandboxKeyFile: set.apnsSandboxKey,
			SandboxKeyID: set.apnsSandboxID, TeamID: set.apnsTeam, Topic: set.apnsTopic,
			URL: set.apnsURL, SandboxURL: set.apnsSandbox, CA: ca, Texts: apns.Texts(set.texts), Logger: srv.log})
		if err != nil {
			return fmt.Errorf("-apns-key: %w", err)
		}
		p.providers[graph.APNs] = c
	}
	if set.fcmCredentials != "" {
		c, err := fcm.New(fcm.Config{Credentials: set.fcmCredentials, URL: set.fcmURL, CA: ca, Texts: set.texts == string(apns.TextsServer), Logger: srv.log})
		if err != nil {
			return fmt.Errorf("-fcm-credentials: %w", err)
		}
		p.providers[graph.FCM] = c
	}
	if set.webKey == "none" {
		return nil
	}
	key := set.webKey
	if key == "" {
		key = srv.set.besideMasterKey("webpush.pem")
	}
	if _, err := os.Stat(key); errors.Is(err, fs.ErrNotExist) {
		if err := webpush.NewKey(key); err != nil {
			return fmt.Errorf("-webpush-key: %w", err)
		}
	}
	allow, err := set.allowed()
	if err != nil {
		return err
	}
	p.web, err = webpush.New(webpush.Config{Key: key, Contact: set.webContact, CA: ca, Allow: allow, Logger: srv.log})
	if err != nil {
		return fmt.Errorf("-webpush-key: %w", err)
	}
	p.providers[graph.WebPush] = p.web
	if set.webContact == "" {
		srv.log.Warn("web push without -webpush-contact: some push services refuse what names nobody to write to")
	}
	return nil
}

// line says for people which providers are set up.
func (p *pushes) line() string {
	if p == nil {
		return "off"
	}
	var names []string
	for _, name := range graph.PushProviders() {
		if p.providers[name] != nil {
			names = append(names, string(name))
		}
	}
	if len(names) == 0 {
		return "none: see docs/push.md"
	}
	return strings.Join(names, ", ")
}

// close ends what wakes devices. What is under way to a provider is waited for; what waits goes on at the next start. A
// provider that does not answer takes its time once: nobody begins to wait only when somebody else has waited.
func (p *pushes) close() error {
	var ends []func() error
	if p.bulk != nil {
		ends = append(ends, p.bulk.Close)
	}
	if p.bridge != nil {
		ends = append(ends, p.bridge.Close)
	}
	done := make(chan error, len(ends))
	for _, end := range ends {
		go func() { done <- end() }()
	}
	var errs []error
	for range ends {
		errs = append(errs, <-done)
	}
	for _, c := range p.providers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// forAPI is what the control API knows of pushes, nil where none are sent.
func (p *pushes) forAPI() *api.Pushes {
	if p == nil {
		return nil
	}
	out := &api.Pushes{Check: p.check, Announce: p.bulk}
	if p.bridge != nil {
		out.Bridge = p.bridge
	}
	for _, name := range graph.PushProviders() {
		if p.providers[name] != nil {
			out.Providers = append(out.Providers, name)
		}
	}
	if p.web != nil {
		out.Key = p.web.PublicKey()
	}
	return out
}

func (p *pushes) check(r *graph.Registration) error {
	var err error
	switch r.Provider {
	case graph.APNs:
		if c, ok := p.providers[graph.APNs].(*apns.Client); ok {
			err = c.Check(r)
		}
	case graph.WebPush:
		if p.web != nil {
			err = p.web.Check(r.Token, r.Key, r.Secret)
		}
	}
	if err != nil {
		return store.Bad(err.Error())
	}
	return nil
}
