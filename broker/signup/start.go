package signup

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
)

// Ask is a request for a code.
type Ask struct {
	Phone    string     // as people write it
	Region   string     // of a number without country code
	Device   string     // the asking device, as it names itself
	Language string     // of the text message; "" is English
	Address  netip.Addr // where the request comes from; the zero Addr: not limited by address
}

// Asked is the answer to a request for a code.
type Asked struct {
	Ticket  string    // to be shown with the code
	Expires time.Time // of the code
	Again   time.Time // when another code may be asked for at the earliest
}

// Start sends a code for signing up or in. What it does does not depend on whether the number has an account.
//
// Errors: phone.ErrNumber and phone.ErrRegion; ErrClosed, ErrCountry, ErrLine; CodeTooMany with the time to wait;
// ErrSend if the sender failed, which counts as a code.
func (s *Service) Start(ctx context.Context, q Ask) (Asked, error) {
	n, err := phone.Parse(q.Phone, q.Region)
	if err != nil {
		return Asked{}, err
	}
	return s.send(ctx, q, n, forSignUp, 0)
}

// StartNumber sends a code to another number of an account. Errors are those of Start.
func (s *Service) StartNumber(ctx context.Context, a store.AccountID, q Ask) (Asked, error) {
	n, err := phone.Parse(q.Phone, q.Region)
	if err != nil {
		return Asked{}, err
	}
	return s.send(ctx, q, n, forNumber, a)
}

// StartProof sends a code to an account's own number, which must be said again because only its hash is known. The code
// proves to Erase or SetPIN that it is still the owner who asks. Errors are those of Start, and ErrNotOwn.
func (s *Service) StartProof(ctx context.Context, a store.AccountID, q Ask, erase bool) (Asked, error) {
	n, err := phone.Parse(q.Phone, q.Region)
	if err != nil {
		return Asked{}, err
	}
	have, ok, err := s.book.Of(a)
	if err != nil {
		return Asked{}, err
	}
	if !ok || have.Hash != s.book.Key().Hash(n) {
		// A guess counts as a code would, so that numbers cannot be tried.
		if _, _, err := s.limits.take([]charge{s.limits.charge("proof", "too many numbers were tried: wait", fmt.Sprint(uint64(a)), s.set.Number)}, s.now()); err != nil {
			return Asked{}, err
		}
		return Asked{}, ErrNotOwn
	}
	what := forPIN
	if erase {
		what = forErase
	}
	return s.send(ctx, q, n, what, a)
}

// send counts, keeps the ticket, and hands the code to the sender.
func (s *Service) send(ctx context.Context, q Ask, n phone.Number, what purpose, a store.AccountID) (Asked, error) {
	if s.sender == nil {
		return Asked{}, ErrClosed
	}
	now := s.now()
	rows, err := s.admit(n, q.Device, q.Address, now)
	if err != nil {
		return Asked{}, err
	}
	at := s.watch.places(n)
	for _, c := range s.watch.sent(at, now) {
		s.log.Warn("codes are sent there and hardly ever entered: closed for the day", keyCountry, n.Region(), keyRange, c.shown,
			"used", c.used, "of", c.of, keyUntil, time.UnixMilli(c.until).UTC())
		s.metrics.closings.Inc()
		rows = append(rows, store.RowPut{Table: table, Key: "c" + c.key, Value: []byte(c.shown), Expires: c.until})
	}
	code, err := newCode()
	if err != nil {
		return Asked{}, err
	}
	id := random(16)
	hash, sealed := s.book.Key().Hash(n), s.codeHash(id, code)
	t := &ticket{
		For: what, Number: hash[:], Region: n.Region(), Range: []byte(at[1].key), Code: sealed[:], Left: s.set.Tries,
		Lang: q.Language, Account: a, expires: now.Add(s.set.CodeLife).UnixMilli(), hash: s.ticketHash(id),
	}
	row, err := t.row()
	if err != nil {
		return Asked{}, err
	}
	if err := s.store.Update(ctx, store.Update{Rows: append(rows, row)}); err != nil {
		return Asked{}, fmt.Errorf("signup: ticket: %w", err)
	}
	leave, err := enter(ctx, s.sending)
	if err != nil {
		return Asked{}, err
	}
	defer leave()
	lang := view.ParseLang(q.Language)
	err = s.sender.Send(ctx, Message{ID: random(16), Number: n.E164(), Code: code, Text: view.CodeText(lang, code), Language: lang.String()})
	if err != nil {
		s.metrics.codes.WithLabelValues("failed").Inc()
		s.log.Warn("a code was not sent", keyCountry, n.Region(), keyErr, err)
		return Asked{}, ErrSend
	}
	s.metrics.codes.WithLabelValues("sent").Inc()
	again := now
	if len(s.set.Number) > 0 && s.set.Number[0].Count == 1 {
		again = now.Add(s.set.Number[0].Per)
	}
	return Asked{Ticket: id, Expires: time.UnixMilli(t.expires).UTC(), Again: again.UTC()}, nil
}
