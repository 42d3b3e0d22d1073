package link

import (
	"context"
	"crypto/rand"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// The refusals of apps.
var (
	ErrNoApp  = &store.Error{Code: store.CodeNotFound, Reason: "app", Text: "there is no such app"}
	ErrTaken  = &store.Error{Code: store.CodeConflict, Reason: "app", Text: "an app with this identifier exists: choose another one"}
	ErrKey    = &store.Error{Code: store.CodeForbidden, Reason: "key", Text: "the key names no app"}
	ErrOff    = &store.Error{Code: store.CodeForbidden, Reason: "app", Text: "the app may not send: it is suspended"}
	ErrWaits  = &store.Error{Code: store.CodeForbidden, Reason: "app", Text: "the app waits for the operator: until then its owner can send its links to its own notes"}
	ErrNoKey  = &store.Error{Code: store.CodeNotFound, Reason: "key", Text: "the app has no such key"}
	errNoFile = store.Bad("this server keeps no files: leave the icon out")
)

// App is an app with its identifier.
type App struct {
	ID string
	graph.App
}

// State is one word: waiting, ok, suspended or removed.
func (a *App) State() string {
	switch {
	case a.Removed != 0:
		return "removed"
	case a.Suspended != 0:
		return "suspended"
	case a.Approved == 0:
		return "waiting"
	}
	return "ok"
}

// Register makes an app with its first key. Registering again what is the owner's own returns it as it is. CodeConflict: it
// is somebody else's. CodeFull: the account has too many.
func (s *Service) Register(ctx context.Context, owner store.AccountID, id string, terms graph.AppTerms) (App, error) {
	id, ok := hooks.NormalName(id)
	if !ok {
		return App{}, store.Bad("id must be 1 to 64 characters of A-Z a-z 0-9 . _ ~ -")
	}
	terms, err := s.checkTerms(terms)
	if err != nil {
		return App{}, err
	}
	end, err := s.turn(ctx)
	if err != nil {
		return App{}, err
	}
	defer end()
	mine, err := s.Mine(owner)
	if err != nil {
		return App{}, err
	}
	for _, a := range mine {
		if a.ID == id {
			return a, nil
		}
	}
	if len(mine) >= s.cfg.Limits.Apps {
		return App{}, full("apps", "you have too many apps", s.cfg.Limits.Apps)
	}
	if was, err := s.graph.App(id); err != nil {
		return App{}, err
	} else if was.Created != 0 {
		return App{}, ErrTaken
	}
	if err := s.keepIcon(ctx, owner, id, terms.Icon); err != nil {
		return App{}, err
	}
	if err := s.graph.SetAppOf(ctx, owner, id, true); err != nil { // first: a crash leaves a line that Mine passes over
		return App{}, err
	}
	now := s.now().UnixMilli()
	out := App{ID: id}
	err = s.graph.SetApp(ctx, id, func(a *graph.App) error {
		if a.Created != 0 {
			return ErrTaken
		}
		*a = graph.App{AppTerms: terms, Owner: owner, Created: now, Rev: 1, Keys: []graph.AppKey{{Key: newKey(id), Created: now}}}
		if s.cfg.Open {
			a.Approved = now
		}
		out.App = *a
		return nil
	})
	if err != nil {
		return App{}, err
	}
	s.metrics.apps.WithLabelValues("registered").Inc()
	return out, nil
}

// newKey makes a key: the app's identifier and 80 random bits, so that keys of one app can be told apart and ended.
func newKey(id string) string { return id + ":" + strings.ToLower(rand.Text()[:16]) }

// Mine lists an account's apps by identifier.
func (s *Service) Mine(owner store.AccountID) (out []App, err error) {
	ids, err := s.graph.AppsOf(owner)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		a, err := s.graph.App(id)
		if err != nil {
			return nil, err
		}
		if a.Exists() && a.Owner == owner {
			out = append(out, App{id, *a})
		}
	}
	return out, nil
}

// Own returns an app of the account's, ErrNoApp if it is nobody's or somebody else's.
func (s *Service) Own(owner store.AccountID, id string) (App, error) {
	id, _ = hooks.NormalName(id)
	a, err := s.graph.App(id)
	if err != nil {
		return App{}, err
	}
	if !a.Exists() || a.Owner != owner {
		return App{}, ErrNoApp
	}
	return App{id, *a}, nil
}

