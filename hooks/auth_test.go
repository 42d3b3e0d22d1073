package hooks

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newAuth(t testing.TB, d *directory, keys ...Key) *Authenticator {
	t.Helper()
	a, err := NewAuthenticator(Config{Directory: d, Keys: keys, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTokenFormat(t *testing.T) {
	for _, account := range []store.AccountID{0, 1, 1 << 40, nobody} {
		s := NewToken(account)
		if got, ok := s.account(); !ok || got != account || len(string(s)) != 4+54 {
			t.Errorf("%d: %d bytes, names %d, %v", account, len(string(s)), got, ok)
		}
	}
	if one, other := NewToken(1), NewToken(1); one == other {
		t.Error("the same token twice")
	}
	good := string(NewToken(7))
	for _, s := range []string{"", "hwt_", good[:len(good)-1], good + "A", "HWT_" + good[4:], good[:10] + "+" + good[11:], good[:len(good)-1] + "=", "password"} {
		if n, ok := Secret(s).account(); ok {
			t.Errorf("%q names account %d", s, n)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	c := Credentials{User: "alice", Secret: "swordfish"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("login", "secret", c.Secret, "credentials", c)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("login", "secret", c.Secret)
	s := fmt.Sprintf("%v %+v %#v %s %q ", c, c, c, c.Secret, c.Secret) + log.String()
	if strings.Contains(s, "swordfish") || !strings.Contains(s, hidden) {
		t.Error(s)
	}
}

func TestDeviceToken(t *testing.T) {
	d := newDirectory("alice", "bob")
	d.device(t, "alice", "phone")
	a := newAuth(t, d)
	s := d.token(t, "alice", "phone", time.Time{})
	phone := store.DeviceOf(d.id("alice"), "phone")

	for _, c := range []Credentials{
		{User: "alice", Secret: s, ClientID: "phone"},
		{User: "Alice", Secret: s, ClientID: "phone", Clean: true},
		{User: "", Secret: s, ClientID: "phone"},
		{User: "alice", Secret: s, ClientID: ""},
	} {
		id, err := a.Connect(t.Context(), c)
		want := Identity{Account: d.id("alice"), Name: "alice", Device: phone, ClientID: "phone", Assigned: c.ClientID == "", Token: s.Hash()}
		if err != nil || !same(id, want) {
			t.Errorf("%+v: %+v, %v", c, id, err)
		}
	}
	if _, err := a.Connect(t.Context(), Credentials{User: "alice", Secret: s, ClientID: "tablet"}); err != ErrOtherDevice {
		t.Errorf("another client identifier: %v", err)
	}
	if _, err := a.Connect(t.Context(), Credentials{User: "bob", Secret: s, ClientID: "phone"}); err != ErrCredentials {
		t.Errorf("another user: %v", err)
	}
	if id, err := a.Bearer(s); err != nil || id.Device != phone || id.Name != "alice" {
		t.Errorf("bearer: %+v, %v", id, err)
	}
	if id, err := a.Basic("ALICE", s); err != nil || id.Device != phone {
		t.Errorf("basic: %+v, %v", id, err)
	}

	// A token whose device is gone makes it again under its own client identifier, and knows no other.
	lone := d.token(t, "bob", "watch", time.Time{})
	if _, err := a.Connect(t.Context(), Credentials{User: "bob", Secret: lone}); err != ErrOtherDevice {
		t.Errorf("no device to name: %v", err)
	}
	id, err := a.Connect(t.Context(), Credentials{User: "bob", Secret: lone, ClientID: "watch", Clean: true})
	if err != nil || !id.New || id.Guest {
		t.Errorf("watch: %+v, %v", id, err)
	}
}

func same(a, b Identity) bool { return fmt.Sprintf("%#v", a) == fmt.Sprintf("%#v", b) }

func TestAccountToken(t *testing.T) {
	d := newDirectory("alice")
	a := newAuth(t, d)
	s := d.token(t, "alice", "", time.Time{})
	connect := func(client string, clean bool) (Identity, error) {
		return a.Connect(t.Context(), Credentials{User: "alice", Secret: s, ClientID: client, Clean: clean})
	}

	guest, err := connect("term", true)
	if err != nil || !guest.Guest || guest.New || guest.Device != store.DeviceOf(1, "term") || len(d.devices[1]) != 0 {
		t.Fatalf("guest: %+v, %v", guest, err)
	}
	phone, err := connect("phone", false)
	if err != nil || phone.Guest || !phone.New || len(d.devices[1]) != 1 {
		t.Fatalf("new device: %+v, %v", phone, err)
	}
	if dev := d.devices[1][phone.Device]; dev.ClientID != "phone" || dev.Created != noon.UnixMilli() || dev.LastSeen != noon.UnixMilli() {
		t.Errorf("stored %+v", dev)
	}
	again, err := connect("phone", true)
	if err != nil || again.Guest || again.New || again.Device != phone.Device {
		t.Errorf("a device with a clean session stays a device: %+v, %v", again, err)
	}
	for i := len(d.devices[1]); i < DefaultDevices; i++ {
		if _, err := connect(fmt.Sprint("d", i), false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := connect("eleventh", false); err != ErrDevices {
		t.Errorf("beyond the limit: %v", err)
	}
	if id, err := connect("phone", false); err != nil || id.New {
		t.Errorf("an old device at the limit: %+v, %v", id, err)
	}
	if id, err := connect("eleventh", true); err != nil || !id.Guest {
		t.Errorf("a guest at the limit: %+v, %v", id, err)
	}

	one, err1 := connect("", true)
	two, err2 := connect("", true)
	if err1 != nil || err2 != nil || !one.Assigned || one.ClientID == two.ClientID || one.Device == two.Device || !strings.HasPrefix(one.ClientID, "auto-") {
		t.Errorf("chosen client identifiers: %+v, %v; %+v, %v", one, err1, two, err2)
	}

	dev := d.devices[1][phone.Device]
	dev.NoEcho = true
	d.devices[1][phone.Device] = dev
	if id, err := connect("phone", false); err != nil || !id.NoEcho {
		t.Errorf("no echo: %+v, %v", id, err)
	}
}

func TestSameClientIDOfTwoUsers(t *testing.T) {
	d := newDirectory("alice", "bob")
	a := newAuth(t, d)
	var ids []Identity
	for _, user := range []string{"alice", "bob"} {
		id, err := a.Connect(t.Context(), Credentials{User: user, Secret: d.token(t, user, "", time.Time{}), ClientID: "phone"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if ids[0].Device == ids[1].Device || ids[0].Account == ids[1].Account {
		t.Errorf("%+v and %+v", ids[0], ids[1])
	}
}

// Who guesses must not learn which half was wrong, neither from the error nor from the work done.
func TestRefusalsLookAlike(t *testing.T) {
	d := newDirectory("alice", "bob")
	d.device(t, "alice", "phone")
	d.token(t, "alice", "phone", time.Time{})
	bobs := d.token(t, "bob", "", time.Time{})
	d.put(store.Token{Account: 1, Hash: Secret("swordfish").Hash()})
	a := newAuth(t, d)
	want := []string{"name", "token"}
	for _, c := range []Credentials{
		{User: "alice", Secret: "wrong"},
		{User: "nobody", Secret: "wrong"},
		{User: "nobody", Secret: "swordfish"},
		{User: "not a name", Secret: "swordfish"},
		{User: "bob", Secret: "swordfish"},
		{User: "alice", Secret: bobs},
		{User: "nobody", Secret: bobs},
		{User: "alice", Secret: ""},
		{User: "alice", Secret: NewToken(1)},
		{User: "alice", Secret: "eyJhbGciOiJub25lIn0.e30."}, // no keys: no JWTs
	} {
		d.calls = nil
		id, err := a.Connect(t.Context(), c)
		if err != ErrCredentials || !slices.Equal(d.calls, want) || !same(id, Identity{}) {
			t.Errorf("%s: %v after %v", c.User, err, d.calls)
		}
	}
	for _, c := range []Credentials{{Secret: "swordfish"}, {Secret: ""}, {Secret: NewToken(99)}, {Secret: NewToken(1)}, {Secret: NewToken(nobody)},
		{User: "alice", Secret: Secret(strings.Repeat("x", maxSecret+1))}} {
		if _, err := a.Connect(t.Context(), c); err != ErrCredentials {
			t.Errorf("%q: %v", string(c.Secret)[:min(20, len(c.Secret))], err)
		}
	}
	if id, err := a.Connect(t.Context(), Credentials{User: "alice", Secret: "swordfish", ClientID: "phone"}); err != nil || id.Name != "alice" {
		t.Errorf("a chosen token with its user: %+v, %v", id, err)
	}
	if _, err := a.Bearer("swordfish"); err != ErrCredentials {
		t.Errorf("a chosen token alone: %v", err)
	}
	if _, err := a.Basic("", bobs); err != ErrCredentials {
		t.Errorf("basic without a user: %v", err)
	}
}

func TestExpiryAndSuspension(t *testing.T) {
	d := newDirectory("alice", "mallory")
	d.setState("mallory", store.AccountSuspended)
	a := newAuth(t, d)
	for at, want := range map[time.Time]error{noon.Add(-time.Second): ErrExpired, noon: ErrExpired, noon.Add(time.Second): nil} {
		s := d.token(t, "alice", "", at)
		id, err := a.Connect(t.Context(), Credentials{User: "alice", Secret: s, ClientID: "c"})
		if err != want || err == nil && !id.Expires.Equal(at) {
			t.Errorf("expires %v: %+v, %v", at, id, err)
		}
		if _, err := a.Bearer(s); err != want {
			t.Errorf("bearer that expires %v: %v", at, err)
		}
	}
	s := d.token(t, "mallory", "", time.Time{})
	if _, err := a.Connect(t.Context(), Credentials{User: "mallory", Secret: s, ClientID: "c"}); err != ErrSuspended {
		t.Errorf("suspended: %v", err)
	}
	if _, err := a.Connect(t.Context(), Credentials{User: "mallory", Secret: "guess", ClientID: "c"}); err != ErrCredentials {
		t.Errorf("suspension told to a stranger: %v", err)
	}
	if len(d.devices[2]) != 0 {
		t.Error("a refused login made a device")
	}
	if (Identity{}).Expired(noon) || !(Identity{Expires: noon}).Expired(noon) || (Identity{Expires: noon}).Expired(noon.Add(-1)) {
		t.Error("Expired")
	}
}

func TestOperator(t *testing.T) {
	d := newDirectory("alice")
	a := newAuth(t, d)
	s := NewToken(0)
	d.put(store.Token{Hash: s.Hash(), Scopes: []string{"accounts", "metrics"}})
	id, err := a.Bearer(s)
	if err != nil || !id.Operator || id.Account != 0 || !id.Allows("accounts") || !id.Allows("metrics") || id.Allows("backup") {
		t.Fatalf("%+v, %v", id, err)
	}
	all := NewToken(0)
	d.put(store.Token{Hash: all.Hash(), Scopes: []string{ScopeAll}})
	if id, err := a.Bearer(all); err != nil || !id.Allows("backup") {
		t.Errorf("all: %+v, %v", id, err)
	}
	if (Identity{Account: 1, Scopes: []string{ScopeAll}}).Allows("accounts") {
		t.Error("a user has a scope")
	}
	// An operator is no user: no session, no user name, and a user's token is no operator's.
	for _, c := range []Credentials{{Secret: s, ClientID: "c"}, {User: "alice", Secret: s, ClientID: "c"}, {User: "operator", Secret: s}} {
		if _, err := a.Connect(t.Context(), c); err != ErrCredentials {
			t.Errorf("MQTT as %q: %v", c.User, err)
		}
	}
	if _, err := a.Basic("alice", s); err != ErrCredentials {
		t.Errorf("basic: %v", err)
	}
	if id, err := a.Bearer(d.token(t, "alice", "", time.Time{})); err != nil || id.Operator {
		t.Errorf("a user: %+v, %v", id, err)
	}
	// A chosen operator token would be a secret among all requests.
	d.put(store.Token{Hash: Secret("swordfish").Hash(), Scopes: []string{ScopeAll}})
	if _, err := a.Bearer("swordfish"); err != ErrCredentials {
		t.Errorf("chosen operator token: %v", err)
	}
}

func TestClientIDs(t *testing.T) {
	d := newDirectory("alice")
	a := newAuth(t, d)
	s := d.token(t, "alice", "", time.Time{})
	for client, want := range map[string]error{"mosq-1": nil, "안녕": nil, "a/b +#": nil, strings.Repeat("x", 128): nil,
		strings.Repeat("x", 129): ErrClientID, "a\x00": ErrClientID, "\xff": ErrClientID, "a\nb": ErrClientID, "a\x1b[2J": ErrClientID, "\u009b": ErrClientID} {
		if _, err := a.Connect(t.Context(), Credentials{User: "alice", Secret: s, ClientID: client, Clean: true}); err != error(want) && !(want == nil && err == nil) {
			t.Errorf("%q: %v", client, err)
		}
	}
}

func TestStorageErrorsAreNotRefusals(t *testing.T) {
	d := newDirectory("alice")
	a := newAuth(t, d)
	s := d.token(t, "alice", "", time.Time{})
	d.fail = store.ErrUnavailable
	for name, login := range map[string]func() error{
		"connect": func() error {
			_, err := a.Connect(t.Context(), Credentials{User: "alice", Secret: s, ClientID: "c"})
			return err
		},
		"bearer": func() error { _, err := a.Bearer(s); return err },
	} {
		if err := login(); store.CodeOf(err) != store.CodeUnavailable || errors.Is(err, ErrCredentials) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	for name, c := range map[string]Config{"no directory": {}, "negative": {Directory: newDirectory(), Devices: -1}, "bad key": {Directory: newDirectory(), Keys: []Key{{}}}} {
		if _, err := NewAuthenticator(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestErrorsHaveCodes(t *testing.T) {
	for err, want := range map[*store.Error]store.Code{ErrCredentials: 401, ErrExpired: 401, ErrSuspended: 403, ErrOtherDevice: 403, ErrClientID: 400, ErrDevices: 507, ErrGuests: 429} {
		if store.CodeOf(err) != want || err.Text == "" || err.Word() == "" {
			b, _ := json.Marshal(err)
			t.Errorf("%s", b)
		}
	}
}
