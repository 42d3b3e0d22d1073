package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

type device struct {
	ID       string     `json:"id"`
	ClientID string     `json:"client_id" doc:"The MQTT client identifier."`
	Label    string     `json:"label,omitempty"`
	Created  *time.Time `json:"created,omitempty"`
	Platform string     `json:"platform,omitempty" doc:"android, ios, blackberry, windows, macos, linux, web or other; absent: the device did not say."`
	Class    string     `json:"class,omitempty" doc:"phone or tablet; absent: the device did not say."`
	LastSeen *time.Time `json:"last_seen,omitempty" doc:"To the minute, when its last connection ended; of one that is online, now. After a crash of the server it may be older."`
	Echo     bool       `json:"echo" doc:"The device gets its own messages back."`
	Online   bool       `json:"online"`
	This     bool       `json:"this,omitempty" doc:"The asking device."`

	Push       *devicePush `json:"push,omitempty" doc:"How it is woken while it is away; absent: not at all."`
	Notifies   bool        `json:"notifies,omitempty" doc:"It tells its user by itself of what it gets in the background."`
	Background bool        `json:"background,omitempty" doc:"It is connected, and its app in the background."`
}

type devicesOut struct {
	Devices []device `json:"devices"`
}

func (a *API) deviceList(_ context.Context, c *caller, _ *none) (*devicesOut, error) {
	return a.devicesOf(c.account.ID, c.id.Device)
}

func (a *API) devicesOf(u store.AccountID, this store.DeviceID) (*devicesOut, error) {
	list, err := a.store.Devices(u)
	if err != nil {
		return nil, fmt.Errorf("api: devices: %w", err)
	}
	out := &devicesOut{Devices: make([]device, 0, len(list))}
	pushes, err := a.pushesOf(u)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		shown, err := a.device(d, this, pushes[d.ID])
		if err != nil {
			return nil, err
		}
		out.Devices = append(out.Devices, shown)
	}
	return out, nil
}

func (a *API) device(d store.Device, this store.DeviceID, pushes *devicePush) (device, error) {
	more, err := a.graph.Device(d.Account, d.ID)
	if err != nil {
		return device{}, fmt.Errorf("api: device: %w", err)
	}
	out := device{ID: d.ID.String(), ClientID: d.ClientID, Label: d.Label, Platform: string(more.Platform), Class: string(more.Class), Created: at(d.Created),
		Echo: !d.NoEcho, Online: a.broker.Online(d.Account, d.ID), This: d.ID == this, Push: pushes, Notifies: more.Notifies}
	if out.Online {
		_, _, out.Background = a.broker.Link(d.Account, d.ID)
	}
	seen := d.LastSeen
	if out.Online {
		seen = a.now().UnixMilli()
	} else if row, err := a.store.LoadSession(d.Account, d.ID); err == nil {
		seen = max(seen, row.Disconnected)
	} else if store.CodeOf(err) != store.CodeNotFound {
		return device{}, fmt.Errorf("api: session: %w", err)
	}
	out.LastSeen = at(seen - seen%time.Minute.Milliseconds())
	return out, nil
}

type deviceSetIn struct {
	Device   string  `json:"device,omitempty" doc:"A device's id; absent: the asking device."`
	Label    *string `json:"label,omitempty"`
	Platform *string `json:"platform,omitempty" doc:"android, ios, blackberry, windows, macos, linux, web or other; empty: not said."`
	Class    *string `json:"class,omitempty" doc:"phone or tablet; empty: not said. With the platform it says which actions of links the device gets."`
	Echo     *bool   `json:"echo,omitempty" doc:"Whether the device gets its own messages back; from its next connection on."`
	Notifies *bool   `json:"notifies,omitempty" doc:"Whether the device tells its user by itself of what it gets while its app is in the background. Then it gets no push for what it acknowledges there."`
	// Background is of the connection, not of the device.
	Background *bool `json:"background,omitempty" doc:"The asking device's own: whether its app is in the background now, where its user does not look at it. Forgotten with the connection; 409 without one."`
}

type deviceOut struct {
	Device device `json:"device"`
}

var errNoDevice = notFound("there is no such device")

