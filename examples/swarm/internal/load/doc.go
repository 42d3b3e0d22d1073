// Package load is the load generator swarm: its workloads, its flags and its
// reports. It needs Linux (epoll, /proc).
//
// A run is a fleet: shards (one epoll loop each, with everything that is
// counted on it) and peers (one connection each, which sends, receives or
// both). The coordinator, the goroutine that called Main, makes them, opens
// them, samples their published counters while they run, closes the loops and
// only then reads the rest. So nothing is locked per message.
//
// What is promised: every message of a run is judged (received, lost, doubled,
// out of order; refused and unanswered ones are told apart and never count as
// lost), latencies count from the intended time of sending, and a run ends: in
// time, by its count, or by -drain without progress. What is not: sending
// faster than one core can, and answers about messages of other runs, which are
// only counted.
//
// Goroutines: the loops (package engine), ended by fleet.close; those of idle
// TLS and WebSocket connections (see streams). Both are waited for.
package load
