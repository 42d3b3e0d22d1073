package api

import (
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Pushes is what the API knows of the waking of devices that are away.
type Pushes struct {
	Providers []graph.PushProvider // those that are set up, in the order in which they are shown
	// Check tells what is wrong with a registration before it is kept, nil if nothing: above all whether its token can be
	// one of its provider. The text of its error is shown to the user, so there is no token in it. nil: nothing is checked.
	Check func(*graph.Registration) error
	// Key is the server's public key for subscriptions of web push: the uncompressed P-256 point in base64url without
	// padding (RFC 8292, 3.2). "": web push is not set up.
	Key string
	// Bridge tells what was decided and how providers are, and is told what changes about users; *bridge.Bridge has it.
	// nil: nobody can be asked.
	Bridge Bridge
	// Announce tells everybody something; nil: nobody can.
	Announce Announcer
}

// Bridge is what the API asks of the bridge, and tells it.
type Bridge interface {
	bridge.Asked
	bridge.Operated
	bridge.Told
}

// The refusals of a server, or a provider, that sends no pushes.
const wordNoPushes = "no_pushes"

var errNoPushes error = &store.Error{Code: store.CodeForbidden, Reason: wordNoPushes, Text: "this server sends no pushes"}

// pushOperations are those on how devices are woken.
func pushOperations() []operation {
	return []operation{
		op("push.key", "Look how devices are woken", "Who carries pushes here, and the key that a web push subscription asks for.", (*API).pushKey),
		changing(op("device.push", "Wake a device by pushes", "Registers where a device is woken while it is away, in place of what it registered before: a token of Apple or Google, or a subscription of web push or UnifiedPush. Call it whenever the app starts: the same again is cheap. A token belongs to the device that registered it last, of whatever user. Without a provider, and without remove, it tells what is registered. The token is never told back.", (*API).devicePush)),
		op(opPushWhy, "Ask why a device rang, or did not", "What was decided about one message for each of the own devices, oldest first. Decisions are kept in memory for a while.", (*API).pushWhy),
	}
}

type pushKeyOut struct {
	Providers []string `json:"providers" doc:"apns, fcm, webpush: those that are set up. Empty: this server sends no pushes."`
	Key       string   `json:"key,omitempty" doc:"The applicationServerKey of a web push subscription: base64url without padding."`
}

func (a *API) pushKey(_ context.Context, _ *caller, _ *none) (*pushKeyOut, error) {
	out := &pushKeyOut{Providers: []string{}}
	if p := a.cfg.Push; p != nil {
		for _, name := range p.Providers {
			out.Providers = append(out.Providers, string(name))
		}
		out.Key = p.Key
	}
	return out, nil
}

type devicePushIn struct {
	Device   string `json:"device,omitempty" doc:"One of the user's own devices by its id; absent: the asking device."`
	Provider string `json:"provider,omitempty" doc:"apns, fcm or webpush (which is UnifiedPush too)."`
	Token    string `json:"token,omitempty" doc:"apns: the device token in hexadecimal. fcm: the registration token."`
	App      string `json:"app,omitempty" doc:"apns: the app's bundle identifier, if it is not the one that the server is set up for."`
	Sandbox  bool   `json:"sandbox,omitempty" doc:"apns: the token is of Apple's development environment."`
	Endpoint string `json:"endpoint,omitempty" doc:"webpush: the subscription's endpoint."`
	P256dh   string `json:"p256dh,omitempty" doc:"webpush: the subscription's public key, in base64url."`
	Auth     string `json:"auth,omitempty" doc:"webpush: the subscription's authentication secret, in base64url."`
	Remove   bool   `json:"remove,omitempty" doc:"Nothing is registered from now on, and the device not woken any more."`
}

// devicePush is what others than the device may know of its registration.
type devicePush struct {
	Provider string     `json:"provider" doc:"apns, fcm or webpush."`
	Since    *time.Time `json:"since" doc:"When it was registered last."`
	Sandbox  bool       `json:"sandbox,omitempty"`
	Last     *lastPush  `json:"last,omitempty" doc:"What the provider said last; absent: it was not asked lately."`
}

type lastPush struct {
	Time time.Time `json:"time"`
	pushAnswer
}

func shownPush(r *graph.Registration) *devicePush {
	return &devicePush{Provider: string(r.Provider), Since: at(r.Time), Sandbox: r.Sandbox}
}

type devicePushOut struct {
	Device  string      `json:"device"`
	Changed bool        `json:"changed" doc:"False: it was so before, but for the time."`
	Push    *devicePush `json:"push,omitempty" doc:"What is registered; absent: nothing."`
}

func (a *API) devicePush(ctx context.Context, c *caller, in *devicePushIn) (*devicePushOut, error) {
	id := in.Device
	switch {
	case id != "":
	case c.id.Guest:
		return nil, store.Bad("a connection that ends its session is no device: nothing of it is kept, so it cannot be woken")
	case c.id.Device == 0:
		return nil, store.Bad("device is missing: the request does not come from one")
	default:
		id = c.id.Device.String()
	}
	r, err := a.registration(in)
	if err != nil {
		return nil, err
	}
	done, err := a.turns.take(ctx, uint64(c.account.ID)) // so that nothing is registered for a device that is being removed
	if err != nil {
		return nil, err
	}
	defer done()
	d, err := a.deviceOf(c.account.ID, id)
	if err != nil {
		return nil, err
	}
	out := &devicePushOut{Device: d.ID.String()}
	switch {
	case in.Remove:
		out.Changed, err = a.graph.Unregister(ctx, c.account.ID, d.ID, nil)
	case r != nil:
		r.Device = d.ID
		out.Changed, err = a.graph.Register(ctx, c.account.ID, *r)
	}
	if err != nil {
		return nil, fmt.Errorf("api: device.push: %w", err)
	}
	if out.Changed {
		a.lookAgain(c.account.ID, 0)
	}
	pushes, err := a.pushesOf(c.account.ID)
	if err != nil {
		return nil, err
	}
	out.Push = pushes[d.ID]
	return out, nil
}

// pushesOf is how a user's devices are woken. A registration whose token went to somebody else is none.
func (a *API) pushesOf(u store.AccountID) (map[store.DeviceID]*devicePush, error) {
	list, err := a.graph.Registrations(u)
	if err != nil {
		return nil, fmt.Errorf("api: registrations: %w", err)
	}
	out := make(map[store.DeviceID]*devicePush, len(list))
	for i := range list {
		owns, err := a.graph.Owns(u, &list[i])
		if err != nil {
			return nil, fmt.Errorf("api: registrations: %w", err)
		}
		if owns {
			out[list[i].Device] = shownPush(&list[i])
		}
	}
	if p := a.cfg.Push; p != nil && p.Bridge != nil && len(out) > 0 {
		for _, d := range p.Bridge.Last(u) {
			if shown := out[d.Device]; shown != nil && d.Answer != nil && !d.Time.Before(*shown.Since) {
				shown.Last = &lastPush{d.Time.UTC(), *shownAnswer(d.Answer)}
			}
		}
	}
	return out, nil
}

// registration reads what is to be registered, nil for nothing.
func (a *API) registration(in *devicePushIn) (*graph.Registration, error) {
	rest := *in
	rest.Device, rest.Remove = "", false
	switch {
	case in.Remove && rest != devicePushIn{}:
		return nil, store.Bad("leave out what was registered with remove: all of it goes")
	case in.Remove:
		return nil, nil
	case rest == devicePushIn{}:
		return nil, nil
	case in.Provider == "":
		return nil, store.Bad("provider is missing: apns, fcm or webpush")
	}
	r := &graph.Registration{Provider: graph.PushProvider(in.Provider)}
	if !slices.Contains(graph.PushProviders(), r.Provider) {
		return nil, store.Bad("provider must be apns, fcm or webpush")
	}
	p := a.cfg.Push
	if p == nil || len(p.Providers) == 0 {
		return nil, errNoPushes
	}
	if !slices.Contains(p.Providers, r.Provider) {
		return nil, &store.Error{Code: store.CodeForbidden, Reason: wordNoPushes, Text: "this server sends no pushes over " + in.Provider + ": see push.key"}
	}
	var err error
	if r.Provider == graph.WebPush {
		err = subscription(r, in)
	} else {
		err = pushToken(r, in)
	}
	if err != nil {
		return nil, err
	}
	if p.Check != nil {
		if err := p.Check(r); err != nil {
			return nil, &store.Error{Code: store.CodeBad, Text: err.Error(), Err: err}
		}
	}
	return r, nil
}

// pushToken reads a registration with Apple or Google.
func pushToken(r *graph.Registration, in *devicePushIn) error {
	switch {
	case in.Endpoint != "" || in.P256dh != "" || in.Auth != "":
		return store.Bad("endpoint, p256dh and auth belong to webpush")
	case r.Provider != graph.APNs && (in.App != "" || in.Sandbox):
		return store.Bad("app and sandbox belong to apns")
	case in.Token == "":
		return store.Bad("token is missing")
	case len(in.Token) > graph.MaxPushToken:
		return tooLarge("token", graph.MaxPushToken, "bytes")
	case strings.ContainsFunc(in.Token, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
		return store.Bad("token must be as the provider's library tells it: printable characters without spaces")
	}
	r.Token = in.Token
	if r.Provider == graph.APNs {
		r.Token = strings.ToLower(in.Token) // hexadecimal: both cases are one token
		r.App, r.Sandbox = in.App, in.Sandbox
		if len(r.App) > maxBundle || strings.ContainsFunc(r.App, notInBundle) {
			return store.Bad("app must be a bundle identifier such as com.example.chat")
		}
	}
	return nil
}

// maxBundle is the longest bundle identifier. Apple states which characters it has (CFBundleIdentifier) and App Store
// Connect no more than 155 of them.
const maxBundle = 155

func notInBundle(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-'
}

// subscription reads a registration of web push: what PushSubscription.toJSON says in browsers.
func subscription(r *graph.Registration, in *devicePushIn) (err error) {
	switch {
	case in.Token != "":
		return store.Bad("webpush has an endpoint, p256dh and auth instead of a token")
	case in.App != "" || in.Sandbox:
		return store.Bad("app and sandbox belong to apns")
	case in.Endpoint == "":
		return store.Bad("endpoint is missing")
	case len(in.Endpoint) > graph.MaxPushToken:
		return tooLarge("endpoint", graph.MaxPushToken, "bytes")
	}
	r.Token = in.Endpoint
	if r.Key, err = fromBase64("p256dh", in.P256dh); err != nil {
		return err
	}
	if _, err := ecdh.P256().NewPublicKey(r.Key); err != nil {
		return store.Bad("p256dh must be a public key of P-256: 65 bytes, of which the first is 4")
	}
	if r.Secret, err = fromBase64("auth", in.Auth); err != nil {
		return err
	}
	if len(r.Secret) != 16 {
		return store.Bad("auth must be 16 bytes")
	}
	return nil
}

// fromBase64 reads base64url, and what some clients make of it: with padding, or in the other alphabet.
func fromBase64(field, s string) ([]byte, error) {
	if s == "" {
		return nil, store.Bad(field + " is missing")
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "=")))
	if err != nil {
		return nil, store.Bad(field + " must be base64url")
	}
	return b, nil
}

