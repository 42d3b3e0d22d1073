package phone

import (
	"errors"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/hwangso/hwangso/store"
)

// MaxInput is how many bytes of text are looked at as a phone number.
const MaxInput = 64

// Number is a phone number that the numbering plan of its country knows. It has no String method, so that it does not
// get into a log by accident.
type Number struct {
	e164     string
	region   string
	textable bool
}

// Refusals of Parse. None repeats the input.
var (
	ErrNumber = &store.Error{Code: store.CodeBad, Reason: "phone", Text: "that is not a phone number: write it as +82 10 1234 5678, or in the country's own way together with the region"}
	ErrRegion = &store.Error{Code: store.CodeBad, Reason: "region", Text: "region must be a country's two letters such as KR, unless the number begins with +"}
)

// Parse reads a number in any way people write it: international (+82 10-1234-5678, 0082… dialled from somewhere), or
// national in the given region (two letters, ISO 3166-1; "" if the number is international). An extension is dropped.
// Errors are ErrNumber and ErrRegion.
func Parse(s, region string) (Number, error) {
	region = strings.ToUpper(strings.TrimSpace(region))
	if region != "" && !KnownRegion(region) {
		return Number{}, ErrRegion
	}
	if len(s) > MaxInput {
		return Number{}, ErrNumber
	}
	s = strings.TrimSpace(s)
	n, err := phonenumbers.Parse(s, region)
	if err != nil {
		if region == "" && errors.Is(err, phonenumbers.ErrInvalidCountryCode) && !strings.HasPrefix(s, "+") && !strings.HasPrefix(s, "＋") {
			return Number{}, ErrRegion
		}
		return Number{}, ErrNumber
	}
	if !phonenumbers.IsValidNumber(n) {
		return Number{}, ErrNumber
	}
	out := Number{e164: phonenumbers.Format(n, phonenumbers.E164), region: phonenumbers.GetRegionCodeForNumber(n)}
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.MOBILE, phonenumbers.FIXED_LINE_OR_MOBILE, phonenumbers.VOIP:
		out.textable = true
	}
	return out, nil
}

// KnownRegion reports whether two upper-case letters name a region with phone numbers.
func KnownRegion(region string) bool {
	return len(region) == 2 && phonenumbers.GetSupportedRegions()[region]
}

// E164 is the number in its one form: "+", the country's code, digits. "" for the zero Number.
func (n Number) E164() string { return n.e164 }

// Region is the country (ISO 3166-1, two letters) that the number belongs to, or "001" for numbers of no country, such
// as those of satellites.
func (n Number) Region() string { return n.region }

// Prefix is the first digits of the number with its "+": neighbours in the numbering plan share it.
func (n Number) Prefix(digits int) string { return n.e164[:min(len(n.e164), 1+digits)] }

// Textable reports whether a text message to this number is likely to arrive and costs what texts cost: a mobile
// number, one that may be mobile, or an Internet line; not a land line, premium rate, shared cost, toll-free, pager,
// voicemail or personal number.
func (n Number) Textable() bool { return n.textable }
