package store

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
)

// AccountID numbers a user. Numbers are never reused; 0 is nobody (the server itself where a sender is meant).
type AccountID uint64

// DeviceID numbers a client identifier within its account. It means nothing without the account: see DeviceOf.
type DeviceID uint64

// LogID numbers a log. Numbers are never reused; 0 is no log.
type LogID uint64

// Seq is the place of a record within its log: gapless from 1 in the order of commit. 0 is before the first.
type Seq uint64

// Epoch counts the lives of a store: 1 at first, raised by every restore from a backup, because a restore may take
// back sequences that clients have already seen. A position in a log is (Epoch, Seq).
type Epoch uint32

// Position is a place in the journal, the total order of everything committed by one store (one shard). It only ever
// grows. Positions of different shards cannot be compared.
type Position uint64

// DeviceOf derives the number of a device from its user's account and its MQTT client identifier. Two users may use
// the same client identifier without meeting. It is never 0, which stands for no device.
func DeviceOf(account AccountID, clientID string) DeviceID {
	h := sha256.New()
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(account))
	h.Write(b[:])
	h.Write([]byte(clientID))
	return max(1, DeviceID(binary.BigEndian.Uint64(h.Sum(nil))))
}

func (a AccountID) String() string { return "a" + strconv.FormatUint(uint64(a), 10) }
func (l LogID) String() string     { return "l" + strconv.FormatUint(uint64(l), 10) }

// String is the hexadecimal form that `hwangso device list` shows.
func (d DeviceID) String() string { return strconv.FormatUint(uint64(d), 16) }
