package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hwangso/hwangso/bridge/bulk"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// SourceAnnouncements is the name of announcements among the sources of package bulk.
const SourceAnnouncements = "announcement"

// Announcement is what the operators tell everybody, in as many languages as they like. Keys are BCP 47 tags; a user whose
// language is not there gets English, or else the only one there is.
type Announcement struct {
	Title map[string]string `json:"title,omitempty"`
	Text  map[string]string `json:"text"`
}

// The longest texts of an announcement, in characters.
const (
	maxAnnounceTitle = 100
	maxAnnounceText  = 1000
)

// Validate tells what is wrong with an announcement, as a CodeBad error, nil if nothing.
func (n *Announcement) Validate() error {
	if len(n.Text) == 0 {
		return store.Bad("text is missing")
	}
	if len(n.Text) > 1 && pick(n.Text, view.English) == "" {
		return store.Bad("text must have en among several languages: it is for everybody whose language is not there")
	}
	for _, f := range []struct {
		name  string
		texts map[string]string
		most  int
	}{{"title", n.Title, maxAnnounceTitle}, {"text", n.Text, maxAnnounceText}} {
		seen := make(map[view.Lang]bool)
		for tag, text := range f.texts {
			l := view.ParseLang(tag)
			if l == view.English && !strings.HasPrefix(strings.ToLower(tag), "en") {
				return store.Bad(fmt.Sprintf("%s: %q is none of the languages that pushes have", f.name, tag))
			}
			if seen[l] {
				return store.Bad(fmt.Sprintf("%s: %q is there twice", f.name, l.String()))
			}
			seen[l] = true
			if n := utf8.RuneCountInString(text); n == 0 || n > f.most || !utf8.ValidString(text) {
				return store.Bad(fmt.Sprintf("%s: %q must have 1 to %d characters", f.name, tag, f.most))
			}
			if strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) >= 0 {
				return store.Bad(fmt.Sprintf("%s: %q has control characters", f.name, tag))
			}
		}
	}
	return nil
}

// pick is the text in a language, "" if it is not there.
func pick(texts map[string]string, l view.Lang) string {
	for tag, text := range texts {
		if view.ParseLang(tag) == l {
			return text
		}
	}
	return ""
}

// in is the text for somebody with a language.
func in(texts map[string]string, l view.Lang) string {
	for _, l := range []view.Lang{l, view.English} {
		if text := pick(texts, l); text != "" {
			return text
		}
	}
	for _, text := range texts { // Validate: there is one
		return text
	}
	return ""
}

// announcements makes the pushes of announcements: to every device of everybody who is not suspended, without sound in
// quiet hours.
type announcements struct {
	accounts store.Directory
	graph    *graph.Graph
	now      func() time.Time
}

// NewAnnouncements returns the source of announcements. now is the clock; nil is time.Now.
func NewAnnouncements(accounts store.Directory, g *graph.Graph, now func() time.Time) bulk.Source {
	if now == nil {
		now = time.Now
	}
	return &announcements{accounts, g, now}
}

// Page implements bulk.Pager.
func (s *announcements) Page(_ context.Context, _ *bulk.Job, after store.AccountID, max int) ([]store.AccountID, error) {
	list, err := s.accounts.Accounts(after, max)
	if err != nil {
		return nil, fmt.Errorf("bridge: accounts: %w", err)
	}
	out := make([]store.AccountID, len(list))
	for i := range list {
		out[i] = list[i].ID
	}
	return out, nil
}

// Push implements bulk.Source.
func (s *announcements) Push(_ context.Context, j *bulk.Job, a store.AccountID, r *graph.Registration) (*push.Push, error) {
	acct, err := s.accounts.Account(a)
	if store.CodeOf(err) == store.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bridge: account: %w", err)
	}
	if acct.State == store.AccountSuspended {
		return nil, nil
	}
	quiet, err := s.graph.Quiet(a)
	if err != nil {
		return nil, err
	}
	var n Announcement
	if err := json.Unmarshal(j.Data, &n); err != nil {
		return nil, fmt.Errorf("bridge: announcement: %w", err)
	}
	l := view.ParseLang(acct.Language)
	thread := fmt.Sprintf("announcement-%d", j.Number)
	return &push.Push{
		ID: push.NewID(r.Device, 0, store.Seq(j.Number), push.KindAnnounce), Collapse: thread,
		Note: push.Note{Kind: push.KindAnnounce, Thread: thread, Seq: store.Seq(j.Number), Badge: -1,
			Silent: !quiet.Ends(s.now()).IsZero(), Title: in(n.Title, l), Body: in(n.Text, l)},
	}, nil
}
