// Package broadcast has a brand's posts go out when they are to, once, and lets the brand stop, hold and follow them.
//
// A broadcast is one record in one of a channel's two logs, whatever the number of followers. For whom it is, is decided
// at each delivery; this package knows nobody's followers and asks for numbers only.
//
// # What it promises
//
//   - Create with the same key is the same broadcast: what was answered is durable, and asking again does nothing twice.
//   - Each step is durable before the next one is begun. After a crash a broadcast goes on with the step it was in, and its
//     record is appended once: a post that was appended before a crash, of which nobody was told, is found by its cid.
//   - Pause, Resume and Cancel count from their answer on: who has not got the post by then waits, or does not get it.
//   - A broadcast of which the time was missed goes out late, unless it has expired; it does not go out on a channel that is
//     paused or suspended at that moment: it is paused then, and its publishers decide.
//
// # States
//
//	scheduled → running → done
//	scheduled ⇄ paused ⇄ running; any of these → canceled
//
// It runs until every follower has been considered by what wakes devices that are away (Pushes), or, where nothing does,
// until those who are there have been told. 24 hours after its end what became of it is counted, once.
//
// # What a brand learns
//
// How far a broadcast has come is told in steps of ten percent, and only where the channel's daily count is above 1,000;
// with fewer followers only its states. That it has ended is seen every five seconds by the clock, and not within the first
// five that it runs, so that the time it took tells nothing about one follower: neither by itself nor by beginning, or going
// on after a pause, a moment before it is looked. What takes longer, a provider that is slow or away, shows.
//
// # Rows
//
//	channel.broadcast    of the channel, by key: the broadcast. Once its record is appended, the row holds no text any more
//	channel.broadcast.open, channel.broadcast.age
//	                     which of them have not ended, and all of them by age
//	service.broadcast    of the service: by time, channel and key what is to be looked at then; nothing else is in memory,
//	                     however many broadcasts wait
//
// # Goroutines
//
//	run    one, from New to Close: looks at what is due; none with Config.Stored
package broadcast
