package api

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// defaultGrace is how long a rotated token stays valid, so that an answer that is lost locks nobody out.
const defaultGrace = time.Hour

// maxLife is the longest life of a token that ends at all.
const maxLife = 10 * 365 * 24 * time.Hour

type token struct {
	ID      string     `json:"id" doc:"Half of the hash of the secret, to name the token by."`
	Device  string     `json:"device,omitempty" doc:"The device it opens; absent: every device of the user."`
	Label   string     `json:"label,omitempty"`
	Scopes  []string   `json:"scopes,omitempty" doc:"Of an operator's token what it may do; of a user's, that it is a key, which opens only this."`
	Created *time.Time `json:"created,omitempty"`
	Expires *time.Time `json:"expires,omitempty" doc:"Absent: never."`
	This    bool       `json:"this,omitempty" doc:"The token of this request."`
}

func shownToken(t store.Token, this [32]byte) token {
	out := token{ID: tokenID(t.Hash), Label: t.Label, Scopes: t.Scopes, Created: at(t.Created), Expires: at(t.Expires), This: t.Hash == this}
	if t.Device != 0 {
		out.Device = t.Device.String()
	}
	return out
}

func tokenID(hash [32]byte) string { return hex.EncodeToString(hash[:16]) }

type tokensOut struct {
	Tokens []token `json:"tokens"`
}

func (a *API) tokenList(_ context.Context, c *caller, _ *none) (*tokensOut, error) {
	return a.tokensOf(c.account.ID, c.id.Token)
}

func (a *API) tokensOf(u store.AccountID, this [32]byte) (*tokensOut, error) {
	list, err := a.store.Tokens(u)
	if err != nil {
		return nil, fmt.Errorf("api: tokens: %w", err)
	}
	out := &tokensOut{Tokens: make([]token, 0, len(list))}
	for _, t := range list {
		out.Tokens = append(out.Tokens, shownToken(t, this))
	}
	return out, nil
}

// issued is the answer that tells a secret, once.
type issued struct {
	Secret   string `json:"secret,omitempty" doc:"The token itself: the password in MQTT, the bearer token in HTTP. Told once."`
	Token    token  `json:"token"`
	Repeated bool   `json:"repeated,omitempty" doc:"The secret was told in the answer to the first request."`
}

func (i *issued) withoutSecret() any {
	return &issued{Token: i.Token, Repeated: true}
}

type tokenCreateIn struct {
	ClientID string `json:"client_id" doc:"The MQTT client identifier of the device the token opens. The device is made if there is none."`
	Label    string `json:"label,omitempty" doc:"Of the device, if it is made, and of the token."`
	Expires  int64  `json:"expires_in,omitempty" doc:"Seconds the token lives; absent: it does not end."`
}

func (a *API) tokenCreate(ctx context.Context, c *caller, in *tokenCreateIn) (*issued, error) {
	return a.deviceToken(ctx, c.account.ID, in)
}

