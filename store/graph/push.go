package graph

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/hwangso/hwangso/store"
)

const (
	tablePush      store.Table = "user.push"         // of the account: one row with what all its devices registered
	tablePushToken store.Table = "service.pushtoken" // owner: the token's hash; whose it is
	tablePreview   store.Table = "user.preview"      // key: the log
)

// PushProvider is who carries pushes to a device.
type PushProvider string

// The providers.
const (
	APNs    PushProvider = "apns"
	FCM     PushProvider = "fcm"
	WebPush PushProvider = "webpush" // and UnifiedPush
)

// PushProviders are all of them.
func PushProviders() []PushProvider { return []PushProvider{APNs, FCM, WebPush} }

// Registration is where the pushes of one device go.
type Registration struct {
	Device   store.DeviceID `json:"d"`
	Provider PushProvider   `json:"p"`
	// Token is a secret: APNs' device token in hex, FCM's registration token, or the endpoint of a web push subscription.
	Token string `json:"t"`
	// App is the APNs topic (the app's bundle identifier); "" is the configured one. Of the others it is not used.
	App     string `json:"a,omitempty"`
	Sandbox bool   `json:"s,omitempty"` // APNs: the development environment
	// Key and Secret are the subscription's p256dh and auth (RFC 8291), raw bytes; of the others they are nil.
	Key    []byte `json:"k,omitempty"`
	Secret []byte `json:"x,omitempty"`
	Time   int64  `json:"r"` // when it was registered last, Unix milliseconds
	// Turn tells which registering of the token this is. It grows from one owner to the next.
	Turn int64 `json:"n,omitempty"`
}

// MaxPushToken is the longest token, or endpoint, in bytes: of ten devices all fit into a row.
const MaxPushToken = 4096

// Same reports whether two registrations reach the same place.
func (r *Registration) Same(o *Registration) bool {
	return r.Provider == o.Provider && r.Token == o.Token && r.App == o.App && r.Sandbox == o.Sandbox
}

// owner is whose row tells whose the token is. Neither the app nor the environment is part of it: a token belongs to one
// app on one device, and who names them differently means the same phone.
func (r *Registration) owner() store.Owner {
	sum := sha256.Sum256([]byte(string(r.Provider) + "\x00" + r.Token))
	return store.Owner(sum[:])
}

type pushRow struct {
	Devices []Registration `json:"d"` // by device
}

// pushOwner is what a token's row says: who registered it last. Two rows are not changed together, so what is listed of
// an account can be older than that; it is removed by who took the token over, or by who finds that it lost it.
type pushOwner struct {
	Account store.AccountID `json:"a"`
	Device  store.DeviceID  `json:"d"`
	Turn    int64           `json:"n,omitempty"`
}

func (o *pushOwner) is(a store.AccountID, d store.DeviceID) bool {
	return o.Account == a && o.Device == d
}

// Registrations are where a user's devices are woken, by device. Cheap: they are asked per message and receiver.
func (g *Graph) Registrations(a store.AccountID) ([]Registration, error) {
	row, err := read[pushRow](g, tablePush, store.OwnerOf(a), "")
	if err != nil {
		return nil, err
	}
	return row.Devices, nil
}

// RegistrationsOf calls fn with what the devices of many users registered, for those who have any, in the order of accounts,
// which must ascend. It is for who goes through all followers of a channel: what it reads takes nobody's place in a cache. A
// row that cannot be understood is passed over, so that it stands for nobody else.
func (g *Graph) RegistrationsOf(accounts []store.AccountID, fn func(a store.AccountID, list []Registration) error) error {
	return g.store.RowsOf(tablePush, accounts, "", func(a store.AccountID, value []byte) error {
		var row pushRow
		if json.Unmarshal(value, &row) != nil || len(row.Devices) == 0 {
			return nil
		}
		return fn(a, row.Devices)
	})
}

// Registration is that of one device, nil if it has none.
func (g *Graph) Registration(a store.AccountID, d store.DeviceID) (*Registration, error) {
	list, err := g.Registrations(a)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Device == d {
			return &list[i], nil
		}
	}
	return nil, nil
}

