package hooks

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hwangso/hwangso/store"
)

// Limits of what one account may have open.
const (
	DefaultDevices = 10  // devices of an account
	DefaultGuests  = 20  // guest sessions of an account at a time
	MaxClientID    = 128 // bytes of a client identifier
	maxSecret      = 8 << 10
)

// What a login is refused with, beside storage errors, which are passed on. Unknown user and wrong token are the same
// error at the same cost.
var (
	ErrCredentials = &store.Error{Code: store.CodeAuth, Text: "user name or token is wrong"}
	ErrExpired     = &store.Error{Code: store.CodeAuth, Reason: "expired", Text: "the token has expired"}
	ErrSuspended   = &store.Error{Code: store.CodeForbidden, Reason: store.ReasonSuspended, Text: "the account is suspended"}
	ErrLocked      = &store.Error{Code: store.CodeForbidden, Reason: "number_moved", Text: "the account is locked: its phone number has gone to another account"}
	ErrErased      = &store.Error{Code: store.CodeAuth, Reason: "erased", Text: "the account was removed"}
	ErrOtherDevice = &store.Error{Code: store.CodeForbidden, Reason: "device", Text: "this token opens only its own device: connect with the client identifier it was made for"}
	ErrClientID    = &store.Error{Code: store.CodeBad, Reason: "client_id", Text: "the client identifier must be at most 128 bytes of printable UTF-8"}
	ErrDevices     = &store.Error{Code: store.CodeFull, Reason: "devices", Text: "the account has all the devices it may have: remove one, or connect with a clean session"}
	// ErrGuests is for whoever keeps the sessions: see Identity.Guest.
	ErrGuests = &store.Error{Code: store.CodeTooMany, Reason: "guests", Text: "the account has too many guest sessions open"}
)

// Directory is what the Authenticator asks; every store.Directory has it.
type Directory interface {
	Account(id store.AccountID) (store.Account, error)
	AccountByName(name string) (store.Account, error)
	TokenByHash(a store.AccountID, hash [32]byte) (store.Token, error)
	Device(a store.AccountID, d store.DeviceID) (store.Device, error)
	PutDevice(ctx context.Context, d store.Device, limit int) error
}

// Config is what an Authenticator works with.
type Config struct {
	Directory Directory        // required
	Keys      []Key            // of an outside identity provider; none: no JWTs
	Devices   int              // devices of an account; 0: DefaultDevices
	Now       func() time.Time // nil: time.Now
}

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	if c.Directory == nil {
		return errors.New("hooks: no directory")
	}
	if c.Devices < 0 {
		return fmt.Errorf("hooks: %d devices", c.Devices)
	}
	_, err := newVerifier(c.Keys, time.Now)
	return err
}

// Credentials are what a client says in CONNECT.
type Credentials struct {
	User     string // the user name; may be empty if the secret names the user
	Secret   Secret // the password
	ClientID string // "": the server chooses one
	// Clean says that the session ends with its connection: Clean Session 1 in MQTT 3, Session Expiry Interval 0 in
	// MQTT 5.
	Clean bool
	// Address is where the client comes from, as far as it is known: the zero Addr otherwise.
	Address netip.Addr
}

// Identity is who a client is. It is what remains of the credentials after a login.
type Identity struct {
	Account  store.AccountID
	Name     string // of the account, as in topics
	Device   store.DeviceID
	ClientID string // as sent, or as chosen
	Assigned bool   // the client identifier was chosen by the server
	NoEcho   bool   // the device's setting
	New      bool   // the device was created by this login
	// Guest says that this session is no device: nothing of it is kept. How many an account may have open
	// (DefaultGuests) is for the registry of sessions to hold, under the lock that adds the session: counted here, two
	// logins at once would both be the last one.
	Guest    bool
	Expires  time.Time // when the session ends; zero: it does not
	Token    [32]byte  // the hash of the token; zero for a JWT
	Operator bool
	Scopes   []string // of an operator's token, or of a user's that is a key: see Key
	// Address is where the client connects from, behind trusted proxies what they say; the zero Addr if it is not known.
	// It is for limits, and never kept.
	Address netip.Addr
}

