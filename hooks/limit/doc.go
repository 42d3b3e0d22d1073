// Package limit holds who may do how much: rates by user, device and address, and the numbers of daily budgets. Every
// rule has a name, under which operators see and change it while the server runs; a change counts from the next packet.
//
// A rate is a token bucket (golang.org/x/time/rate): Burst at once, Count per Per in the long run. What is over it is
// refused with CodeTooMany, reason "rate" and the time after which one more is allowed. A refusal never ends a
// connection. Refusals are themselves counted, by the rule flood: who goes on at a multiple of the limit without heeding
// them is to be disconnected, which is the caller's part.
//
// # What it promises
//
//   - Memory is bounded: Config.Entries keys per rule. A key whose bucket is full again knows nothing that a new one
//     does not, and is forgotten. If all are in use, the one of sixteen that has the most left makes room: it gets its
//     burst back early, so a full table limits less, and locks nobody out.
//   - The three checks of a publish cost about 100 ns together: a session keeps its buckets at hand and takes a little
//     ahead (Meter). A check that looks its bucket up costs about three times that.
//   - A restart forgets what was spent. What must not be forgotten (daily budgets) is kept by whoever spends it; its
//     numbers are here.
//
// Addresses count by /32, IPv6 ones by /64. Addresses of Config.Exempt, and unknown ones, are not limited: they are
// this machine or a proxy that does not tell whom it speaks for.
//
// Failed logins count by address, and by address and account together. The second pauses: after the burst, each further
// failure doubles the pause, from one second to 15 minutes, and while it lasts the credentials are not looked at. There
// is no pause by account alone: whoever knows a name could lock its owner out.
//
// The package starts no goroutine. A nil *Limiter limits nothing.
package limit