// decides are the notices about changes that may decide otherwise whether a device rings, or what it shows.
var decides = map[string]bool{view.NoticeBlocked: true, view.NoticeMute: true, view.NoticeQuiet: true, view.NoticeSettings: true,
	view.NoticeFriends: true, view.NoticeRequests: true, view.NoticeRemoved: true,
	view.NoticeSuspended: true, view.NoticeLocked: true, view.NoticeRestored: true}

// tellBridge tells the bridge what the notice tells the user's devices.
func (a *API) tellBridge(u store.AccountID, n view.Notice) {
	if a.cfg.Push == nil || !decides[n.What] {
		return
	}
	var key store.Key
	switch {
	case n.Room != "":
		key = store.RoomKey(n.Room)
	case n.Who != 0 && n.What != view.NoticeFriends: // a favourite counts in every conversation
		key = store.PairKey(u, n.Who)
	default:
		a.lookAgain(u, 0)
		return
	}
	info, err := a.store.Find(key)
	if err != nil {
		a.log.Warn("pushes not looked at again", keyErr, err)
		return
	}
	a.lookAgain(u, info.ID)
}

// lookAgain has the bridge look again at what a user's devices are to be told, or show, of a conversation; log 0: of all.
// What fails is looked at again when the conversation has its next message.
func (a *API) lookAgain(u store.AccountID, log store.LogID) {
	p := a.cfg.Push
	if p == nil || p.Bridge == nil {
		return
	}
	if err := p.Bridge.Changed(u, log); err != nil {
		a.log.Warn("pushes not looked at again", keyErr, err)
	}
}
