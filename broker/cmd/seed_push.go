package cmd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// seedPushes has what `hwangso seed` registers for pushes: a device of every user, at these providers in turns.
type seedPushes struct {
	providers []graph.PushProvider // none: nothing is registered
	client    string               // the device's client identifier
}

// Set implements flag.Value.
func (s *seedPushes) Set(list string) error {
	s.providers = nil
	for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		p := graph.PushProvider(name)
		if p != graph.APNs && p != graph.FCM {
			return fmt.Errorf("%q is neither apns nor fcm", name)
		}
		if !slices.Contains(s.providers, p) {
			s.providers = append(s.providers, p)
		}
	}
	return nil
}

// String implements flag.Value.
func (s *seedPushes) String() string {
	var names []string
	for _, p := range s.providers {
		names = append(names, string(p))
	}
	return strings.Join(names, ",")
}

// seedWriters is how many registrations are written at once: those that wait for the same sync of the disk share it.
const seedWriters = 128

// register registers the devices of users 1 to n, in a data directory that no server has.
func (s *seedPushes) register(ctx context.Context, cfg bolt.Config, n int, progress func(stage string, done, total int)) (err error) {
	if len(s.providers) == 0 {
		return nil
	}
	st, err := bolt.Open(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	g := graph.New(st, nil)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var next, done atomic.Int64
	for range seedWriters {
		wg.Go(func() {
			for a := next.Add(1); a <= int64(n) && ctx.Err() == nil; a = next.Add(1) {
				if err := s.registerOne(ctx, st, g, store.AccountID(a)); err != nil {
					cancel(err)
				}
				progress("push", int(done.Add(1)), n)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (s *seedPushes) registerOne(ctx context.Context, st *bolt.Store, g *graph.Graph, a store.AccountID) error {
	dev := store.Device{Account: a, ID: store.DeviceOf(a, s.client), ClientID: s.client, Created: time.Now().UnixMilli()}
	if err := st.PutDevice(ctx, dev, 0); err != nil {
		return err
	}
	user := int64(a) - 1
	r := graph.Registration{Device: dev.ID, Provider: s.providers[user%int64(len(s.providers))], Token: seedToken(user)}
	_, err := g.Register(ctx, a, r)
	return err
}

// seedToken is the token of a seeded user's device: 64 hexadecimal digits, as Apple's are.
func seedToken(user int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "hwangso seed u%d", user))
	return hex.EncodeToString(sum[:])
}
