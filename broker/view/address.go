package view

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hwangso/hwangso/store"
)

// MaxURL is how many bytes the address of a button may have.
const MaxURL = 2048

// errURL begins what is wrong with an address.
const errURL = "the address of a button "

// notOfApps are schemes that look like an app's and run or open something else.
var notOfApps = map[string]bool{
	"about": true, "blob": true, "chrome": true, "chrome-extension": true, "content": true, "data": true, "file": true,
	"filesystem": true, "ftp": true, "ftps": true, "http": true, "intent": true, "itms-services": true, "jar": true, "javascript": true,
	"livescript": true, "mocha": true, "moz-extension": true, "ms-msdt": true, "resource": true, "search-ms": true, "sftp": true,
	"smb": true, "ssh": true, "telnet": true, "vbscript": true, "view-source": true, "ws": true, "wss": true,
}

// CheckURL tells what is wrong with an address that followers are offered, nil if nothing: it is https://host/… or
// app-scheme://…, written as RFC 3986 has it, without credentials and with nothing that looks as if something were to be
// filled in. A host is a name with a dot; one that is not ASCII is written in Punycode (RFC 5891), and one that passes for
// another in Latin letters is refused. Errors are *store.Error of CodeBad.
func CheckURL(s string) error {
	switch {
	case s == "":
		return store.Bad(errURL + "is missing")
	case len(s) > MaxURL:
		return store.Bad(errURL + "may have at most " + strconv.Itoa(MaxURL) + " bytes")
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			return store.Bad(errURL + "must be ASCII: percent-encoded, and a host in Punycode (xn--…)")
		case strings.IndexByte("{}<>|[]^`\"\\", c) >= 0:
			return store.Bad(errURL + "is the same for everybody: nothing is filled in, and " + strconv.QuoteRune(rune(c)) + " stands in no address")
		case c <= ' ' || c == 0x7f:
			return store.Bad(errURL + "holds a space or a control character")
		case c == '%':
			if i+2 >= len(s) || !hexDigit(s[i+1]) || !hexDigit(s[i+2]) {
				return store.Bad(errURL + "holds a % that is no percent-encoding; nothing is filled in")
			}
			switch strings.ToUpper(s[i+1 : i+3]) {
			case "7B", "7D", "00", "0A", "0D":
				return store.Bad(errURL + "is the same for everybody: nothing is filled in, and no control characters")
			}
		}
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found || !validScheme(scheme) {
		return store.Bad(errURL + "must begin with https:// or with the scheme of an app (shop://)")
	}
	scheme = strings.ToLower(scheme)
	if notOfApps[scheme] {
		return store.Bad(errURL + "must be https or the scheme of an app, not " + scheme)
	}
	u, err := url.Parse(s)
	if err != nil || rest == "" {
		return store.Bad(errURL + "cannot be read")
	}
	if authority, _, _ := strings.Cut(rest, "/"); u.User != nil || strings.Contains(authority, "@") {
		return store.Bad(errURL + "may not hold credentials")
	}
	if scheme != "https" {
		return nil
	}
	return checkHost(u)
}

func hexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// validScheme is RFC 3986, section 3.1, from two characters on: one alone is a drive.
func validScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return len(s) >= 2 && len(s) <= 64
}

func checkHost(u *url.URL) error {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	labels := strings.Split(host, ".")
	if _, err := netip.ParseAddr(host); err == nil || len(labels) < 2 || len(host) > 253 || number10(labels[len(labels)-1]) {
		return store.Bad(errURL + "needs the name of a host, such as www.example.com")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return store.Bad(errURL + "has no valid port")
		}
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' ||
			strings.ContainsFunc(l, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_') }) {
			return store.Bad(errURL + "needs the name of a host, such as www.example.com")
		}
		if code, ok := strings.CutPrefix(l, "xn--"); ok {
			if name, ok := unpuny(code); !ok || deceives(name) {
				return store.Bad(errURL + "has a host whose name passes for another one")
			}
		}
	}
	return nil
}

