package hooks

import (
	"slices"
	"strings"

	"github.com/hwangso/hwangso/store"
)

// A key is a user's token with scopes, for a program: it opens what its scopes name and nothing else of the account. A
// scope is a kind and a name, such as channel:acme.

// The kinds of scope that a key may have.
const (
	ScopeChannel = "channel" // a channel of which the account is a publisher
	ScopeRedeem  = "redeem"  // a shop: the coupons of a channel
	ScopeApp     = "app"     // a third-party app
)

// KeyScope is the scope of a kind for what has this name.
func KeyScope(kind, name string) string { return kind + ":" + name }

// Key reports whether the identity is that of a key.
func (i Identity) Key() bool { return !i.Operator && len(i.Scopes) > 0 }

// Opens reports whether a key has the scope. Of what is no key it says nothing: false.
func (i Identity) Opens(kind, name string) bool {
	return i.Key() && slices.Contains(i.Scopes, KeyScope(kind, name))
}

// errKey is what a key is refused with. It says nothing about what it does not open.
var errKey = &store.Error{Code: store.CodeForbidden, Reason: "scope", Text: "this key does not open that"}

// ErrKey refuses what a key does not open.
func ErrKey() error { return errKey }

// Admits reports whether the identity may publish to a topic and get deliveries on it, as far as its token is
// concerned: a key only on those of its channels, and of control requests and answers. Everything else is for Access to
// decide.
func (i Identity) Admits(t Topic) bool {
	if !i.Key() {
		return true
	}
	switch t.Place {
	case Channel, Thread:
		return i.Opens(ScopeChannel, t.Name)
	case API, Reply:
		return true
	}
	return false
}

// AdmitsTopic is Admits for a topic as it is delivered.
func (i Identity) AdmitsTopic(topic string) bool {
	if !i.Key() {
		return true
	}
	place, rest, _ := strings.Cut(topic, "/")
	name, _, _ := strings.Cut(rest, "/")
	return i.Admits(Topic{Place: parsePlace(place), Name: name})
}

// keyClient is the client identifier of a device that a key opens: in a space of its own beside the account's devices, so
// that it takes no session over. It is the same for every key with these scopes, so that a new key goes on where the old
// one stopped.
func keyClient(scopes []string, client string) string {
	return KeyDevices(scopes) + client
}

// KeyDevices begins the client identifiers of the devices that keys with these scopes open.
func KeyDevices(scopes []string) string { return keyDevice + strings.Join(scopes, ",") + "/" }

const keyDevice = "key/"

// IsKeyDevice reports whether a client identifier is of a device that a key has opened.
func IsKeyDevice(client string) bool { return strings.HasPrefix(client, keyDevice) }
