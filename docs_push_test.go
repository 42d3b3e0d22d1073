package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/broker/view"
)

// pushTextsTable has the texts of pushes in every language, as an app keeps them.
func pushTextsTable(*testing.T) string {
	var b strings.Builder
	b.WriteString("| key | arguments |\n|---|---|\n")
	for _, key := range view.PushKeys() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", key, strings.Join(view.PushArgs(key), ", "))
	}
	for _, tag := range []string{"en", "ko", "ja", "es", "zh-Hant", "zh-Hans", "th", "tr", "de", "fr", "pt", "it"} {
		fmt.Fprintf(&b, "\n### %s\n\n| key | text |\n|---|---|\n", tag)
		for _, key := range view.PushKeys() {
			fmt.Fprintf(&b, "| `%s` | %s |\n", key, view.PushLine(view.ParseLang(tag), key))
		}
	}
	return b.String()
}
