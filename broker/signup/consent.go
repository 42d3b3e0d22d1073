package signup

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
)

// tableSignIn holds what an account's devices are asked, by request.
const tableSignIn store.Table = "user.signin"

// saying is what a device said.
type saying uint8

const (
	silent saying = iota
	allowed
	denied
)

// SignIn is a device that wants to sign in with an account's number.
type SignIn struct {
	Request string
	Device  string // as it names itself
	Asked   int64  // Unix milliseconds
	Expires int64
}

type signInRow struct {
	Device string `json:"d,omitempty"`
	Asked  int64  `json:"t"`
	Said   saying `json:"s,omitempty"`
}

// ask asks the devices of the account, once per ticket, and tells what they have said.
func (s *Service) ask(ctx context.Context, t *ticket, q Enter, a store.AccountID) (saying, error) {
	if t.Request != "" {
		row, r, err := s.request(a, t.Request)
		if err != nil {
			return silent, err
		}
		if row.Version != 0 {
			return r.Said, nil
		}
	}
	list, err := s.store.Rows(tableSignIn, store.OwnerOf(a), "", "", maxAsked+1)
	if err != nil {
		return silent, fmt.Errorf("signup: sign-ins: %w", err)
	}
	live, now := 0, s.now()
	for _, row := range list {
		if row.Expires > now.UnixMilli() {
			live++
		}
	}
	if live >= maxAsked {
		return silent, nil // it waits until one of the others is over
	}
	device := cmp.Or(q.Label, q.ClientID)
	v, err := json.Marshal(signInRow{Device: device, Asked: now.UnixMilli()})
	if err != nil {
		return silent, fmt.Errorf("signup: sign-in: %w", err)
	}
	t.Request = random(8)
	if err := s.save(ctx, t); err != nil {
		return silent, err
	}
	err = s.store.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{{Table: tableSignIn, Key: t.Request, Value: v, Expires: t.expires}}})
	if err != nil {
		return silent, fmt.Errorf("signup: sign-in: %w", err)
	}
	s.host.Notify(ctx, a, view.Notice{What: view.NoticeSignIn, Device: device}, "")
	return silent, nil
}

// maxAsked is how many sign-ins an account's devices are asked about at a time.
const maxAsked = 5

// SignIns lists what the account's devices are asked and have not answered.
func (s *Service) SignIns(a store.AccountID) ([]SignIn, error) {
	list, err := s.store.Rows(tableSignIn, store.OwnerOf(a), "", "", 0)
	if err != nil {
		return nil, fmt.Errorf("signup: sign-ins: %w", err)
	}
	out := []SignIn{}
	for _, row := range list {
		var r signInRow
		if err := json.Unmarshal(row.Value, &r); err != nil {
			return nil, fmt.Errorf("signup: sign-in: %w", err)
		}
		if r.Said == silent && row.Expires > s.now().UnixMilli() {
			out = append(out, SignIn{Request: row.Key, Device: r.Device, Asked: r.Asked, Expires: row.Expires})
		}
	}
	return out, nil
}

// Approve answers a sign-in for the account. The first answer counts: ErrRequest if there is nothing to answer.
func (s *Service) Approve(ctx context.Context, a store.AccountID, request string, allow bool) error {
	row, r, err := s.request(a, request)
	if err != nil {
		return err
	}
	if row.Version == 0 || row.Expires <= s.now().UnixMilli() || r.Said != silent {
		return ErrRequest
	}
	if r.Said = denied; allow {
		r.Said = allowed
	}
	v, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("signup: sign-in: %w", err)
	}
	err = s.store.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{{
		Table: tableSignIn, Key: request, Value: v, Expires: row.Expires, If: store.IfVersion(row.Version),
	}}})
	if store.CodeOf(err) == store.CodeConflict {
		return ErrRequest
	}
	if err != nil {
		return fmt.Errorf("signup: sign-in: %w", err)
	}
	return nil
}

func (s *Service) request(a store.AccountID, request string) (row store.Row, r signInRow, err error) {
	if request == "" || len(request) > 64 {
		return row, r, nil
	}
	if row, err = s.store.Row(tableSignIn, store.OwnerOf(a), request); err != nil {
		return row, r, fmt.Errorf("signup: sign-in: %w", err)
	}
	if row.Version != 0 {
		if err := json.Unmarshal(row.Value, &r); err != nil {
			return row, r, fmt.Errorf("signup: sign-in: %w", err)
		}
	}
	return row, r, nil
}