// number10 reports whether a label is a number: then browsers read the host as an address.
func number10(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == "" || strings.HasPrefix(s, "0x")
}

// passing are letters of other scripts that pass for Latin ones.
const passing = "асԁеһіїјӏкмпоԛгрѕтԝхуѵьвнё" + "αικνορτυχγωε" + "օսոհցքզյլ"

// deceives reports whether a host's label may be taken for another one. Letters are of one script, or of those that are
// written together in Japan, China or Korea (Unicode Technical Standard 39, section 5.2, highly restrictive); a label of
// nothing but letters that pass for Latin ones is refused, too, and so is whatever is no letter, digit or hyphen.
func deceives(name string) bool {
	const (
		latin = 1 << iota
		han
		kana
		hangul
		bopomofo
		other
	)
	var seen int
	var of *unicode.RangeTable
	allPass := true
	for _, r := range name {
		if r < utf8.RuneSelf && (r == '-' || r >= '0' && r <= '9') {
			continue
		}
		if !strings.ContainsRune(passing, r) {
			allPass = false
		}
		switch {
		case r == 'ı' || r == 'ɡ' || r == 'ɑ':
			return true // pass for i, g and a
		case unicode.Is(unicode.Latin, r):
			seen |= latin
		case unicode.Is(unicode.Han, r):
			seen |= han
		case unicode.Is(unicode.Hiragana, r), unicode.Is(unicode.Katakana, r), r == 'ー', r == '々':
			seen |= kana
		case unicode.Is(unicode.Hangul, r):
			seen |= hangul
		case unicode.Is(unicode.Bopomofo, r):
			seen |= bopomofo
		case unicode.IsLetter(r):
			seen |= other
			for _, t := range unicode.Scripts {
				if unicode.Is(t, r) {
					if of != nil && of != t {
						return true
					}
					of = t
				}
			}
		case unicode.Is(unicode.M, r) && of != nil: // vowels and tones of Thai and others
		default:
			return true
		}
	}
	if seen == 0 || allPass {
		return true
	}
	for _, together := range []int{latin | han | kana, latin | han | hangul, latin | han | bopomofo, other} {
		if seen&^together == 0 {
			return false
		}
	}
	return true
}

// unpuny decodes Punycode (RFC 3492), what stands after "xn--" in a label in lower case.
func unpuny(code string) (string, bool) {
	const base, tmin, tmax, skew, damp = 36, 1, 26, 38, 700
	n, i, bias := 128, 0, 72
	var out []rune
	if at := strings.LastIndexByte(code, '-'); at >= 0 {
		out, code = []rune(code[:at]), code[at+1:]
	}
	if code == "" {
		return "", false // nothing but ASCII is not encoded
	}
	for pos := 0; pos < len(code); {
		old, w := i, 1
		for k := base; ; k += base {
			if pos == len(code) {
				return "", false
			}
			var digit int
			switch c := code[pos]; {
			case c >= 'a' && c <= 'z':
				digit = int(c - 'a')
			case c >= '0' && c <= '9':
				digit = int(c-'0') + 26
			default:
				return "", false
			}
			pos++
			if i += digit * w; i > 1<<30 {
				return "", false
			}
			t := min(max(k-bias, tmin), tmax)
			if digit < t {
				break
			}
			if w *= base - t; w > 1<<24 {
				return "", false
			}
		}
		delta := i - old
		if old == 0 {
			delta /= damp
		} else {
			delta /= 2
		}
		delta += delta / (len(out) + 1)
		k := 0
		for ; delta > (base-tmin)*tmax/2; k += base {
			delta /= base - tmin
		}
		bias = k + (base-tmin+1)*delta/(delta+skew)
		n += i / (len(out) + 1)
		i %= len(out) + 1
		if !utf8.ValidRune(rune(n)) || n > unicode.MaxRune || n < 128 {
			return "", false
		}
		out = append(out[:i], append([]rune{rune(n)}, out[i:]...)...)
		i++
	}
	return string(out), true
}
