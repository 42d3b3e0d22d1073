package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

// maxClientID is the longest client identifier MQTT can express, in bytes.
const maxClientID = 65535

// PutDevice stores a device.
func (d *directory) PutDevice(ctx context.Context, dev store.Device, limit int) error {
	if dev.ID == 0 {
		return store.Bad("a device needs a number")
	}
	if len(dev.ClientID) > maxClientID || len(dev.Label) > maxText {
		return &store.Error{Code: store.CodeTooLarge, Text: "the device's label or client identifier is too long"}
	}
	hour := time.Hour.Milliseconds()
	dev.LastSeen -= dev.LastSeen % hour
	row := appendDevice(nil, dev)
	return d.file.update(ctx, func(w *writeTx) error {
		if err := requireAccount(w.tx, dev.Account); err != nil {
			return err
		}
		devices := w.bucket(dirDevices)
		key := key128(uint64(dev.Account), uint64(dev.ID))
		old := devices.Get(key)
		if bytes.Equal(old, row) {
			return nil
		}
		if old == nil && limit > 0 && countPrefix(devices.Bucket, key[:8], limit) >= limit {
			return &store.Error{Code: store.CodeFull, Text: "too many devices"}
		}
		return devices.put(key, row)
	}, nil)
}

// countPrefix counts rows that begin with prefix, up to max.
func countPrefix(b *bbolt.Bucket, prefix []byte, max int) (n int) {
	c := b.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && n < max; k, _ = c.Next() {
		n++
	}
	return n
}

// Device returns one device.
func (d *directory) Device(a store.AccountID, id store.DeviceID) (dev store.Device, err error) {
	err = d.file.view(func(tx *bbolt.Tx) error {
		key := key128(uint64(a), uint64(id))
		row := tx.Bucket(dirDevices).Get(key)
		if row == nil {
			return store.ErrNotFound
		}
		dev, err = decodeDevice(key, row)
		return err
	})
	return dev, err
}

// Devices lists an account's devices by number.
func (d *directory) Devices(a store.AccountID) (out []store.Device, err error) {
	err = d.scanPrefix(dirDevices, key64(uint64(a)), func(k, v []byte) error {
		dev, err := decodeDevice(k, v)
		out = append(out, dev)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// scanPrefix visits the rows that begin with prefix, a page per transaction. k and v are valid only during fn.
func (d *directory) scanPrefix(bucket, prefix []byte, fn func(k, v []byte) error) error {
	from := bytes.Clone(prefix)
	for from != nil {
		err := d.file.view(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucket).Cursor()
			k, v := c.Seek(from)
			from = nil
			size := 0
			for n := 0; bytes.HasPrefix(k, prefix); n++ {
				if n == pageRows || size > pageBytes {
					from = bytes.Clone(k)
					return nil
				}
				if err := fn(k, v); err != nil {
					return err
				}
				size += len(v)
				k, v = c.Next()
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// RemoveDevice removes a device, the tokens that open only it, and its answers.
func (d *directory) RemoveDevice(ctx context.Context, a store.AccountID, id store.DeviceID) error {
	return d.file.update(ctx, func(w *writeTx) error {
		devices, tokens := w.bucket(dirDevices), w.bucket(dirTokens)
		key := key128(uint64(a), uint64(id))
		var hashes [][]byte
		c := tokens.Cursor()
		for k, v := c.Seek(key[:8]); bytes.HasPrefix(k, key[:8]); k, v = c.Next() {
			t, err := decodeToken(k, v)
			if err != nil {
				return err
			}
			if id != 0 && t.Device == id {
				hashes = append(hashes, bytes.Clone(k))
			}
		}
		if devices.Get(key) == nil && len(hashes) == 0 {
			return store.ErrNotFound
		}
		if err := devices.delete(key); err != nil {
			return err
		}
		for _, k := range hashes {
			if err := tokens.delete(k); err != nil {
				return err
			}
		}
		return removeAnswers(w, key)
	}, nil)
}

const (
	deviceVersion = 1
	deviceNoEcho  = 1 << 0
)

func appendDevice(b []byte, d store.Device) []byte {
	flags := byte(0)
	if d.NoEcho {
		flags |= deviceNoEcho
	}
	b = append(b, deviceVersion, flags)
	b = binary.AppendVarint(b, d.Created)
	b = binary.AppendVarint(b, d.LastSeen)
	b = appendString(b, d.ClientID)
	return appendString(b, d.Label)
}

func decodeDevice(key, row []byte) (store.Device, error) {
	if len(key) != 16 {
		return store.Device{}, corrupt("a device's number", errRowShort)
	}
	d := store.Device{
		Account: store.AccountID(binary.BigEndian.Uint64(key)),
		ID:      store.DeviceID(binary.BigEndian.Uint64(key[8:])),
	}
	r := rowReader{b: row}
	r.version(deviceVersion)
	d.NoEcho = r.byte()&deviceNoEcho != 0
	d.Created = r.varint()
	d.LastSeen = r.varint()
	d.ClientID = r.string()
	d.Label = r.string()
	if err := r.end(); err != nil {
		return store.Device{}, corrupt(fmt.Sprintf("device %v of %v", d.ID, d.Account), err)
	}
	return d, nil
}
