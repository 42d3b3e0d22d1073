package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/bridge/webhook"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// webhookOperations are those on webhooks, of channels and of apps: see channels.md and links.md.
func webhookOperations() []operation {
	own := func(o operation) operation {
		return byKey(hooks.ScopeApp, "app", byKey(hooks.ScopeChannel, fieldChannel, o))
	}
	return []operation{
		own(changing(op("webhook.set", "Set a webhook", "Makes one: events are posted to its address, signed with the secret that is told once. By a channel's owner and editors, or an app's owner; at most three each. With webhook it changes that one, and what is absent stays. An address that has one already is that one. Setting enables what was disabled.", (*API).webhookSet))),
		own(op("webhook.get", "Look at a webhook", "How it is, how many events wait or were dropped, and how it answered last.", (*API).webhookGet)),
		own(op("webhook.list", "List webhooks", "Of a channel or an app.", (*API).webhookList)),
		own(changing(op("webhook.remove", "Remove a webhook", "What waits for it is dropped.", (*API).webhookRemove))),
		own(changing(op("webhook.rotate", "Replace a webhook's secret", "The new one is told once. For a day requests carry a signature under each of the two.", (*API).webhookRotate))),
		own(changing(op("webhook.test", "Send a ping to a webhook", "Whatever events it wants. One at a time: the identifier is that of the ping that waits. How it was answered shows in webhook.get.", (*API).webhookTest))),
	}
}

// WebhookOwner names whose a webhook is.
type WebhookOwner struct {
	Channel string `json:"channel,omitempty" doc:"The channel's identifier; or app."`
	App     string `json:"app,omitempty" doc:"The app's identifier; or channel."`
}

// WebhookName names a webhook.
type WebhookName struct {
	WebhookOwner
	Webhook string `json:"webhook" doc:"Its identifier."`
}