// Register sets where a device is woken, in place of what it registered before. A token has one owner: another device
// that had it, of whatever user, has none from now on. changed tells whether anything but the time moved. Of two that
// register the same token at once one has it in the end, and of the other nothing is listed.
//
// Errors: CodeBad for a token that is empty or too long, CodeNotFound: no such account.
func (g *Graph) Register(ctx context.Context, a store.AccountID, r Registration) (changed bool, err error) {
	if r.Token == "" || len(r.Token) > MaxPushToken {
		return false, store.Bad(fmt.Sprintf("the token must have 1 to %d bytes", MaxPushToken))
	}
	r.Time = g.now().UnixMilli()
	for try := 0; ; try++ {
		was, row, err := g.tokenOwner(&r)
		if err != nil {
			return false, err
		}
		if was != nil && was.is(a, r.Device) {
			if found, changed, err := g.refresh(ctx, a, was.Turn, r); found || err != nil {
				return changed, err
			}
		}
		r.Turn = r.Time // turns grow, and do so after a row was removed and made again
		if was != nil {
			r.Turn = max(r.Turn, was.Turn+1)
		}
		// The owner first: a token that two register at once belongs to who is told of in its row, and who sends asks that.
		err = g.putOwner(ctx, &r, row.Version, &pushOwner{a, r.Device, r.Turn})
		if store.CodeOf(err) == store.CodeConflict && try < races {
			continue
		}
		if err != nil {
			return false, err
		}
		changed, err = g.list(ctx, a, r)
		if err != nil { // as it was before
			if owned, row, e := g.tokenOwner(&r); e == nil && owned != nil && owned.Turn == r.Turn {
				err = errors.Join(err, g.putOwner(ctx, &r, row.Version, was))
			}
			return false, err
		}
		if was != nil && !was.is(a, r.Device) {
			err = g.unlist(ctx, was.Account, was.Device, &r, r.Turn)
		}
		if owned, _, e := g.tokenOwner(&r); e == nil && (owned == nil || owned.Turn != r.Turn) {
			err = errors.Join(err, g.unlist(ctx, a, r.Device, &r, r.Turn+1)) // somebody was quicker
		} else {
			err = errors.Join(err, e)
		}
		return changed && err == nil, err
	}
}

// refresh notes the time, and new keys, of what a device has registered under this turn; found is false if it is not
// listed.
func (g *Graph) refresh(ctx context.Context, a store.AccountID, turn int64, r Registration) (found, changed bool, err error) {
	err = change(ctx, g, tablePush, store.OwnerOf(a), "", noPush, func(p *pushRow) ([]store.EdgePut, error) {
		found, changed = false, false
		at, ok := p.find(r.Device)
		if !ok || p.Devices[at].Turn != turn || !p.Devices[at].Same(&r) {
			return nil, nil
		}
		old := &p.Devices[at]
		found, changed = true, string(old.Key) != string(r.Key) || string(old.Secret) != string(r.Secret)
		r.Turn = turn
		*old = r
		return nil, nil
	})
	return found, changed, err
}

// list writes a registration among those of its account, and lets go of the token that it replaces.
func (g *Graph) list(ctx context.Context, a store.AccountID, r Registration) (changed bool, err error) {
	var replaced *Registration
	err = change(ctx, g, tablePush, store.OwnerOf(a), "", noPush, func(p *pushRow) ([]store.EdgePut, error) {
		changed, replaced = true, nil
		at, found := p.find(r.Device)
		if !found {
			p.Devices = slices.Insert(p.Devices, at, r)
			return nil, nil
		}
		switch old := p.Devices[at]; {
		case old.owner() != r.owner():
			replaced = &old
		case old.Turn > r.Turn: // the device was quicker itself, with a later one
			changed = false
			return nil, nil
		case old.Same(&r):
			changed = string(old.Key) != string(r.Key) || string(old.Secret) != string(r.Secret)
		}
		p.Devices[at] = r
		return nil, nil
	})
	if err == nil && replaced != nil {
		err = g.forgetToken(ctx, a, replaced)
	}
	return changed, err
}

// unlist removes a device's registration of a token that has been registered anew since: one of a turn before this.
func (g *Graph) unlist(ctx context.Context, a store.AccountID, d store.DeviceID, r *Registration, before int64) error {
	err := change(ctx, g, tablePush, store.OwnerOf(a), "", noPush, func(p *pushRow) ([]store.EdgePut, error) {
		if at, found := p.find(d); found && p.Devices[at].owner() == r.owner() && p.Devices[at].Turn < before {
			p.Devices = slices.Delete(p.Devices, at, at+1)
		}
		return nil, nil
	})
	if store.CodeOf(err) == store.CodeNotFound { // the account is gone, and its rows with it
		return nil
	}
	return err
}

func noPush(p *pushRow) bool { return len(p.Devices) == 0 }

func (p *pushRow) find(d store.DeviceID) (at int, found bool) {
	return slices.BinarySearchFunc(p.Devices, d, func(e Registration, d store.DeviceID) int { return cmp.Compare(e.Device, d) })
}

// Unregister ends the pushes of a device; with only, unless it has registered something else than that, or the same
// again later, meanwhile. removed tells whether there was anything to remove.
func (g *Graph) Unregister(ctx context.Context, a store.AccountID, d store.DeviceID, only *Registration) (removed bool, err error) {
	var old Registration
	err = change(ctx, g, tablePush, store.OwnerOf(a), "", noPush, func(p *pushRow) ([]store.EdgePut, error) {
		removed = false
		at, found := p.find(d)
		if !found || only != nil && (!p.Devices[at].Same(only) || p.Devices[at].Time > only.Time) {
			return nil, nil
		}
		old, removed = p.Devices[at], true
		p.Devices = slices.Delete(p.Devices, at, at+1)
		return nil, nil
	})
	if err != nil || !removed {
		return false, err
	}
	return true, g.forgetToken(ctx, a, &old)
}

