package apns

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sideshow/apns2"
)

// Texts is who puts the words of a notification together.
type Texts string

// The ways.
const (
	TextsPhone  Texts = "phone"  // the app has the texts in its languages: loc-key and loc-args
	TextsServer Texts = "server" // title and body are sent in the user's language
)

// Config is what a Client is made of.
type Config struct {
	// KeyFile is the signing key (.p8) from Apple's developer account. It is read again when it changes, or when a link to
	// it points elsewhere.
	KeyFile string
	// KeyID is the key's identifier, 10 characters. "": it is in the name of the file as Apple gives it, AuthKey_<id>.p8,
	// after links were followed. That is how a key is replaced without a restart, as a new key has another identifier.
	KeyID string
	// TeamID is the identifier of the developer account, 10 characters.
	TeamID string
	// SandboxKeyFile and SandboxKeyID are those of the sandbox, for keys that Apple restricts to one environment. "": the
	// same key for both.
	SandboxKeyFile string
	SandboxKeyID   string

	// Topic is the app's bundle identifier, or several with commas between them: the first is that of registrations that
	// name none, the others are what they may name.
	Topic string

	URL        string // of production; "": Apple's
	SandboxURL string // of registrations for the development environment; "": Apple's, or URL if that is set

	CA    *x509.CertPool // whom to trust; nil: whom the system trusts
	Texts Texts          // "": phone

	// InFlight is how many requests to one host may be unanswered at once; 0: 500. Apple bears some 1,000 per connection.
	InFlight int

	Logger *slog.Logger     // nil: discard
	Now    func() time.Time // nil: time.Now
}

// DefaultInFlight is that of Config.InFlight.
const DefaultInFlight = 500

// Validate tells what is wrong with the configuration, nil if nothing. It reads the key files.
func (c Config) Validate() error {
	if c.TeamID == "" || c.KeyFile == "" || c.Topic == "" {
		return errors.New("apns: a key file, a team and a topic are needed")
	}
	if !isID(c.TeamID) {
		return fmt.Errorf("apns: team %q: it has 10 capital letters and digits, as the developer account's membership page shows it", c.TeamID)
	}
	if _, err := topics(c.Topic); err != nil {
		return err
	}
	switch c.Texts {
	case "", TextsPhone, TextsServer:
	default:
		return fmt.Errorf("apns: texts %q: %s or %s", c.Texts, TextsPhone, TextsServer)
	}
	if c.InFlight < 0 {
		return fmt.Errorf("apns: %d requests in flight", c.InFlight)
	}
	for _, u := range []string{c.URL, c.SandboxURL} {
		if _, err := hostOf(u); u != "" && err != nil {
			return err
		}
	}
	if c.SandboxKeyFile == "" && c.SandboxKeyID != "" {
		return errors.New("apns: the sandbox has a key id of its own and no key file")
	}
	if _, err := openKey(c.KeyFile, c.KeyID, c.TeamID, nil, nil); err != nil {
		return err
	}
	if c.SandboxKeyFile != "" {
		if _, err := openKey(c.SandboxKeyFile, c.SandboxKeyID, c.TeamID, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) setDefaults() {
	if c.SandboxURL == "" {
		if c.SandboxURL = c.URL; c.URL == "" {
			c.SandboxURL = apns2.HostDevelopment
		}
	}
	if c.URL == "" {
		c.URL = apns2.HostProduction
	}
	if c.Texts == "" {
		c.Texts = TextsPhone
	}
	if c.InFlight == 0 {
		c.InFlight = DefaultInFlight
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// hostOf is the address that a base URL is dialed at.
func hostOf(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", fmt.Errorf("apns: url: %w", err)
	}
	if u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("apns: url %q: it has to be https:// with a host and nothing behind it", u.Redacted())
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return u.Hostname() + ":" + port, nil
}

// topics are those of a list with commas, the default one first.
func topics(list string) ([]string, error) {
	var out []string
	for t := range strings.SplitSeq(list, ",") {
		t = strings.TrimSpace(t)
		if err := checkTopic(t); err != nil {
			return nil, err
		}
		if slices.Contains(out, t) {
			return nil, fmt.Errorf("apns: topic %q is there twice", t)
		}
		out = append(out, t)
	}
	return out, nil
}

// checkTopic: letters of any case, digits, hyphens and periods (Apple, CFBundleIdentifier).
func checkTopic(t string) error {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-."
	if t == "" || len(t) > 255 || strings.ContainsFunc(t, func(r rune) bool { return !strings.ContainsRune(allowed, r) }) {
		return fmt.Errorf("apns: topic %q is no bundle identifier such as com.example.app", t)
	}
	return nil
}

// isID reports whether s is an identifier of a key or a team: 10 capital letters and digits.
func isID(s string) bool {
	if len(s) != 10 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// The bounds of a device token in bytes. Apple tells not to rely on a size ("Registering your app with APNs"): iPhones
// have had 32 bytes, others up to 80 and 100.
const (
	minToken = 32
	maxToken = 128
)

// CheckToken tells what is wrong with a device token in hex, nil if it may be one. Letters may have either case, and mean
// the same: who compares tokens brings them to lower case first. The error does not have the token in it.
func CheckToken(token string) error {
	if n := len(token); n < 2*minToken || n > 2*maxToken || n%2 != 0 {
		return fmt.Errorf("apns: a device token in hex has %d to %d digits, two for each byte, and this one has %d", 2*minToken, 2*maxToken, n)
	}
	for i := range len(token) {
		if c := token[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return fmt.Errorf("apns: a device token is written in hex, and this one has something else at place %d", i+1)
		}
	}
	return nil
}
