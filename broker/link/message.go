package link

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Limits of a message.
const (
	MaxText       = 1000 // characters
	MaxTargets    = 16   // of the message, and of each button
	MaxButtons    = 5
	MaxButtonText = 40       // characters
	maxLink       = 24 << 10 // bytes of all targets as they are stored
)

// Message is what an app says.
type Message struct {
	Text  string // what people read; may be empty if there is an image
	Image string // identifier of a file that the sending user may attach, "" for none
	Actions
	Buttons []Button
}

// Actions are what a touch opens: on a device with a target for its system that, on every other one the web's address.
type Actions struct {
	Targets []Target
	Web     string
}

// Target is what a touch opens on one system.
type Target struct {
	OS      string // android, ios, blackberry, windows, macos or linux; web is the same as Actions.Web
	Class   string // phone or tablet; "" or any: both
	Execute string // starts the app
	Install string // where it is to be had
}

// Button is a button under a message. One without actions does what the message does.
type Button struct {
	Text string
	Actions
}

// ReasonURL is the protocol's word for an address that is refused.
const ReasonURL = "url"

// build checks a message of an app and returns what is sent.
func build(a *App, m *Message) (view.Content, error) {
	if err := checkText(m.Text, a.Domains); err != nil {
		return view.Content{}, err
	}
	if m.Text == "" && m.Image == "" {
		return view.Content{}, store.Bad("the message is empty: it needs a text or an image")
	}
	image := ""
	if m.Image != "" {
		var ok bool
		if image, ok = hooks.NormalName(m.Image); !ok {
			return view.Content{}, store.Bad("image must be the identifier of a file, as file.slot gives it: pictures on other servers are not shown")
		}
	}
	if len(m.Buttons) > MaxButtons {
		return view.Content{}, store.Bad("at most " + strconv.Itoa(MaxButtons) + " buttons")
	}
	l := &view.Link{App: a.ID, Name: a.Name}
	var err error
	if l.LinkActions, err = a.actions("", &m.Actions); err != nil {
		return view.Content{}, err
	}
	opens := len(l.Targets) > 0 || l.Web != ""
	for i := range m.Buttons {
		at := "buttons[" + strconv.Itoa(i) + "]"
		var b view.LinkButton
		if b.Text, err = line(at+".text", m.Buttons[i].Text, MaxButtonText); err != nil {
			return view.Content{}, err
		}
		if b.Text == "" {
			return view.Content{}, store.Bad(at + ".text is missing")
		}
		if b.LinkActions, err = a.actions(at+".", &m.Buttons[i].Actions); err != nil {
			return view.Content{}, err
		}
		own := len(b.Targets) > 0 || b.Web != ""
		if !own && len(l.Targets) == 0 && l.Web == "" {
			return view.Content{}, store.Bad(at + " opens nothing, and neither does the message")
		}
		opens = opens || own
		l.Buttons = append(l.Buttons, b)
	}
	if !opens {
		return view.Content{}, store.Bad("the message opens nothing: it needs a target, or web")
	}
	c, err := view.LinkContent(m.Text, image, l)
	if err == nil && len(c.Extra) > maxLink {
		err = &store.Error{Code: store.CodeTooLarge, Text: "the addresses of the message have more than " + strconv.Itoa(maxLink) + " bytes together"}
	}
	return c, err
}

// actions checks what a touch opens. at is what stands before names of fields in refusals.
func (a *App) actions(at string, in *Actions) (out view.LinkActions, err error) {
	if len(in.Targets) > MaxTargets {
		return out, store.Bad(at + "targets: at most " + strconv.Itoa(MaxTargets))
	}
	web := in.Web
	webAt := at + "web"
	for i, t := range in.Targets {
		name := at + "targets[" + strconv.Itoa(i) + "]"
		os, class := strings.ToLower(t.OS), strings.ToLower(t.Class)
		if os == "web" {
			if web != "" || t.Install != "" || t.Execute == "" {
				return out, store.Bad(name + " is of the web: it has one address, execute, and there is one for the whole message")
			}
			web, webAt = t.Execute, name+" (web).execute"
			continue
		}
		if class == "any" {
			class = ""
		}
		if !slices.Contains(view.LinkSystems(), os) {
			return out, store.Bad(name + ".os must be web or among " + strings.Join(view.LinkSystems(), ", "))
		}
		if class != "" && !slices.Contains(view.LinkClasses(), class) {
			return out, store.Bad(name + ".class must be phone, tablet or any")
		}
		if slices.ContainsFunc(out.Targets, func(o view.LinkTarget) bool { return o.OS == os && o.Class == class }) {
			return out, store.Bad(name + " is the second one for " + strings.TrimSpace(os+" "+class))
		}
		name += " (" + strings.TrimSpace(os+" "+class) + ")"
		if t.Execute == "" && t.Install == "" {
			return out, store.Bad(name + " has neither execute nor install")
		}
		got := view.LinkTarget{OS: os, Class: class}
		sys := a.Systems[graph.Platform(os)]
		if t.Execute != "" {
			if got.Execute, err = executeURL(t.Execute, a.Domains, sys.Schemes); err != nil {
				return out, refused(name+".execute", err)
			}
		}
		if t.Install != "" {
			if got.Install, err = installURL(graph.Platform(os), t.Install, a.Domains, sys.IDs); err != nil {
				return out, refused(name+".install", err)
			}
		}
		out.Targets = append(out.Targets, got)
	}
	if web != "" {
		url, host, err := webURL(web)
		if err == nil && !within(host, a.Domains) {
			err = foreign(host)
		}
		if err != nil {
			return out, refused(webAt, err)
		}
		out.Web = url
	}
	return out, nil
}

