// Package channel is what brands open and run: channels, who publishes in them, what their plans allow, and the directory
// in which people find them.
//
// A channel is two logs with one name, notices and advertising, whose members are its publishers, and a row of settings:
// see store.ChannelKey and graph.Channel. Who follows it is no part of this package and cannot be had from it.
//
// # Promises
//
//   - A channel's posts go out from its approval on, and not while it is paused or suspended: deliveries ask at the moment
//     they are made.
//   - What a plan allows is counted durably before a post is taken (Spend, Broadcast), once for each identifier, so that a
//     repeat neither costs twice nor is refused for what it has cost before.
//   - A change of publishers is in both logs. Where a crash came between the two, the next change mends it.
//   - The directory ranks by what the daily snapshot says, so that the order of results tells nothing newer.
//
// The package starts no goroutine.
package channel
