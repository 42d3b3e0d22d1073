package cmd

import (
	"os"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
)

// nightTable is what -nights says, over the hours that are known.
func (s *settings) nightTable() (hooks.Nights, error) {
	if s.nights == "" {
		return hooks.DefaultNights(), nil
	}
	file, err := os.Open(s.nights)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return hooks.ParseNights(file, hooks.DefaultNights())
}

// rules are what the settings say of who may do what. Pseudonyms come of the key of phone numbers, which is on no backup
// either.
func (s *settings) rules(phones *phone.Book) (hooks.AccessConfig, error) {
	nights, err := s.nightTable()
	if err != nil {
		return hooks.AccessConfig{}, err
	}
	c := hooks.AccessConfig{
		Secret: func(purpose, text string) [32]byte { return phones.Key().Sum(purpose, text) },
		Country: func(a store.AccountID) string {
			country, err := phones.Country(a)
			if err != nil {
				return ""
			}
			return country
		},
		Nights: nights, AdCap: s.adCap,
	}
	if s.adCap == 0 {
		c.AdCap = -1
	}
	return c, nil
}