type webhookAnswer struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`
	Code    int       `json:"code,omitempty" doc:"Of HTTP; absent: there was no answer."`
	Outcome string    `json:"outcome" doc:"ok, redirect (not followed), gone, refused, server, timeout, tls, name, network, or blocked: an address that is not public."`
}

type webhookShown struct {
	Webhook  string          `json:"webhook" doc:"The identifier."`
	URL      string          `json:"url"`
	Events   []string        `json:"events"`
	State    string          `json:"state" doc:"ok, failing (every attempt since failing_since has failed) or disabled."`
	Why      string          `json:"why,omitempty" doc:"It is disabled: gone (410) or failing (for three days)."`
	Created  *time.Time      `json:"created,omitempty"`
	Failing  *time.Time      `json:"failing_since,omitempty"`
	Disabled *time.Time      `json:"disabled_since,omitempty"`
	Waiting  int             `json:"waiting" doc:"Events that were not delivered yet."`
	Oldest   *time.Time      `json:"oldest,omitempty" doc:"Of those that wait."`
	Dropped  int64           `json:"dropped" doc:"Events that will never be delivered: older than three days, more than 10,000, or while it was disabled."`
	Last     []webhookAnswer `json:"last,omitempty" doc:"The last attempts, the newest first."`
	OldUntil *time.Time      `json:"old_secret_until,omitempty" doc:"Until then requests carry the signature under the secret before, too."`
}

func shownWebhook(h webhook.Hook) webhookShown {
	out := webhookShown{Webhook: h.ID, URL: h.URL, Events: h.Events, State: h.State, Why: h.Why, Created: at(h.Created), Failing: at(h.Failing), Disabled: at(h.Disabled),
		Waiting: h.Waiting, Oldest: at(h.Oldest), Dropped: h.Dropped, OldUntil: at(h.OldEnds)}
	for _, l := range h.Last {
		out.Last = append(out.Last, webhookAnswer{*at(l.Time), l.Event, l.Code, l.Outcome})
	}
	return out
}

type webhookOut struct {
	Webhook webhookShown `json:"webhook"`
	Secret  string       `json:"secret,omitempty" doc:"Of a new one. Its bytes, as they are written here, are the key of signatures. Told once."`
}

func (o *webhookOut) withoutSecret() any {
	c := *o
	c.Secret = ""
	return &c
}

// owner is whose webhooks the caller asks for, if they are the caller's to manage.
func (a *API) webhookOwner(c *caller, in WebhookOwner) (o webhook.Owner, err error) {
	if a.cfg.Webhooks == nil {
		return o, &store.Error{Code: store.CodeNotFound, Reason: "webhook", Text: "this server has no webhooks"}
	}
	switch {
	case (in.Channel == "") == (in.App == ""):
		return o, store.Bad("name a channel or an app")
	case in.App != "":
		// A key of one thing must not open another: what opened the request may have been the other field.
		app, err := a.links.Own(c.account.ID, in.App)
		if err != nil {
			return o, err
		}
		o.App = app.ID
		return o, nil
	}
	name, ok := hooks.NormalName(in.Channel)
	info, err := a.store.Find(store.ChannelKey(name))
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return o, fmt.Errorf("api: channel: %w", err)
	}
	if !ok || err != nil || info.Members.Role(c.account.ID) == store.RoleNone {
		return o, &store.Error{Code: store.CodeNotFound, Reason: "channel", Text: "there is no such channel of yours"}
	}
	if info.Members.Role(c.account.ID) < store.RoleModerator {
		return o, &store.Error{Code: store.CodeForbidden, Reason: "role", Text: "webhooks are for the channel's owner and editors"}
	}
	o.Channel = name
	return o, nil
}

type webhookSetIn struct {
	WebhookOwner
	Webhook string   `json:"webhook,omitempty" doc:"The one to change; absent: a new one."`
	URL     string   `json:"url,omitempty" doc:"Where events are posted: https, on port 443, at a public address; at most 1,024 bytes."`
	Events  []string `json:"events,omitempty" doc:"Of a channel: channel.followers, thread.message, broadcast.finished, broadcast.report. Of an app: link.opened. Absent: all."`
}

func (a *API) webhookSet(ctx context.Context, c *caller, in *webhookSetIn) (*webhookOut, error) {
	o, err := a.webhookOwner(c, in.WebhookOwner)
	if err != nil {
		return nil, err
	}
	h, secret, err := a.cfg.Webhooks.Set(ctx, o, in.Webhook, in.URL, in.Events)
	if err != nil {
		return nil, err
	}
	return &webhookOut{shownWebhook(h), secret}, nil
}

func (a *API) webhookGet(_ context.Context, c *caller, in *WebhookName) (*webhookOut, error) {
	o, err := a.webhookOwner(c, in.WebhookOwner)
	if err != nil {
		return nil, err
	}
	h, err := a.cfg.Webhooks.Get(o, in.Webhook)
	return &webhookOut{Webhook: shownWebhook(h)}, err
}

type webhooksOut struct {
	Webhooks []webhookShown `json:"webhooks"`
}

func (a *API) webhookList(_ context.Context, c *caller, in *WebhookOwner) (*webhooksOut, error) {
	o, err := a.webhookOwner(c, *in)
	if err != nil {
		return nil, err
	}
	out := &webhooksOut{Webhooks: []webhookShown{}}
	for _, h := range a.cfg.Webhooks.List(o) {
		out.Webhooks = append(out.Webhooks, shownWebhook(h))
	}
	return out, nil
}

func (a *API) webhookRemove(ctx context.Context, c *caller, in *WebhookName) (*none, error) {
	o, err := a.webhookOwner(c, in.WebhookOwner)
	if err != nil {
		return nil, err
	}
	return &none{}, a.cfg.Webhooks.Remove(ctx, o, in.Webhook)
}

func (a *API) webhookRotate(ctx context.Context, c *caller, in *WebhookName) (*webhookOut, error) {
	o, err := a.webhookOwner(c, in.WebhookOwner)
	if err != nil {
		return nil, err
	}
	h, secret, err := a.cfg.Webhooks.Rotate(ctx, o, in.Webhook)
	return &webhookOut{shownWebhook(h), secret}, err
}

type webhookTestOut struct {
	Event string `json:"event" doc:"The ping's identifier, as the receiver gets it."`
}

func (a *API) webhookTest(ctx context.Context, c *caller, in *WebhookName) (*webhookTestOut, error) {
	o, err := a.webhookOwner(c, in.WebhookOwner)
	if err != nil {
		return nil, err
	}
	id, err := a.cfg.Webhooks.Test(ctx, o, in.Webhook)
	return &webhookTestOut{id}, err
}

// OpenedByDay are the last days of an app as it may know them, for webhook.Config. CodeNotFound: there is no such app.
func (a *API) OpenedByDay(app string) ([]webhook.Opened, error) {
	if _, err := a.links.Look(app); err != nil {
		return nil, err
	}
	days, err := a.links.Days(app, 7)
	if err != nil {
		return nil, err
	}
	out := make([]webhook.Opened, 0, len(days))
	for _, d := range days {
		out = append(out, webhook.Opened(d))
	}
	return out, nil
}

// TellWebhook tells an app's owner, or a channel's owner and editors, that a webhook of theirs was disabled, for
// webhook.Config.
func (a *API) TellWebhook(ctx context.Context, o webhook.Owner, _ webhook.Hook) error {
	n := view.Notice{What: view.NoticeWebhook, Channel: o.Channel, Room: o.App}
	var to []store.AccountID
	if o.App != "" {
		app, err := a.links.Look(o.App)
		if store.CodeOf(err) == store.CodeNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		to = append(to, app.Owner)
	} else {
		info, err := a.store.Find(store.ChannelKey(o.Channel))
		if err != nil {
			return fmt.Errorf("api: channel: %w", err)
		}
		for _, m := range info.Members.Members {
			if m.Role >= store.RoleModerator {
				to = append(to, m.Account)
			}
		}
	}
	for _, who := range to {
		a.notify(ctx, who, n, "")
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(errors.New("api: notice of a webhook"), err)
	}
	return nil
}
