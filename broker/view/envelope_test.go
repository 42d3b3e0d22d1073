package view

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/hwangso/hwangso/store"
)

// expected is what an envelope says, by letters, written from the documentation and not from the encoders.
func expected(r *store.Record, extra map[string]any, epoch store.Epoch, ads bool, own Own) map[string]any {
	m := map[string]any{"s": float64(r.Seq)}
	set := func(key string, v any, there bool) {
		if there {
			m[key] = v
		}
	}
	set("f", people[r.Sender], people[r.Sender] != "")
	set("t", float64(r.Time), r.Time != 0)
	set("i", r.CID, r.CID != "")
	set("b", string(r.Text), len(r.Text) > 0 && !r.Recalled)
	set("k", r.Kind.String(), r.Kind != store.KindText && !r.Recalled)
	for _, k := range []string{"r", "m", "a"} {
		set(k, extra[k], extra[k] != nil && !r.Recalled)
	}
	switch {
	case r.Recalled:
		m["x"] = map[string]any{"op": "recall", "s": float64(r.Seq)}
	case r.Op.Kind != store.OpNone:
		m["x"] = map[string]any{"op": r.Op.Kind.String(), "s": float64(r.Op.Target)}
	case r.Edited != 0:
		m["x"] = map[string]any{"op": "edit", "s": float64(r.Seq), "at": float64(r.Edited)}
	}
	set("w", true, r.Warn && own.Viewer != r.Sender)
	set("u", float64(own.Unread), own.Unread > 0)
	set("g", []any{float64(own.Withheld.From), float64(own.Withheld.To)}, own.Withheld.From > 0)
	set("e", float64(r.Expiry), r.Expiry != 0)
	set("h", float64(epoch), epoch > 1)
	set("d", true, ads)
	return m
}

// letters turns a decoded CBOR envelope into what encoding/json makes of the same.
func letters(v any, top bool) any {
	switch v := v.(type) {
	case uint64:
		return float64(v)
	case int64:
		return float64(v)
	case []byte:
		return base64.RawURLEncoding.EncodeToString(v)
	case []any:
		for i := range v {
			v[i] = letters(v[i], false)
		}
	case map[any]any:
		out := map[string]any{}
		for k, e := range v {
			n, isNumber := k.(uint64)
			switch {
			case isNumber && top:
				out[keyLetters[n:n+1]] = letters(e, false)
			case isNumber:
				out[[]string{"op", "s", "who", "role", "title", "at", "room", "device"}[n]] = letters(e, false)
			default:
				out[k.(string)] = letters(e, false)
			}
		}
		return out
	}
	return v
}

func randomText(rnd *rand.Rand) string {
	alphabet := []rune("ab \"\\/\n\t\x01\x7f\u0085\u009b\u00e9\u2028가힣😀\u202e\ufffd<&")
	var b strings.Builder
	for range rnd.IntN(40) {
		b.WriteRune(alphabet[rnd.IntN(len(alphabet))])
	}
	return b.String()
}

func randomValue(rnd *rand.Rand, depth int) any {
	switch n := rnd.IntN(9); {
	case n == 0:
		return nil
	case n == 1:
		return rnd.IntN(2) == 0
	case n == 2:
		return rnd.Int64N(1<<53) - 1<<52
	case n == 3:
		return rnd.NormFloat64() * 1e6
	case n == 4:
		return float64(rnd.IntN(2048)) / 1024 // fits 16 bits
	case n == 5 && depth > 0:
		list := make([]any, rnd.IntN(4))
		for i := range list {
			list[i] = randomValue(rnd, depth-1)
		}
		return list
	case n == 6 && depth > 0:
		m := map[string]any{}
		for range rnd.IntN(4) {
			m[randomText(rnd)] = randomValue(rnd, depth-1)
		}
		return m
	}
	return randomText(rnd)
}

