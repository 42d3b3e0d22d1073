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

type profileGetIn struct {
	User string `json:"user,omitempty" doc:"Whose profile; absent: one's own."`
}

type profileOut struct {
	Name     string `json:"name" doc:"The identifier in topics."`
	Display  string `json:"display" doc:"The name shown."`
	Status   string `json:"status,omitempty" doc:"Shown to those whom the user has as friends."`
	Language string `json:"language,omitempty" doc:"Of one's own profile."`
}

func (a *API) profileGet(ctx context.Context, c *caller, in *profileGetIn) (*profileOut, error) {
	if in.User == "" {
		return ownProfile(c.account), nil
	}
	u, err := a.lookup(ctx, c, "user", in.User)
	if err != nil {
		return nil, err
	}
	if u.ID == c.account.ID {
		return ownProfile(c.account), nil
	}
	out := &profileOut{Name: u.Name, Display: u.Shown()}
	friend, err := a.store.HasEdge(store.EdgeFriend, u.ID, c.account.ID)
	if err != nil {
		return nil, fmt.Errorf("api: edge: %w", err)
	}
	if friend { // a block changes nothing here: it cannot be noticed
		out.Status = u.Status
	}
	return out, nil
}

func ownProfile(u store.Account) *profileOut {
	return &profileOut{Name: u.Name, Display: u.Shown(), Status: u.Status, Language: u.Language}
}

type profileSetIn struct {
	Display  *string `json:"display,omitempty" doc:"The name shown; empty: the identifier."`
	Status   *string `json:"status,omitempty" doc:"A line about oneself."`
	Language *string `json:"language,omitempty" doc:"BCP 47, of sentences the server says; empty: English."`
}

func (a *API) profileSet(ctx context.Context, c *caller, in *profileSetIn) (*profileOut, error) {
	u, err := a.changeAccount(ctx, c.account.ID, func(u *store.Account) error { return a.setProfile(u, in) })
	if err != nil {
		return nil, err
	}
	return ownProfile(u), nil
}

func (a *API) setProfile(u *store.Account, in *profileSetIn) (err error) {
	if in.Display != nil {
		if u.Display, err = words("display", *in.Display, a.limits().Display, 4*a.limits().Display); err != nil {
			return err
		}
	}
	if in.Status != nil {
		if u.Status, err = words("status", *in.Status, a.limits().Status, 4*a.limits().Status); err != nil {
			return err
		}
	}
	if in.Language != nil {
		if u.Language, err = language(*in.Language); err != nil {
			return err
		}
	}
	return nil
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
