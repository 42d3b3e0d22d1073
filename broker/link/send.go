package link

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// Send sends a message of the app that the key names, for the user and into the conversation of the ticket, and returns when
// that was. Shown again with the same message a ticket gives the first answer; with another one it is ErrUsed. A message that
// is refused for its form leaves the ticket as it is; one that the rules of the conversation refuse spends it (ErrRules).
// CodeTooMany, CodeUnavailable and CodeUnknown: not known, or not yet; repeat it.
func (s *Service) Send(ctx context.Context, key, said string, m Message) (time.Time, error) {
	at, why, err := s.send(ctx, key, said, m)
	if err != nil && why != "" {
		s.metrics.refused.WithLabelValues(why).Inc()
	}
	return at, err
}

func (s *Service) send(ctx context.Context, key, said string, m Message) (at time.Time, why string, err error) {
	a, err := s.byKey(key)
	if err != nil {
		return at, byApp, err
	}
	mark, err := fingerprint(&m)
	if err != nil {
		return at, "", err
	}
	for {
		k, err := s.find(said, a.ID)
		if err != nil {
			return at, byTicket, err
		}
		switch {
		case k.State != ticketFresh && !bytes.Equal(k.Print, mark):
			return at, byTicket, ErrUsed
		case k.State == ticketDone:
			return time.UnixMilli(k.Time).UTC(), "", nil
		case k.State == ticketRefused:
			return at, byRules, ErrRules
		case k.State == ticketFresh && k.Ends <= s.now().UnixMilli():
			return at, byTicket, ErrTicket
		}
		id, err := s.holder(k)
		if err != nil {
			return at, byTicket, err
		}
		if err := s.maySend(&a, id.Account, k.User != "" && k.User == id.Name); err != nil {
			return at, byApp, err
		}
		content, err := build(&a, &m)
		if err != nil {
			return at, byForm, err
		}
		if err := s.mayAttach(id.Account, content.Files); err != nil {
			return at, byForm, err
		}
		if k.State == ticketFresh {
			k.State, k.Print = ticketTaken, mark
			err := s.save(ctx, k)
			if store.CodeOf(err) == store.CodeConflict {
				continue // somebody else shows it, too: perhaps with the same message
			}
			if err != nil {
				return at, "", err
			}
		}
		return s.spend(ctx, &a, k, id, content)
	}
}

// spend sends the message of a ticket that was taken for it, perhaps not for the first time.
func (s *Service) spend(ctx context.Context, a *App, k *ticket, id hooks.Identity, c view.Content) (at time.Time, why string, err error) {
	receipt, err := s.cfg.Sender.SendContent(ctx, id, k.topic(), c)
	switch code := store.CodeOf(err); {
	case err == nil:
		k.State, k.Time = ticketDone, receipt.Time
	case code == store.CodeTooMany: // of what there is too much is the user's affair
		e := &store.Error{Code: code, Text: "too much at once: repeat it later", Retry: time.Minute, Err: err}
		if told, ok := errors.AsType[*store.Error](err); ok && told.Retry > 0 {
			e.Retry = told.Retry
		}
		return at, byRules, e
	case code == store.CodeUnavailable || code == store.CodeUnknown || code == store.CodeInternal || code == store.CodeFull:
		return at, "", fmt.Errorf("link: send: %w", err)
	default:
		k.State = ticketRefused
	}
	if err := s.settle(ctx, k); err != nil {
		return at, "", err
	}
	if k.State == ticketRefused {
		return at, byRules, ErrRules
	}
	if !receipt.Repeated {
		s.metrics.sent.WithLabelValues(bySend).Inc()
		s.counts.add(a.ID, s.now(), 1, 0)
	}
	return time.UnixMilli(receipt.Time).UTC(), "", nil
}

// settle writes what became of a ticket, unless a repeat has written it already: both had the same outcome.
func (s *Service) settle(ctx context.Context, k *ticket) error {
	for {
		r, err := s.store.Row(tableTicket, store.OwnerOf(k.owner), string(k.hash[:]))
		if err != nil {
			return fmt.Errorf("link: ticket: %w", err)
		}
		var now ticket
		if r.Version == 0 { // its user is gone
			return nil
		}
		if err := json.Unmarshal(r.Value, &now); err != nil {
			return fmt.Errorf("link: ticket: %w", err)
		}
		if now.State == ticketDone || now.State == ticketRefused {
			k.State, k.Time = now.State, now.Time
			return nil
		}
		k.version = r.Version
		if err := s.save(ctx, k); store.CodeOf(err) != store.CodeConflict {
			return err
		}
	}
}