// Random records say the same in JSON and CBOR to other implementations, which is what the documentation says.
func TestEnvelopesRoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for range 2000 {
		pick := func(n int) bool { return rnd.IntN(n) == 0 }
		r := &store.Record{Seq: store.Seq(rnd.Uint64N(1<<40) + 1), Sender: store.AccountID(rnd.IntN(4)), Time: rnd.Int64N(1 << 42), Text: []byte(randomText(rnd))}
		if pick(3) {
			r.CID = "c-" + fmt.Sprint(rnd.IntN(100))
		}
		if pick(3) {
			r.Kind = store.Kind(rnd.IntN(int(store.KindLocation) + 1))
		}
		r.Recalled, r.Warn = pick(8), pick(4)
		if pick(4) {
			r.Expiry = rnd.Int64N(1<<42) + 1
		}
		if pick(4) {
			r.Edited = r.Seq + 3
		}
		if pick(4) {
			r.Op = store.Op{Kind: store.OpKind(rnd.IntN(6) + 1), Target: r.Seq}
		}
		var extra map[string]any
		if pick(2) {
			body := map[string]any{"b": "-", "r": 1 + rnd.Uint64N(1<<40), "m": []string{"bob", "@all"}}
			list := []any{}
			for range 1 + rnd.IntN(3) {
				list = append(list, map[string]any{"v": randomValue(rnd, 3), randomText(rnd): randomValue(rnd, 2)})
			}
			body["a"] = list
			enc, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(enc, &extra); err != nil {
				t.Fatal(err)
			}
			c, err := ParseJSON(enc)
			if err != nil {
				t.Fatalf("%s: %v", enc, err)
			}
			r.Extra = c.Extra
		}
		env := Env{Epoch: store.Epoch(rnd.IntN(3)), Names: people, Ads: pick(3)}
		own := Own{Viewer: store.AccountID(rnd.IntN(4)), Unread: rnd.IntN(3)}
		if pick(4) {
			own.Withheld = store.Span{From: r.Seq, To: r.Seq + store.Seq(rnd.IntN(9))}
		}
		want := expected(r, extra, env.Epoch, env.Ads, own)

		j := JSON(r, env).Append([]byte("x"), own)
		var fromJSON map[string]any
		if err := json.Unmarshal(j[1:], &fromJSON); err != nil {
			t.Fatalf("%s: %v", j, err)
		}
		if !reflect.DeepEqual(fromJSON, want) {
			t.Fatalf("JSON says %v\nwant %v", fromJSON, want)
		}
		b := CBOR(r, env).Append([]byte("x"), own)[1:]
		var fromCBOR any
		if err := cbor.Unmarshal(b, &fromCBOR); err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		if again, err := encoder.Marshal(fromCBOR); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is not deterministic CBOR: %x, %v", b, again, err)
		}
		if got := letters(fromCBOR, true); !reflect.DeepEqual(got, any(want)) {
			t.Fatalf("CBOR says %v\nwant %v", got, want)
		}
	}
}

// Byte strings of attachments stay what they are in CBOR, and are base64url in JSON.
func TestByteStrings(t *testing.T) {
	c, err := ParseCBOR(mustCBOR(t, map[int]any{5: "image", 8: []any{map[string]any{"thumb": []byte{0, 255, 63}, "n": []any{[]byte{}}}}}))
	if err != nil {
		t.Fatal(err)
	}
	r := &store.Record{Seq: 1, Kind: c.Kind, Extra: c.Extra}
	if got, want := string(JSON(r, Env{}).Append(nil, Own{})), `{"s":1,"k":"image","a":[{"n":[""],"thumb":"AP8_"}]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	again, err := ParseCBOR(CBOR(r, Env{}).Append(nil, Own{}))
	if err != nil || !bytes.Equal(again.Extra, c.Extra) {
		t.Errorf("got %x, %v, want %x", again.Extra, err, c.Extra)
	}
}

// What other keys of an Extra say is not the client's: only r, m, a and l get into an envelope.
func TestExtraCannotSetServerKeys(t *testing.T) {
	forged := mustCBOR(t, map[uint64]any{0: 99, 1: "mallory", 4: "other", 11: true, 12: 5, 15: 9, 6: 3})
	r := &store.Record{Seq: 1, Sender: 1, Text: []byte("hi"), Extra: forged}
	if got, want := string(JSON(r, Env{Names: people}).Append(nil, Own{})), `{"s":1,"f":"alice","b":"hi","r":3}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var m map[uint64]any
	if err := cbor.Unmarshal(CBOR(r, Env{Names: people}).Append(nil, Own{}), &m); err != nil || len(m) != 4 || m[1] != "alice" {
		t.Errorf("got %v, %v", m, err)
	}
}

// A damaged Extra costs its keys, never the envelope.
func TestDamagedExtra(t *testing.T) {
	for _, s := range []string{"ff", "a2", "a10", "a106", "a10618", "a106820101ff", "a108", "a10881a1", "a10881c100", "a108a10101", "a1079f6161ff", "a2060707816362", "bbffffffffffffffff06", "a10881f800"} {
		if len(s)%2 == 1 {
			s += "0"
		}
		r := &store.Record{Seq: 1, Text: []byte("hi"), Extra: mustHex(t, s)}
		j, b := JSON(r, Env{}).Append(nil, Own{}), CBOR(r, Env{}).Append(nil, Own{})
		if !json.Valid(j) || !bytes.HasPrefix(j, []byte(`{"s":1,"b":"hi"`)) {
			t.Errorf("%s: %s", s, j)
		}
		var m map[uint64]any
		if err := cbor.Unmarshal(b, &m); err != nil || m[4] != "hi" {
			t.Errorf("%s: %x: %v", s, b, err)
		}
	}
}

