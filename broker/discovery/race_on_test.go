//go:build race

package discovery

// raceEnabled says whether the race detector slows this test down.
const raceEnabled = true
