package signup

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
)

// purpose is what a ticket's code is for. A code for one thing opens no other.
type purpose uint8

const (
	forSignUp purpose = iota
	forNumber         // another number for Account
	forErase          // the removal of Account
	forPIN            // another PIN for Account
)

// ticket is one code that was asked for, as stored under the hash of its identifier.
type ticket struct {
	For     purpose         `json:"f,omitempty"`
	Number  []byte          `json:"n"` // the number's hash
	Region  string          `json:"c,omitempty"`
	Range   []byte          `json:"r,omitempty"` // the watch's key of the number's range
	Code    []byte          `json:"h"`           // hash of code and identifier
	Left    int             `json:"l"`           // tries
	Lang    string          `json:"g,omitempty"`
	Account store.AccountID `json:"a,omitempty"` // whose, if not for signing up
	Proved  bool            `json:"p,omitempty"`

	Name    string          `json:"u,omitempty"` // of the account that is being made
	MadeAt  int64           `json:"m,omitempty"` // its Created
	Opened  store.AccountID `json:"o,omitempty"` // the account that the ticket has opened
	New     bool            `json:"w,omitempty"` // it was made by the ticket
	Old     store.AccountID `json:"b,omitempty"` // who had the number before and is to be locked
	Request string          `json:"q,omitempty"` // what the old devices were asked

	expires int64
	version uint64
	hash    phone.Hash
}

func (t *ticket) entry(now time.Time) phone.Entry {
	e := phone.Entry{Region: t.Region, Since: now.UnixMilli()}
	copy(e.Hash[:], t.Number)
	return e
}

func (t *ticket) number() (h phone.Hash) {
	copy(h[:], t.Number)
	return h
}

func (t *ticket) key() string { return "t" + string(t.hash[:]) }

// row is the ticket as it stands now, in place of what was read.
func (t *ticket) row() (store.RowPut, error) {
	v, err := json.Marshal(t)
	if err != nil {
		return store.RowPut{}, fmt.Errorf("signup: ticket: %w", err)
	}
	return store.RowPut{Table: table, Key: t.key(), Value: v, Expires: t.expires, If: store.IfVersion(t.version)}, nil
}

// save writes a ticket as changed. The caller has its turn.
func (s *Service) save(ctx context.Context, t *ticket, more ...store.RowPut) error {
	row, err := t.row()
	if err != nil {
		return err
	}
	if err := s.store.Update(ctx, store.Update{Rows: append(more, row)}); err != nil {
		return fmt.Errorf("signup: ticket: %w", err)
	}
	again, err := s.store.Row(table, "", t.key())
	if err != nil {
		return fmt.Errorf("signup: ticket: %w", err)
	}
	t.version = again.Version
	return nil
}

// find reads a ticket; ErrCode if there is none. The caller has its turn.
func (s *Service) find(hash phone.Hash) (*ticket, error) {
	t := &ticket{hash: hash}
	row, err := s.store.Row(table, "", t.key())
	if err != nil {
		return nil, fmt.Errorf("signup: ticket: %w", err)
	}
	if row.Version == 0 || row.Expires <= s.now().UnixMilli() {
		return nil, ErrCode
	}
	if err := json.Unmarshal(row.Value, t); err != nil {
		return nil, fmt.Errorf("signup: ticket: %w", err)
	}
	t.version, t.expires = row.Version, row.Expires
	return t, nil
}

// prove finds a ticket and checks its code. Every failure is ErrCode, but for the storage's. The caller has the
// ticket's turn.
func (s *Service) prove(ctx context.Context, hash phone.Hash, id, code string, what purpose, a store.AccountID) (*ticket, error) {
	t, err := s.find(hash)
	if err != nil {
		if errors.Is(err, ErrCode) {
			s.codeHash(id, code) // as much work as for one that exists
			s.metrics.codes.WithLabelValues("wrong").Inc()
		}
		return nil, err
	}
	got := s.codeHash(id, code)
	right := subtle.ConstantTimeCompare(got[:], t.Code) == 1
	if t.Left <= 0 || t.For != what || t.Account != a {
		s.metrics.codes.WithLabelValues("wrong").Inc()
		return nil, ErrCode
	}
	if !right {
		s.metrics.codes.WithLabelValues("wrong").Inc()
		t.Left--
		if err := s.save(ctx, t); err != nil {
			return nil, err
		}
		return nil, ErrCode
	}
	if !t.Proved {
		now := s.now()
		t.Proved = true
		t.expires = now.Add(s.set.Consent).UnixMilli()
		if err := s.save(ctx, t); err != nil {
			return nil, err
		}
		s.metrics.codes.WithLabelValues("used").Inc()
		s.watch.used([2]string{t.Region, string(t.Range)}, now)
	}
	return t, nil
}

// spend ends a ticket whose code was for one act.
func (s *Service) spend(ctx context.Context, t *ticket) error {
	err := s.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: table, Key: t.key(), If: store.IfVersion(t.version)}}})
	if err != nil {
		return fmt.Errorf("signup: ticket: %w", err)
	}
	return nil
}

func (s *Service) ticketHash(id string) phone.Hash { return s.book.Key().Sum("ticket", id) }

func (s *Service) codeHash(id, code string) phone.Hash {
	return s.book.Key().Sum("code", id+" "+strings.TrimSpace(code))
}

// newCode is six random digits.
func newCode() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return "", fmt.Errorf("signup: code: %w", err)
	}
	return fmt.Sprintf("%06d", n), nil
}

var lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// random is so many random bytes as letters and digits.
func random(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails: crypto/rand aborts the program instead
	return lower.EncodeToString(b)
}
