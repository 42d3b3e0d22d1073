package store

import "context"

// Edge is a directed relation between two users.
type Edge uint8

// The edges. "Friend" always means that direction: b is in a's friends.
const (
	EdgeFriend Edge = 1
	EdgeBlock  Edge = 2
)

// Directory is the contract of what is looked up by key: accounts, devices, tokens, edges, answers. Every method that
// changes something is one atomic change, durable at return. Lists are ordered and paged; limits are checked inside
// the change, so that concurrent calls cannot exceed them.
type Directory interface {
	// CreateAccount stores a new account and returns it with its number and its name in lower case; CodeConflict if the
	// name is taken, CodeBad if it is not [A-Za-z0-9._~-]{1,64} or begins with "~", as open rooms' own ids of members do.
	CreateAccount(ctx context.Context, a Account) (Account, error)
	// SetAccount replaces Display, Status, Language and State of an account; CodeNotFound if there is none.
	SetAccount(ctx context.Context, a Account) error
	// Account and AccountByName (in whatever case) return an account or CodeNotFound. Cheap: they are asked per message.
	Account(id AccountID) (Account, error)
	AccountByName(name string) (Account, error)
	// Accounts lists accounts by number after the given one, at most max (0: 1,000).
	Accounts(after AccountID, max int) ([]Account, error)

	// EraseAccount removes a user for good, in one change: names and profile, the salt and so the key of everything it
	// ever wrote, devices, tokens, answers, its edges, what it follows, its rows in "user." tables. Nothing of it can be asked any more:
	// CodeNotFound, as for an account that never was; only the number stays taken. Its records keep their sequences and
	// read as recalled; edges of others to it, and its place in logs, stay as a number. A Store removes its sessions too.
	// CodeLocked while a Hold is on the account, CodeNotFound if there is none. Repeating it for an erased one does it
	// again and is no error; what a crash cut short is finished when the store is opened. The files still have what was
	// removed until Store.Compact. End the user's connections first.
	EraseAccount(ctx context.Context, id AccountID) error

	// Hold puts a hold, replacing one on the same account or log. CodeBad unless it names exactly one of the two,
	// CodeNotFound if there is no such account. Unhold ends the hold on the account or log that h names, CodeNotFound if
	// there is none. Holds lists them, accounts first, each by number.
	Hold(ctx context.Context, h Hold) error
	Unhold(ctx context.Context, h Hold) error
	Holds() ([]Hold, error)

	// PutDevice stores a device (new or changed), LastSeen to the hour. A new one beyond limit devices of the account
	// is CodeFull; limit 0 means none. CodeNotFound if there is no such account.
	PutDevice(ctx context.Context, d Device, limit int) error
	Device(a AccountID, d DeviceID) (Device, error)
	Devices(a AccountID) ([]Device, error)
	// RemoveDevice removes the device, every token that opens only it, and its answers; CodeNotFound if there is
	// neither.
	RemoveDevice(ctx context.Context, a AccountID, d DeviceID) error

	// PutToken stores a token, replacing one with the same hash; CodeNotFound if there is no such account.
	PutToken(ctx context.Context, t Token) error
	// RotateToken replaces a token by another of the same account in one change; the old one ends at oldExpires (Unix
	// milliseconds, above 0) unless it ended earlier anyway. CodeNotFound if there is no old one.
	RotateToken(ctx context.Context, old, replacement Token, oldExpires int64) error
	// TokenByHash returns a token of the account (0: operators), CodeNotFound if there is none. It does not look at
	// the expiry.
	TokenByHash(a AccountID, hash [32]byte) (Token, error)
	Tokens(a AccountID) ([]Token, error)
	RemoveToken(ctx context.Context, a AccountID, hash [32]byte) error

	// SetEdge adds or removes one directed edge; changed tells whether it moved. More than limit edges of a user are
	// CodeFull; limit 0 means none. An edge to oneself is CodeBad, a new one to or from nobody CodeNotFound.
	SetEdge(ctx context.Context, kind Edge, from, to AccountID, on bool, limit int) (changed bool, err error)
	// HasEdge is asked per message: cheap. A change acts on the next question after it returned.
	HasEdge(kind Edge, from, to AccountID) (bool, error)
	// Edges lists a user's edges by number after the given one, at most max (0: 1,000).
	Edges(kind Edge, from, after AccountID, max int) ([]AccountID, error)

	// PutAnswer keeps the answer to a changing request of a device, at most 256 per device, the oldest going first.
	// Time 0 is now. A Body over 4 KiB is CodeTooLarge. AnswerTo returns it, CodeNotFound if there is none or it is older
	// than 24 hours.
	PutAnswer(ctx context.Context, a AccountID, d DeviceID, request string, ans Answer) error
	AnswerTo(a AccountID, d DeviceID, request string) (Answer, error)
}

// Store is a storage engine: the contracts over one set of files or one database, but for Followers, which is given to
// those alone who deliver.
type Store interface {
	Log
	Directory
	Tables
	Sealer
	Sessions

	// Compact rewrites the files that are looked up by key without what was removed from them, while the store goes on:
	// what was erased before it began is in none of them when it returns. Bodies in the journal were sealed with a key
	// that is gone; the journal keeps them, with numbers, times and cids, until retention removes their segments. Copies of
	// the data made before an upgrade are removed. It takes its time, and disk space for a second copy of the largest
	// file. CodeConflict while a backup or another Compact runs.
	Compact(ctx context.Context) error

	// Healthy returns nil while appends can succeed, else why not (disk failing, nearly full).
	Healthy() error

	// Close makes everything lazy durable, ends background work and waits for it. Safe twice. Pending appends
	// resolve first.
	Close() error
}
