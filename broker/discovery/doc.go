// Package discovery finds a user's contacts by their phone numbers, tells users when a contact joins, and lets strangers
// be looked up by identifier, so that none of the three can be harvested.
//
// What it promises:
//   - A number becomes an HMAC before anything is stored. The key lies outside the database.
//   - A user appears to whom it wants to: to those whose number it has too (the default), to anyone who has its number, or
//     to nobody. A block changes none of these answers, or it could be noticed.
//   - What one account, one network and one country's habits allow bounds every answer: see Limits.
//   - A contact that joins is told of once, durably, to those who wait for the number.
//
// What it does not: whoever has the HMAC key and the database can try all numbers of a country.
//
// # Rows
//
// All of them in store.Tables; those that begin with "user." go with the account.
//
//	user.book            packed HMACs of a user's address book (8 bytes each) and whom each was resolved to (2 bytes)
//	user.discovery       budgets and the hit ratio of an account
//	user.discovery.new   numbers a sync has added, until the worker has met them
//	user.discovery.slow  numbers of a sync that wait because their network has asked for many
//	user.joined          an account whose number is new, until those who wait for it have been told
//	user.friends         which friend changed when, for lists of changes
//	service.waiting      who waits for which number: see waiting
//	service.discovery    hit ratios by country; what networks have asked for today
//
// # Goroutines
//
// One per Discovery, started by New and ended by Close, which waits for it: the worker, which goes through the queues
// (rows), and starts up to 16 helpers at a time that it waits for. No queue lies in memory.
package discovery
