// Package client is a chat client on MQTT 5 for one user's device. It shows what a client of hwangso has to do, and
// what it need not:
//
//   - One SUBSCRIBE for everything, once: a filter selects, it never grants. Rooms joined later need no new one.
//   - A persistent session: what was written while the device was away arrives at the next connection, in order.
//   - Every message has a cid of its own. After a broken connection the message is sent again with the same cid, and
//     the server tells the number it got the first time. So a message is stored once however often it is sent.
//   - One message is on its way at a time, so what one person writes keeps its order.
//
// # Goroutines
//
//	who                    how many                       ended by
//	connection (autopaho)  its own                        Close, or the context given to New
//	subscriber             one per connection that came up   its SUBACK, or Close
//
// Handlers are called from the connection's goroutine, one after the other. They must not wait for the network: a
// handler that calls Send waits for an acknowledgement that cannot arrive before it returns.
package client
