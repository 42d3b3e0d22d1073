package cmd

import (
	"context"
	"encoding/hex"
	"path/filepath"
	"time"

	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/examples/chat/client"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// demoPhone is bob's phone: a client like any other, which this program runs, with Apple's push service, which is
// simulated. When it is off the network, the push rings it.
type demoPhone struct {
	sim    *pushsim.Sim
	client *client.Client // nil while it is off the network
}

// demoPhoneID is the client identifier of bob's phone, and demoPhoneToken its token at Apple's.
const demoPhoneID = "bob-phone"

var demoPhoneToken = hex.EncodeToString([]byte("the phone of bob, in this demo. "))

func (d *demonstration) simDir() string { return filepath.Join(d.Data, "pushsim") }

// startSim starts the provider. The server that uses it finds its keys and its address in a configuration file.
func (d *demonstration) startSim() (err error) {
	if _, err := pushsim.Init(d.simDir(), pushsim.InitOptions{Listen: pushsim.FreePorts()}); err != nil {
		return err
	}
	d.phone.sim, err = pushsim.Start(pushsim.Config{Dir: d.simDir()})
	return err
}

// registerPhone makes bob's phone a device of his that is woken by pushes which show what was written.
func registerPhone(ctx context.Context, st *bolt.Store, bob store.AccountID) error {
	dev := store.Device{Account: bob, ID: store.DeviceOf(bob, demoPhoneID), ClientID: demoPhoneID, Label: "phone", Created: time.Now().UnixMilli()}
	if err := st.PutDevice(ctx, dev, 0); err != nil {
		return err
	}
	g := graph.New(st, nil)
	if err := g.SetSettings(ctx, bob, func(s *graph.Settings) error { s.Preview = graph.PreviewFull; return nil }); err != nil {
		return err
	}
	_, err := g.Register(ctx, bob, graph.Registration{Device: dev.ID, Provider: graph.APNs, Token: demoPhoneToken})
	return err
}

// turnPhone takes bob's phone off the network, or brings it back. It returns what to tell.
func (d *demonstration) turnPhone(ctx context.Context) (string, error) {
	if d.phone.client != nil {
		closeClient(d.phone.client)
		d.phone.client = nil
		return `▽ bob's phone is off the network. Write to bob as alice, from the other terminal: his phone rings, by Apple's push service
  (simulated). More messages replace what it shows, without a sound, with their number. Press o again to bring it back.`, nil
	}
	if err := d.connectPhone(ctx); err != nil {
		return "", err
	}
	return "△ bob's phone is back, and gets what it missed. While it is there nothing rings.", nil
}

// connectPhone connects it, and waits until it is.
func (d *demonstration) connectPhone(ctx context.Context) error {
	c, err := client.New(ctx, client.Config{
		Server: "mqtt://" + d.MQTT, User: "bob", Token: d.Tokens["bob"], ClientID: demoPhoneID, Filters: []string{"user/+/json", "room/+/json"},
		Backoff: 50 * time.Millisecond, Message: d.phoneShows,
	})
	if err != nil {
		return err
	}
	d.phone.client = c
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return c.Ready(ctx)
}

// phoneShows tells what arrives at bob's phone while it is connected.
func (d *demonstration) phoneShows(m client.Message) {
	if m.From == "" || m.From == "bob" || m.From == demoRobot || m.Text == "" {
		return
	}
	d.say("▣ bob's phone, connected, shows: %s: %s", m.From, m.Text)
}

// tellRings tells what the push service brings to bob's phone, until ctx ends.
func (d *demonstration) tellRings(ctx context.Context) {
	for last := uint64(0); ; {
		news, err := d.phone.sim.After(ctx, last)
		if err != nil {
			return
		}
		for _, a := range news {
			last = a.N
			d.say("%s", attemptInWords(&a, func(string) string { return "bob's phone" }))
		}
	}
}
