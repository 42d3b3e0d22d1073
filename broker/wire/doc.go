// Package wire is the MQTT edge: it accepts clients over TCP, TLS and WebSocket, speaks MQTT 3.1, 3.1.1 and 5 with
// them, and hands what they want to package broker. Nobody else names an MQTT packet.
//
// # A connection
//
// One goroutine per connection reads: a pooled buffer is taken when bytes have arrived and given back before waiting,
// so that an idle phone costs a small stack and a few hundred bytes. All complete packets of a buffer are handled
// before the next is read. The session's pump is the only writer once a session has started; it calls Write, which
// encodes deliveries, acknowledgements and the frames that the reading side gave to Session.Send, in order, into
// chunks of at most 16 KiB.
//
//	accept ─ read ─ CONNECT ─ Authenticator ─ Broker.Attach ─ CONNACK ─ Session.Start
//	                PUBLISH ─ aliases ─ Session.Publish ─ (disk) ─ Write: PUBACK, or why not
//	end    ─ Session.Detach ─ DISCONNECT (MQTT 5) ─ half-close ─ a while for the client to read it, see linger
//
// PUBLISH and its acknowledgements are decoded and encoded here, without allocation. The other packets go through the
// codec of mochi-mqtt, behind checks of our own (check.go): what passes them is well formed to the last byte.
//
// # What a client may cost
//
// Before its CONNECT is answered: ConnectTimeout and MaxPacketBeforeLogin bytes. Later: one packet of MaxPacket bytes,
// of which only what has arrived is held. A client that sends more than its packet rate, or more than the session
// takes, is not read for a while. One that does not read is closed after WriteStall without progress; one that reads
// slowly is not. Packets that break the protocol end their connection with a reason; a refused publish never does.
// A panic ends one connection.
//
// # Errors
//
// reasons.go is the one place where errors become reason codes, replies and return codes; Table shows it.
//
// # Goroutines
//
//	who            how many           ended by
//	Serve          the caller's       ctx, Shutdown
//	conn.serve     one a connection   its end; Shutdown waits for all. A quiet one is replaced by a fresh one
//	Shutdown       one while waiting  the end of the connections
//
// # Locks
//
// Server.mu guards the list of connections and is never held over a call of anything else. What the reader and the
// pump of a connection share is atomic.
package wire
