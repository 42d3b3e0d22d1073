package view

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/hwangso/hwangso/store"
)

// The keys of attachments in posts. A file has also those of fileTexts and fileNumbers; no other key is allowed, since a
// client might fetch what stands under it.
const (
	attachedType     = "type"
	attachedText     = "text"
	attachedURL      = "url"
	attachedName     = "name"
	attachedAlt      = "alt"
	attachedLat      = "lat"
	attachedLon      = "lon"
	attachedCampaign = "campaign"

	typeButton = "button"
	typeCoupon = "coupon"
)

// Limits of what stands in a post.
const (
	MaxButtons     = 5
	MaxButtonLabel = 40 // characters
	maxPostName    = 100
	maxPostAlt     = 1000
	maxPreview     = 2048 // bytes
)

var (
	fileTexts   = map[string]int{attachedName: maxPostName, attachedAlt: maxPostAlt, "mime": 100, "blurhash": 100} // characters
	fileNumbers = map[string]bool{"width": true, "height": true, "seconds": true, "size": true}
)

// postKind reports whether publishers may post the kind. Coupons come with broadcasts alone.
func postKind(k store.Kind) bool { return k.ByClient() && k != store.KindPoll }

// CheckPost tells what is wrong with a message that a publisher posts to followers, nil if nothing: what the parsers of
// this package made of it has to be what ParsePost would allow, attachments to the key.
//
//	{"file":…}                                  a file of this server: also name, alt, mime, blurhash, width, height, seconds, size,
//	                                            preview (bytes)
//	{"lat":37.5,"lon":127,"name":…}             a place, of kind location
//	{"type":"button","text":…,"url":…}          at most MaxButtons
//
// Nobody is mentioned: followers are known to nobody. Whether the publisher may attach the files is the caller's to ask.
// Errors are *store.Error of CodeBad or CodeForbidden.
func CheckPost(c Content) error {
	if !postKind(c.Kind) {
		return store.Forbidden("", "a post's kind is text, image, video, audio, file or location; coupons come with broadcasts")
	}
	if c.All || len(c.Mentions) > 0 {
		return store.Bad("a post mentions nobody")
	}
	list, err := attachmentsOf(c.Extra)
	if err != nil {
		return store.Bad("the attachments cannot be read")
	}
	return checkPost(&c, list, false)
}

func attachmentsOf(extra []byte) ([]any, error) {
	if len(extra) == 0 {
		return nil, nil
	}
	var b struct {
		A []any `cbor:"8,keyasint"`
	}
	if err := decoder.Unmarshal(extra, &b); err != nil {
		return nil, fmt.Errorf("view: attachments: %w", err)
	}
	return b.A, nil
}

func checkPost(c *Content, list []any, coupon bool) error {
	var files, places, buttons, coupons int
	for _, a := range list {
		m, ok := a.(map[string]any)
		if !ok {
			return store.Bad("an attachment must be a map with texts as keys")
		}
		var err error
		switch {
		case m[attachedType] == typeButton:
			buttons++
			err = checkButton(m)
		case coupon && m[attachedType] == typeCoupon:
			coupons++
		case m[attachedFile] != nil:
			files++
			err = checkFile(m)
		case m[attachedLat] != nil:
			places++
			err = checkPlace(m)
		default:
			err = store.Bad(`an attachment of a post is a file of this server ({"file":…}), a place ({"lat":…,"lon":…}) or a button`)
		}
		if err != nil {
			return err
		}
	}
	media := c.Kind == store.KindImage || c.Kind == store.KindVideo || c.Kind == store.KindAudio || c.Kind == store.KindFile
	switch {
	case buttons > MaxButtons:
		return store.Bad("at most " + strconv.Itoa(MaxButtons) + " buttons")
	case media && files == 0:
		return store.Bad("a post of kind " + c.Kind.String() + " needs a file")
	case !media && !coupon && files > 0:
		return store.Bad("a post with a file is of kind image, video, audio or file")
	case c.Kind == store.KindLocation && places != 1:
		return store.Bad("a post of kind location needs one place")
	case c.Kind != store.KindLocation && places > 0:
		return store.Bad("a post with a place is of kind location")
	case c.Kind == store.KindText && !visible(string(c.Text)):
		return store.Bad("the post is empty: it must have a text")
	}
	return nil
}

// visible reports whether there is something to see in a text.
func visible(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsGraphic(r) && !unicode.IsSpace(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
	})
}

func checkButton(m map[string]any) error {
	label, _ := m[attachedText].(string)
	address, _ := m[attachedURL].(string)
	switch {
	case len(m) != 3:
		return store.Bad("a button has a type, a text and a url, and nothing else")
	case !brief(label, MaxButtonLabel):
		return store.Bad("a button's text must be one line of at most " + strconv.Itoa(MaxButtonLabel) + " characters, without control characters")
	}
	return CheckURL(address)
}

func checkFile(m map[string]any) error {
	for k, v := range m {
		if k == attachedFile {
			if _, err := fileOf(m); err != nil {
				return err
			}
			continue
		}
		switch v := v.(type) {
		case string:
			if max, ok := fileTexts[k]; !ok {
				return unknownKey(k)
			} else if v != "" && (!brief(v, max) || address(v)) {
				return store.Bad("the key " + k + " of a file must be one line of at most " + strconv.Itoa(max) + " characters, and no address")
			}
		case []byte:
			if k != "preview" {
				return unknownKey(k)
			}
			if len(v) > maxPreview {
				return store.Bad("the preview of a file may have at most " + strconv.Itoa(maxPreview) + " bytes")
			}
		default:
			if !fileNumbers[k] {
				return unknownKey(k)
			}
			if f, ok := float(v); !ok || f < 0 {
				return store.Bad("the key " + k + " of a file must be a number from 0 on")
			}
		}
	}
	return nil
}

func unknownKey(k string) error {
	if !brief(k, maxPostName) {
		return store.Bad("an attachment of a post has a key that is not known")
	}
	return store.Bad("an attachment of a post has no key " + k)
}

// address reports whether a text might be fetched.
func address(s string) bool {
	s = strings.ToLower(s)
	return strings.Contains(s, "//") || strings.Contains(s, `\\`) || strings.HasPrefix(s, "data:")
}

func checkPlace(m map[string]any) error {
	lat, ok := float(m[attachedLat])
	lon, ok2 := float(m[attachedLon])
	if !ok || !ok2 || math.Abs(lat) > 90 || math.Abs(lon) > 180 {
		return store.Bad("a place has lat from -90 to 90 and lon from -180 to 180")
	}
	n := 2
	if v, ok := m[attachedName]; ok {
		n++
		if s, ok := v.(string); !ok || !brief(s, maxPostName) || address(s) {
			return store.Bad("the name of a place must be one line of at most " + strconv.Itoa(maxPostName) + " characters, and no address")
		}
	}
	if len(m) != n {
		return store.Bad("a place has lat, lon and a name, and nothing else")
	}
	return nil
}

// float is a number as any decoder leaves it.
func float(v any) (float64, bool) {
	switch n := v.(type) {
	case float64:
		return n, !math.IsNaN(n) && !math.IsInf(n, 0)
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	}
	return 0, false
}
