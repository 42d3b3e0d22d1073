package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/hwangso/hwangso/broker/discovery"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
)

// What operators set of the limits while the server runs lies in one row, as the words they wrote, so that a change is
// all of it or nothing. It goes before flags and defaults. A word that a newer or older program does not know, or that is
// not valid any more, is passed over and logged.
const (
	tableLimits = store.Table("service.limits")
	keyLimits   = "limits"
)

type limitLine struct {
	Name    string `json:"name"`
	Value   string `json:"value" doc:"A rate as count/period:burst, or a number."`
	Default string `json:"default" doc:"What it is when nobody has set it."`
	Set     bool   `json:"set,omitempty" doc:"It was set by an operator."`
	By      string `json:"by,omitempty" doc:"Of a rate, what it counts by."`
	Text    string `json:"text"`
}

type limitsOut struct {
	Limits []limitLine `json:"limits"`
}

type limitsSetIn struct {
	Set    map[string]string `json:"set,omitempty" doc:"Names and values, such as {\"publish\":\"50/s:1000\",\"group\":\"300\"}; a rate may be off."`
	Reset  []string          `json:"reset,omitempty" doc:"Names that get their default again."`
	Reason string            `json:"reason,omitempty" doc:"For the audit log."`
}

// sizes are the fields of Limits by name: what a user may have and ask for.
func sizes(l *Limits) map[string]*int {
	out := make(map[string]*int)
	v := reflect.ValueOf(l).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if p, ok := v.Field(i).Addr().Interface().(*int); ok && name != "-" {
			out[name] = p
		}
	}
	return out
}

// mostSize bounds what a size may be set to. Bodies and pages are held in memory.
func mostSize(name string) int {
	switch name {
	case "body":
		return 8 << 20
	case "page":
		return 1000
	case "batch", "title", "description", "display", "status", "label", "at_once":
		return 4096
	}
	return 1_000_000
}

// limitsFrom is what settings make of the limits.
func (a *API) limitsFrom(set map[string]string) (limit.Settings, Limits, error) {
	s := limit.Settings{Rates: make(map[limit.Rule]limit.Rate), Numbers: make(map[limit.Number]int)}
	l := a.cfg.Limits
	fields := sizes(&l)
	for _, name := range slices.Sorted(maps.Keys(set)) {
		value := set[name]
		if r, ok := limit.ParseRule(name); ok {
			rate, err := limit.ParseRate(value)
			if err != nil {
				return s, l, store.Bad(name + `: a rate is count/period:burst, such as "30/s:600", with a period from 1s to 30d, or off`)
			}
			s.Rates[r] = rate
			continue
		}
		n, err := strconv.Atoi(value)
		if number, ok := limit.ParseNumber(name); ok {
			s.Numbers[number] = n
			if err != nil || (limit.Settings{Numbers: map[limit.Number]int{number: n}}).Validate() != nil {
				return s, l, store.Bad(name + " must be a whole number from 0 on")
			}
			continue
		}
		field := fields[name]
		if field == nil {
			return s, l, store.Bad("there is no limit " + strconv.Quote(cut(name, 40)))
		}
		if err != nil || n < 1 || n > mostSize(name) {
			return s, l, store.Bad(name + " must be a whole number from 1 to " + strconv.Itoa(mostSize(name)))
		}
		*field = n
	}
	return s, l, s.Validate()
}

// storedLimits reads what was set, and the row's version.
func (a *API) storedLimits() (map[string]string, uint64, error) {
	row, err := a.store.Row(tableLimits, "", keyLimits)
	if err != nil {
		return nil, 0, fmt.Errorf("api: limits: %w", err)
	}
	set := make(map[string]string)
	if row.Version != 0 {
		if err := json.Unmarshal(row.Value, &set); err != nil {
			return nil, 0, fmt.Errorf("api: limits: %w", err)
		}
	}
	return set, row.Version, nil
}

// loadLimits puts into force what was set before the server was started.
func (a *API) loadLimits() error {
	set, _, err := a.storedLimits()
	if err != nil {
		return err
	}
	for name, value := range set {
		if _, _, err := a.limitsFrom(map[string]string{name: value}); err != nil {
			a.log.Warn("a stored limit is passed over", "limit", name, keyErr, err)
			delete(set, name)
		}
	}
	s, l, err := a.limitsFrom(set)
	if err != nil {
		return err
	}
	return a.useLimits(s, l)
}

