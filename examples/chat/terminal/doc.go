// Package terminal is a chat in a terminal: lines in, lines out, over examples/chat/client.
//
// # Goroutines
//
//	who     how many                                        ended by
//	outbox  one: sends what was typed, in order             the end of Run
//	marks   one: tells what was read, and who is typing     the end of Run
//	input   one: reads keys or lines                        the end of the input, or of the program: a read from a
//	                                                        terminal cannot be taken back
//
// What is typed waits in a queue of 256 lines while the server cannot be reached; beyond that a line is refused, and
// said so. It is not kept when the program ends.
package terminal
