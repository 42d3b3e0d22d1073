package discovery

import (
	"fmt"

	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// visible decides whether an account that has a number shows itself to a viewer who has that number too. own is the
// viewer's number, the zero Hash if it has none; told says that the viewer was told of the account before.
//
// A block plays no part: what stands in truth table T4 shows the blocked one as much of the profile's name as anybody
// else, so the answer must be what it would be without. Nor does it end what was told: a user who blocks often deletes
// the contact too, and a contact that vanished with it would tell on the block. Only the setting "off" does, for everybody.
func (d *Discovery) visible(who, viewer store.AccountID, own phone.Hash, told bool) (bool, error) {
	u, err := d.store.Account(who)
	if store.CodeOf(err) == store.CodeNotFound || err == nil && u.State == store.AccountSuspended {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("discovery: account: %w", err)
	}
	s, err := d.graph.Settings(who)
	if err != nil {
		return false, fmt.Errorf("discovery: settings: %w", err)
	}
	// Asked whatever the setting is, so that the time tells nothing.
	mutual := false
	if own != (phone.Hash{}) {
		if mutual, err = d.has(who, shortOf(own)); err != nil {
			return false, err
		}
	}
	switch s.DiscoveryMode() {
	case graph.DiscoveryOff:
		return false, nil
	case graph.DiscoveryAnyone:
		return true, nil
	}
	return mutual || told, nil
}

// blocked reports whether one of two users blocks the other.
func (d *Discovery) blocked(a, b store.AccountID) (bool, error) {
	x, err := d.store.HasEdge(store.EdgeBlock, a, b)
	if err != nil {
		return false, fmt.Errorf("discovery: edge: %w", err)
	}
	y, err := d.store.HasEdge(store.EdgeBlock, b, a)
	if err != nil {
		return false, fmt.Errorf("discovery: edge: %w", err)
	}
	return x || y, nil
}
