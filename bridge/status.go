package bridge

import (
	"maps"
	"slices"

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

// Told is how the server tells the bridge what the journal does not; a *Bridge has it.
type Told interface {
	// Detached: a connection of a device has ended, or its user has turned away from it. It returns at once.
	Detached(a store.AccountID, d store.DeviceID)
	// Changed: something about a user and a conversation, with log 0 all of its conversations, is another way.
	Changed(a store.AccountID, log store.LogID) error
}

var (
	_ Asked    = (*Bridge)(nil)
	_ Operated = (*Bridge)(nil)
	_ Told     = (*Bridge)(nil)
)

// Status implements Operated.
func (b *Bridge) Status() Status {
	_, end := b.store.Bounds()
	_, unsettled := b.ledger.passed()
	s := Status{Behind: max(0, int64(end)-int64(b.read.Load())), Unsettled: unsettled, Rings: b.table.len(), Rows: b.rowsDue.Load(), Lanes: []lane.Status{}}
	for _, p := range slices.Sorted(maps.Keys(b.lanes)) {
		if l, ok := b.lanes[p].(interface{ Status() lane.Status }); ok {
			s.Lanes = append(s.Lanes, l.Status())
		}
	}
	return s
}

// Resume implements Operated.
func (b *Bridge) Resume(p graph.PushProvider) (paused, known bool) {
	l, known := b.lanes[p].(interface{ Resume() bool })
	return known && l.Resume(), known
}

// Last implements Operated.
func (b *Bridge) Last(a store.AccountID) []Decision {
	newest := make(map[store.DeviceID]Decision)
	for _, n := range b.audit.about(a, func(n *remark) bool { return n.answer != nil }) {
		newest[n.device] = n.decision()
	}
	out := make([]Decision, 0, len(newest))
	for _, d := range slices.Sorted(maps.Keys(newest)) {
		out = append(out, newest[d])
	}
	return out
}
