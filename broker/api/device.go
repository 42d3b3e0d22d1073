package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
)

type device struct {
	ID       string     `json:"id"`
	ClientID string     `json:"client_id" doc:"The MQTT client identifier."`
	Label    string     `json:"label,omitempty"`
	Created  *time.Time `json:"created,omitempty"`
	LastSeen *time.Time `json:"last_seen,omitempty" doc:"To the hour."`
	Echo     bool       `json:"echo" doc:"The device gets its own messages back."`
	Online   bool       `json:"online"`
	This     bool       `json:"this,omitempty" doc:"The asking device."`
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
	for _, d := range list {
		out.Devices = append(out.Devices, a.device(d, this))
	}
	return out, nil
}

func (a *API) device(d store.Device, this store.DeviceID) device {
	return device{ID: d.ID.String(), ClientID: d.ClientID, Label: d.Label, Created: at(d.Created), LastSeen: at(d.LastSeen),
		Echo: !d.NoEcho, Online: a.broker.Online(d.Account, d.ID), This: d.ID == this}
}

type deviceSetIn struct {
	Device string  `json:"device,omitempty" doc:"A device's id; absent: the asking device."`
	Label  *string `json:"label,omitempty"`
	Echo   *bool   `json:"echo,omitempty" doc:"Whether the device gets its own messages back; from its next connection on."`
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
	if in.Label != nil {
		if d.Label, err = words("label", *in.Label, a.limits().Label, 4*a.limits().Label); err != nil {
			return nil, err
		}
	}
	if in.Echo != nil {
		d.NoEcho = !*in.Echo
	}
	if err := a.store.PutDevice(ctx, d, a.limits().Devices); err != nil {
		return nil, fmt.Errorf("api: put device: %w", err)
	}
	return &deviceOut{a.device(d, c.id.Device)}, nil
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
	err = a.store.RemoveDevice(ctx, u, d.ID)
	done()
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return fmt.Errorf("api: remove device: %w", err)
	}
	if err := a.disconnect(ctx, u, d.ID, broker.ErrRemoved); err != nil {
		return err
	}
	if err := a.store.DeleteSession(ctx, u, d.ID); err != nil {
		return fmt.Errorf("api: delete session: %w", err)
	}
	shown := d.Label
	if shown == "" {
		shown = d.ClientID
	}
	a.notify(ctx, u, view.Notice{What: view.NoticeRemoved, Device: shown}, "")
	return nil
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
