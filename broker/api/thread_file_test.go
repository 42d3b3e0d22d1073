package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// TestThreadFiles: who gets a link to a picture that a follower or a channel has sent to the other one: the two of them, the
// channel's side under the follower's pseudonym, and nobody else. What is no such picture gives one and the same answer.
func TestThreadFiles(t *testing.T) {
	w := newMediaWorld(t)
	w.users("owner", "staff", "late", "ended", "rival", "alice", "bob", "stranger")
	cafe, shop := w.brand("cafe", "owner"), w.brand("shop", "rival")
	for _, who := range []string{"staff", "ended"} {
		w.op(200, "channel.publisher.set", obj{"channel": "cafe", "user": who})
	}
	w.followed(cafe, false, "alice", "bob", "owner")
	w.followed(shop, false, "alice")
	w.key("owner", "bot", "channel:cafe")
	w.key("owner", "till", "redeem:cafe")
	w.key("rival", "other", "channel:shop")
	named := func(channel store.LogID, who string) string {
		return w.broker.Access().Pseudonym(channel, w.account(who).ID)
	}
	alice, bob := named(cafe, "alice"), named(cafe, "bob")

	width := 40
	sends := func(who, topic string) string {
		t.Helper()
		width++
		file := w.upload(who, "image/jpeg", jpegOf(t, width))
		w.writes(who, topic, fmt.Sprintf(`{"k":"image","a":[{"file":%q,"name":"tea.jpg"}]}`, file))
		return file
	}
	asked := sends("alice", "channel/cafe/ask/json")                // 1
	answered := sends("owner", "thread/cafe/"+alice+"/json")        // 2
	w.writes("alice", "channel/cafe/ask/json", `{"b":"`+asked+`"}`) // 3: a text that names a file
	bobs := sends("bob", "channel/cafe/ask/json")
	inShop := sends("alice", "channel/shop/ask/json")
	own := sends("owner", "channel/cafe/ask/json")
	w.op(200, "channel.publisher.set", obj{"channel": "cafe", "user": "late"})
	w.op(200, "channel.publisher.remove", obj{"channel": "cafe", "user": "ended"})

	const (
		noFile   = "you have no such file: upload it, or ask for a link to it first"
		noThread = "nobody has written to the channel under this name"
		noScope  = "this key does not open that"
	)
	outside := func(channel string) string {
		return "you do not publish in the channel " + channel + "; its followers write to it on channel/" + channel + "/ask/text"
	}
	brand := func(channel, thread string, seq int, file string) obj {
		return obj{"channel": channel, "thread": thread, "seq": seq, "file": file}
	}
	follower := func(channel string, seq int, file string) obj {
		return obj{"channel": channel, "ask": true, "seq": seq, "file": file}
	}
	type row struct {
		who    string
		in     obj
		status int
		text   string
	}
	check := func(when string, rows ...row) {
		t.Helper()
		for _, r := range rows {
			got := do(t, w.public.URL, "file.link", "Bearer "+w.tokens[r.who], r.in)
			if text, _ := got.body["text"].(string); got.status != r.status || text != r.text {
				t.Errorf("%s: %s asks for %v: %d %s, want %d %s", when, r.who, r.in, got.status, got.raw, r.status, r.text)
			}
			if r.status == 200 && got.status == 200 {
				w.opens(got.body, r.in["file"].(string))
			}
		}
	}
	theirs, answer := brand("cafe", alice, 1, asked), brand("cafe", alice, 2, answered)
	mine := follower("cafe", 1, asked)
	check("at first",
		row{"owner", theirs, 200, ""}, row{"staff", theirs, 200, ""}, row{"bot", theirs, 200, ""},
		row{"owner", answer, 200, ""}, row{"staff", answer, 200, ""}, row{"bot", answer, 200, ""},
		row{"owner", brand("CAFE", strings.ToUpper(alice), 1, asked), 200, ""},
		row{"owner", brand("cafe", bob, 1, bobs), 200, ""},
		row{"alice", mine, 200, ""}, row{"alice", follower("cafe", 2, answered), 200, ""},
		row{"bob", follower("cafe", 1, bobs), 200, ""}, row{"rival", brand("shop", named(shop, "alice"), 1, inShop), 200, ""},
		row{"alice", follower("shop", 1, inShop), 200, ""}, row{"owner", follower("cafe", 1, own), 200, ""},
		// who publishes there, and when
		row{"till", theirs, 403, noScope}, row{"other", theirs, 403, noScope}, row{"other", mine, 403, noScope},
		row{"ended", theirs, 403, outside("cafe")}, row{"rival", theirs, 403, outside("cafe")}, row{"alice", theirs, 403, outside("cafe")},
		row{"stranger", theirs, 403, outside("cafe")}, row{"stranger", brand("none", alice, 1, asked), 403, outside("none")},
		row{"late", theirs, 404, noFile},
		// another thread, message or file
		row{"owner", brand("cafe", bob, 1, asked), 404, noFile}, row{"owner", brand("cafe", alice, 1, bobs), 404, noFile},
		row{"owner", brand("cafe", alice, 2, asked), 404, noFile}, row{"owner", brand("cafe", alice, 3, asked), 404, noFile},
		row{"owner", brand("cafe", alice, 4, asked), 404, noFile}, row{"owner", brand("cafe", alice, 1, "none"), 404, noFile},
		row{"owner", brand("cafe", alice, 1, inShop), 404, noFile}, row{"owner", brand("cafe", named(shop, "alice"), 1, inShop), 404, noThread},
		row{"owner", brand("cafe", "alice", 1, asked), 404, noThread}, row{"owner", brand("shop", named(shop, "alice"), 1, inShop), 403, outside("shop")},
		row{"owner", brand("cafe", named(cafe, "owner"), 1, own), 400, "this thread is your own: read it as the channel's follower"},
		row{"staff", follower("cafe", 1, asked), 404, noFile},
		row{"bob", follower("cafe", 1, asked), 404, noFile}, row{"bob", follower("cafe", 2, answered), 404, noFile},
		row{"bob", follower("shop", 1, inShop), 404, noFile}, row{"bob", follower("none", 1, bobs), 404, noFile},
		row{"alice", follower("cafe", 1, inShop), 404, noFile},
		row{"owner", obj{"channel": "cafe", "seq": 1, "file": asked}, 404, noFile},
		// what says nothing
		row{"owner", obj{"thread": alice, "seq": 1, "file": asked}, 400, "ask and thread need channel"},
		row{"alice", obj{"ask": true, "seq": 1, "file": asked}, 400, "ask and thread need channel"},
		row{"owner", obj{"channel": "cafe", "thread": alice, "ask": true, "seq": 1, "file": asked}, 400, "ads, ask and thread do not go together"},
		row{"owner", obj{"channel": "cafe", "thread": alice, "ads": true, "seq": 1, "file": asked}, 400, "ads, ask and thread do not go together"},
		row{"owner", obj{"channel": "cafe", "thread": alice, "user": "bob", "seq": 1, "file": asked}, 400, "channel stands alone, or with seq and file"},
		row{"owner", obj{"channel": "cafe", "thread": alice, "file": asked}, 400, "ask and thread need seq and file"},
		row{"owner", obj{"channel": "cafe", "thread": alice}, 400, "ask and thread need seq and file"},
		row{"owner", obj{"channel": "cafe", "thread": "no name", "seq": 1, "file": asked}, 400, "thread must be 1 to 64 characters of A-Z a-z 0-9 . _ ~ -"},
	)

	w.as("alice", 200, "channel.unfollow", obj{"channel": "cafe"})
	nowhere := sends("staff", "thread/cafe/"+alice+"/json") // 4
	check("after she left", row{"owner", theirs, 200, ""}, row{"alice", mine, 200, ""}, row{"alice", follower("cafe", 2, answered), 200, ""},
		row{"owner", brand("cafe", alice, 4, nowhere), 200, ""}, row{"late", brand("cafe", alice, 4, nowhere), 200, ""},
		row{"alice", follower("cafe", 4, nowhere), 404, noFile})
	w.as("alice", 200, "channel.block", obj{"channel": "cafe"})
	check("after she blocked it", row{"owner", theirs, 200, ""}, row{"bot", theirs, 200, ""}, row{"alice", mine, 200, ""})
	suspend := func(at int64) {
		t.Helper()
		if err := w.api.graph.SetChannel(t.Context(), cafe, func(c *graph.Channel) error { c.Suspended = at; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	suspend(1)
	check("while it is suspended", row{"owner", theirs, 200, ""}, row{"alice", mine, 200, ""}, row{"stranger", theirs, 403, outside("cafe")},
		row{"bob", follower("cafe", 1, bobs), 200, ""})
	suspend(0)

	// A program with a key answers with pictures of its own, as the publisher who made the key.
	picture := jpegOf(t, 90)
	slot := obj{"type": "image/jpeg", "size": len(picture), "channel": "cafe"}
	drawn := w.uploadTo(w.as("bot", 200, "file.slot", slot), picture)
	w.writes("owner", "thread/cafe/"+bob+"/json", `{"k":"image","a":[{"file":"`+drawn+`"}]}`)
	check("answered by a program", row{"bob", follower("cafe", 2, drawn), 200, ""}, row{"bot", brand("cafe", bob, 2, drawn), 200, ""})
	for _, who := range []string{"till", "other"} {
		want(t, who, w.as(who, 403, "file.slot", slot)["text"], noScope)
	}
	want(t, "no key's", w.as("alice", 403, "file.slot", slot)["error"], "role")
	w.as("bot", 403, "file.slot", obj{"type": "image/jpeg", "size": 1})

	gone := w.account("bob").ID
	if err := errors.Join(w.api.cfg.Files.Erase(t.Context(), gone), w.store.EraseAccount(t.Context(), gone)); err != nil {
		t.Fatal(err)
	}
	check("after his account has ended", row{"owner", brand("cafe", bob, 1, bobs), 404, noFile}, row{"owner", brand("cafe", bob, 2, drawn), 200, ""},
		row{"owner", theirs, 200, ""})
}

// opens has the file of an answer of file.link, and its thumbnail: the addresses name the file and nothing else, and what
// comes with the bytes is the same whoever has sent them.
func (w *world) opens(link obj, file string) {
	w.t.Helper()
	if got := slices.Sorted(maps.Keys(link)); !slices.Equal(got, []string{"code", "expires", "height", "size", "thumb", "type", "url", "width"}) {
		w.t.Errorf("file.link answers %v", got)
	}
	for key, path := range map[string]string{"url": "/files/" + file, "thumb": "/files/" + file + "/thumb"} {
		u, err := url.Parse(link[key].(string))
		if err != nil {
			w.t.Fatal(err)
		}
		if q := slices.Sorted(maps.Keys(u.Query())); u.Path != path || !slices.Equal(q, []string{"e", "s"}) {
			w.t.Errorf("the address %s", u)
		}
		r, err := http.NewRequest(http.MethodGet, u.String(), nil)
		if err != nil {
			w.t.Fatal(err)
		}
		got := roundTrip(w.t, r)
		headers := slices.Sorted(maps.Keys(got.header))
		if want := []string{"Accept-Ranges", "Access-Control-Allow-Headers", "Access-Control-Allow-Methods", "Access-Control-Allow-Origin", "Access-Control-Max-Age", "Cache-Control",
			"Content-Length", "Content-Security-Policy", "Content-Type", "Cross-Origin-Resource-Policy", "Date", "Referrer-Policy", "X-Content-Type-Options"}; got.status != 200 ||
			len(got.raw) == 0 || !slices.Equal(headers, want) {
			w.t.Errorf("%s: %d, %d bytes with %v", u, got.status, len(got.raw), headers)
		}
	}
}
