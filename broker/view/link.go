package view

import (
	"fmt"
	"strings"

	"github.com/hwangso/hwangso/store"
)

// Link is a message of an app: what opens when it is touched, for every system. It is key 9 of a record's Extra. What a
// device gets of it is only what is for its own system: see System.
type Link struct {
	App  string `cbor:"app"`  // the app's identifier
	Name string `cbor:"name"` // the app's name when the message was sent
	LinkActions
	Buttons []LinkButton `cbor:"buttons,omitempty"`
}

// LinkActions are what a touch opens.
type LinkActions struct {
	Targets []LinkTarget `cbor:"targets,omitempty"` // at most one per system and class
	Web     string       `cbor:"web,omitempty"`     // an https address for every system without a target; "": none
}

// LinkTarget is what a touch opens on one system.
type LinkTarget struct {
	OS      string `cbor:"os"`                // one that SystemOf knows
	Class   string `cbor:"class,omitempty"`   // phone or tablet; "": any
	Execute string `cbor:"execute,omitempty"` // starts the app where it is installed
	Install string `cbor:"install,omitempty"` // where it is to be had
}

// LinkButton is a button under a link. One without actions of its own does what the message does.
type LinkButton struct {
	Text string `cbor:"text"`
	LinkActions
}

// System is the system of a device and its class, as far as links care. The zero System is a browser, and every device
// that did not say what it is.
type System uint8

// systemWords are the systems that targets can name; the first is everything else.
var systemWords = [...]string{"", "android", "ios", "blackberry", "windows", "macos", "linux"}

// classWords are the classes of a system; the first is one that was not said.
var classWords = [...]string{"", "phone", "tablet"}

// Systems is how many systems there are, NoActions among them.
const Systems = len(systemWords)*len(classWords) + 1

// NoActions is in place of a system where an app is not to be opened any more: the link is shown without actions.
const NoActions System = System(Systems - 1)

// SystemOf is the system with these words. Those it does not know are the zero System.
func SystemOf(os, class string) System {
	for i, w := range systemWords {
		if i > 0 && w == os {
			s := System(i * len(classWords))
			for j, c := range classWords {
				if j > 0 && c == class {
					s += System(j)
				}
			}
			return s
		}
	}
	return 0
}

// LinkSystems are the systems that a target can name, LinkClasses the classes.
func LinkSystems() []string { return append([]string(nil), systemWords[1:]...) }

// LinkClasses are the classes that a target can name, beside any.
func LinkClasses() []string { return append([]string(nil), classWords[1:]...) }

func (s System) words() (os, class string) {
	return systemWords[int(s)/len(classWords)], classWords[int(s)%len(classWords)]
}

// linkShown is what one device gets of a link.
type linkShown struct {
	App     string        `cbor:"app"`
	Name    string        `cbor:"name"`
	Off     bool          `cbor:"off,omitempty"` // the app is not to be opened any more
	Execute string        `cbor:"execute,omitempty"`
	Install string        `cbor:"install,omitempty"`
	Web     string        `cbor:"web,omitempty"`
	Buttons []buttonShown `cbor:"buttons,omitempty"`
}

type buttonShown struct {
	Text    string `cbor:"text"`
	Execute string `cbor:"execute,omitempty"`
	Install string `cbor:"install,omitempty"`
	Web     string `cbor:"web,omitempty"`
}

// pick chooses for a system: the target of its class, else the one of any class, where a device that did not say its
// class counts as a phone after that; without a target the web's address. The web's address stands beside a target that
// has nothing to install.
func (a *LinkActions) pick(s System) (t LinkTarget, web string) {
	os, class := s.words()
	best := 0
	for _, c := range a.Targets {
		fits := 0
		switch {
		case os == "" || c.OS != os:
			continue
		case c.Class == class && class != "":
			fits = 3
		case c.Class == "":
			fits = 2
		case class == "" && c.Class == "phone":
			fits = 1
		}
		if fits > best {
			t, best = c, fits
		}
	}
	if t.Install == "" {
		web = a.Web
	}
	return t, web
}

// shown is what a device of that system gets.
func (l *Link) shown(s System) linkShown {
	out := linkShown{App: l.App, Name: l.Name}
	if s >= NoActions {
		out.Off = true
		return out
	}
	t, web := l.pick(s)
	out.Execute, out.Install, out.Web = t.Execute, t.Install, web
	for i := range l.Buttons {
		b := &l.Buttons[i]
		do := &b.LinkActions
		if len(do.Targets) == 0 && do.Web == "" {
			do = &l.LinkActions
		}
		t, web := do.pick(s)
		if t.Execute == "" && t.Install == "" && web == "" {
			continue // nothing for this device
		}
		out.Buttons = append(out.Buttons, buttonShown{b.Text, t.Execute, t.Install, web})
	}
	return out
}

// address is what people touch who see only text: a web address of this system, "" if there is none.
func (s *linkShown) address() string {
	for _, u := range []string{s.Web, s.Install, s.Execute} {
		if strings.HasPrefix(u, "https://") {
			return u
		}
	}
	return ""
}

// LinkContent is the content of a message with a link. image is a file of this server, "" for none. The link must have
// been checked: every address goes out as it is.
func LinkContent(text, image string, l *Link) (Content, error) {
	c := Content{Kind: store.KindLink, Text: []byte(text)}
	out := []byte{majorMap + 1}
	if image != "" {
		out[0]++
		out = appendHead(append(out, keyAttached), majorArray, 1)
		var err error
		if out, err = appendAttachment(out, map[string]any{attachedFile: image}); err != nil {
			return Content{}, err
		}
		c.Files = []string{image}
	}
	enc, err := encoder.Marshal(l)
	if err != nil {
		return Content{}, fmt.Errorf("view: link: %w", err)
	}
	c.Extra = append(append(out, keyLink), enc...)
	return c, nil
}

// LinkOf is the link of a record; false if it has none that this package made.
func LinkOf(r *store.Record) (Link, bool) {
	if r.Kind != store.KindLink {
		return Link{}, false
	}
	return linkIn(r.Extra)
}

func linkIn(extra []byte) (l Link, ok bool) {
	pairs(extra, func(key uint64, value []byte) {
		if key == keyLink {
			ok = decoder.Unmarshal(value, &l) == nil && l.App != ""
		}
	})
	return l, ok
}

// encodedLink is what a device of the system gets of a record's key 9, nil if it has none.
func encodedLink(value []byte, s System) []byte {
	var l Link
	if decoder.Unmarshal(value, &l) != nil || l.App == "" {
		return nil
	}
	enc, err := encoder.Marshal(l.shown(s))
	if err != nil {
		return nil
	}
	return enc
}

// appendSaid appends "app: text" as one clean line.
func (l *Link) appendSaid(dst, text []byte) []byte {
	dst = appendClean(dst, []byte(l.Name))
	if len(text) > 0 {
		dst = appendClean(append(dst, ": "...), text)
	}
	return dst
}

// appendLine appends "app: text https://…" as one clean line.
func (l *Link) appendLine(dst, text []byte, s System) []byte {
	shown := l.shown(s)
	dst = l.appendSaid(dst, text)
	if to := shown.address(); to != "" {
		dst = appendClean(append(dst, ' '), []byte(to))
	}
	return dst
}
