// Package apns carries pushes to Apple's devices, over github.com/sideshow/apns2 and a transport of our own.
//
// What it promises beyond push.Provider:
//
//   - One Send is one request. What HTTP/2 says was not processed (RFC 9113, 6.8 and 8.7: a stream above the last one of
//     a GOAWAY, REFUSED_STREAM) is sent on another connection within the same Send; nothing else is ever repeated.
//   - Nothing of an answer is lost: status, reason, Retry-After, and since when a token is gone, whatever the body is.
//   - Unknown means that the push may have arrived. What certainly never reached Apple is Unavailable.
//   - One connection to each of the two hosts, production and sandbox. A new one carries one push until that is answered,
//     and then as many as Apple allows and Config.InFlight. One that answers no ping is replaced within 12 seconds.
//   - One provider token per key, the same in every process that has the key and clock, renewed every 30 to 50 minutes and
//     never twice within 20. The key's file is read again when it changes; with the new key come new connections.
//
// No error, log line or answer of it has a device token, a topic's push or a key in it.
//
// # Goroutines
//
//	what                     how many                 ended by
//	dialing                  one per host at most     10 s, or Close
//	looking for free places  one per host at most     nobody waiting for one, or Close
//	closing a connection     one per connection       itself
//	an old key's connections one per key that was     the last Send that has begun with it
//
// Close waits for all of them. Beside these http2.Transport has one per connection and one per request.
//
// # Queues
//
// Sends above Config.InFlight wait within Send, as long as its context and 15 seconds allow; one that had no turn is
// Unavailable. Who calls bounds how many there are: package lane does.
package apns
