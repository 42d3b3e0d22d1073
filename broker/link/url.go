package link

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// maxURL is the longest address in bytes, as it is stored.
const maxURL = 2048

// domains reads host names as browsers do (UTS #46, non-transitional), but takes none that is not fit for the DNS.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.ValidateLabels(true), idna.VerifyDNSLength(true),
	idna.Transitional(false))

// normalHost is a host name in lower case and punycode; false if it is none that a web server of an app can have: an IP
// address, a name without a dot, with a dot at its end or with anything in it that a name has not.
func normalHost(s string) (string, bool) {
	if s == "" || len(s) > 255 || strings.ContainsAny(s, "%@:\\/?#[] ") || !utf8.ValidString(s) {
		return "", false
	}
	host, err := domains.ToASCII(s)
	if err != nil || len(host) > 253 {
		return "", false
	}
	shown, err := domains.ToUnicode(host)
	if err != nil || strings.ContainsFunc(shown, func(r rune) bool {
		return r >= 0x80 && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) // signs that look like a slash or a dot
	}) {
		return "", false
	}
	labels := strings.Split(host, ".")
	if len(labels) < 2 {
		return "", false
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return "", false
		}
		for i := range len(l) {
			if c := l[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
				return "", false
			}
		}
	}
	// What ends in a number is read as an IP address (WHATWG URL, 3.5), whatever stands before it; 0x7f is a number too.
	last := labels[len(labels)-1]
	if c := last[0]; c >= '0' && c <= '9' {
		return "", false
	}
	return host, true
}

// normalDomain is normalHost for a domain that an app names as its own: not one below which anybody can have a name.
func normalDomain(s string) (string, error) {
	host, ok := normalHost(s)
	if !ok {
		return "", errors.New("is no host name such as game.example.com")
	}
	if suffix, _ := publicsuffix.PublicSuffix(host); suffix == host {
		return "", errors.New("belongs to everybody: name a domain of your own")
	}
	return host, nil
}

// within reports whether a host is one of the domains or lies below one.
func within(host string, list []string) bool {
	return slices.ContainsFunc(list, func(d string) bool {
		return host == d || strings.HasSuffix(host, "."+d)
	})
}

// webURL reads an https address and returns it as it goes out: scheme and host in lower case, the host in punycode, what
// is not ASCII percent-encoded. Whoever reads it reads the same host: it has no user name and no port, nothing in its host
// is encoded, and there is no backslash in it, which browsers read as a slash.
func webURL(s string) (url, host string, err error) {
	if err := plain(s); err != nil {
		return "", "", err
	}
	rest, ok := cutPrefixFold(s, "https://")
	if !ok {
		return "", "", errors.New("is no address that begins with https://")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, rest := rest[:end], rest[end:]
	switch {
	case strings.Contains(authority, "@"):
		return "", "", errors.New("has a user name in it")
	case strings.Contains(authority, ":"):
		return "", "", errors.New("has a port in it")
	case strings.HasSuffix(authority, "."):
		return "", "", errors.New("has a dot at the end of its host")
	}
	if host, ok = normalHost(authority); !ok {
		return "", "", errors.New("has no host name such as game.example.com")
	}
	if !strings.HasPrefix(rest, "/") {
		rest = "/" + rest
	}
	if rest, err = encoded(rest); err != nil {
		return "", "", err
	}
	if url = "https://" + host + rest; len(url) > maxURL {
		return "", "", errors.New("is longer than 2048 bytes")
	}
	return url, host, nil
}

// schemeURL reads an address of a scheme that is not the web's, and returns it and its scheme in lower case.
func schemeURL(s string) (url, scheme string, err error) {
	if err := plain(s); err != nil {
		return "", "", err
	}
	scheme, rest, ok := strings.Cut(s, ":")
	scheme = strings.ToLower(scheme)
	if !ok || !validScheme(scheme) {
		return "", "", errors.New("does not begin with a scheme such as game://")
	}
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		if end := strings.IndexAny(after, "/?#"); end >= 0 {
			after = after[:end]
		}
		if strings.ContainsAny(after, "@%") {
			return "", "", errors.New("has a user name or encoded characters before its path")
		}
	}
	if rest, err = encoded(rest); err != nil {
		return "", "", err
	}
	if url = scheme + ":" + rest; len(url) > maxURL {
		return "", "", errors.New("is longer than 2048 bytes")
	}
	return url, scheme, nil
}

// plain refuses what no address has: programs disagree on what it means.
func plain(s string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case len(s) > maxURL:
		return errors.New("is longer than 2048 bytes")
	case !utf8.ValidString(s):
		return errors.New("is not UTF-8")
	case strings.Contains(s, `\`):
		return errors.New("has a backslash in it")
	}
	for _, r := range s {
		if r <= ' ' || r >= 0x7f && r <= 0xa0 || r == 0x2028 || r == 0x2029 || unicode.Is(unicode.Cf, r) {
			return errors.New("has a space or a control character in it")
		}
		if strings.ContainsRune("\"<>^`{|}", r) {
			return errors.New("has a character in it that must be percent-encoded: " + string(r))
		}
	}
	return nil
}

// encoded checks what follows a host: each % begins two hexadecimal digits that are no control character. What is not
// ASCII comes back percent-encoded.
func encoded(s string) (string, error) {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if len(s)-i < 3 || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
				return "", errors.New("has a % without two hexadecimal digits in it")
			}
			if n := unhex(s[i+1])<<4 | unhex(s[i+2]); n < ' ' || n == 0x7f {
				return "", errors.New("has an encoded control character in it")
			}
			b.WriteByte(c)
		case c >= 0x80:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// validScheme reports whether a scheme in lower case has the form of RFC 3986, section 3.1, and a length that apps' have.
func validScheme(s string) bool {
	if len(s) < 2 || len(s) > 64 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.') {
			return false
		}
	}
	return true
}

// everybodys are schemes that are not an app's: the web's, those that run code or read files, and those that systems,
// stores and shells act upon.
var everybodys = []string{
	"http", "https", "ws", "wss", "ftp", "ftps", "sftp", "ssh", "telnet", "file", "content", "data", "blob", "javascript", "vbscript", "about",
	"view-source", "jar", "resource", "chrome", "chrome-extension", "moz-extension", "edge", "opera", "filesystem", "intent", "android-app", "ios-app",
	"app-settings", "prefs", "app-prefs", "market", "itms", "itmss", "itms-apps", "itms-appss", "itms-services", "itms-books", "appworld", "ms-windows-store", "zune",
	"tel", "telprompt", "sms", "smsto", "mms", "mmsto", "mailto", "facetime", "facetime-audio", "geo", "maps", "callto", "sip", "sips", "xmpp", "irc",
	"search-ms", "search", "shell", "res", "mk", "ms-its", "hcp", "ms-help", "ms-appinstaller", "ms-cxh", "ms-msdt", "ms-officecmd", "ms-settings", "microsoft-edge",
	"wyciwyg", "feed", "ldap", "ldaps", "nfs", "smb", "afp", "news", "nntp", "gopher", "magnet", "urn", "cid", "mid", "hwangso", "hwangsolink", "shortcuts", "workflow", "x-apple",
}

// ownScheme reports whether an app can name the scheme as its own.
func ownScheme(s string) bool {
	return validScheme(s) && !slices.Contains(everybodys, s) && !strings.HasPrefix(s, "ms-") && !strings.HasPrefix(s, "x-apple") && !strings.HasPrefix(s, "com.apple.")
}
