// Package pushsim is Apple's, Google's and the browsers' push services on one's own machine: with it the whole product
// runs, and is tested, without an account anywhere.
//
// What it promises:
//   - The protocols are the real ones: HTTP/2 over TLS frame by frame, signed provider tokens, the rules for headers and
//     payloads with the providers' own reasons. A client that works here works there.
//   - An attempt is in the log before the first byte of its answer is written, and so is what it did to the phone.
//   - A phone shows what a real one would: see Phone.
//   - With the same seed and the same order of requests, the same faults happen.
//
// What it does not: it keeps no phone and no attempt on disk, and a restart forgets them; a web push subscription is the same
// after it. It shares no code with the bridge, so
// that a mistake there is not hidden by the same mistake here.
//
// # A provider
//
// A provider is a service: it reads a request into an Attempt, judges it by the state of the device and renders the
// answer. What lies between is the same for all (exchange.go): faults, phones, the log, and the carrying out of what a
// fault demands of the connection.
//
// # Goroutines
//
//	who        how many                                     ended by
//	accept     one per listener                             Close
//	serve      one per connection, 1,000 at most a listener: reads   the peer, a fault, Close
//	write      one per connection                           serve's end
//	late       one per request whose answer is held back    its time, the connection's end
//	control    net/http's, 100 connections at most          Close
//
// Close waits for all of them.
//
// # The control port
//
// JSON over HTTP on a loopback address; GET / lists what it can do. Durations are texts such as "1m30s". Errors have a
// status and {"error": "…"}. It lets in whoever can reach it, so it refuses requests of web pages and of other machines.
//
//	curl -X PUT -H 'Content-Type: application/json' -d '{"provider":"apns","token":"…","state":"offline"}' $CONTROL/v1/devices
//	curl -X POST -H 'Content-Type: application/json' -d '{"provider":"apns","for":"2m"}' $CONTROL/v1/presets/outage
//	curl $CONTROL/v1/events
//
// # Locks
//
// journal.mu, phones.mu, faults.mu, conn.mu and those of the services are leaves: nobody takes one while holding another, and none is held while
// a socket is written or somebody else's function is called.
package pushsim
