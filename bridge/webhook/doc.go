// Package webhook tells brands and the makers of apps what happens to them: an event is a JSON document that is posted to
// an address of theirs. It is one more reader of the journal, and like every other it tells nothing that its reader could
// not see otherwise: a webhook about one follow, one opening or one coupon does not exist.
//
// # What it promises
//
//   - An event is durable before what caused it counts as told, and is forgotten when its receiver has answered 2xx. A crash
//     repeats events, under the same identifier; it loses none.
//   - Events of one subject (a thread, a broadcast, a channel, an app) arrive in their order: the next one waits until the
//     one before is answered. No subject waits for another, and no endpoint for another one's subject.
//   - The text of a message is in no row here. It is read when the event is sent, so what was taken back meanwhile, or whose
//     author is erased, is not told any more.
//
// # Full, and failing
//
// An endpoint has at most MaxWaiting events that wait, for at most MaxAge. Beyond either the oldest are dropped and counted,
// and its owner is told the number. An attempt that fails is repeated, a second later, then twice as long each time, up to
// an hour, half of it by chance; Retry-After counts for the whole endpoint. One that has failed several times in a row gets
// one request at a time until one succeeds; then everything that waits is tried again. An endpoint that has answered 410,
// or with nothing but failures for MaxAge, is disabled: what waits is dropped, nothing is kept for it, and its owner gets a
// notice. Setting it again enables it.
//
// The reader of the journal waits while rows cannot be written: the journal is the queue before the queue. In memory an
// event that waits takes some 500 bytes.
//
// # Strangers' addresses
//
// Where events go is chosen by strangers: see egress.Guard. https alone (http to allowed addresses), no redirects, no proxy
// of the environment, 10 seconds for an attempt, and of the answer the status and Retry-After. Each endpoint has a share
// (perEndpoint) of the requests under way, and each host (perHost).
//
// # Rows
//
//	service.webhook       owner: none; key: owner and identifier. The endpoint: address, secrets, how it answered
//	service.webhookevent  owner: the endpoint's identifier; key: order and identifier. What waits
//
// # Goroutines
//
//	read      one: the journal                              Close
//	dispatch  one: begins attempts when they are due        Close
//	attempt   at most Config.InFlight: one request each     its answer, or 10 seconds; Close gives them 5
//	keep      one: writes how endpoints are, looks for the day's numbers, drops what is too old    Close
package webhook