// deviceOf finds one of a user's devices.
func (a *API) deviceOf(u store.AccountID, id string) (store.Device, error) {
	n, err := deviceID("device", id)
	if err != nil {
		return store.Device{}, err
	}
	d, err := a.store.Device(u, n)
	if store.CodeOf(err) == store.CodeNotFound {
		return d, errNoDevice
	}
	if err != nil {
		return d, fmt.Errorf("api: device: %w", err)
	}
	return d, nil
}

func (a *API) deviceSet(ctx context.Context, c *caller, in *deviceSetIn) (*deviceOut, error) {
	id := in.Device
	if id == "" && c.id.Device != 0 {
		id = c.id.Device.String()
	}
	if id == "" {
		return nil, store.Bad("device is missing: the request does not come from one")
	}
	done, err := a.turns.take(ctx, uint64(c.account.ID))
	if err != nil {
		return nil, err
	}
	defer done()
	d, err := a.deviceOf(c.account.ID, id)
	if err != nil {
		return nil, err
	}
	if in.Background != nil && d.ID != c.id.Device {
		return nil, store.Bad("background is said by the device itself")
	}
	if err := checkWord("platform", in.Platform, graph.Platforms()); err != nil {
		return nil, err
	}
	if err := checkWord("class", in.Class, graph.DeviceClasses()); err != nil {
		return nil, err
	}
	if in.Label != nil {
		if d.Label, err = words("label", *in.Label, a.limits().Label, 4*a.limits().Label); err != nil {
			return nil, err
		}
	}
	if in.Echo != nil {
		d.NoEcho = !*in.Echo
	}
	if in.Background != nil && !a.broker.SetBackground(d.Account, d.ID, *in.Background) {
		return nil, conflict("background is of a connection, and the device has none")
	}
	if p := a.cfg.Push; p != nil && p.Bridge != nil && in.Background != nil && *in.Background {
		p.Bridge.Detached(d.Account, d.ID)
	}
	if in.Label != nil || in.Echo != nil {
		if err := a.store.PutDevice(ctx, d, a.limits().Devices); err != nil {
			return nil, fmt.Errorf("api: put device: %w", err)
		}
	}
	if in.Platform != nil || in.Class != nil || in.Notifies != nil {
		if err := a.setMore(ctx, d, in); err != nil {
			return nil, err
		}
	}
	if in.Notifies != nil || in.Background != nil && !*in.Background { // what it has acknowledged counts otherwise now
		a.lookAgain(d.Account, 0)
	}
	pushes, err := a.pushesOf(d.Account)
	if err != nil {
		return nil, err
	}
	shown, err := a.device(d, c.id.Device, pushes[d.ID])
	return &deviceOut{shown}, err
}

// setMore changes what a device says about itself. The caller has the account's turn.
func (a *API) setMore(ctx context.Context, d store.Device, in *deviceSetIn) error {
	more, err := a.graph.Device(d.Account, d.ID)
	if err != nil {
		return fmt.Errorf("api: device: %w", err)
	}
	next := *more
	if in.Platform != nil {
		next.Platform = graph.Platform(*in.Platform)
	}
	if in.Class != nil {
		next.Class = graph.DeviceClass(*in.Class)
	}
	if in.Notifies != nil {
		next.Notifies = *in.Notifies
	}
	if err := a.graph.SetDevice(ctx, d.Account, d.ID, next); err != nil {
		return fmt.Errorf("api: set device: %w", err)
	}
	return nil
}

// checkWord refuses a value that is none of the known ones, nor empty.
func checkWord[T ~string](field string, v *string, known []T) error {
	if v == nil || *v == "" {
		return nil
	}
	var words []string
	for _, k := range known {
		if words = append(words, string(k)); string(k) == *v {
			return nil
		}
	}
	return store.Bad(field + " must be " + alternatives(words))
}

type deviceRemoveIn struct {
	Device string `json:"device" doc:"A device's id, as device.list tells it."`
}

func (a *API) deviceRemove(ctx context.Context, c *caller, in *deviceRemoveIn) (*none, error) {
	return &none{}, a.removeDevice(ctx, c.account.ID, in.Device)
}

// removeDevice signs a device out: first its tokens go, so that it cannot come back, then its connection, then what was
// kept of its session.
func (a *API) removeDevice(ctx context.Context, u store.AccountID, id string) error {
	d, err := a.deviceOf(u, id)
	if err != nil {
		return err
	}
	done, err := a.turns.take(ctx, uint64(u))
	if err != nil {
		return err
	}
	err = a.forgetDevice(ctx, d)
	done()
	if err != nil {
		return err
	}
	return a.endDevice(ctx, d)
}

