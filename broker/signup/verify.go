package signup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// Enter is the answer to a code. ClientID must be valid; Display, Language and Label must fit their limits.
type Enter struct {
	Ticket, Code string
	ClientID     string // the device that signs in, as it will name itself in CONNECT
	Label        string // of the device

	// Of an account that is new.
	Name     string // "" : a random one
	Display  string
	Language string // "" : that of Ask

	// If the number has an account already.
	PIN   string // of that account
	Fresh bool   // a new account in its place
}

// Entered is what a code has opened.
type Entered struct {
	Account store.Account
	New     bool         // the account was made
	Token   store.Token  // opens the one device
	Secret  hooks.Secret // of the token; told once

	// Waiting: the number has an account, whose devices are asked whether this one may sign in. Nothing was opened. Ask
	// again with the same ticket and code, with the account's PIN, or with Fresh.
	Waiting bool
}

// Verify opens an account with a code: a new one, or the one that has the number if its PIN is right or one of its
// devices has agreed. While the code's ticket lives the same request opens the same account again, with another token;
// the earlier one ends after ten minutes.
//
// Errors: ErrCode; ErrName; ErrPIN, and CodeTooMany with the time to wait; ErrDenied; ErrDevices; hooks.ErrSuspended.
func (s *Service) Verify(ctx context.Context, q Enter) (Entered, error) {
	name := q.Name
	if name != "" {
		var ok bool
		if name, ok = hooks.NormalName(name); !ok || strings.HasPrefix(name, "~") {
			return Entered{}, store.Bad(fmt.Sprintf("name must be 1 to %d characters of a-z 0-9 . _ ~ - and not begin with ~", hooks.MaxName))
		}
	}
	hash := s.ticketHash(q.Ticket)
	done, err := s.tickets.takeHash(ctx, hash)
	if err != nil {
		return Entered{}, err
	}
	defer done()
	t, err := s.prove(ctx, hash, q.Ticket, q.Code, forSignUp, 0)
	if err != nil {
		return Entered{}, err
	}
	if t.Opened != 0 {
		return s.admitDevice(ctx, t, q)
	}
	numberDone, err := s.numbers.takeHash(ctx, t.number())
	if err != nil {
		return Entered{}, err
	}
	defer numberDone()
	holder, err := s.book.Account(t.number())
	if err != nil {
		return Entered{}, err
	}
	if holder != 0 {
		if mine, err := s.begun(t); err != nil {
			return Entered{}, err
		} else if mine.ID == holder {
			return s.made(ctx, t, q, mine) // an answer was lost in the midst
		}
		u, err := s.store.Account(holder)
		if err != nil {
			return Entered{}, fmt.Errorf("signup: account: %w", err)
		}
		if u.State == store.AccountSuspended {
			return Entered{}, hooks.ErrSuspended
		}
	}
	switch {
	case holder == 0:
		return s.create(ctx, t, q, name, 0)
	case q.PIN != "":
		if err := s.checkPIN(ctx, holder, q.PIN); err != nil {
			return Entered{}, err
		}
		return s.signIn(ctx, t, q, holder, "pin")
	case q.Fresh:
		return s.create(ctx, t, q, name, holder)
	}
	said, err := s.ask(ctx, t, q, holder)
	switch {
	case err != nil:
		return Entered{}, err
	case said == allowed:
		return s.signIn(ctx, t, q, holder, "consent")
	case said == denied:
		return Entered{}, ErrDenied
	}
	return Entered{Waiting: true}, nil
}

// create makes an account, gives it the number, and locks the account that had it.
func (s *Service) create(ctx context.Context, t *ticket, q Enter, name string, from store.AccountID) (Entered, error) {
	u, err := s.begun(t)
	if err != nil {
		return Entered{}, err
	}
	if u.ID == 0 {
		// What is about to be made stands in the ticket first, so that a repeat knows it as its own.
		t.Name, t.MadeAt = cmp.Or(name, "u"+random(8)), s.now().UnixMilli()
		if err := s.save(ctx, t); err != nil {
			return Entered{}, err
		}
		u, err = s.store.CreateAccount(ctx, store.Account{Name: t.Name, Display: q.Display, Language: cmp.Or(q.Language, t.Lang), Created: t.MadeAt})
		if store.CodeOf(err) == store.CodeConflict {
			t.Name, t.MadeAt = "", 0
			t.Left-- // names cannot be tried without end
			return Entered{}, errors.Join(ErrName, s.save(ctx, t))
		}
		if err != nil {
			return Entered{}, fmt.Errorf("signup: create: %w", err)
		}
	}
	if from != 0 {
		if err := s.lock(ctx, from); err != nil {
			return Entered{}, err
		}
		s.metrics.signIns.WithLabelValues("taken").Inc()
	} else {
		s.metrics.signIns.WithLabelValues("new").Inc()
	}
	e := t.entry(s.now())
	if err := s.book.Give(ctx, e, from, u.ID); err != nil {
		return Entered{}, err
	}
	return s.made(ctx, t, q, u)
}

