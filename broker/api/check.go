package api

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// name reads an identifier of a user or room.
func name(field, s string) (string, error) {
	if s == "" {
		return "", store.Bad(field + " is missing")
	}
	n, ok := hooks.NormalName(s)
	if !ok {
		return "", store.Bad(field + " must be 1 to " + strconv.Itoa(hooks.MaxName) + " characters of A-Z a-z 0-9 . _ ~ -")
	}
	return n, nil
}

// words checks a text that people read in one line: a display name, a title, a label. White space around it goes.
// Characters that control a terminal or the direction of writing are refused. runes and octets limit it; 0 does not.
func words(field, s string, runes, octets int) (string, error) {
	s = strings.TrimSpace(s)
	if octets > 0 && len(s) > octets {
		return "", tooLarge(field, octets, "bytes")
	}
	if runes > 0 && utf8.RuneCountInString(s) > runes {
		return "", tooLarge(field, runes, "characters")
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == utf8.RuneError || r == 0x2028 || r == 0x2029 || directs(r) {
			return "", store.Bad(field + " must be one line of text without control characters")
		}
	}
	return s, nil
}

// directs reports whether a character changes how its neighbours are ordered.
func directs(r rune) bool {
	return r == 0x061c || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x206f || r == 0xfeff
}

// language checks the form of a BCP 47 tag.
func language(s string) (string, error) {
	if len(s) > 35 {
		return "", tooLarge("language", 35, "characters")
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return "", store.Bad(`language must be a tag such as "ko" or "pt-BR"`)
		}
	}
	return s, nil
}

// clientID checks an MQTT client identifier.
func clientID(s string) (string, error) {
	if s == "" {
		return "", store.Bad("client_id is missing")
	}
	if len(s) > hooks.MaxClientID {
		return "", tooLarge("client_id", hooks.MaxClientID, "bytes")
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return "", store.Bad("client_id must be printable")
		}
	}
	return s, nil
}

// deviceID reads a device's number as String writes it.
func deviceID(field, s string) (store.DeviceID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || n == 0 {
		return 0, store.Bad(field + " must be a device's id as device.list tells it")
	}
	return store.DeviceID(n), nil
}

// page is how many items a page has.
func (a *API) page(limit, usual int) (int, error) {
	switch {
	case limit < 0 || limit > a.limits().Page:
		return 0, store.Bad("limit must be 1 to " + strconv.Itoa(a.limits().Page))
	case limit == 0:
		return min(usual, a.limits().Page), nil
	}
	return limit, nil
}

// at is a time as answers show it; nil for none.
func at(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}