// refused is the refusal of an address, which names the target but does not repeat the address.
func refused(name string, err error) error {
	return &store.Error{Code: store.CodeForbidden, Reason: ReasonURL, Text: name + " " + err.Error(), Err: err}
}

var errForeign = errors.New("foreign domain")

// foreignError is a host that is not the app's.
type foreignError struct{ host string }

func (e *foreignError) Error() string { return "lies on " + e.host + ", which is no domain of the app" }
func (e *foreignError) Unwrap() error { return errForeign }

func foreign(host string) error { return &foreignError{host} }

// executeURL checks what starts an app: an address of one of its schemes on that system, or of its domains.
func executeURL(s string, domains, schemes []string) (string, error) {
	if err := plain(s); err != nil {
		return "", err
	}
	if _, web := cutPrefixFold(s, "https:"); web {
		url, host, err := webURL(s)
		if err == nil && !within(host, domains) {
			err = foreign(host)
		}
		return url, err
	}
	url, scheme, err := schemeURL(s)
	if err != nil {
		return "", err
	}
	if !slices.Contains(schemes, scheme) || !ownScheme(scheme) {
		return "", fmt.Errorf("has the scheme %s, which is none of the app's on this system", scheme)
	}
	return url, nil
}

// installURL checks where an app is to be had: in a store of the system, where it names the app if the app has said how it
// is called there, or on the app's domains.
func installURL(p graph.Platform, s string, domains, ids []string) (string, error) {
	if err := plain(s); err != nil {
		return "", err
	}
	var url, host, scheme string
	var err error
	if _, web := cutPrefixFold(s, "https:"); web {
		url, host, err = webURL(s)
		scheme = "https"
	} else {
		url, scheme, err = schemeURL(s)
	}
	if err != nil {
		return "", err
	}
	if host != "" && within(host, domains) {
		return url, nil
	}
	id, ok := inStore(p, scheme, host, url)
	switch {
	case !ok && host != "":
		return "", fmt.Errorf("lies on %s, which is neither a store of %s nor a domain of the app: %w", host, p, errForeign)
	case !ok:
		return "", fmt.Errorf("has the scheme %s, which opens no store of %s", scheme, p)
	case len(ids) > 0 && names(p, scheme, host) && !slices.Contains(ids, id):
		return "", errors.New("does not name this app in the store")
	}
	return url, nil
}

// checkText checks what people read: text, with no address of somebody else's, which their apps would make touchable.
func checkText(s string, domains []string) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return store.Bad("text must be UTF-8 without NUL")
	}
	if utf8.RuneCountInString(s) > MaxText {
		return &store.Error{Code: store.CodeTooLarge, Text: "text may have at most " + strconv.Itoa(MaxText) + " characters"}
	}
	for _, r := range s {
		if unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return store.Bad("text has a control character in it")
		}
	}
	for _, host := range addressesIn(s) {
		if h, ok := normalHost(host); !ok || !within(h, domains) {
			return refused("text", fmt.Errorf("has an address in it that is not of the app's domains: %w", errForeign))
		}
	}
	return nil
}

// addressesIn are the hosts of what apps make touchable in a text: whatever follows :// or begins with www.
func addressesIn(s string) (hosts []string) {
	take := func(from int) {
		end := strings.IndexFunc(s[from:], func(r rune) bool {
			return unicode.IsSpace(r) || strings.ContainsRune("/?#\"'<>()[]{}|\\,;!", r)
		})
		if end < 0 {
			end = len(s) - from
		}
		hosts = append(hosts, strings.TrimRight(s[from:from+end], ".:"))
	}
	for i := 0; i < len(s); {
		at := strings.Index(s[i:], "://")
		if at < 0 {
			break
		}
		i += at + 3
		take(i)
	}
	lower := strings.ToLower(s)
	if len(lower) != len(s) { // letters that change their length: no host of an app has them
		lower = s
	}
	for i := 0; i < len(lower); {
		at := strings.Index(lower[i:], "www.")
		if at < 0 {
			break
		}
		i += at
		if before, _ := utf8.DecodeLastRuneInString(s[:i]); i == 0 || !unicode.IsLetter(before) && !unicode.IsDigit(before) && before != '.' && before != '-' && before != '/' {
			take(i)
		}
		i += 4
	}
	return hosts
}
