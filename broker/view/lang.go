package view

import "strings"

// Lang is a language in which the server speaks to people.
type Lang uint8

// The languages. The zero Lang is English, which is also what stands in for any other.
const (
	English Lang = iota
	Korean
	Japanese
	Spanish
	ChineseTraditional
	ChineseSimplified
	Thai
	Turkish
	German
	French
	Portuguese
	Italian
	langs
)

var langTags = [langs]string{English: "en", Korean: "ko", Japanese: "ja", Spanish: "es", ChineseTraditional: "zh-Hant",
	ChineseSimplified: "zh-Hans", Thai: "th", Turkish: "tr", German: "de", French: "fr", Portuguese: "pt", Italian: "it"}

// String is the BCP 47 tag.
func (l Lang) String() string {
	if l >= langs {
		return langTags[English]
	}
	return langTags[l]
}

// ParseLang returns the language that serves a BCP 47 tag best: by its language subtag (pt-BR is pt), Chinese by script
// or else by region (zh-TW, zh-HK and zh-MO are traditional, zh is simplified). Underscores and any case will do. It
// is English for everything else.
func ParseLang(tag string) Lang {
	const longest = 35 // RFC 5646, section 4.4.1
	if len(tag) > longest {
		tag = tag[:longest]
	}
	first, rest := cutSubtag(tag)
	switch strings.ToLower(first) {
	case "ko":
		return Korean
	case "ja":
		return Japanese
	case "es":
		return Spanish
	case "th":
		return Thai
	case "tr":
		return Turkish
	case "de":
		return German
	case "fr":
		return French
	case "pt":
		return Portuguese
	case "it":
		return Italian
	case "zh", "cmn":
		return script(rest, ChineseSimplified)
	case "yue":
		return script(rest, ChineseTraditional)
	}
	return English
}

// script finds how Chinese is written from the subtags after the language.
func script(rest string, otherwise Lang) Lang {
	for rest != "" {
		var sub string
		sub, rest = cutSubtag(rest)
		switch strings.ToLower(sub) {
		case "hant":
			return ChineseTraditional
		case "hans":
			return ChineseSimplified
		case "tw", "hk", "mo":
			otherwise = ChineseTraditional
		case "cn", "sg", "my":
			otherwise = ChineseSimplified
		}
		if len(sub) == 1 { // an extension begins
			break
		}
	}
	return otherwise
}

func cutSubtag(tag string) (first, rest string) {
	if i := strings.IndexAny(tag, "-_"); i >= 0 {
		return tag[:i], tag[i+1:]
	}
	return tag, ""
}
