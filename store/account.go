package store

// AccountState is an account's standing with the operator.
type AccountState uint8

// The states.
const (
	AccountOK        AccountState = iota
	AccountLimited                // under reports: may not begin new conversations
	AccountSuspended              // may not do anything
	AccountLocked                 // may not log in, because its phone number went to another account
	AccountErased                 // a tombstone: only its number is left, so that it is never given again
)

// Account is a user.
type Account struct {
	ID       AccountID
	Name     string // the identifier in topics, lower case, unique
	Display  string // the name shown, "" means Name
	Status   string // a line about oneself
	Language string // BCP 47; "" means English
	State    AccountState
	Created  int64 // Unix milliseconds
}

// Shown is the name to show.
func (a Account) Shown() string {
	if a.Display != "" {
		return a.Display
	}
	return a.Name
}

// Device is a client identifier of a user that outlives its connections.
type Device struct {
	Account  AccountID
	ID       DeviceID
	ClientID string // as the client sends it in CONNECT
	Label    string
	Created  int64
	LastSeen int64 // Unix milliseconds, kept to the hour
	NoEcho   bool  // its own messages are not sent back to it
}

// Token opens an account to whoever knows the secret, of which only the hash is kept.
type Token struct {
	Account AccountID // 0 for an operator's token
	Hash    [32]byte  // SHA-256 of the secret
	Device  DeviceID  // 0: an account token, opens any client identifier
	Label   string
	Scopes  []string // of an operator's token what it may do; a user's token with scopes opens only what they name
	Created int64
	Expires int64 // Unix milliseconds, 0: never
}

// Answer is the stored answer to a changing request, so that its repetition does nothing twice.
type Answer struct {
	Status int
	Body   []byte // ≤ 4 KiB, never a secret
	Time   int64
}
