package graph

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hwangso/hwangso/store"
)

const tableDevice store.Table = "user.device"

// Platform is the system that a device runs.
type Platform string

// The platforms.
const (
	PlatformAndroid    Platform = "android"
	PlatformIOS        Platform = "ios"
	PlatformBlackBerry Platform = "blackberry"
	PlatformWindows    Platform = "windows"
	PlatformMacOS      Platform = "macos"
	PlatformLinux      Platform = "linux"
	PlatformWeb        Platform = "web"
	PlatformOther      Platform = "other"
)

// Platforms are all of them, in the order in which they are shown.
func Platforms() []Platform {
	return []Platform{PlatformAndroid, PlatformIOS, PlatformBlackBerry, PlatformWindows, PlatformMacOS, PlatformLinux, PlatformWeb, PlatformOther}
}

// DeviceClass is what kind of machine a device is.
type DeviceClass string

// The classes.
const (
	ClassPhone  DeviceClass = "phone"
	ClassTablet DeviceClass = "tablet"
)

// DeviceClasses are all of them.
func DeviceClasses() []DeviceClass { return []DeviceClass{ClassPhone, ClassTablet} }

// Device is what a device says about itself beyond store.Device. The zero value is nothing.
type Device struct {
	Platform Platform    `json:"platform,omitempty"` // "": it did not say
	Class    DeviceClass `json:"class,omitempty"`    // "": it did not say
	// Notifies: the device tells its user by itself of what it acknowledges in the background, so that needs no push.
	Notifies bool `json:"notifies,omitempty"`
}

// Device is what a device has said about itself.
func (g *Graph) Device(a store.AccountID, d store.DeviceID) (*Device, error) {
	return read[Device](g, tableDevice, store.OwnerOf(a), store.KeyOf(d))
}

// SetDevice replaces it; the zero Device forgets it.
func (g *Graph) SetDevice(ctx context.Context, a store.AccountID, d store.DeviceID, next Device) error {
	return change(ctx, g, tableDevice, store.OwnerOf(a), store.KeyOf(d), func(d *Device) bool { return *d == Device{} },
		func(d *Device) ([]store.EdgePut, error) {
			*d = next
			return nil, nil
		})
}

// Devices is what the user's devices have said about themselves; those that said nothing are missing.
func (g *Graph) Devices(a store.AccountID) (out []*Device, err error) {
	for after := ""; ; {
		const page = 100
		rows, err := g.store.Rows(tableDevice, store.OwnerOf(a), "", after, page)
		if err != nil {
			return nil, fmt.Errorf("graph: %s: %w", tableDevice, err)
		}
		for _, r := range rows {
			after = r.Key
			var d Device
			if err := json.Unmarshal(r.Value, &d); err != nil {
				return nil, fmt.Errorf("graph: %s: %w", tableDevice, err)
			}
			out = append(out, &d)
		}
		if len(rows) < page {
			return out, nil
		}
	}
}
