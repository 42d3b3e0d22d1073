// Package store holds the words of hwangso, their rules, and the contracts that a storage engine implements.
//
// The words: an Account is a user, a Device is one client identifier of a user, a log is a conversation (a pair of
// users, a room, a user's notices) with a gapless sequence of records from 1, a Cursor is how far a device has
// confirmed a log, a mark is how far a user has read it.
//
// Four contracts:
//
//   - Log: appending with group commit, reading, following. A nil error of a Pending means durable.
//   - Directory: accounts, devices, tokens, edges between users. Every method is one atomic, durable change.
//   - Tables: rows of one owner, for whatever a feature has to remember.
//   - Sessions: what a device's MQTT session needs across disconnects and restarts.
//
// Methods describe a change by values (what to append, put or delete, under which conditions) and never take a
// function that runs inside a transaction: an engine on the other side of a network could not run it. One change
// stays within one owner: a room, a pair, or a user. Nothing a contract returns may be modified by the caller:
// records, memberships and snapshots are shared between readers.
//
// The package promises nothing about speed and imports nothing but the standard library. Package storetest states
// the contracts as tests; package bolt is the embedded implementation.
package store