// ForgetPushes removes everything that a user's devices registered. Call it before the account is erased: afterwards
// nobody knows which tokens were its own.
func (g *Graph) ForgetPushes(ctx context.Context, a store.AccountID) error {
	list, err := g.Registrations(a)
	if err != nil {
		return err
	}
	for _, r := range slices.Clone(list) {
		if _, err := g.Unregister(ctx, a, r.Device, nil); err != nil {
			return err
		}
	}
	return nil
}

// Owns reports whether a registration is still its device's: whoever registered a token last has it. Ask before sending.
func (g *Graph) Owns(a store.AccountID, r *Registration) (bool, error) {
	o, _, err := g.tokenOwner(r)
	return o != nil && o.is(a, r.Device), err
}

// tokenOwner is who has a token, nil if nobody has.
func (g *Graph) tokenOwner(r *Registration) (*pushOwner, store.Row, error) {
	row, err := g.store.Row(tablePushToken, r.owner(), "")
	if err != nil {
		return nil, row, fmt.Errorf("graph: %s: %w", tablePushToken, err)
	}
	if row.Version == 0 {
		return nil, row, nil
	}
	o, err := store.Decoded(row, func(b []byte) (o pushOwner, err error) {
		err = json.Unmarshal(b, &o)
		return o, err
	})
	if err != nil {
		return nil, row, fmt.Errorf("graph: %s: %w", tablePushToken, err)
	}
	return o, row, nil
}

// putOwner gives a token an owner, nil: none, if its row has this version still (CodeConflict).
func (g *Graph) putOwner(ctx context.Context, r *Registration, version uint64, o *pushOwner) error {
	put := store.RowPut{Table: tablePushToken, If: &version}
	if o != nil {
		value, err := json.Marshal(o)
		if err != nil {
			return fmt.Errorf("graph: %s: %w", tablePushToken, err)
		}
		put.Value = value
	}
	if err := g.store.Update(ctx, store.Update{Owner: r.owner(), Rows: []store.RowPut{put}}); err != nil {
		return fmt.Errorf("graph: %s: %w", tablePushToken, err)
	}
	return nil
}

// forgetToken removes the row of a token whose registration is not listed any more, unless it was registered again
// meanwhile, by whomever.
func (g *Graph) forgetToken(ctx context.Context, a store.AccountID, old *Registration) error {
	for try := 0; ; try++ {
		o, row, err := g.tokenOwner(old)
		if err != nil || o == nil || !o.is(a, old.Device) || o.Turn != old.Turn {
			return err
		}
		err = g.putOwner(ctx, old, row.Version, nil)
		if store.CodeOf(err) == store.CodeConflict && try < races {
			continue
		}
		return err
	}
}

// RoomPreview is how much a push shows of a conversation: what the user chose for it, else for all. Cheap.
func (g *Graph) RoomPreview(a store.AccountID, log store.LogID) (Preview, error) {
	row, err := g.store.Row(tablePreview, store.OwnerOf(a), store.KeyOf(log))
	if err != nil {
		return "", fmt.Errorf("graph: %s: %w", tablePreview, err)
	}
	if row.Version != 0 {
		return Preview(row.Value), nil
	}
	s, err := g.Settings(a)
	if err != nil {
		return "", err
	}
	return s.PreviewMode(), nil
}

// RoomPreviews are what a user chose for single conversations.
func (g *Graph) RoomPreviews(a store.AccountID) (map[store.LogID]Preview, error) {
	var out map[store.LogID]Preview
	for after := ""; ; {
		rows, err := g.store.Rows(tablePreview, store.OwnerOf(a), "", after, 1000)
		if err != nil {
			return nil, fmt.Errorf("graph: %s: %w", tablePreview, err)
		}
		for _, r := range rows {
			if out == nil {
				out = make(map[store.LogID]Preview)
			}
			after = r.Key
			out[store.LogID(store.NumberOf(r.Key))] = Preview(r.Value)
		}
		if len(rows) < 1000 {
			return out, nil
		}
	}
}

// SetRoomPreview chooses it for one conversation; "" leaves it to the setting for all. changed tells whether anything
// moved.
func (g *Graph) SetRoomPreview(ctx context.Context, a store.AccountID, log store.LogID, p Preview) (changed bool, err error) {
	for try := 0; ; try++ {
		r, err := g.store.Row(tablePreview, store.OwnerOf(a), store.KeyOf(log))
		if err != nil {
			return false, fmt.Errorf("graph: %s: %w", tablePreview, err)
		}
		if p == Preview(r.Value) {
			return false, nil
		}
		put := store.RowPut{Table: tablePreview, Key: store.KeyOf(log), If: &r.Version}
		if p != "" {
			put.Value = []byte(p)
		}
		err = g.store.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{put}})
		if store.CodeOf(err) == store.CodeConflict && try < races {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("graph: %s: %w", tablePreview, err)
		}
		return true, nil
	}
}