// Look returns any app that there is.
func (s *Service) Look(id string) (App, error) {
	id, _ = hooks.NormalName(id)
	a, err := s.graph.App(id)
	if err != nil {
		return App{}, err
	}
	if !a.Exists() {
		return App{}, ErrNoApp
	}
	return App{id, *a}, nil
}

// All lists the apps of the service by identifier after the given one, at most max.
func (s *Service) All(after string, max int) (out []App, err error) {
	ids, apps, err := s.graph.Apps(after, max)
	for i := range ids {
		out = append(out, App{ids[i], *apps[i]})
	}
	return out, err
}

// SetTerms changes what an app is. What an operator has approved holds on until another approval, unless the new terms
// allow nothing more: then they hold at once.
func (s *Service) SetTerms(ctx context.Context, owner store.AccountID, id string, change func(*graph.AppTerms)) (App, error) {
	return s.change(ctx, owner, id, func(a *App) error {
		terms := a.AppTerms
		if a.Asked != nil {
			terms = *a.Asked
		}
		terms.Domains = slices.Clone(terms.Domains)
		change(&terms)
		terms, err := s.checkTerms(terms)
		if err != nil {
			return err
		}
		if err := s.keepIcon(ctx, owner, a.ID, terms.Icon); err != nil {
			return err
		}
		switch {
		case reflect.DeepEqual(terms, a.AppTerms):
			a.Asked = nil
		case a.Approved == 0 || s.cfg.Open || covered(terms, a.AppTerms):
			a.AppTerms, a.Asked = terms, nil
		default:
			a.Asked = &terms
		}
		a.Rev++
		return nil
	})
}

// AddKey makes another key, and ends the others after grace if rotate says so.
func (s *Service) AddKey(ctx context.Context, owner store.AccountID, id, label string, rotate bool, grace time.Duration) (App, string, error) {
	label, err := line("label", label, 64)
	if err != nil {
		return App{}, "", err
	}
	key := ""
	out, err := s.change(ctx, owner, id, func(a *App) error {
		now := s.now()
		a.Keys = slices.DeleteFunc(slices.Clone(a.Keys), func(k graph.AppKey) bool { return k.Ends != 0 && k.Ends <= now.UnixMilli() })
		if len(a.Keys) >= s.cfg.Limits.Keys {
			return full("keys", "the app has too many keys: remove one", s.cfg.Limits.Keys)
		}
		for i := range a.Keys {
			if ends := now.Add(grace).UnixMilli(); rotate && (a.Keys[i].Ends == 0 || a.Keys[i].Ends > ends) {
				a.Keys[i].Ends = ends
			}
		}
		key = newKey(a.ID)
		a.Keys = append(a.Keys, graph.AppKey{Key: key, Label: label, Created: now.UnixMilli()})
		return nil
	})
	return out, key, err
}

// RemoveKey ends a key at once.
func (s *Service) RemoveKey(ctx context.Context, owner store.AccountID, id, key string) (App, error) {
	return s.change(ctx, owner, id, func(a *App) error {
		n := len(a.Keys)
		a.Keys = slices.DeleteFunc(slices.Clone(a.Keys), func(k graph.AppKey) bool { return k.Key == key })
		if len(a.Keys) == n {
			return ErrNoKey
		}
		return nil
	})
}

// Remove ends an app for good: its links are refused, and those that were sent show no actions. Nobody gets its identifier.
func (s *Service) Remove(ctx context.Context, owner store.AccountID, id string) error {
	a, err := s.change(ctx, owner, id, func(a *App) error {
		a.App = graph.App{Owner: a.Owner, Created: a.Created, Removed: s.now().UnixMilli()}
		return nil
	})
	if err != nil {
		return err
	}
	s.metrics.apps.WithLabelValues("removed").Inc()
	return s.graph.SetAppOf(ctx, owner, a.ID, false)
}

// Erase removes every app of an account. It can be repeated.
func (s *Service) Erase(ctx context.Context, owner store.AccountID) error {
	apps, err := s.Mine(owner)
	if err != nil {
		return err
	}
	for _, a := range apps {
		if err := s.Remove(ctx, owner, a.ID); err != nil && store.CodeOf(err) != store.CodeNotFound {
			return err
		}
	}
	return nil
}