// deviceToken makes a token for one device, and the device.
func (a *API) deviceToken(ctx context.Context, u store.AccountID, in *tokenCreateIn) (*issued, error) {
	client, err := clientID(in.ClientID)
	if err != nil {
		return nil, err
	}
	t, err := a.draftToken(u, in.Label, in.Expires)
	if err != nil {
		return nil, err
	}
	done, err := a.turns.take(ctx, uint64(u))
	if err != nil {
		return nil, err
	}
	defer done()
	if err := a.roomForToken(ctx, u); err != nil {
		return nil, err
	}
	t.Device = store.DeviceOf(u, client)
	if _, err := a.store.Device(u, t.Device); store.CodeOf(err) == store.CodeNotFound {
		d := store.Device{Account: u, ID: t.Device, ClientID: client, Label: t.Label, Created: t.Created}
		err := a.store.PutDevice(ctx, d, a.limits().Devices)
		if store.CodeOf(err) == store.CodeFull {
			return nil, full("devices", "the account has all the devices it may have", a.limits().Devices)
		}
		if err != nil {
			return nil, fmt.Errorf("api: put device: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("api: device: %w", err)
	}
	return a.issue(ctx, t)
}

// draftToken is a token without its secret.
func (a *API) draftToken(u store.AccountID, label string, seconds int64) (store.Token, error) {
	t := store.Token{Account: u, Created: a.now().UnixMilli()}
	var err error
	if t.Label, err = words("label", label, a.limits().Label, 4*a.limits().Label); err != nil {
		return t, err
	}
	if seconds < 0 || seconds > int64(maxLife/time.Second) {
		return t, store.Bad("expires_in must be seconds from now, at most ten years, or be left out")
	}
	if seconds > 0 {
		t.Expires = t.Created + seconds*1000
	}
	return t, nil
}

// issue makes the secret and stores its hash.
func (a *API) issue(ctx context.Context, t store.Token) (*issued, error) {
	secret := hooks.NewToken(t.Account)
	t.Hash = secret.Hash()
	if err := a.store.PutToken(ctx, t); err != nil {
		return nil, fmt.Errorf("api: put token: %w", err)
	}
	return &issued{Secret: string(secret), Token: shownToken(t, [32]byte{})}, nil
}

// roomForToken refuses a token beyond the limit. Tokens that have ended go first. The caller has the account's turn.
func (a *API) roomForToken(ctx context.Context, u store.AccountID) error {
	list, err := a.store.Tokens(u)
	if err != nil {
		return fmt.Errorf("api: tokens: %w", err)
	}
	now, n := a.now().UnixMilli(), 0
	for _, t := range list {
		if t.Expires == 0 || t.Expires > now {
			n++
		} else if err := a.store.RemoveToken(ctx, u, t.Hash); err != nil && store.CodeOf(err) != store.CodeNotFound {
			return fmt.Errorf("api: remove token: %w", err)
		}
	}
	if n >= a.limits().Tokens {
		return full("tokens", "too many tokens: remove one", a.limits().Tokens)
	}
	return nil
}

type tokenRotateIn struct {
	Token string `json:"token,omitempty" doc:"A token's id; absent: the token of this request."`
	Grace *int64 `json:"grace,omitempty" doc:"Seconds the old token stays valid; absent: one hour. At most a week."`
}

func (a *API) tokenRotate(ctx context.Context, c *caller, in *tokenRotateIn) (*issued, error) {
	grace := min(defaultGrace, a.limits().Grace)
	if in.Grace != nil {
		if *in.Grace < 1 || *in.Grace > int64(a.limits().Grace/time.Second) {
			return nil, store.Bad(fmt.Sprintf("grace must be 1 to %d seconds", int64(a.limits().Grace/time.Second)))
		}
		grace = time.Duration(*in.Grace) * time.Second
	}
	id := in.Token
	if id == "" {
		if c.id.Token == [32]byte{} {
			return nil, store.Bad("token is missing: the request does not carry one that can be rotated")
		}
		id = tokenID(c.id.Token)
	}
	done, err := a.turns.take(ctx, uint64(c.account.ID))
	if err != nil {
		return nil, err
	}
	defer done()
	old, err := a.findToken(c.account.ID, id)
	if err != nil {
		return nil, err
	}
	if err := a.roomForToken(ctx, c.account.ID); err != nil {
		return nil, err
	}
	now := a.now()
	next := store.Token{Account: old.Account, Device: old.Device, Label: old.Label, Scopes: old.Scopes, Created: now.UnixMilli()}
	if old.Expires != 0 { // as long a life as the old one had
		next.Expires = now.UnixMilli() + max(old.Expires-old.Created, time.Minute.Milliseconds())
	}
	secret := hooks.NewToken(next.Account)
	next.Hash = secret.Hash()
	if err := a.store.RotateToken(ctx, old, next, now.Add(grace).UnixMilli()); err != nil {
		return nil, fmt.Errorf("api: rotate token: %w", err)
	}
	return &issued{Secret: string(secret), Token: shownToken(next, [32]byte{})}, nil
}

var errNoToken = notFound("there is no such token")

func (a *API) findToken(u store.AccountID, id string) (store.Token, error) {
	list, err := a.store.Tokens(u)
	if err != nil {
		return store.Token{}, fmt.Errorf("api: tokens: %w", err)
	}
	for _, t := range list {
		if tokenID(t.Hash) == id {
			return t, nil
		}
	}
	return store.Token{}, errNoToken
}

type tokenRemoveIn struct {
	Token string `json:"token" doc:"A token's id, as token.list tells it."`
}

func (a *API) tokenRemove(ctx context.Context, c *caller, in *tokenRemoveIn) (*none, error) {
	return &none{}, a.removeToken(ctx, c.account.ID, in.Token)
}

// removeToken ends a token and the connections that were opened with it. Of an account's token every connection of the user
// ends, and those with another token come back at once; of a key its own do.
func (a *API) removeToken(ctx context.Context, u store.AccountID, id string) error {
	t, err := a.findToken(u, id)
	if err != nil {
		return err
	}
	if err := a.store.RemoveToken(ctx, u, t.Hash); err != nil && store.CodeOf(err) != store.CodeNotFound {
		return fmt.Errorf("api: remove token: %w", err)
	}
	if u == 0 {
		return nil
	}
	if len(t.Scopes) > 0 {
		return a.endKey(ctx, t)
	}
	return a.disconnect(ctx, u, t.Device, broker.ErrExpired)
}

// endKey ends what goes on of a key that was removed: its connections, and, if no other key has the same scopes, the
// devices that it has opened.
func (a *API) endKey(ctx context.Context, t store.Token) error {
	for _, id := range a.broker.Attached(t.Account) {
		if id.Token == t.Hash {
			if err := a.disconnect(ctx, t.Account, id.Device, broker.ErrExpired); err != nil {
				return err
			}
		}
	}
	list, err := a.store.Tokens(t.Account)
	if err != nil {
		return fmt.Errorf("api: tokens: %w", err)
	}
	if slices.ContainsFunc(list, func(o store.Token) bool { return slices.Equal(o.Scopes, t.Scopes) }) {
		return nil
	}
	devices, err := a.store.Devices(t.Account)
	if err != nil {
		return fmt.Errorf("api: devices: %w", err)
	}
	for _, d := range devices {
		if !strings.HasPrefix(d.ClientID, hooks.KeyDevices(t.Scopes)) {
			continue
		}
		if err := a.forgetDevice(ctx, d); err != nil {
			return err
		}
		if err := a.endDevice(ctx, d); err != nil {
			return err
		}
	}
	return nil
}
