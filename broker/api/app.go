package api

import (
	"context"
	"time"

	"github.com/hwangso/hwangso/broker/files"
	"github.com/hwangso/hwangso/broker/link"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// appOperations are those on apps that send links: see links.md.
func appOperations() []operation {
	return []operation{
		changing(op("app.register", "Register an app", "That sends links for its users. It waits for an operator's approval, where the server asks for one; until then its owner can send its links to its own notes. An identifier that is taken is a conflict, unless it is the own one: then the app is returned as it is.", (*API).appRegister)),
		op("app.list", "List one's apps", "With their keys, which are no secrets: a key only names the app.", (*API).appList),
		op("app.get", "Look at an own app", "What holds, and what waits for the operator.", (*API).appGet),
		op("app.show", "See what an app is called", "Any app, by its identifier or a key of it: what people see of it, for who is asked whether it may send.", (*API).appShow),
		changing(op("app.set", "Change an app", "Fields that are absent stay as they are. What an operator has approved holds on until the change is approved too, unless it allows nothing more.", (*API).appSet)),
		changing(op("app.key", "Make another key for an app", "With rotate the others end after the grace.", (*API).appKey)),
		changing(op("app.key.remove", "End a key of an app", "At once.", (*API).appKeyRemove)),
		changing(op("app.remove", "Remove an app", "For good: its links are refused, those that were sent open nothing any more, and nobody gets its identifier.", (*API).appRemove)),
		op("app.stats", "See how many links were sent and opened", "For each of the days (UTC) that have ended, rounded down; null where there are so few that single users would show.", (*API).appStats),
	}
}

// operatorAppOperations are the operators' own.
func operatorAppOperations() []operation {
	return []operation{
		scoped(ScopeApps, op("app.list", "List apps", "All of them, or those in a state.", (*API).opAppList)),
		scoped(ScopeApps, op("app.get", "Look at an app", "What holds, and what waits.", (*API).opAppGet)),
		scoped(ScopeApps, changing(op("app.approve", "Let an app send links", "Under the terms that it asks for.", (*API).opAppApprove))),
		scoped(ScopeApps, changing(op("app.suspend", "Stop an app, or let it go on", "New links are refused, and those that were sent open nothing, until it may go on.", (*API).opAppSuspend))),
	}
}

// startLinks makes the service of apps.
func (a *API) startLinks() (err error) {
	c := link.Config{Store: a.store, Graph: a.graph, Sender: a.broker, Open: a.cfg.AppsOpen, Round: a.cfg.RoundLinks,
		Logger: a.log, Registerer: a.cfg.Registerer, Now: a.cfg.Now}
	if a.cfg.Files != nil {
		c.Files = a.cfg.Files
	}
	a.links, err = link.New(c)
	return err
}

type appSystem struct {
	Schemes []string `json:"schemes,omitempty" doc:"That start the app, such as mygame."`
	IDs     []string `json:"ids,omitempty" doc:"How the system's store calls the app: package names, numbers. With any, links to the store must name one of them."`
	Stores  []string `json:"stores,omitempty" doc:"Addresses where the app is to be had."`
}

type appTerms struct {
	Name    string               `json:"name" doc:"What people read with every link."`
	Icon    string               `json:"icon,omitempty" doc:"A file's identifier."`
	Domains []string             `json:"domains,omitempty" doc:"Where its web addresses lie: these and below."`
	Systems map[string]appSystem `json:"systems,omitempty" doc:"By platform: android, ios, blackberry, windows, macos, linux."`
}

type appKeyShown struct {
	Key     string     `json:"key"`
	Label   string     `json:"label,omitempty"`
	Created *time.Time `json:"created,omitempty"`
	Ends    *time.Time `json:"ends,omitempty" doc:"Absent: never."`
}

type appShown struct {
	App string `json:"app" doc:"The identifier."`
	appTerms
	State    string        `json:"state" doc:"waiting, ok or suspended."`
	Reason   string        `json:"reason,omitempty" doc:"Why it is suspended."`
	Rev      int           `json:"rev" doc:"Grows with every change of what an operator approves."`
	Owner    string        `json:"owner,omitempty" doc:"To operators: the account."`
	Created  *time.Time    `json:"created,omitempty"`
	Approved *time.Time    `json:"approved,omitempty"`
	Keys     []appKeyShown `json:"keys,omitempty" doc:"To its owner."`
	Asked    *appTerms     `json:"asked,omitempty" doc:"Waits for an operator."`
}

type appOut struct {
	App appShown `json:"app"`
}

func shownTerms(t *graph.AppTerms) appTerms {
	out := appTerms{Name: t.Name, Icon: t.Icon, Domains: t.Domains}
	for p, s := range t.Systems {
		if out.Systems == nil {
			out.Systems = make(map[string]appSystem)
		}
		out.Systems[string(p)] = appSystem(s)
	}
	return out
}

func shownApp(x link.App) appShown {
	out := appShown{App: x.ID, appTerms: shownTerms(&x.AppTerms), State: x.State(), Reason: x.SuspendedReason, Rev: x.Rev, Created: at(x.Created), Approved: at(x.Approved)}
	if x.Asked != nil {
		asked := shownTerms(x.Asked)
		out.Asked = &asked
	}
	return out
}

func ownApp(x link.App) appShown {
	out := shownApp(x)
	for _, k := range x.Keys {
		out.Keys = append(out.Keys, appKeyShown{k.Key, k.Label, at(k.Created), at(k.Ends)})
	}
	return out
}

func systemsOf(in map[string]appSystem) map[graph.Platform]graph.AppSystem {
	out := make(map[graph.Platform]graph.AppSystem, len(in))
	for p, s := range in {
		out[graph.Platform(p)] = graph.AppSystem(s)
	}
	return out
}

type appRegisterIn struct {
	ID string `json:"app" doc:"The identifier, 1 to 64 characters of A-Z a-z 0-9 . _ ~ -"`
	appTerms
}

func (a *API) appRegister(ctx context.Context, c *caller, in *appRegisterIn) (*appOut, error) {
	x, err := a.links.Register(ctx, c.account.ID, in.ID, graph.AppTerms{Name: in.Name, Icon: in.Icon, Domains: in.Domains, Systems: systemsOf(in.Systems)})
	if err != nil {
		return nil, err
	}
	return &appOut{ownApp(x)}, nil
}

type appsOut struct {
	Apps []appShown `json:"apps"`
	Next string     `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

func (a *API) appList(_ context.Context, c *caller, _ *none) (*appsOut, error) {
	mine, err := a.links.Mine(c.account.ID)
	if err != nil {
		return nil, err
	}
	out := &appsOut{Apps: []appShown{}}
	for _, x := range mine {
		out.Apps = append(out.Apps, ownApp(x))
	}
	return out, nil
}

type appIn struct {
	App string `json:"app" doc:"The identifier."`
}

func (a *API) appGet(_ context.Context, c *caller, in *appIn) (*appOut, error) {
	x, err := a.links.Own(c.account.ID, in.App)
	if err != nil {
		return nil, err
	}
	return &appOut{ownApp(x)}, nil
}

type appShowIn struct {
	App string `json:"app" doc:"The identifier, or a key."`
}

type appShowOut struct {
	App  string       `json:"app"`
	Name string       `json:"name"`
	Off  bool         `json:"off,omitempty" doc:"It is suspended, or waits for an operator."`
	Icon *fileLinkOut `json:"icon,omitempty" doc:"A link to the icon, for a few minutes."`
}

func (a *API) appShow(ctx context.Context, _ *caller, in *appShowIn) (*appShowOut, error) {
	x, err := a.links.Named(in.App)
	if err != nil {
		return nil, err
	}
	out := &appShowOut{App: x.ID, Name: x.Name, Off: x.State() != "ok"}
	if x.Icon != "" && a.cfg.Files != nil {
		var l files.Link
		if l, err = a.cfg.Files.LinkOwn(ctx, x.Owner, x.Icon); err == nil {
			out.Icon = shownLink(l)
		} else if store.CodeOf(err) != store.CodeNotFound {
			return nil, err
		}
	}
	return out, nil
}

type appSetIn struct {
	App     string                `json:"app" doc:"The identifier."`
	Name    *string               `json:"name,omitempty"`
	Icon    *string               `json:"icon,omitempty" doc:"A picture of one's own, uploaded with file.slot; empty: none."`
	Domains *[]string             `json:"domains,omitempty" doc:"All of them."`
	Systems *map[string]appSystem `json:"systems,omitempty" doc:"All of them."`
}

func (a *API) appSet(ctx context.Context, c *caller, in *appSetIn) (*appOut, error) {
	x, err := a.links.SetTerms(ctx, c.account.ID, in.App, func(t *graph.AppTerms) {
		if in.Name != nil {
			t.Name = *in.Name
		}
		if in.Icon != nil {
			t.Icon = *in.Icon
		}
		if in.Domains != nil {
			t.Domains = *in.Domains
		}
		if in.Systems != nil {
			t.Systems = systemsOf(*in.Systems)
		}
	})
	if err != nil {
		return nil, err
	}
	return &appOut{ownApp(x)}, nil
}

type appKeyIn struct {
	App    string `json:"app" doc:"The identifier."`
	Label  string `json:"label,omitempty"`
	Rotate bool   `json:"rotate,omitempty" doc:"The other keys end."`
	Grace  int64  `json:"grace_s,omitempty" doc:"With rotate: after so many seconds, so that the app's older versions can be replaced; at most a year."`
}

type appKeyOut struct {
	Key string   `json:"key" doc:"The new one."`
	App appShown `json:"app"`
}

func (a *API) appKey(ctx context.Context, c *caller, in *appKeyIn) (*appKeyOut, error) {
	const year = 366 * 24 * 3600
	if in.Grace < 0 || in.Grace > year || in.Grace > 0 && !in.Rotate {
		return nil, store.Bad("grace_s goes with rotate and is at most a year")
	}
	x, key, err := a.links.AddKey(ctx, c.account.ID, in.App, in.Label, in.Rotate, time.Duration(in.Grace)*time.Second)
	if err != nil {
		return nil, err
	}
	return &appKeyOut{key, ownApp(x)}, nil
}

type appKeyRemoveIn struct {
	App string `json:"app" doc:"The identifier."`
	Key string `json:"key"`
}

func (a *API) appKeyRemove(ctx context.Context, c *caller, in *appKeyRemoveIn) (*appOut, error) {
	x, err := a.links.RemoveKey(ctx, c.account.ID, in.App, in.Key)
	if err != nil {
		return nil, err
	}
	return &appOut{ownApp(x)}, nil
}

func (a *API) appRemove(ctx context.Context, c *caller, in *appIn) (*none, error) {
	return &none{}, a.links.Remove(ctx, c.account.ID, in.App)
}

type appStatsIn struct {
	App  string `json:"app" doc:"The identifier."`
	Days int    `json:"days,omitempty" doc:"How many, at most 90; absent: 7."`
}

type appStatsOut struct {
	Days []link.Day `json:"days" doc:"The newest first."`
}

func (a *API) appStats(_ context.Context, c *caller, in *appStatsIn) (*appStatsOut, error) {
	x, err := a.links.Own(c.account.ID, in.App)
	if err != nil {
		return nil, err
	}
	if in.Days < 0 || in.Days > link.MaxDays {
		return nil, store.Bad("days must be 1 to 90")
	}
	if in.Days == 0 {
		in.Days = 7
	}
	days, err := a.links.Days(x.ID, in.Days)
	return &appStatsOut{days}, err
}

type opAppListIn struct {
	State string `json:"state,omitempty" doc:"waiting (new ones, and those that ask for more), ok, suspended or removed; absent: all but the removed."`
	After string `json:"after,omitempty"`
	Limit int    `json:"limit,omitempty" doc:"Apps of a page; absent: 100."`
}

func (a *API) opAppList(_ context.Context, _ *caller, in *opAppListIn) (*appsOut, error) {
	limit, err := a.page(in.Limit, 100)
	if err != nil {
		return nil, err
	}
	switch in.State {
	case "", "waiting", "ok", "suspended", "removed":
	default:
		return nil, store.Bad("state must be waiting, ok, suspended or removed")
	}
	out := &appsOut{Apps: []appShown{}}
	for after := in.After; ; {
		page, err := a.links.All(after, 1000)
		if err != nil {
			return nil, err
		}
		for _, x := range page {
			state := x.State()
			switch fits := in.State == state || in.State == "" && state != "removed" || in.State == "waiting" && x.Asked != nil; {
			case !fits:
			case len(out.Apps) == limit:
				out.Next = out.Apps[limit-1].App
				return out, nil
			default:
				out.Apps = append(out.Apps, a.opApp(x))
			}
			after = x.ID
		}
		if len(page) < 1000 {
			return out, nil
		}
	}
}

func (a *API) opApp(x link.App) appShown {
	out := shownApp(x)
	out.Owner = a.broker.Name(x.Owner)
	return out
}

func (a *API) opAppGet(_ context.Context, _ *caller, in *appIn) (*appOut, error) {
	x, err := a.links.Look(in.App)
	if err != nil {
		return nil, err
	}
	return &appOut{a.opApp(x)}, nil
}

type opAppApproveIn struct {
	App string `json:"app" doc:"The identifier."`
	Rev int    `json:"rev,omitempty" doc:"Of what was looked at: if the app has changed since, that is a conflict. Absent: whatever it is now."`
}

func (a *API) opAppApprove(ctx context.Context, _ *caller, in *opAppApproveIn) (*appOut, error) {
	x, err := a.links.Approve(ctx, in.App, in.Rev)
	if err != nil {
		return nil, err
	}
	return &appOut{a.opApp(x)}, nil
}

type opAppSuspendIn struct {
	App    string `json:"app" doc:"The identifier."`
	Reason string `json:"reason,omitempty" doc:"One line, which its owner reads."`
	On     *bool  `json:"on,omitempty" doc:"False: the app goes on."`
}

func (a *API) opAppSuspend(ctx context.Context, _ *caller, in *opAppSuspendIn) (*appOut, error) {
	x, err := a.links.Suspend(ctx, in.App, in.Reason, in.On == nil || *in.On)
	if err != nil {
		return nil, err
	}
	return &appOut{a.opApp(x)}, nil
}

// apps writes the user's own apps.
func (e *exporter) apps() error {
	mine, err := e.a.links.Mine(e.c.account.ID)
	if err != nil {
		return err
	}
	for _, x := range mine {
		if err := e.line(ownApp(x)); err != nil {
			return err
		}
	}
	return nil
}

// exportOpening is a line of links.jsonl.
type exportOpening struct {
	Conversation
	Seq  store.Seq `json:"seq"`
	Time time.Time `json:"time"`
}

// openings writes which links the user has opened, in conversations it is in.
func (e *exporter) openings() error {
	for after := (link.Opening{}); ; {
		page, err := e.a.links.Openings(e.c.account.ID, after, 500)
		if err != nil {
			return err
		}
		for _, o := range page {
			after = o
			in, ok, err := e.a.conversationOf(e.c.account.ID, o.Log)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if err := e.line(exportOpening{in, o.Seq, o.Time}); err != nil {
				return err
			}
		}
		if err := e.a.broker.Bulk(e.ctx, len(page)+1); err != nil || len(page) < 500 {
			return err
		}
	}
}