// Approve lets an app send under the terms it asks for. rev is that of what the operator has looked at, 0: whatever it is
// now. CodeConflict: it is another one.
func (s *Service) Approve(ctx context.Context, id string, rev int) (App, error) {
	a, err := s.decide(ctx, id, func(a *App) error {
		if rev != 0 && rev != a.Rev {
			return &store.Error{Code: store.CodeConflict, Text: "the app has changed since: look at it again"}
		}
		if a.Asked != nil {
			a.AppTerms, a.Asked = *a.Asked, nil
		}
		if a.Approved == 0 {
			a.Approved = s.now().UnixMilli()
		}
		return nil
	})
	if err == nil {
		s.metrics.apps.WithLabelValues("approved").Inc()
	}
	return a, err
}

// Suspend refuses an app's links and takes the actions from those that were sent, or with off false ends that.
func (s *Service) Suspend(ctx context.Context, id, reason string, off bool) (App, error) {
	reason, err := line("reason", reason, 200)
	if err != nil {
		return App{}, err
	}
	a, err := s.decide(ctx, id, func(a *App) error {
		switch {
		case !off:
			a.Suspended, a.SuspendedReason = 0, ""
		case a.Suspended == 0:
			a.Suspended = s.now().UnixMilli()
			fallthrough
		default:
			a.SuspendedReason = reason
		}
		return nil
	})
	if err == nil {
		s.metrics.apps.WithLabelValues(map[bool]string{true: "suspended", false: "restored"}[off]).Inc()
	}
	return a, err
}

// decide changes an app for an operator.
func (s *Service) decide(ctx context.Context, id string, fn func(*App) error) (App, error) {
	a, err := s.Look(id)
	if err != nil {
		return App{}, err
	}
	return s.change(ctx, a.Owner, id, fn)
}

// change changes an app of the account's, and lets go of icons that it does not show any more.
func (s *Service) change(ctx context.Context, owner store.AccountID, id string, fn func(*App) error) (App, error) {
	id, _ = hooks.NormalName(id)
	var was, is App
	err := s.graph.SetApp(ctx, id, func(a *graph.App) error {
		if !a.Exists() || a.Owner != owner {
			return ErrNoApp
		}
		was, is = App{id, *a}, App{id, *a}
		if err := fn(&is); err != nil {
			return err
		}
		*a = is.App
		return nil
	})
	if err != nil {
		return App{}, err
	}
	for _, old := range icons(was) {
		if !slices.Contains(icons(is), old) && s.cfg.Files != nil {
			if err := s.cfg.Files.LetGo(ctx, old, keptBy(id)); err != nil {
				s.log.Warn("icon of an app not let go", keyErr, err)
			}
		}
	}
	return is, nil
}

func icons(a App) (out []string) {
	if a.Icon != "" {
		out = append(out, a.Icon)
	}
	if a.Asked != nil && a.Asked.Icon != "" {
		out = append(out, a.Asked.Icon)
	}
	return out
}

func keptBy(id string) string { return "app:" + id }

func (s *Service) keepIcon(ctx context.Context, owner store.AccountID, id, icon string) error {
	if icon == "" {
		return nil
	}
	if s.cfg.Files == nil {
		return errNoFile
	}
	return s.cfg.Files.Keep(ctx, owner, icon, keptBy(id))
}

// byKey is the app that a key names.
func (s *Service) byKey(key string) (App, error) {
	id, _, ok := strings.Cut(key, ":")
	if id, valid := hooks.NormalName(id); ok && valid {
		a, err := s.graph.App(id)
		if err != nil {
			return App{}, fmt.Errorf("link: %w", err)
		}
		now := s.now().UnixMilli()
		if a.Exists() && slices.ContainsFunc(a.Keys, func(k graph.AppKey) bool { return k.Key == key && (k.Ends == 0 || now < k.Ends) }) {
			return App{id, *a}, nil
		}
	}
	return App{}, ErrKey
}

// maySend reports whether an app may send for a user; toNotes is that the message goes to the user's own notes.
func (s *Service) maySend(a *App, user store.AccountID, toNotes bool) error {
	owner, err := s.store.Account(a.Owner)
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return fmt.Errorf("link: account: %w", err)
	}
	switch {
	case a.Suspended != 0, err != nil, owner.State == store.AccountSuspended, owner.State == store.AccountErased:
		return ErrOff
	case a.Approved == 0 && !(user == a.Owner && toNotes):
		return ErrWaits
	}
	return nil
}
