package api

import (
	"context"
	"fmt"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

type profileGetIn struct {
	User string `json:"user,omitempty" doc:"Whose profile; absent: one's own."`
}

type profileOut struct {
	Name     string `json:"name" doc:"The identifier in topics."`
	Display  string `json:"display" doc:"The name shown."`
	Status   string `json:"status,omitempty" doc:"A line about the user. To strangers it is not shown."`
	Birthday string `json:"birthday,omitempty" doc:"Month and day, as in 02-29. To strangers it is not shown."`
	Language string `json:"language,omitempty" doc:"Of one's own profile."`
}

// profileGet tells what the asking user sees of a profile (truth table T4). Strangers cost a look-up.
func (a *API) profileGet(ctx context.Context, c *caller, in *profileGetIn) (*profileOut, error) {
	if in.User == "" {
		return a.ownProfile(c.account)
	}
	u, err := a.lookup(ctx, c, "user", in.User)
	if err != nil {
		return nil, err
	}
	if u.ID == c.account.ID {
		return a.ownProfile(c.account)
	}
	v, err := a.broker.Access().View(c.account.ID, u.ID)
	if err != nil {
		return nil, fmt.Errorf("api: profile: %w", err)
	}
	more, err := a.graph.Profile(u.ID) // asked whatever is seen of it
	if err != nil {
		return nil, fmt.Errorf("api: profile: %w", err)
	}
	switch v.Profile {
	case policy.ProfileUnknown:
		return nil, errNoUser
	case policy.ProfileFull:
		return &profileOut{Name: u.Name, Display: u.Shown(), Status: u.Status, Birthday: more.Birthday}, nil
	}
	return &profileOut{Name: u.Name, Display: u.Shown()}, nil
}

func (a *API) ownProfile(u store.Account) (*profileOut, error) {
	more, err := a.graph.Profile(u.ID)
	if err != nil {
		return nil, fmt.Errorf("api: profile: %w", err)
	}
	return &profileOut{Name: u.Name, Display: u.Shown(), Status: u.Status, Birthday: more.Birthday, Language: u.Language}, nil
}

type profileSetIn struct {
	Display  *string `json:"display,omitempty" doc:"The name shown; empty: the identifier."`
	Status   *string `json:"status,omitempty" doc:"A line about oneself."`
	Birthday *string `json:"birthday,omitempty" doc:"Month and day, as in 02-29; empty: not told."`
	Language *string `json:"language,omitempty" doc:"BCP 47, of sentences the server says; empty: English."`
}

func (a *API) profileSet(ctx context.Context, c *caller, in *profileSetIn) (*profileOut, error) {
	if in.Birthday != nil && *in.Birthday != "" && !graph.ValidBirthday(*in.Birthday) {
		return nil, store.Bad("birthday must be a month and a day such as 02-29")
	}
	u, err := a.changeAccount(ctx, c.account.ID, func(u *store.Account) error { return a.setProfile(u, in) })
	if err != nil {
		return nil, err
	}
	changed := u != c.account
	err = a.graph.SetProfile(ctx, u.ID, func(p *graph.Profile) error {
		if in.Birthday != nil && p.Birthday != *in.Birthday {
			p.Birthday, changed = *in.Birthday, true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("api: profile: %w", err)
	}
	if changed {
		a.notify(ctx, u.ID, view.Notice{What: view.NoticeProfile}, "")
	}
	return a.ownProfile(u)
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
