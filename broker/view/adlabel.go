package view

import (
	"bytes"
	"unicode"
)

// adLabels is what advertising is called in front of it. The Korean one is as the law spells it, to the character, and no
// other spelling of it counts (정보통신망법 제50조 제4항, 시행령 별표 6: “(광고)” at the very beginning).
var adLabels = [langs]string{
	English: "(Ad)", Korean: "(광고)", Japanese: "(広告)", Spanish: "(Publicidad)", ChineseTraditional: "(廣告)", ChineseSimplified: "(广告)",
	Thai: "(โฆษณา)", Turkish: "(Reklam)", German: "(Anzeige)", French: "(Publicité)", Portuguese: "(Publicidade)", Italian: "(Pubblicità)",
}

// AdLabel is what advertising in a language is marked with.
func AdLabel(l Lang) string {
	if l >= langs {
		l = English
	}
	return adLabels[l]
}

// Labeled is a text of advertising with its label in front, once: where the label stands already, nothing else stands
// before it.
func Labeled(text []byte, l Lang) []byte {
	label := []byte(AdLabel(l))
	text = bytes.TrimLeftFunc(text, unicode.IsSpace)
	if len(text) >= len(label) && bytes.EqualFold(text[:len(label)], label) {
		return text
	}
	if len(text) == 0 {
		return label
	}
	return append(append(label, ' '), text...)
}
