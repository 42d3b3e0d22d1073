package view

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// MaxPost bounds a post with all its languages, in bytes of JSON as they are stored. It leaves room in a row of
// store.MaxRowValue for what else is said about a post.
const MaxPost = 48 << 10

// Post is what a brand says to its followers, as the control API takes it.
type Post struct {
	Kind     string              `json:"kind,omitempty" doc:"text, image, video, audio, file or location. Absent: text, or location if there is one."`
	Language string              `json:"language,omitempty" doc:"Of the text (BCP 47). Absent: that of the channel."`
	Text     string              `json:"text,omitempty" doc:"For everybody whose language has no variant."`
	Files    []PostFile          `json:"files,omitempty" doc:"Uploaded with file.slot, for kinds image, video, audio and file. Pictures from elsewhere are refused: they would tell where each follower is."`
	Buttons  []Button            `json:"buttons,omitempty" doc:"At most 5. An address is the same for everybody: nothing is filled in."`
	Location *Location           `json:"location,omitempty"`
	Variants map[string]PostText `json:"variants,omitempty" doc:"By language: en, ko, ja, es, zh-Hant, zh-Hans, th, tr, de, fr, pt or it."`
}

// PostText is a post in another language. What is absent is as in the post itself.
type PostText struct {
	Text     string     `json:"text,omitempty"`
	Files    []PostFile `json:"files,omitempty" doc:"Absent: those of the post."`
	Buttons  []Button   `json:"buttons,omitempty" doc:"Absent: those of the post; an empty list: none."`
	Location *Location  `json:"location,omitempty" doc:"Absent: that of the post."`
}

// PostFile is a file of this server in a post.
type PostFile struct {
	File string `json:"file" doc:"The identifier of an uploaded file."`
	Name string `json:"name,omitempty" doc:"Shown to people; at most 100 characters."`
	Alt  string `json:"alt,omitempty" doc:"What is to be seen, for those who do not see it; at most 1,000 characters."`
}

// Button is something to tap below a post.
type Button struct {
	Text string `json:"text" doc:"At most 40 characters."`
	URL  string `json:"url" doc:"https, or the scheme of an app."`
}

// Location is a place in a post.
type Location struct {
	Lat  float64 `json:"lat" doc:"Degrees, north positive."`
	Lon  float64 `json:"lon" doc:"Degrees, east positive."`
	Name string  `json:"name,omitempty" doc:"At most 100 characters."`
}

// Posting is a post that may be published.
type Posting struct {
	Content  Content                  // for those who have none of the variants
	Language Lang                     // of Content
	Variants map[string]graph.Variant // by Lang.String
	Files    []string                 // of all languages, each once: whether the poster may attach them is the caller's to ask
}

// PostHow says what a post is for.
type PostHow struct {
	Language Lang   // of a post that does not say it
	Ad       bool   // advertising: every language gets the label in front
	Campaign string // of a coupon, whose identifier the caller has checked; "": no coupon
}

