package graph

import (
	"context"
	"crypto/sha256"
	"encoding/json"
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
}

// Same reports whether two registrations reach the same place.
func (r *Registration) Same(o *Registration) bool {
	return r.Provider == o.Provider && r.Token == o.Token && r.App == o.App && r.Sandbox == o.Sandbox
}

func (r *Registration) owner() store.Owner {
	sum := sha256.Sum256([]byte(string(r.Provider) + "\x00" + r.App + "\x00" + r.Token))
	return store.Owner(sum[:])
}

type pushRow struct {
	Devices []Registration `json:"d"` // by device
}

type pushOwner struct {
	Account store.AccountID `json:"a"`
	Device  store.DeviceID  `json:"d"`
}

// Registrations are where a user's devices are woken, by device. Cheap: they are asked per message and receiver.
func (g *Graph) Registrations(a store.AccountID) ([]Registration, error) {
	row, err := read[pushRow](g, tablePush, store.OwnerOf(a), "")
	if err != nil {
		return nil, err
	}
	return row.Devices, nil
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
// that had it, of whatever user, has none from now on. changed tells whether anything but the time moved.
func (g *Graph) Register(ctx context.Context, a store.AccountID, r Registration) (changed bool, err error) {
	r.Time = g.now().UnixMilli()
	was, err := g.tokenOwner(&r)
	if err != nil {
		return false, err
	}
	me := pushOwner{a, r.Device}
	if was != nil && *was != me {
		if _, err := g.Unregister(ctx, was.Account, was.Device, &r); err != nil && store.CodeOf(err) != store.CodeNotFound {
			return false, err
		}
	}
	// The owner first: a token that two register at once belongs to who is told of in its row, and who sends asks that.
	value, err := json.Marshal(me)
	if err != nil {
		return false, fmt.Errorf("graph: %s: %w", tablePushToken, err)
	}
	if was == nil || *was != me {
		if err := g.store.Update(ctx, store.Update{Owner: r.owner(), Rows: []store.RowPut{{Table: tablePushToken, Value: value}}}); err != nil {
			return false, fmt.Errorf("graph: %s: %w", tablePushToken, err)
		}
	}
	var replaced *Registration
	err = change(ctx, g, tablePush, store.OwnerOf(a), "", func(p *pushRow) bool { return len(p.Devices) == 0 },
		func(p *pushRow) ([]store.EdgePut, error) {
			changed, replaced = true, nil
			at, found := slices.BinarySearchFunc(p.Devices, r.Device, func(e Registration, d store.DeviceID) int {
				return compare(e.Device, d)
			})
			if !found {
				p.Devices = slices.Insert(p.Devices, at, r)
				return nil, nil
			}
			if old := p.Devices[at]; !old.Same(&r) {
				replaced = &old
			} else if string(old.Key) == string(r.Key) && string(old.Secret) == string(r.Secret) {
				changed = false
			}
			p.Devices[at] = r
			return nil, nil
		})
	if err == nil && replaced != nil {
		err = g.forgetToken(ctx, me, replaced)
	}
	return changed && err == nil, err
}

func compare[T ~uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Unregister ends the pushes of a device; with only, unless it has registered something else than that, or the same
// again later, meanwhile. removed tells whether there was anything to remove.
func (g *Graph) Unregister(ctx context.Context, a store.AccountID, d store.DeviceID, only *Registration) (removed bool, err error) {
	var old Registration
	err = change(ctx, g, tablePush, store.OwnerOf(a), "", func(p *pushRow) bool { return len(p.Devices) == 0 },
		func(p *pushRow) ([]store.EdgePut, error) {
			removed = false
			at, found := slices.BinarySearchFunc(p.Devices, d, func(e Registration, d store.DeviceID) int { return compare(e.Device, d) })
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
	return true, g.forgetToken(ctx, pushOwner{a, d}, &old)
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

// Owns reports whether a registration is still its device's: whoever registered a token last has it.
func (g *Graph) Owns(a store.AccountID, r *Registration) (bool, error) {
	o, err := g.tokenOwner(r)
	return o != nil && *o == pushOwner{a, r.Device}, err
}

func (g *Graph) tokenOwner(r *Registration) (*pushOwner, error) {
	row, err := g.store.Row(tablePushToken, r.owner(), "")
	if err != nil || row.Version == 0 {
		return nil, err
	}
	o, err := store.Decoded(row, func(b []byte) (o pushOwner, err error) {
		err = json.Unmarshal(b, &o)
		return o, err
	})
	if err != nil {
		return nil, fmt.Errorf("graph: %s: %w", tablePushToken, err)
	}
	return o, nil
}

// forgetToken removes the row of a token unless it says somebody else by now.
func (g *Graph) forgetToken(ctx context.Context, was pushOwner, r *Registration) error {
	for try := 0; ; try++ {
		row, err := g.store.Row(tablePushToken, r.owner(), "")
		if err != nil || row.Version == 0 {
			return err
		}
		var o pushOwner
		if err := json.Unmarshal(row.Value, &o); err != nil {
			return fmt.Errorf("graph: %s: %w", tablePushToken, err)
		}
		if o != was {
			return nil
		}
		err = g.store.Update(ctx, store.Update{Owner: r.owner(), Rows: []store.RowPut{{Table: tablePushToken, If: &row.Version}}})
		if store.CodeOf(err) == store.CodeConflict && try < races {
			continue
		}
		if err != nil {
			return fmt.Errorf("graph: %s: %w", tablePushToken, err)
		}
		return nil
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

// SetRoomPreview chooses it for one conversation; "" leaves it to the setting for all.
func (g *Graph) SetRoomPreview(ctx context.Context, a store.AccountID, log store.LogID, p Preview) error {
	put := store.RowPut{Table: tablePreview, Key: store.KeyOf(log)}
	if p != "" {
		put.Value = []byte(p)
	}
	if err := g.store.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{put}}); err != nil {
		return fmt.Errorf("graph: %s: %w", tablePreview, err)
	}
	return nil
}
