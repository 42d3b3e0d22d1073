package bridge

import (
	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Status is how the bridge is, for operators. There is no token, user or conversation in it.
type Status struct {
	Behind    int64 `json:"behind"`    // bytes of the journal that are not read yet
	Unsettled int   `json:"unsettled"` // entries that were read, and would be read again after a crash
	Rings     int   `json:"rings"`     // conversations of devices that something is under way with, in memory
	Rows      int64 `json:"rows"`      // those that wait as rows: windows, retries, quiet hours

	Lanes []lane.Status `json:"lanes"` // each provider that is set up, by name
}

// Operated is what operators ask of the bridge, and change; a *Bridge has it.
type Operated interface {
	// Status tells how the bridge and each provider is at this moment.
	Status() Status

	// Resume ends the pause of a provider: the next push finds out whether it works again. paused tells whether there was
	// one, known whether the provider is set up.
	Resume(p graph.PushProvider) (paused, known bool)

	// Last tells of each device of a user the newest decision that came to a provider's answer, by device, as far as
	// decisions are still in memory.
	Last(a store.AccountID) []Decision
}