// ParsePost reads a post from JSON as the control API takes it, strictly: a key that is unknown or repeated is refused.
// See Post.Parse.
func ParsePost(payload []byte, how PostHow) (Posting, error) {
	j := jsonReader{src: payload}
	if j.peek() != '{' {
		return Posting{}, store.Bad(`a post must be a JSON object such as {"text":"hello"}`)
	}
	_, ok := j.value(maxDepth)
	if ok && j.peek() != 0 || ok && j.pos < len(payload) {
		ok = j.fail("something follows the object")
	}
	if !ok {
		return Posting{}, store.Bad("the post is not valid JSON: " + j.err)
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	var p Post
	if err := d.Decode(&p); err != nil {
		return Posting{}, &store.Error{Code: store.CodeBad, Text: "the post is not as posts are: " + Clean([]byte(strings.TrimPrefix(err.Error(), "json: "))), Err: err}
	}
	return p.Parse(how)
}

// Parse checks a post in every language and returns what is published, with the label of advertising where it has to
// be. Errors are *store.Error: CodeBad, CodeTooLarge beyond MaxPost.
func (p *Post) Parse(how PostHow) (Posting, error) {
	out := Posting{Language: how.Language}
	if p.Language != "" {
		var ok bool
		if out.Language, ok = knownLang(p.Language); !ok {
			return Posting{}, store.Bad("language must be one of " + langList())
		}
	}
	kind, err := p.kind(how.Campaign)
	if err != nil {
		return Posting{}, err
	}
	main := PostText{Text: p.Text, Files: p.Files, Buttons: p.Buttons, Location: p.Location}
	if out.Content, err = main.content(kind, out.Language, how); err != nil {
		return Posting{}, err
	}
	out.Files = slices.Clone(out.Content.Files)
	for _, tag := range sortedKeys(p.Variants) {
		l, ok := knownLang(tag)
		if !ok {
			return Posting{}, store.Bad("a variant's language must be one of " + langList())
		}
		if _, twice := out.Variants[l.String()]; twice || l == out.Language {
			return Posting{}, store.Bad("there are two texts in the language " + l.String() + ": a variant, and the post's own, whose language is the channel's unless the post says it")
		}
		v := p.Variants[tag]
		other := v.Files != nil || v.Buttons != nil || v.Location != nil
		if v.Files == nil {
			v.Files = p.Files
		}
		if v.Buttons == nil {
			v.Buttons = p.Buttons
		}
		if v.Location == nil {
			v.Location = p.Location
		}
		c, err := v.content(kind, l, how)
		if err != nil {
			return Posting{}, inLanguage(err, l)
		}
		variant := graph.Variant{Text: string(c.Text)}
		if other {
			if variant.Extra = c.Extra; variant.Extra == nil {
				variant.Extra = []byte{majorMap} // none, not those of the post
			}
		}
		for _, f := range c.Files {
			if !slices.Contains(out.Files, f) {
				out.Files = append(out.Files, f)
			}
		}
		if out.Variants == nil {
			out.Variants = make(map[string]graph.Variant)
		}
		out.Variants[l.String()] = variant
	}
	return out, out.fits()
}

// fits tells whether a post with all its languages has room in a row.
func (p *Posting) fits() error {
	stored, err := json.Marshal(struct {
		Main     graph.Variant
		Variants map[string]graph.Variant
	}{graph.Variant{Text: string(p.Content.Text), Extra: p.Content.Extra}, p.Variants})
	if err != nil {
		return &store.Error{Code: store.CodeBad, Text: "the post cannot be stored", Err: err}
	}
	if len(stored) > MaxPost {
		return &store.Error{Code: store.CodeTooLarge, Text: "a post may have at most " + strconv.Itoa(MaxPost) + " bytes with all its languages"}
	}
	return nil
}

func (p *Post) kind(campaign string) (store.Kind, error) {
	switch {
	case campaign != "" && p.Kind != "" && p.Kind != store.KindCoupon.String():
		return 0, store.Bad("a coupon has no other kind")
	case campaign != "":
		return store.KindCoupon, nil
	case p.Kind == "" && p.Location != nil:
		return store.KindLocation, nil
	case p.Kind == "":
		return store.KindText, nil
	}
	k, ok := store.ParseKind(p.Kind)
	if !ok || !postKind(k) {
		return 0, store.Bad("a post's kind is text, image, video, audio, file or location; coupons name their campaign")
	}
	return k, nil
}

// content is the post in one language.
func (t *PostText) content(kind store.Kind, l Lang, how PostHow) (Content, error) {
	c := Content{Kind: kind, Text: []byte(t.Text)}
	if err := checkText(c.Text, "the text"); err != nil {
		return Content{}, err
	}
	var list []any
	add := func(of map[string]any, texts ...string) {
		for i := 0; i < len(texts); i += 2 {
			if texts[i+1] != "" {
				of[texts[i]] = texts[i+1]
			}
		}
		list = append(list, of)
	}
	for _, f := range t.Files {
		add(map[string]any{attachedFile: f.File}, attachedName, f.Name, attachedAlt, f.Alt)
	}
	if at := t.Location; at != nil {
		add(map[string]any{attachedLat: at.Lat, attachedLon: at.Lon}, attachedName, at.Name)
	}
	for _, b := range t.Buttons {
		add(map[string]any{attachedType: typeButton, attachedText: b.Text, attachedURL: b.URL})
	}
	if how.Campaign != "" {
		add(map[string]any{attachedType: typeCoupon, attachedCampaign: how.Campaign})
	}
	if list != nil {
		b := body{A: list}
		if _, err := b.extra(&c); err != nil {
			return Content{}, err
		}
	}
	if err := checkPost(&c, list, how.Campaign != ""); err != nil {
		return Content{}, err
	}
	if how.Ad {
		c.Text = Labeled(c.Text, l)
	}
	return c, nil
}

// inLanguage tells in which language of a post something is wrong.
func inLanguage(err error, l Lang) error {
	if e, ok := errors.AsType[*store.Error](err); ok {
		in := *e
		in.Text = "in " + l.String() + ": " + e.Text
		return &in
	}
	return err
}

// knownLang is the language of a tag, false if it is none in which the server speaks.
func knownLang(tag string) (Lang, bool) {
	l := ParseLang(tag)
	if l != English {
		return l, true
	}
	first, _ := cutSubtag(tag)
	return English, strings.EqualFold(first, English.String())
}

func langList() string { return strings.Join(langTags[:], ", ") }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// brief reports whether a text is one line of visible characters, at most max of them: no control characters, none that
// reorder others, and something to see.
func brief(s string, max int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= max && visible(s) && Clean([]byte(s)) == s
}
