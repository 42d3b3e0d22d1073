// Package storetest states the contracts of package store as tests, for every storage engine: Log, Directory and
// Sessions run tables, races and random operations against a model of maps and lists, with restarts in between; the
// fault and crash suites break the disk under the engine and kill its process.
//
// A suite gets a function that opens the engine over a directory, uses only what the contracts say, and prints the seed
// of its random operations. An engine passes when all suites do, with the race detector.
package storetest