// Broken UTF-8, which only a damaged store could hold, breaks no envelope.
func TestInvalidUTF8(t *testing.T) {
	r := &store.Record{Seq: 1, Sender: 1, CID: "\xff", Text: []byte("a\xffb\xc2"), Kind: store.KindSystem, Change: store.Change{Kind: store.ChangeTitle, Title: "\xff"}}
	env := Env{Names: names{1: "\xc2"}}
	if j := JSON(r, env).Append(nil, Own{}); !json.Valid(j) || !bytes.Contains(j, []byte("a\ufffdb\ufffd")) {
		t.Errorf("got %q", j)
	}
	var m map[uint64]any
	if b := CBOR(r, env).Append(nil, Own{}); cbor.Unmarshal(b, &m) != nil || m[4] != "a\ufffdb\ufffd" {
		t.Errorf("got %x", b)
	}
}

func TestBatch(t *testing.T) {
	for _, n := range []int{0, 1, 23, 24, 300} {
		var items []Item
		for i := range n {
			r := &store.Record{Seq: store.Seq(i + 1), Sender: 1, Text: []byte("hi")}
			items = append(items, Item{CBOR(r, Env{Names: people}), Own{Unread: i % 2}})
		}
		var got []map[uint64]any
		if err := cbor.Unmarshal(Batch([]byte("x"), items)[1:], &got); err != nil || len(got) != n {
			t.Fatalf("%d items: got %d, %v", n, len(got), err)
		}
		for i, m := range got {
			if m[0] != uint64(i+1) || m[4] != "hi" || (m[12] != nil) != (i%2 == 1) {
				t.Errorf("item %d is %v", i, m)
			}
		}
	}
}

// A Shared is used for many receivers: what one is told stays with it.
func TestSharedIsImmutable(t *testing.T) {
	r := &store.Record{Seq: 5, Sender: 1, Text: []byte("hi"), Warn: true, Expiry: 9}
	for _, s := range []Shared{JSON(r, Env{Epoch: 2, Names: people}), CBOR(r, Env{Epoch: 2, Names: people})} {
		plain := s.Append(nil, Own{Viewer: 1})
		s.Append(nil, Own{Viewer: 2, Unread: 9, Withheld: store.Span{From: 1, To: 4}})
		if again := s.Append(nil, Own{Viewer: 1}); !bytes.Equal(again, plain) {
			t.Errorf("%q became %q", plain, again)
		}
		if bytes.Contains(plain, []byte(`"w"`)) {
			t.Errorf("the sender is told that it is a stranger: %s", plain)
		}
	}
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		o    Outcome
		want string
	}{
		{Outcome{}, `{"code":200}`},
		{Outcome{Code: 202, CID: "c1", Hint: "wait"}, `{"code":202,"cid":"c1","hint":"wait"}`},
		{Success(store.Receipt{Seq: 12, Time: aTime, Epoch: 1}, "c1"), `{"code":200,"cid":"c1","seq":12,"time":1790000000000,"epoch":1}`},
		{Success(store.Receipt{Seq: 12, Time: aTime, Epoch: 3}, "\xff\xfe"), `{"code":200,"cid":"__4","seq":12,"time":1790000000000,"epoch":3}`},
		{Failure(store.Forbidden(store.ReasonNotFriend, "no \"friend\""), "", English), `{"code":403,"error":"not_friend","text":"no \"friend\"","retry_ms":0}`},
		{Failure(fmt.Errorf("broker: %w", store.Forbidden(store.ReasonNotFriend, "no")), "", German), `{"code":403,"error":"not_friend","text":"Ihr seid nicht befreundet.","retry_ms":0}`},
		{Failure(&store.Error{Code: store.CodeTooMany, Retry: 1500*time.Millisecond + 1}, "c1", English), `{"code":429,"error":"rate","text":"Too much at once. Please try again later.","retry_ms":1501,"cid":"c1"}`},
		{Failure(store.Bad("b must be a text"), "c1", Korean), `{"code":400,"error":"bad_request","text":"b must be a text","retry_ms":0,"cid":"c1"}`},
		{Failure(errors.New("open /secret: denied"), "c1", English), `{"code":500,"error":"internal","retry_ms":0,"cid":"c1"}`},
	} {
		if got := string(AppendOutcome(nil, c.o)); got != c.want || !json.Valid([]byte(got)) {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
