package limit

import "fmt"

// Number names a limit that is a number: a daily budget, or a threshold. Who counts against it keeps the count.
type Number uint8

// The numbers.
const (
	StrangersYoung Number = iota
	Strangers
	LookupsMinute
	LookupsDay
	Contacts10Days
	ContactsDay
	ContactsMinute
	ContactsFirstDay
	PrefixDay
	ReportsToLimit
	numbers
)

// NumberInfo describes a number.
type NumberInfo struct {
	Number  Number
	Name    string
	Default int
	Text    string
}

var numberInfos = [numbers]NumberInfo{
	StrangersYoung:   {StrangersYoung, "strangers_young", 10, "strangers an account younger than 7 days writes to, new ones a day"},
	Strangers:        {Strangers, "strangers", 50, "strangers an older account writes to, new ones a day"},
	LookupsMinute:    {LookupsMinute, "lookups_minute", 30, "strangers a user looks up by identifier a minute"},
	LookupsDay:       {LookupsDay, "lookups_day", 200, "strangers a user looks up by identifier a day"},
	Contacts10Days:   {Contacts10Days, "contacts_10_days", 2000, "phone numbers of contacts in the first 10 days"},
	ContactsDay:      {ContactsDay, "contacts_day", 200, "new phone numbers of contacts a day, later"},
	ContactsMinute:   {ContactsMinute, "contacts_minute", 50, "phone numbers of contacts a minute, later"},
	ContactsFirstDay: {ContactsFirstDay, "contacts_first_day", 1000, "phone numbers of contacts on the first day"},
	PrefixDay:        {PrefixDay, "prefix_day", 10_000, "phone numbers of one prefix a day before answers are slowed"},
	ReportsToLimit:   {ReportsToLimit, "reports_to_limit", 3, "reports within 24 hours that limit an account"},
}

// Numbers lists the numbers in their order.
func Numbers() []NumberInfo { return append([]NumberInfo(nil), numberInfos[:]...) }

// String is the number's name.
func (n Number) String() string {
	if n < numbers {
		return numberInfos[n].Name
	}
	return "unknown"
}

// ParseNumber is the inverse of String.
func ParseNumber(name string) (Number, bool) {
	for n := range numbers {
		if numberInfos[n].Name == name {
			return n, true
		}
	}
	return 0, false
}

// validNumber tells what is wrong with the value of a number.
func validNumber(n Number, v int) error {
	switch {
	case n >= numbers:
		return fmt.Errorf("limit: there is no number %d", n)
	case v < 0 || v > maxCount:
		return fmt.Errorf("limit: %s must be 0 to %d", n, int(maxCount))
	case n == ReportsToLimit && v < 1:
		return fmt.Errorf("limit: %s must be at least 1", n)
	}
	return nil
}
