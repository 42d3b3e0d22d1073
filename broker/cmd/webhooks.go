package cmd

import (
	"context"
	"crypto/x509"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/hwangso/hwangso/bridge/webhook"
	"github.com/hwangso/hwangso/store"
)

// webhookSettings are what `hwangso serve` is told about webhooks.
type webhookSettings struct {
	mode, allow, ca string
	inFlight        int
}

func (s *webhookSettings) register(f *flag.FlagSet) {
	f.StringVar(&s.mode, "webhook", "on", "`on` or off: tell brands and makers of apps by HTTP what happens to them (docs/channels.md)")
	f.StringVar(&s.allow, "webhook-allow", "", "private `networks` that webhooks may go to, such as 10.0.0.0/8, with commas, on every port and by http too; else only public addresses, by https on port 443")
	f.StringVar(&s.ca, "webhook-ca", "", "a `file` with certificates in PEM that receivers of webhooks may show besides those the system trusts")
	f.IntVar(&s.inFlight, "webhook-in-flight", webhook.DefaultInFlight, "requests of webhooks under way at once")
}

func (s *webhookSettings) validate(bad func(format string, args ...any)) {
	if s.mode != "on" && s.mode != "off" {
		bad("-webhook is on or off")
	}
	if _, err := s.networks(); err != nil {
		bad("-webhook-allow: %w", err)
	}
	if s.inFlight < 1 {
		bad("-webhook-in-flight must be at least 1")
	}
}

func (s *webhookSettings) networks() (out []netip.Prefix, err error) {
	for word := range strings.SplitSeq(s.allow, ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		p, err := netip.ParsePrefix(word)
		if err != nil {
			return nil, fmt.Errorf("%q is no network such as 10.0.0.0/8", word)
		}
		out = append(out, p)
	}
	return out, nil
}

// openWebhooks makes what delivers webhooks, without delivering yet. What it asks of the control API it asks when it runs.
func (srv *server) openWebhooks(ctx context.Context) error {
	set := &srv.set.webhook
	if set.mode == "off" {
		return nil
	}
	allow, err := set.networks()
	if err != nil {
		return fmt.Errorf("-webhook-allow: %w", err)
	}
	var ca *x509.CertPool
	if set.ca != "" {
		text, err := os.ReadFile(set.ca)
		if err != nil {
			return fmt.Errorf("-webhook-ca: %w", err)
		}
		if ca, err = x509.SystemCertPool(); err != nil {
			ca = x509.NewCertPool()
		}
		if !ca.AppendCertsFromPEM(text) {
			return fmt.Errorf("-webhook-ca: there is no certificate in %s", set.ca)
		}
	}
	srv.webhooks, err = webhook.New(ctx, webhook.Config{
		Store: srv.store, Pseudonym: srv.broker.Access().Pseudonym,
		Followers: func(c store.LogID) (*int, string, error) {
			n, err := srv.tally.Numbers(c)
			return n.Followers, n.Day, err
		},
		Opened: func(app string) ([]webhook.Opened, error) { return srv.ctl.api.OpenedByDay(app) },
		Tell: func(ctx context.Context, o webhook.Owner, h webhook.Hook) error {
			return srv.ctl.api.TellWebhook(ctx, o, h)
		},
		Allow: allow, CA: ca, InFlight: set.inFlight, Logger: srv.log, Registerer: srv.reg,
	})
	return err
}
