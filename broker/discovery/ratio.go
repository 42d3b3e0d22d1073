package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hwangso/hwangso/store"
)

// ratios is how much of their address books accounts find here, by country: a histogram each, in which an account
// stands once. Whoever tries numbers at random stands far below. Only counts are kept; they lie in memory and are saved
// at every tick.
type ratios struct {
	store   store.Store
	limits  Limits
	enough  atomic.Bool // the service has Limits.Accounts; it does not get fewer
	mu      sync.Mutex
	by      map[string]*histogram // "" is the whole world
	changed map[string]bool
}

const (
	ratioSteps = 256
	ratioLeast = 50  // numbers an account has tried before it stands anywhere
	ratioCrowd = 100 // accounts of a country before it has a median of its own
	ratioKey   = "ratio/"
)

type histogram [ratioSteps]int32

func (r *ratios) init(s store.Store, l Limits) error {
	r.store, r.limits = s, l
	r.by = make(map[string]*histogram)
	r.changed = make(map[string]bool)
	rows, err := s.Rows(tableService, "", ratioKey, "", 0)
	if err != nil {
		return fmt.Errorf("discovery: ratios: %w", err)
	}
	for _, row := range rows {
		h := new(histogram)
		if err := json.Unmarshal(row.Value, h); err != nil {
			return fmt.Errorf("discovery: ratios: %w", err)
		}
		r.by[strings.TrimPrefix(row.Key, ratioKey)] = h
	}
	return nil
}

// judge counts an account's ratio and reports whether it is so low that this cannot be an address book.
func (r *ratios) judge(v *account) (silent bool, err error) {
	if v.Tried < ratioLeast {
		return false, nil
	}
	enough, err := r.meansAnything()
	if err != nil {
		return false, err
	}
	place := 1 + v.Hits*(ratioSteps-1)/v.Tried
	r.mu.Lock()
	defer r.mu.Unlock()
	if enough && v.Tried > r.limits.Tried {
		// Hits/Tried < median/Ratio, in whole numbers.
		silent = v.Hits*(ratioSteps-1)*r.limits.Ratio < r.median(v.Zone)*v.Tried
	}
	if silent { // it must not pull the median down
		place = 0
	}
	if place != v.Place {
		for _, zone := range []string{v.Zone, ""} {
			r.move(zone, v.Place, place)
			if v.Zone == "" {
				break
			}
		}
		v.Place = place
	}
	return silent, nil
}

func (r *ratios) move(zone string, from, to int) {
	h := r.by[zone]
	if h == nil {
		h = new(histogram)
		r.by[zone] = h
	}
	if from > 0 && h[from-1] > 0 { // a crash may have forgotten it
		h[from-1]--
	}
	if to > 0 {
		h[to-1]++
	}
	r.changed[zone] = true
}

// median is the step in the middle of a country's accounts, of the world's while there are few.
func (r *ratios) median(zone string) int {
	for _, z := range []string{zone, ""} {
		h := r.by[z]
		if h == nil {
			continue
		}
		total := 0
		for _, n := range h {
			total += int(n)
		}
		if total < ratioCrowd {
			continue
		}
		seen := 0
		for i, n := range h {
			if seen += int(n); 2*seen >= total {
				return i
			}
		}
	}
	return 0
}

// meansAnything reports whether the service has enough accounts. Numbers of accounts are given in order.
func (r *ratios) meansAnything() (bool, error) {
	if r.enough.Load() {
		return true, nil
	}
	some, err := r.store.Accounts(store.AccountID(r.limits.Accounts-1), 1)
	if err != nil {
		return false, fmt.Errorf("discovery: accounts: %w", err)
	}
	if len(some) > 0 {
		r.enough.Store(true)
	}
	return len(some) > 0, nil
}

func (r *ratios) save(ctx context.Context) error {
	var puts []store.RowPut
	r.mu.Lock()
	for zone := range r.changed {
		b, err := json.Marshal(r.by[zone])
		if err != nil {
			r.mu.Unlock()
			return fmt.Errorf("discovery: ratios: %w", err)
		}
		puts = append(puts, store.RowPut{Table: tableService, Key: ratioKey + zone, Value: b})
	}
	clear(r.changed)
	r.mu.Unlock()
	if len(puts) == 0 {
		return nil
	}
	if err := r.store.Update(ctx, store.Update{Rows: puts}); err != nil {
		r.mu.Lock()
		for _, p := range puts { // for the next time
			r.changed[strings.TrimPrefix(p.Key, ratioKey)] = true
		}
		r.mu.Unlock()
		return fmt.Errorf("discovery: ratios: %w", err)
	}
	return nil
}
