// Brand is what a brand runs beside its channel: it posts over MQTT and over HTTP, sends a broadcast in several languages
// and follows its progress, gives coupons and redeems them as a till does, answers what followers write, and takes webhooks.
//
//	go run ./examples/brand -channel cafe -user brand -token TOKEN
//
// README.md beside it shows it with a demo server. It is a client like any other: no package of the server is in it.
//
// What it shows:
//
//   - Every request that changes something has an identifier of its own (Idempotency-Key in HTTP, Correlation Data in MQTT,
//     the key of a broadcast), so that after a broken connection it is sent again and carried out once.
//   - A follower's message is acknowledged when it was answered, not before. So a program that is killed gets it again, and
//     answers it under the same identifier: the follower sees one answer.
//   - How many such messages wait in memory is bounded by MQTT's Receive Maximum; the others wait in the server.
//   - A webhook is believed when its signature fits, is younger than five minutes, and was not taken before.
//
// # Goroutines
//
//	who                    how many                          ended by
//	connection (autopaho)  its own                           Brand.Close
//	subscriber             one per connection that came up   its SUBACK, or the connection
//	answers                one                               Brand.Close
//	webhooks               one, net/http's own beside it     run, before it returns
//	till                   one: reads lines                  the end of the input, or of the program
package main
