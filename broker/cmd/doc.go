// Package cmd is the hwangso program: its commands, their settings, and the order in which a server starts and stops.
// It is main's other half, and with main the one place that knows which implementations are used.
//
// # Settings
//
// Every flag of `hwangso serve` is also an environment variable (HWANGSO_ and its name in upper case, - as _) and a
// line `name = value` of the file that -config names. A flag goes before the environment, the environment before the
// file.
//
// # Start and stop
//
// A server starts from the inside out: data directory, broker, control API, listeners, admin socket. It stops in the
// opposite order: listeners close, clients are told, sessions save their cursors, the broker waits for what is under
// way, the data directory is closed last. The second signal ends the program at once; nothing acknowledged is lost
// even then.
//
// # Operators' commands
//
// A command such as `hwangso user add` speaks HTTP over DATA/admin.sock to the server that runs. When none runs it
// opens the data itself and calls the same handler in process. What is asked is the same in both cases.
//
// # Goroutines
//
//	who               how many                              ended by
//	listener          one per address, and the admin socket  shutdown
//	standard input    one, with -stop-with-stdin             the end of the input, or of the program
//	demo: output      two per server process, and its waiter  the end of the process
//	demo: keys        one                                   the end of the input, or of the program
//	demo: crash       one, after k, with the robot's writer  the end of the count
package cmd
