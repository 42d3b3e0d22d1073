// Package engine runs many MQTT client connections on a few threads, cheaply
// enough that a load generator on the server's own machine leaves the server
// most of the CPU.
//
// A Loop is one goroutine on its own thread around one epoll descriptor. It
// owns its connections, their timers and their handlers; nothing of them is
// locked. After one read of a connection its packets are parsed in place and
// handed to the connection's Handler; whatever the handler writes to that
// connection leaves in one write, together with the acknowledgements of what
// was received. Writes to other connections are collected and leave, one write
// a connection, before the loop waits again. In the steady state nothing is
// allocated per message.
//
// Goroutines: one a Loop, started by Start, ended by Close, which waits.
//
// Queues: functions given to Do wait in a slice that is unbounded, because
// only whoever coordinates a run calls it, a few times a connection at most. A
// connection's unsent bytes wait in Conn; Pending tells how many, and a handler
// that sends without waiting for answers has to look at it.
//
// The package promises order (packets are handed over as they arrive, writes
// leave as they were made) and that after Closed a Conn's handler hears nothing
// until the next Dial. It does not resend anything: what happens to
// unacknowledged messages is the handler's decision.
package engine