// begun is the account that the ticket has begun to make, the zero one if there is none.
func (s *Service) begun(t *ticket) (store.Account, error) {
	if t.MadeAt == 0 {
		return store.Account{}, nil
	}
	u, err := s.store.AccountByName(t.Name)
	switch {
	case store.CodeOf(err) == store.CodeNotFound:
		return store.Account{}, nil
	case err != nil:
		return store.Account{}, fmt.Errorf("signup: account: %w", err)
	case u.Created != t.MadeAt:
		return store.Account{}, nil
	}
	tokens, err := s.store.Tokens(u.ID)
	if err != nil {
		return store.Account{}, fmt.Errorf("signup: tokens: %w", err)
	}
	if len(tokens) > 0 {
		return store.Account{}, nil // somebody else's after all
	}
	return u, nil
}

// made goes on once the account has the number; it may be repeated.
func (s *Service) made(ctx context.Context, t *ticket, q Enter, u store.Account) (Entered, error) {
	if err := s.host.Numbered(ctx, u.ID, t.entry(s.now())); err != nil {
		return Entered{}, fmt.Errorf("signup: tell of a number: %w", err)
	}
	t.Opened, t.New = u.ID, true
	t.Name, t.MadeAt = "", 0 // no name stays where an erasure does not look
	if err := s.save(ctx, t); err != nil {
		return Entered{}, err
	}
	return s.admitDevice(ctx, t, q)
}

// signIn opens the account that has the number.
func (s *Service) signIn(ctx context.Context, t *ticket, q Enter, a store.AccountID, how string) (Entered, error) {
	s.metrics.signIns.WithLabelValues(how).Inc()
	t.Opened = a
	if err := s.save(ctx, t); err != nil {
		return Entered{}, err
	}
	out, err := s.admitDevice(ctx, t, q)
	if err == nil {
		s.host.Notify(ctx, a, view.Notice{What: view.NoticeDevice, Device: cmp.Or(q.Label, q.ClientID)}, "")
	}
	return out, err
}

// replaced is how long the token lives that another sign-in of its device replaces: an answer may be under way.
const replaced = 10 * time.Minute

// admitDevice makes the device and its token.
func (s *Service) admitDevice(ctx context.Context, t *ticket, q Enter) (Entered, error) {
	u, err := s.store.Account(t.Opened)
	if store.CodeOf(err) == store.CodeNotFound {
		return Entered{}, ErrCode // it was removed meanwhile
	}
	if err != nil {
		return Entered{}, fmt.Errorf("signup: account: %w", err)
	}
	done, err := s.persons.take(ctx, uint64(u.ID))
	if err != nil {
		return Entered{}, err
	}
	defer done()
	now := s.now().UnixMilli()
	id := store.DeviceOf(u.ID, q.ClientID)
	if _, err := s.store.Device(u.ID, id); store.CodeOf(err) == store.CodeNotFound {
		err := s.store.PutDevice(ctx, store.Device{Account: u.ID, ID: id, ClientID: q.ClientID, Label: q.Label, Created: now}, s.set.Devices)
		if store.CodeOf(err) == store.CodeFull {
			return Entered{}, ErrDevices
		}
		if err != nil {
			return Entered{}, fmt.Errorf("signup: device: %w", err)
		}
	} else if err != nil {
		return Entered{}, fmt.Errorf("signup: device: %w", err)
	}
	old, err := s.store.Tokens(u.ID)
	if err != nil {
		return Entered{}, fmt.Errorf("signup: tokens: %w", err)
	}
	secret := hooks.NewToken(u.ID)
	token := store.Token{Account: u.ID, Hash: secret.Hash(), Device: id, Label: q.Label, Created: now}
	if err := s.store.PutToken(ctx, token); err != nil {
		return Entered{}, fmt.Errorf("signup: token: %w", err)
	}
	until := now + replaced.Milliseconds()
	for _, o := range old {
		var err error
		switch {
		case o.Device != id:
			continue
		case o.Expires != 0 && o.Expires <= now:
			err = s.store.RemoveToken(ctx, u.ID, o.Hash)
		case o.Expires == 0 || o.Expires > until:
			o.Expires = until
			err = s.store.PutToken(ctx, o)
		}
		if err != nil && store.CodeOf(err) != store.CodeNotFound {
			return Entered{}, fmt.Errorf("signup: token: %w", err)
		}
	}
	return Entered{Account: u, New: t.New, Token: token, Secret: secret}, nil
}
