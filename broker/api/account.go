package api

import (
	"context"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
)

type accountMeOut struct {
	Name     string     `json:"name" doc:"The identifier in topics."`
	Display  string     `json:"display" doc:"The name shown."`
	Status   string     `json:"status,omitempty" doc:"A line about oneself."`
	Language string     `json:"language,omitempty" doc:"BCP 47, of sentences the server says."`
	Created  *time.Time `json:"created,omitempty"`
	Device   string     `json:"device,omitempty" doc:"The asking device's id, if the request comes from one."`
	Expires  *time.Time `json:"expires,omitempty" doc:"When the credentials of this request end; absent: never."`
	Limits   Limits     `json:"limits" doc:"What this server allows."`
}

func (a *API) accountMe(_ context.Context, c *caller, _ *none) (*accountMeOut, error) {
	out := &accountMeOut{Name: c.account.Name, Display: c.account.Shown(), Status: c.account.Status, Language: c.account.Language,
		Created: at(c.account.Created), Limits: *a.limits()}
	if c.id.Device != 0 {
		out.Device = c.id.Device.String()
	}
	if !c.id.Expires.IsZero() {
		out.Expires = at(c.id.Expires.UnixMilli())
	}
	return out, nil
}

// changeAccount changes an account's row. Two changes at once do not undo one another: the row is read within the
// account's turn.
func (a *API) changeAccount(ctx context.Context, id store.AccountID, change func(*store.Account) error) (store.Account, error) {
	done, err := a.turns.take(ctx, uint64(id))
	if err != nil {
		return store.Account{}, err
	}
	defer done()
	u, err := a.store.Account(id)
	if err != nil {
		return store.Account{}, fmt.Errorf("api: account: %w", err)
	}
	old := u
	if err := change(&u); err != nil || u == old {
		return u, err
	}
	if err := a.store.SetAccount(ctx, u); err != nil {
		return store.Account{}, fmt.Errorf("api: set account: %w", err)
	}
	return u, nil
}

var errNoUser = notFound("there is no such user")

// user1 finds the user a request names.
func (a *API) user1(field, s string) (store.Account, error) {
	n, err := name(field, s)
	if err != nil {
		return store.Account{}, err
	}
	u, err := a.store.AccountByName(n)
	if store.CodeOf(err) == store.CodeNotFound {
		return store.Account{}, errNoUser
	}
	if err != nil {
		return store.Account{}, fmt.Errorf("api: account: %w", err)
	}
	return u, nil
}
