//go:build race

package api

// raceEnabled says whether the race detector slows this test down.
const raceEnabled = true