// fingerprint tells messages apart.
func fingerprint(m *Message) ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("link: message: %w", err)
	}
	h := sha256.Sum256(b)
	return h[:], nil
}

func (s *Service) mayAttach(a store.AccountID, files []string) error {
	switch {
	case len(files) == 0:
		return nil
	case s.cfg.Files == nil:
		return store.Bad("this server keeps no files: leave the image out")
	}
	return s.cfg.Files.May(a, files)
}

// Named is the app with an identifier, or one of whose keys it is.
func (s *Service) Named(app string) (App, error) {
	if strings.Contains(app, ":") {
		return s.byKey(app)
	}
	return s.Look(app)
}

// Share sends a message of an app for a user whose own client asks: it has shown the message to the user, and needs no
// ticket. app is an identifier or a key. The topic's CID makes repeating it safe. Refusals are those of what users write
// themselves.
func (s *Service) Share(ctx context.Context, id hooks.Identity, app string, t hooks.Topic, m Message) (store.Receipt, error) {
	a, err := s.Named(app)
	if err == nil {
		err = s.maySend(&a, id.Account, t.Place == hooks.User && t.Name == id.Name)
	}
	if err != nil {
		s.metrics.refused.WithLabelValues(byApp).Inc()
		return store.Receipt{}, err
	}
	c, err := build(&a, &m)
	if err != nil {
		s.metrics.refused.WithLabelValues(byForm).Inc()
		return store.Receipt{}, err
	}
	return s.sendAs(ctx, id, &a, t, c, byShare)
}

func (s *Service) sendAs(ctx context.Context, id hooks.Identity, a *App, t hooks.Topic, c view.Content, how string) (store.Receipt, error) {
	t.Act, t.View = hooks.Message, hooks.JSON
	r, err := s.cfg.Sender.SendContent(ctx, id, t, c)
	if err != nil {
		s.metrics.refused.WithLabelValues(byRules).Inc()
		return r, err
	}
	if !r.Repeated {
		s.metrics.sent.WithLabelValues(how).Inc()
		s.counts.add(a.ID, s.now(), 1, 0)
	}
	return r, nil
}

// ErrNoLink is the refusal where a message is no link that the user sees.
var ErrNoLink = &store.Error{Code: store.CodeNotFound, Reason: "link", Text: "there is no such link in this conversation"}

// Forward sends a link that the user sees into another conversation. What the app says and its targets go along, as far as
// the app's domains and schemes still allow them, and a picture that the user may attach; nothing of who sent it, where, or
// when does.
func (s *Service) Forward(ctx context.Context, id hooks.Identity, r *store.Record, t hooks.Topic) (store.Receipt, error) {
	l, ok := view.LinkOf(r)
	if !ok || r.Recalled || r.Op.Kind != store.OpNone {
		return store.Receipt{}, ErrNoLink
	}
	a, err := s.Look(l.App)
	if store.CodeOf(err) == store.CodeNotFound {
		err = ErrOff
	}
	if err == nil {
		err = s.maySend(&a, id.Account, t.Place == hooks.User && t.Name == id.Name)
	}
	if err != nil {
		s.metrics.refused.WithLabelValues(byApp).Inc()
		return store.Receipt{}, err
	}
	m := Message{Text: string(r.Text), Actions: a.still(&l.LinkActions)}
	if checkText(m.Text, a.Domains) != nil {
		m.Text = ""
	}
	for i := range l.Buttons {
		b := Button{Text: l.Buttons[i].Text, Actions: a.still(&l.Buttons[i].LinkActions)}
		if len(b.Targets) > 0 || b.Web != "" || len(m.Targets) > 0 || m.Web != "" {
			m.Buttons = append(m.Buttons, b)
		}
	}
	files, err := view.Files(r.Extra)
	if err == nil && len(files) > 0 && s.mayAttach(id.Account, files[:1]) == nil {
		m.Image = files[0]
	}
	c, err := build(&a, &m)
	if err != nil {
		s.metrics.refused.WithLabelValues(byForm).Inc()
		return store.Receipt{}, err
	}
	return s.sendAs(ctx, id, &a, t, c, byForward)
}

// still is what of earlier targets an app may open today.
func (a *App) still(l *view.LinkActions) (out Actions) {
	for _, t := range l.Targets {
		one := Target{OS: t.OS, Class: t.Class, Execute: t.Execute, Install: t.Install}
		if _, err := a.actions("", &Actions{Targets: []Target{one}}); err == nil {
			out.Targets = append(out.Targets, one)
		}
	}
	if l.Web != "" {
		if _, err := a.actions("", &Actions{Web: l.Web}); err == nil {
			out.Web = l.Web
		}
	}
	return out
}
