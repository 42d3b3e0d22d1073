package cmd

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

func TestSeedPush(t *testing.T) {
	dir := t.TempDir()
	var out, errs bytes.Buffer
	args := []string{"seed", "-data", dir, "-users", "7", "-friends", "2", "-password", "pw", "-push", "apns,fcm", "-push-client", "phone"}
	if err := Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	st, err := bolt.Open(bolt.Config{Dir: dir, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	g := graph.New(st, nil)
	for a := store.AccountID(1); a <= 7; a++ {
		list, err := g.Registrations(a)
		if err != nil || len(list) != 1 {
			t.Fatalf("user %d: %v, %v", a, list, err)
		}
		r := &list[0]
		want := graph.APNs
		if a%2 == 0 {
			want = graph.FCM
		}
		if owns, err := g.Owns(a, r); !owns || err != nil {
			t.Errorf("user %d does not have its token: %v", a, err)
		}
		if r.Provider != want || r.Device != store.DeviceOf(a, "phone") || r.Token != seedToken(int64(a)-1) {
			t.Errorf("user %d: %+v", a, r)
		}
		dev, err := st.Device(a, r.Device)
		if err != nil || dev.ClientID != "phone" {
			t.Errorf("user %d: device %+v, %v", a, dev, err)
		}
	}
	if got, want := seedToken(3), "1c822260235f522205e4d01e015b89bd3ed45f8fcd80e8ca138391457050b6ff"; got != want { // as the help says
		t.Errorf("token %s", got)
	}
}

func TestSeedPushRefuses(t *testing.T) {
	for _, args := range [][]string{{"-push", "webpush"}, {"-push", "apns,x"}, {"-push", "apns", "-push-client", ""}} {
		var out, errs bytes.Buffer
		all := append([]string{"seed", "-data", t.TempDir(), "-users", "2", "-friends", "0", "-password", "pw"}, args...)
		if err := Run(t.Context(), all, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}); !errors.Is(err, ErrUsage) {
			t.Errorf("%v: %v: %s", args, err, errs.String())
		}
	}
}
