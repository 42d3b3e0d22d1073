// Package tty is what the programs need of a terminal: keys as they are pressed. It is no terminal library; Unix
// terminals that understand "carriage return, erase to the end of the line" are enough.
package tty
