// Package broker is the running server behind the connections: one way in for messages, and sessions that serve each
// device from the logs.
//
// # The path of a message
//
// A link (package wire) gives a PUBLISH to Session.Publish. It asks the rules (package hooks), appends to the log and
// returns; the future result is queued in arrival order. Once the record is durable, two things happen at the same
// time: the session's pump writes the outcome, and the follower, a reader of the journal, wakes the sessions that the
// record concerns. A wake-up says that a log has grown; it carries no message. The woken session's pump reads the log
// from where its device stands, within the device's window, and writes.
//
// So there is no queue per device. What a slow, stuck or absent device costs is its window and a cursor.
//
// # Promises
//
//   - An outcome without error is written after the record is durable.
//   - A device gets each record of a log that it may see once, in order, with the sequence that everybody sees; what
//     it has not acknowledged is sent again on its next connection, with DUP. After a crash of the server it may get a
//     record again, under the same sequence.
//   - A filter selects and never grants. Who may see a record is decided when it is delivered.
//   - Deliveries have QoS 0 or 1. One with QoS 0 counts as delivered once any packet arrives from the device after it
//     was written: a dead link confirms nothing.
//
// # Channels
//
// A channel's followers are no members of its logs, and there may be millions. Who is connected, follows and has a filter
// for it is listed by channel (audience.go): 80 bytes for each channel and device, none for who follows nothing. Posts are
// read as the server sees them, and hooks.Follower decides record by record in the moment of delivery; no page is kept
// from one write to the next, so leaving, a consent that ends and a post that is canceled act on all that was not written
// yet. A post that waits, for the morning or until it is resumed, parks the feed: nothing behind it in that log is
// delivered. One entry per channel and time, or PostChanged, has those look again who wait.
//
// # Lanes
//
// Chat wakes its sessions at once. Followers are woken by the herald (herald.go): a slice at a time, the next one when
// those have written, at a pace that yields to chat (pace.go). What a chat message can find before it in the run queue is
// so a slice, and not all followers. A session whose device does not read is waited for 5 ms once. Whoever is told later
// gets in one write what was posted until then. The floor of the pace, 2,000 sessions a second, says how long the last
// follower waits at most: 15,000 have a post after 7.5 s on a machine that has nothing to spare. Devices that come back
// after a long absence share a budget of records (lane.go), each pump pausing for itself.
//
// # Deviations from MQTT
//
// The server counts as the publisher of what it delivers: the QoS of a delivery is that of the subscription, at most
// 1, whatever the QoS it was published with. Overlapping filters give one delivery, not several.
//
// # Goroutines
//
//	who           how many                                    ended by
//	follow        one per Broker                              Close
//	housekeep     one per Broker: saves cursors, ends sessions, wakes what was parked   Close
//	rewind        one per Broker: delivers what was accepted     Close
//	proclaim      one per Broker: the herald, wakes followers  Close
//	tellPresence  one per Broker: tells who comes and goes    Close
//	pump          one per session that has something to write  5 s without one, Close; see workers
//	request       one per control request, 16 per session     the operation's end
//
// Close waits for all of them.
//
// # Locks
//
// Session.mu guards what the pump, the link's reader and the follower share, and is never held while a socket is
// written, a log is read or somebody else's function is called. registry.mu guards who is attached. audiences.mu, parks.mu
// and progresses.mu are leaves, taken under Session.mu. audiences.turns are taken before any of them.
package broker
