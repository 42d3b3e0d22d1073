package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/store/graph"
)

// TestLongTexts: 4 KB of Hangul and emoji are cut between what a reader takes for characters, and fit.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	r := newRinging(t, nil, "alice", "bob")
	r.friends([2]string{"alice", "bob"})
	tokens := map[graph.PushProvider]string{}
	for _, p := range graph.PushProviders() {
		tokens[p] = r.phone("bob", "phone-"+string(p), p)
	}
	first := r.says("alice", "user/bob", "hello")
	for _, token := range tokens {
		r.waits(token, func(p pushsim.Phone) bool { return len(p.Notifications) == 1 })
	}
	r.does("bob", "preview.set", `{"user":"alice","preview":"full"}`)
	r.does("bob", "read.set", `{"user":"alice","seq":`+itoa(first)+`}`)
	for _, token := range tokens {
		r.comes(token, func(p pushsim.Phone) bool { return len(p.Notifications) == 0 })
	}
	// A syllable in one code point and in three, a family, a flag, a hand with a colour, a keycap, and what JSON escapes.
	clusters := []string{"황", "\u1112\u116a\u11bc", "👩\u200d👩\u200d👧\u200d👦", "🇰🇷", "👍🏽", "1\ufe0f\u20e3", `"`, `\`, "소"}
	for pad := range 7 {
		text := strings.Repeat("x", pad)
		ends := map[int]bool{}
		for i := 0; len(text) < 4050; i++ {
			ends[len(text)] = true
			text += clusters[(i*(pad+1))%len(clusters)]
		}
		if pad == 6 { // every byte becomes two
			text = strings.Repeat(`"`, 4000)
			for i := range text {
				ends[i] = true
			}
		}
		before := r.sim.Last()
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		answer := r.does("alice", "message.send", `{"user":"bob","text":`+string(quoted)+`}`)
		seq := uint64(answer["seq"].(float64))
		for p, token := range tokens {
			var tried []pushsim.Attempt // to tell it, and not what takes the one before it away
			r.until("it is shown", 2*time.Second, func() bool {
				tried = slices.DeleteFunc(r.triedAt(before, token), func(a pushsim.Attempt) bool { _, alert := a.Says(); return !alert })
				return len(tried) > 0
			})
			a := tried[0]
			n, _ := a.Says()
			says := n.Body
			if len(n.Args) > 0 {
				says = n.Args[len(n.Args)-1]
			}
			whole, cut := strings.CutSuffix(says, "…")
			size := a.Size
			if p == graph.FCM { // which counts the names and values of the data, not the request
				size = 0
				for k, v := range a.Payload {
					size += len(k) + len(fmt.Sprint(v))
				}
			}
			if size > 4096 || a.Status/100 != 2 || len(tried) != 1 {
				t.Errorf("%s, %d: %d bytes, status %d, %d attempts", p, pad, size, a.Status, len(tried))
			}
			if !cut || !utf8.ValidString(says) || strings.ContainsRune(says, utf8.RuneError) || !strings.HasPrefix(text, whole) || !ends[len(whole)] {
				t.Errorf("%s, %d: it says %q", p, pad, says)
			}
			if pad < 6 && len(whole) < 1000 {
				t.Errorf("%s, %d: of %d bytes only %d are left", p, pad, len(text), len(whole))
			}
		}
		r.does("bob", "read.set", fmt.Sprintf(`{"user":"alice","seq":%d}`, seq))
		for _, token := range tokens {
			r.comes(token, func(p pushsim.Phone) bool { return len(p.Notifications) == 0 })
		}
	}
}