func (a *API) useLimits(s limit.Settings, l Limits) error {
	if err := a.broker.Limits().Set(s); err != nil {
		return err
	}
	a.set.Store(&l)
	number := func(to *int, n limit.Number) {
		if v, ok := s.Numbers[n]; ok {
			*to = v
		}
	}
	a.finder.SetLimits(func(d *discovery.Limits) {
		d.Friends = l.Friends
		number(&d.FirstDay, limit.ContactsFirstDay)
		number(&d.First, limit.Contacts10Days)
		number(&d.PerDay, limit.ContactsDay)
		number(&d.PerMin, limit.ContactsMinute)
		number(&d.Prefix, limit.PrefixDay)
		number(&d.LookupsMin, limit.LookupsMinute)
		number(&d.LookupsDay, limit.LookupsDay)
	})
	a.cfg.Auth.SetDevices(l.Devices)
	return nil
}

func (a *API) limitsGet(_ context.Context, _ *caller, _ *none) (*limitsOut, error) {
	set, _, err := a.storedLimits()
	if err != nil {
		return nil, err
	}
	return a.limitLines(set), nil
}

func (a *API) limitLines(set map[string]string) *limitsOut {
	out := &limitsOut{Limits: []limitLine{}}
	add := func(l limitLine) {
		_, l.Set = set[l.Name]
		out.Limits = append(out.Limits, l)
	}
	for _, r := range limit.Rules() {
		now, base := a.broker.Limits().Rate(r.Rule)
		add(limitLine{Name: r.Name, Value: now.String(), Default: base.String(), By: string(r.By), Text: r.Text})
	}
	for _, n := range limit.Numbers() {
		add(limitLine{Name: n.Name, Value: strconv.Itoa(a.broker.Limits().Number(n.Number)), Default: strconv.Itoa(a.broker.Limits().BaseNumber(n.Number)), Text: n.Text})
	}
	base := a.cfg.Limits
	now, usual := sizes(a.limits()), sizes(&base)
	for _, name := range slices.Sorted(maps.Keys(now)) {
		add(limitLine{Name: name, Value: strconv.Itoa(*now[name]), Default: strconv.Itoa(*usual[name]), Text: sizeTexts[name]})
	}
	return out
}

// sizeTexts say what the sizes are of.
var sizeTexts = map[string]string{
	"group": "members of a room", "rooms": "rooms a user is in", "friends": "friends of a user", "blocks": "users a user blocks",
	"devices": "devices of a user", "tokens": "tokens of a user", "batch": "users named in one request", "page": "items of a page",
	"title": "bytes of a room's title", "display": "characters of a display name", "status": "characters of a status",
	"label": "characters of a label", "deleted": "separate ranges a user deleted in one conversation", "body": "bytes of a request",
	"at_once": "requests of a user under way", "description": "bytes of a room's description", "invites": "users a user invites a day",
}

func (a *API) limitsSet(ctx context.Context, _ *caller, in *limitsSetIn) (*limitsOut, error) {
	if len(in.Set)+len(in.Reset) == 0 {
		return nil, store.Bad("set or reset must name a limit")
	}
	if a.broker.Limits() == nil { // an embedding program without any
		for name := range in.Set {
			if _, rate := limit.ParseRule(name); rate {
				return nil, store.Bad("this server has no rates")
			}
		}
	}
	done, err := a.turns.take(ctx, turnLimits)
	if err != nil {
		return nil, err
	}
	defer done()
	set, version, err := a.storedLimits()
	if err != nil {
		return nil, err
	}
	for _, name := range in.Reset {
		if _, ok := set[name]; !ok {
			return nil, store.Bad(strconv.Quote(cut(name, 40)) + " is not set")
		}
		delete(set, name)
	}
	maps.Copy(set, in.Set)
	s, l, err := a.limitsFrom(set)
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("api: limits: %w", err)
	}
	err = a.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tableLimits, Key: keyLimits, Value: value, If: &version}}})
	if err != nil {
		return nil, fmt.Errorf("api: limits: %w", err)
	}
	if err := a.useLimits(s, l); err != nil {
		return nil, err
	}
	return a.limitLines(set), nil
}

// turnLimits is what changes of the limits take turns by.
const turnLimits = 1<<64 - 1
