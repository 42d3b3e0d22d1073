package api

import (
	"context"
	"fmt"

	"github.com/hwangso/hwangso/broker/files"
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
	Picture  string `json:"picture,omitempty" doc:"A file: file.link with profile gives a link to it. Another picture has another identifier. To strangers it is not shown."`
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
		return &profileOut{Name: u.Name, Display: u.Shown(), Status: u.Status, Birthday: more.Birthday, Picture: more.Picture}, nil
	}
	return &profileOut{Name: u.Name, Display: u.Shown()}, nil
}

func (a *API) ownProfile(u store.Account) (*profileOut, error) {
	more, err := a.graph.Profile(u.ID)
	if err != nil {
		return nil, fmt.Errorf("api: profile: %w", err)
	}
	return &profileOut{Name: u.Name, Display: u.Shown(), Status: u.Status, Birthday: more.Birthday, Picture: more.Picture, Language: u.Language}, nil
}

type profileSetIn struct {
	Display  *string `json:"display,omitempty" doc:"The name shown; empty: the identifier."`
	Status   *string `json:"status,omitempty" doc:"A line about oneself."`
	Birthday *string `json:"birthday,omitempty" doc:"Month and day, as in 02-29; empty: not told."`
	Picture  *string `json:"picture,omitempty" doc:"A picture of one's own, uploaded with file.slot; empty: none."`
	Language *string `json:"language,omitempty" doc:"BCP 47, of sentences the server says; empty: English."`
}

func (a *API) profileSet(ctx context.Context, c *caller, in *profileSetIn) (*profileOut, error) {
	if in.Birthday != nil && *in.Birthday != "" && !graph.ValidBirthday(*in.Birthday) {
		return nil, store.Bad("birthday must be a month and a day such as 02-29")
	}
	if in.Picture != nil && *in.Picture != "" {
		if a.cfg.Files == nil {
			return nil, errNoFiles
		}
		if err := a.cfg.Files.Keep(ctx, c.account.ID, *in.Picture, keptByProfile); err != nil {
			return nil, err
		}
	}
	u, err := a.changeAccount(ctx, c.account.ID, func(u *store.Account) error { return a.setProfile(u, in) })
	if err != nil {
		a.letPictureGo(ctx, c.account.ID, in.Picture)
		return nil, err
	}
	was, is := graph.Profile{}, graph.Profile{}
	err = a.graph.SetProfile(ctx, u.ID, func(p *graph.Profile) error {
		was = *p
		if in.Birthday != nil {
			p.Birthday = *in.Birthday
		}
		if in.Picture != nil {
			p.Picture = *in.Picture
		}
		is = *p
		return nil
	})
	if err != nil {
		a.letPictureGo(ctx, u.ID, in.Picture)
		return nil, fmt.Errorf("api: profile: %w", err)
	}
	a.letPictureGo(ctx, u.ID, &was.Picture)
	if u != c.account || was != is {
		a.notify(ctx, u.ID, view.Notice{What: view.NoticeProfile}, "")
	}
	return a.ownProfile(u)
}

// keptByProfile is for what a profile's picture is kept.
const keptByProfile = "profile"

// letPictureGo ends that a picture is kept for a profile, unless the profile shows it. What fails costs the space of one
// picture.
func (a *API) letPictureGo(ctx context.Context, u store.AccountID, id *string) {
	if id == nil || *id == "" || a.cfg.Files == nil {
		return
	}
	p, err := a.graph.Profile(u)
	if err == nil && p.Picture == *id {
		return
	}
	if err == nil {
		err = a.cfg.Files.LetGo(ctx, *id, keptByProfile)
	}
	if err != nil {
		a.log.Warn("picture of a profile not let go", keyErr, err)
	}
}

// profilePicture is a link to the picture of a profile that the user sees.
func (a *API) profilePicture(ctx context.Context, c *caller, user string) (files.Link, error) {
	p, err := a.profileGet(ctx, c, &profileGetIn{User: user})
	if err != nil {
		return files.Link{}, err
	}
	if p.Picture == "" {
		return files.Link{}, errNoPicture
	}
	u, err := a.user1("profile", p.Name)
	if err != nil {
		return files.Link{}, err
	}
	return a.cfg.Files.LinkOwn(ctx, u.ID, p.Picture)
}

var errNoPicture = notFound("the profile has no picture")

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
