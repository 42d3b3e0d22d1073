package signup

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/hwangso/hwangso/store"
)

// tablePIN holds an account's PIN, and how often a wrong one was tried.
const tablePIN store.Table = "user.pin"

// Limits of a PIN in characters.
const (
	MinPIN = 4
	MaxPIN = 64
)

// Argon2id as OWASP recommends it for memory of 19 MiB. A PIN is short, so the phone key goes into it as well: who has
// the rows but not the key cannot try PINs at all.
const (
	pinTime   = 2
	pinMemory = 19 << 10 // KiB
	pinBytes  = 32
)

// pinRow is a PIN as stored. An account without one has no Hash; wrong tries are counted all the same, so that nobody
// learns whether there is one.
type pinRow struct {
	Salt  []byte `json:"s,omitempty"`
	Hash  []byte `json:"h,omitempty"`
	Fails int    `json:"f,omitempty"` // wrong ones in a row
	Until int64  `json:"u,omitempty"` // none is looked at before, Unix milliseconds
}

// pauses follow the fifth wrong PIN in a row and each further one.
var pauses = []time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 12 * time.Hour, day}

const freePINs = 5

// Proof shows that it is an account's owner who asks: a ticket of StartProof and its code, or the PIN.
type Proof struct {
	Ticket, Code string
	PIN          string
}

// HasPIN reports whether an account has a PIN.
func (s *Service) HasPIN(a store.AccountID) (bool, error) {
	p, _, err := s.pin(a)
	return len(p.Hash) > 0, err
}

// SetPIN gives an account a PIN, or with an empty one takes it away. An account that has one must show it or a fresh
// code: ErrProof without, ErrPIN or ErrCode if wrong.
func (s *Service) SetPIN(ctx context.Context, a store.AccountID, pin string, proof Proof) error {
	if n := utf8.RuneCountInString(pin); pin != "" && (n < MinPIN || n > MaxPIN || !utf8.ValidString(pin)) {
		return store.Bad(fmt.Sprintf("a PIN has %d to %d characters", MinPIN, MaxPIN))
	}
	spend, err := s.shown(ctx, a, proof, forPIN, false)
	if err != nil {
		return err
	}
	done, err := s.persons.take(ctx, uint64(a))
	if err != nil {
		return err
	}
	defer done()
	p, row, err := s.pin(a)
	if err != nil {
		return err
	}
	if len(p.Hash) > 0 && proof == (Proof{}) { // set meanwhile
		return ErrProof
	}
	p = pinRow{}
	if pin != "" {
		p.Salt = make([]byte, 16)
		rand.Read(p.Salt) // never fails
		if p.Hash, err = s.hashPIN(ctx, a, p.Salt, pin); err != nil {
			return err
		}
	}
	if err := s.putPIN(ctx, a, p, row); err != nil {
		return err
	}
	return spend(ctx)
}

// shown checks a proof. What it returns ends the ticket, after the act. With must, an account without number and PIN is
// ErrNoProof and a missing proof ErrProof; else an account without a PIN needs none.
func (s *Service) shown(ctx context.Context, a store.AccountID, proof Proof, what purpose, must bool) (spend func(context.Context) error, err error) {
	nothing := func(context.Context) error { return nil }
	switch {
	case proof.Ticket != "":
		hash := s.ticketHash(proof.Ticket)
		done, err := s.tickets.takeHash(ctx, hash)
		if err != nil {
			return nil, err
		}
		defer done()
		t, err := s.prove(ctx, hash, proof.Ticket, proof.Code, what, a)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return s.spend(ctx, t) }, nil
	case proof.PIN != "":
		return nothing, s.checkPIN(ctx, a, proof.PIN)
	}
	has, err := s.HasPIN(a)
	if err != nil {
		return nil, err
	}
	switch {
	case has:
		return nil, ErrProof
	case !must:
		return nothing, nil
	}
	_, ok, err := s.book.Of(a)
	switch {
	case err != nil:
		return nil, err
	case ok:
		return nil, ErrProof
	}
	return nil, ErrNoProof
}

// checkPIN compares a PIN. Its count of wrong ones is durable before the comparison is told.
func (s *Service) checkPIN(ctx context.Context, a store.AccountID, pin string) error {
	done, err := s.persons.take(ctx, uint64(a))
	if err != nil {
		return err
	}
	defer done()
	p, row, err := s.pin(a)
	if err != nil {
		return err
	}
	now := s.now()
	if left := p.Until - now.UnixMilli(); left > 0 {
		return &store.Error{Code: store.CodeTooMany, Reason: ErrPIN.Reason, Text: "too many wrong PINs: wait", Retry: time.Duration(left) * time.Millisecond}
	}
	if len(pin) > 4*MaxPIN {
		pin = "" // too long for any; it counts as the others do
	}
	salt := p.Salt
	if len(salt) == 0 {
		salt = make([]byte, 16) // the work is the same without a PIN
	}
	got, err := s.hashPIN(ctx, a, salt, pin)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(got, p.Hash) == 1 {
		if p.Fails == 0 {
			return nil
		}
		p.Fails, p.Until = 0, 0
		return s.putPIN(ctx, a, p, row)
	}
	p.Fails++
	if over := p.Fails - freePINs; over >= 0 {
		p.Until = now.Add(pauses[min(over, len(pauses)-1)]).UnixMilli()
	}
	if err := s.putPIN(ctx, a, p, row); err != nil {
		return err
	}
	return ErrPIN
}

func (s *Service) hashPIN(ctx context.Context, a store.AccountID, salt []byte, pin string) ([]byte, error) {
	leave, err := enter(ctx, s.hashing)
	if err != nil {
		return nil, err
	}
	defer leave()
	peppered := s.book.Key().Sum("pin", a.String()+" "+pin)
	return argon2.IDKey(peppered[:], salt, pinTime, pinMemory, 1, pinBytes), nil
}

func (s *Service) pin(a store.AccountID) (p pinRow, row store.Row, err error) {
	if row, err = s.store.Row(tablePIN, store.OwnerOf(a), ""); err != nil {
		return p, row, fmt.Errorf("signup: PIN: %w", err)
	}
	if row.Version != 0 {
		if err := json.Unmarshal(row.Value, &p); err != nil {
			return p, row, fmt.Errorf("signup: PIN: %w", err)
		}
	}
	return p, row, nil
}

func (s *Service) putPIN(ctx context.Context, a store.AccountID, p pinRow, was store.Row) error {
	put := store.RowPut{Table: tablePIN, If: store.IfVersion(was.Version)}
	if len(p.Hash) > 0 || p.Fails > 0 {
		v, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("signup: PIN: %w", err)
		}
		put.Value = v
	} else if was.Version == 0 {
		return nil
	}
	if err := s.store.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{put}}); err != nil {
		return fmt.Errorf("signup: PIN: %w", err)
	}
	return nil
}