// forgetDevice removes a device, its tokens, and where it is woken. The caller has the account's turn.
func (a *API) forgetDevice(ctx context.Context, d store.Device) error {
	if err := a.store.RemoveDevice(ctx, d.Account, d.ID); err != nil && store.CodeOf(err) != store.CodeNotFound {
		return fmt.Errorf("api: remove device: %w", err)
	}
	if err := a.graph.SetDevice(ctx, d.Account, d.ID, graph.Device{}); err != nil {
		return fmt.Errorf("api: set device: %w", err)
	}
	if _, err := a.graph.Unregister(ctx, d.Account, d.ID, nil); err != nil {
		return fmt.Errorf("api: unregister: %w", err)
	}
	return nil
}

// endDevice ends what goes on of a device that was removed, and tells the others. It may wait for the device's link, so
// the caller has no turn.
func (a *API) endDevice(ctx context.Context, d store.Device) error {
	if err := a.disconnect(ctx, d.Account, d.ID, broker.ErrRemoved); err != nil {
		return err
	}
	if err := a.store.DeleteSession(ctx, d.Account, d.ID); err != nil {
		return fmt.Errorf("api: delete session: %w", err)
	}
	shown := d.Label
	if shown == "" {
		shown = d.ClientID
	}
	a.notify(ctx, d.Account, view.Notice{What: view.NoticeRemoved, Device: shown}, "")
	return nil
}

type signoutOut struct {
	Devices int  `json:"devices" doc:"How many were signed out."`
	Tokens  int  `json:"tokens" doc:"How many tokens ended, those of the devices not counted."`
	Rotate  bool `json:"rotate,omitempty" doc:"The token of this request opens every device: whoever else knows it comes back with it until token.rotate replaces it."`
}

// signoutOthers ends everything that opens the account but the asking device and the token of the request.
func (a *API) signoutOthers(ctx context.Context, c *caller, _ *none) (*signoutOut, error) {
	u := c.account.ID
	out, removed, err := a.forgetOthers(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, d := range removed {
		if err := a.endDevice(ctx, d); err != nil {
			return nil, err
		}
	}
	for _, id := range a.broker.Attached(u) { // guests are no devices
		if id.Device != c.id.Device {
			if err := a.disconnect(ctx, u, id.Device, broker.ErrRemoved); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// forgetOthers removes every other device and every other token.
func (a *API) forgetOthers(ctx context.Context, c *caller) (*signoutOut, []store.Device, error) {
	u := c.account.ID
	done, err := a.turns.take(ctx, uint64(u))
	if err != nil {
		return nil, nil, err
	}
	defer done()
	tokens, err := a.store.Tokens(u)
	if err != nil {
		return nil, nil, fmt.Errorf("api: tokens: %w", err)
	}
	out := &signoutOut{}
	for _, t := range tokens { // first, so that nobody comes back meanwhile
		switch {
		case t.Hash == c.id.Token:
			out.Rotate = t.Device == 0
		case t.Device == 0 || t.Device == c.id.Device: // those of other devices go with them
			if err := a.store.RemoveToken(ctx, u, t.Hash); err != nil && store.CodeOf(err) != store.CodeNotFound {
				return nil, nil, fmt.Errorf("api: remove token: %w", err)
			}
			out.Tokens++
		}
	}
	devices, err := a.store.Devices(u)
	if err != nil {
		return nil, nil, fmt.Errorf("api: devices: %w", err)
	}
	var removed []store.Device
	for _, d := range devices {
		if d.ID == c.id.Device {
			continue
		}
		if err := a.forgetDevice(ctx, d); err != nil {
			return nil, nil, err
		}
		removed = append(removed, d)
	}
	out.Devices = len(removed)
	return out, removed, nil
}

// disconnect ends connections and waits until nothing more is sent to them, at most 10 seconds: a link that does not
// end by then is broken anyway.
func (a *API) disconnect(ctx context.Context, u store.AccountID, d store.DeviceID, why error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := a.broker.Disconnect(ctx, u, d, why); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("api: disconnect: %w", err)
	}
	return nil
}
