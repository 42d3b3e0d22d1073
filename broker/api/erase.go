package api

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/hwangso/hwangso/broker/signup"
)

// eraseOperations are those on the end of an account.
func eraseOperations() []operation {
	return []operation{
		changing(op("erase", "Remove the account", "With a fresh code (account.code with for=erase) or the PIN; who has neither number nor PIN asks an operator. All devices get a notice and nothing changes for 7 days, in which erase.cancel undoes it. Then the account is signed out everywhere and leaves its rooms, and its name, number, devices, friends, files and keys are removed for good: nobody can read what it wrote.", (*API).erase)),
		changing(op("erase.cancel", "Keep the account", "Undoes erase, until the removal has begun. The devices get a notice.", (*API).eraseCancel)),
		op("erase.status", "See whether the account will be removed", "And when.", (*API).eraseStatus),
	}
}

// operatorEraseOperations are the operators' own.
func operatorEraseOperations() []operation {
	return []operation{
		scoped(ScopeAccounts, op("signup.status", "See who can sign up", "Whether codes are sent at all, and which countries and ranges of numbers get none today because their codes were not used.", (*API).signUpStatus)),
		scoped(ScopeAccounts, changing(op("signup.open", "Open a closed country or range again", "As signup.status names it. Its count begins anew.", (*API).signUpOpen))),
		scoped(ScopeAccounts, changing(op("account.erase", "Remove an account", "At once, or with undo after the days in which its owner can keep it. 423 while a legal hold is on it.", (*API).accountErase))),
	}
}

type eraseOut struct {
	Due *time.Time `json:"due,omitempty" doc:"When the account is removed; absent: it is not to be."`
}

func (a *API) erase(ctx context.Context, c *caller, in *proofIn) (*eraseOut, error) {
	if a.signup == nil {
		return nil, signup.ErrNoProof
	}
	due, err := a.signup.RequestErase(ctx, c.account.ID, in.proof())
	if err != nil {
		return nil, err
	}
	return &eraseOut{&due}, nil
}

func (a *API) eraseCancel(ctx context.Context, c *caller, _ *none) (*none, error) {
	if a.signup == nil {
		return nil, signup.ErrNoErase
	}
	return &none{}, a.signup.CancelErase(ctx, c.account.ID)
}

func (a *API) eraseStatus(_ context.Context, c *caller, _ *none) (*eraseOut, error) {
	if a.signup == nil {
		return &eraseOut{}, nil
	}
	due, err := a.signup.Erasing(c.account.ID)
	if err != nil || due.IsZero() {
		return &eraseOut{}, err
	}
	return &eraseOut{&due}, nil
}

type accountEraseIn struct {
	Account string `json:"account" doc:"The user's identifier."`
	Undo    bool   `json:"undo,omitempty" doc:"Not at once: as if the owner had asked, without proof."`
}

func (a *API) accountErase(ctx context.Context, _ *caller, in *accountEraseIn) (*eraseOut, error) {
	u, err := a.user1("account", in.Account)
	if err != nil {
		return nil, err
	}
	if a.signup == nil {
		return nil, signup.ErrClosed
	}
	if in.Undo {
		due, err := a.signup.EraseLater(ctx, u.ID)
		if err != nil {
			return nil, err
		}
		return &eraseOut{&due}, nil
	}
	return &eraseOut{}, a.signup.EraseNow(ctx, u.ID)
}

type signUpStatusOut struct {
	Offered bool          `json:"offered" doc:"There is somebody who sends codes."`
	Closed  []closedPlace `json:"closed"`
}

type closedPlace struct {
	Place string    `json:"place" doc:"A country's two letters, or the beginning of a range of numbers."`
	Until time.Time `json:"until"`
}

func (a *API) signUpStatus(_ context.Context, _ *caller, _ *none) (*signUpStatusOut, error) {
	out := &signUpStatusOut{Closed: []closedPlace{}}
	if a.signup == nil {
		return out, nil
	}
	out.Offered = a.signup.Offered()
	closed := a.signup.Closed()
	for _, place := range slices.Sorted(maps.Keys(closed)) {
		out.Closed = append(out.Closed, closedPlace{place, closed[place]})
	}
	return out, nil
}

type signUpOpenIn struct {
	Place string `json:"place" doc:"As signup.status names it."`
}

func (a *API) signUpOpen(ctx context.Context, _ *caller, in *signUpOpenIn) (*none, error) {
	if a.signup == nil {
		return nil, signup.ErrClosed
	}
	ok, err := a.signup.Reopen(ctx, in.Place)
	if err == nil && !ok {
		err = notFound("it is not closed")
	}
	return &none{}, err
}