// ScopeAll is the scope that includes every other.
const ScopeAll = "*"

// Allows reports whether an operator's token has the scope.
func (i Identity) Allows(scope string) bool {
	return i.Operator && (slices.Contains(i.Scopes, scope) || slices.Contains(i.Scopes, ScopeAll))
}

// Expired reports whether the identity has ended at that time.
func (i Identity) Expired(now time.Time) bool { return !i.Expires.IsZero() && !now.Before(i.Expires) }

// Authenticator tells who a client is. It keeps no state of its own and may be used from any goroutine.
type Authenticator struct {
	dir     Directory
	jwt     *verifier
	devices atomic.Int64
	now     func() time.Time
}

// NewAuthenticator returns an Authenticator, or what Validate says.
func NewAuthenticator(c Config) (*Authenticator, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Devices == 0 {
		c.Devices = DefaultDevices
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	v, err := newVerifier(c.Keys, c.Now)
	if err != nil {
		return nil, err
	}
	a := &Authenticator{dir: c.Directory, jwt: v, now: c.Now}
	a.SetDevices(c.Devices)
	return a, nil
}

// SetDevices changes how many devices an account may have, from the next login on. Devices beyond it stay.
func (a *Authenticator) SetDevices(n int) { a.devices.Store(int64(n)) }

// Connect authenticates an MQTT client and settles which device it is.
//
// A device token opens its one device; with an empty client identifier that device is meant. An account token and a
// JWT open any client identifier of the user: one that is a device already is that device; an unknown one becomes a
// device, within the limit, if the session outlives the connection, and is a guest if it does not.
//
// A key opens devices of its own, whose client identifiers begin with KeyDevices. Operator tokens do not open MQTT: a
// session belongs to a user.
func (a *Authenticator) Connect(ctx context.Context, c Credentials) (Identity, error) {
	if len(c.ClientID) > MaxClientID || !printable(c.ClientID) {
		return Identity{}, ErrClientID
	}
	id, err := a.who(c.User, c.Secret)
	if err != nil {
		return Identity{}, err
	}
	if id.Operator {
		return Identity{}, ErrCredentials
	}
	id.Address = c.Address
	own := id.Device // not 0: the token is for one device
	id.ClientID = c.ClientID
	if id.Key() {
		id.ClientID = keyClient(id.Scopes, strings.TrimPrefix(c.ClientID, KeyDevices(id.Scopes)))
		if c.ClientID == "" {
			id.ClientID, id.Assigned = id.ClientID+randomClientID(), true
		}
		if len(id.ClientID) > MaxClientID {
			return Identity{}, ErrClientID
		}
	} else if c.ClientID == "" {
		id.Assigned = true
		if own == 0 {
			id.ClientID = randomClientID()
		} else if d, err := a.dir.Device(id.Account, own); err == nil {
			id.ClientID = d.ClientID
		} else if store.CodeOf(err) == store.CodeNotFound {
			return Identity{}, ErrOtherDevice
		} else {
			return Identity{}, fmt.Errorf("hooks: device: %w", err)
		}
	}
	id.Device = store.DeviceOf(id.Account, id.ClientID)
	if own != 0 && own != id.Device {
		return Identity{}, ErrOtherDevice
	}
	return a.settle(ctx, id, c.Clean && own == 0)
}

// settle finds the device, or makes it one, or a guest.
func (a *Authenticator) settle(ctx context.Context, id Identity, guest bool) (Identity, error) {
	d, err := a.dir.Device(id.Account, id.Device)
	switch {
	case err == nil:
		id.NoEcho = d.NoEcho
		return id, nil
	case store.CodeOf(err) != store.CodeNotFound:
		return Identity{}, fmt.Errorf("hooks: device: %w", err)
	case guest:
		id.Guest = true
		return id, nil
	}
	now := a.now().UnixMilli()
	err = a.dir.PutDevice(ctx, store.Device{Account: id.Account, ID: id.Device, ClientID: id.ClientID, Created: now, LastSeen: now}, int(a.devices.Load()))
	if store.CodeOf(err) == store.CodeFull {
		return Identity{}, ErrDevices
	}
	if err != nil {
		return Identity{}, fmt.Errorf("hooks: new device: %w", err)
	}
	id.New = true
	return id, nil
}

// Bearer and Basic return the identity beside ErrSuspended, too.

// Bearer authenticates a request that carries a token alone: a user's token, a JWT, or an operator's token. Device is
// that of a device token, else 0.
func (a *Authenticator) Bearer(secret Secret) (Identity, error) { return a.who("", secret) }

// Basic authenticates a request by user name and token. The user name is required: a token that was chosen rather
// than made is no secret among all users, only for its own.
func (a *Authenticator) Basic(user string, secret Secret) (Identity, error) {
	if user == "" {
		return Identity{}, ErrCredentials
	}
	return a.who(user, secret)
}

// who tells whose secret it is.
func (a *Authenticator) who(user string, secret Secret) (Identity, error) {
	if len(secret) > maxSecret {
		return Identity{}, ErrCredentials
	}
	if len(a.jwt.keys) > 0 && secret.isJWT() {
		return a.byJWT(user, secret)
	}
	return a.byToken(user, secret)
}

// nobody is an account that does not exist: its tokens are looked up where there is no account, so that a wrong user
// name costs what a wrong token costs.
const nobody store.AccountID = math.MaxInt64

func (a *Authenticator) byToken(user string, secret Secret) (Identity, error) {
	account := store.Account{ID: nobody}
	var err error
	operator := false
	if user != "" {
		name, _ := NormalName(user)
		account, err = a.dir.AccountByName(name)
	} else if number, ok := secret.account(); ok && number == 0 {
		account.ID, operator = 0, true
	} else if ok {
		account, err = a.dir.Account(number)
	}
	if store.CodeOf(err) == store.CodeNotFound {
		account, err = store.Account{ID: nobody}, nil
	}
	if err != nil {
		return Identity{}, fmt.Errorf("hooks: account: %w", err)
	}
	hash := secret.Hash()
	token, err := a.dir.TokenByHash(account.ID, hash)
	if store.CodeOf(err) == store.CodeNotFound {
		return Identity{}, ErrCredentials
	}
	if err != nil {
		return Identity{}, fmt.Errorf("hooks: token: %w", err)
	}
	if subtle.ConstantTimeCompare(token.Hash[:], hash[:]) != 1 || account.ID == nobody || token.Account != account.ID {
		return Identity{}, ErrCredentials
	}
	id := Identity{Account: account.ID, Name: account.Name, Device: token.Device, Token: hash, Operator: operator, Scopes: token.Scopes}
	if token.Expires != 0 {
		id.Expires = time.UnixMilli(token.Expires)
	}
	return a.standing(id, account)
}

func (a *Authenticator) byJWT(user string, secret Secret) (Identity, error) {
	subject, expires, err := a.jwt.verify(secret)
	if err != nil {
		return Identity{}, err
	}
	name, ok := NormalName(subject)
	if given, valid := NormalName(user); !ok || user != "" && (!valid || given != name) {
		return Identity{}, ErrCredentials
	}
	account, err := a.dir.AccountByName(name)
	if store.CodeOf(err) == store.CodeNotFound {
		return Identity{}, ErrCredentials
	}
	if err != nil {
		return Identity{}, fmt.Errorf("hooks: account: %w", err)
	}
	return a.standing(Identity{Account: account.ID, Name: account.Name, Expires: expires}, account)
}

// standing refuses, to somebody whose secret is right, what has ended. Of a suspended account it tells whose it is, too:
// the account may still ask why.
func (a *Authenticator) standing(id Identity, account store.Account) (Identity, error) {
	if id.Expired(a.now()) {
		return Identity{}, ErrExpired
	}
	if account.State == store.AccountSuspended {
		return id, ErrSuspended
	}
	if account.State == store.AccountLocked {
		return Identity{}, ErrLocked
	}
	return id, nil
}

// printable reports whether a client identifier is well formed and cannot steer a terminal that shows it.
func printable(s string) bool {
	if !validText(s) {
		return false
	}
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return false
		}
	}
	return true
}

func randomClientID() string {
	var b [12]byte
	rand.Read(b[:])
	return "auto-" + hex.EncodeToString(b[:])
}
