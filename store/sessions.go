package store

import "context"

// Sessions is the contract of what the devices' sessions and the journal's followers keep. Losing its last seconds
// costs redeliveries, never a message; only Save is durable at return.
type Sessions interface {
	// LoadSession returns the device's row including everything put before, CodeNotFound if there is none. Cursors
	// of an older epoch are capped to the heads.
	LoadSession(a AccountID, d DeviceID) (*Session, error)

	// SaveSession replaces the row durably: new filters, a clean start, a session's end. Epoch 0 is the current one.
	SaveSession(ctx context.Context, s *Session) error

	// PutCursors merges acknowledgements into the device's row without waiting for the disk: each given cursor's Acked
	// through Cursor.Ack of the one in the row (its other fields are not looked at, so a caller that does not know the
	// row cannot fill a hole in it). It is written within seconds and at Close. For a row that does not exist (a
	// guest) it does nothing.
	PutCursors(a AccountID, d DeviceID, cursors map[LogID]Cursor)

	// PutDisconnect does the same and records the time of the disconnect and the deliveries in flight. Time 0 says that
	// the device is connected again, so that its session does not expire.
	PutDisconnect(a AccountID, d DeviceID, cursors map[LogID]Cursor, at int64, inflight []Inflight)

	// Rewind takes the cursors of all devices of an account in one log back (Cursor.Rewind), durably, and those put and
	// not yet written with them. What the rows have in flight of the log beyond after is forgotten: it will be delivered
	// anew. A device that has no cursor in the log is left alone: it has confirmed nothing.
	Rewind(ctx context.Context, a AccountID, log LogID, after Seq) error

	// DeleteSession removes the row durably (a removed device). No error if there is none.
	DeleteSession(ctx context.Context, a AccountID, d DeviceID) error

	// CursorOf returns one device's cursor in one log; a device without a row has confirmed nothing.
	CursorOf(a AccountID, d DeviceID, log LogID) (Cursor, error)

	// ExpireSessions ends the MQTT sessions whose expiry passed before now (Unix milliseconds), at most max, and
	// returns how many: their filters and in-flight lists go, their cursors stay.
	ExpireSessions(ctx context.Context, now int64, max int) (int, error)

	// ReaderPosition is the durable position of a named follower, 0 for a new one.
	ReaderPosition(name string) (Position, error)

	// PutReaderPosition moves it, lazily like PutCursors.
	PutReaderPosition(name string, p Position)
}
