package graph

import (
	"context"
	"time"

	"github.com/hwangso/hwangso/store"
)

const tableProfile store.Table = "user.profile"

// Profile is what a user tells about itself beyond store.Account. The zero value is nothing.
type Profile struct {
	Birthday string `json:"birthday,omitempty"` // month and day, as in 02-29; "": not told
	Picture  string `json:"picture,omitempty"`  // identifier of a file of the user's own; "": none
}

// ValidBirthday reports whether s is a day of some year, as in 02-29. The year is nobody's business.
func ValidBirthday(s string) bool {
	_, err := time.Parse("2006-01-02", "2024-"+s) // a leap year
	return err == nil && len(s) == len("01-02")
}

// Profile is what a user tells about itself.
func (g *Graph) Profile(a store.AccountID) (*Profile, error) {
	return read[Profile](g, tableProfile, store.OwnerOf(a), "")
}

// SetProfile changes it durably. fn may be called several times; its error changes nothing and is returned. CodeNotFound:
// no such account.
func (g *Graph) SetProfile(ctx context.Context, a store.AccountID, fn func(*Profile) error) error {
	return change(ctx, g, tableProfile, store.OwnerOf(a), "", func(p *Profile) bool { return *p == Profile{} },
		func(p *Profile) ([]store.EdgePut, error) { return nil, fn(p) })
}
