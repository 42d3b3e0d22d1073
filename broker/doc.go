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
// # Deviations from MQTT
//
// The server counts as the publisher of what it delivers: the QoS of a delivery is that of the subscription, at most
// 1, whatever the QoS it was published with. Overlapping filters give one delivery, not several.
//
// # Goroutines
//
//	who           how many                                    ended by
//	follow        one per Broker                              Close
//	housekeep     one per Broker: saves cursors, ends sessions   Close
//	rewind        one per Broker: delivers what was accepted     Close
//	tellPresence  one per Broker: tells who comes and goes    Close
//	pump          one per session that has something to write  5 s without one, Close; see workers
//	request       one per control request, 16 per session     the operation's end
//
// Close waits for all of them.
//
// # Locks
//
// Session.mu guards what the pump, the link's reader and the follower share, and is never held while a socket is
// written, a log is read or somebody else's function is called. registry.mu guards who is attached.
package broker
