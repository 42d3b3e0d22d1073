package main

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// identity is what is known of somebody, and what gives somebody away wherever it stands.
type identity struct {
	account store.AccountID // 0, and of the device: not known
	device  store.DeviceID
	channel store.LogID       // beside which it may stand in what was hashed
	words   map[string]string // names, identifiers, addresses: what it is, and how it is written
}

// mark is an identity in one encoding.
type mark struct {
	text  string            // in lower case
	alone func(c byte) bool // what must not stand beside it: a short number is part of many others
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func letter(c byte) bool { return digit(c) || c >= 'a' && c <= 'z' }

// lower is a text with its ASCII letters in lower case, and every other byte as it is.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// in reports whether the mark is in a text in lower case. A decimal number that stands between letters of a hash in hex is
// none: of five digits each, one signature in 17,000 has them somewhere.
func (m mark) in(s string) bool {
	decimal := strings.Trim(m.text, "0123456789") == ""
	for from := 0; ; {
		at := strings.Index(s[from:], m.text)
		if at < 0 || m.alone == nil && !decimal {
			return at >= 0
		}
		at += from
		end := at + len(m.text)
		beside := m.alone != nil && (at > 0 && m.alone(s[at-1]) || end < len(s) && m.alone(s[end]))
		if !beside && !(decimal && inHash(s, at, end)) {
			return true
		}
		from = at + 1
	}
}

// inHash reports whether a part of a text stands in 64 bits or more in hex, which are not decimal themselves: so short are the
// hashes of the audit log.
func inHash(s string, at, end int) bool {
	hexadecimal := func(c byte) bool { return digit(c) || c >= 'a' && c <= 'f' }
	from, upto := at, end
	for from > 0 && hexadecimal(s[from-1]) {
		from--
	}
	for upto < len(s) && hexadecimal(s[upto]) {
		upto++
	}
	return upto-from >= 16 && strings.ContainsAny(s[from:at]+s[end:upto], "abcdef")
}

// marks are an identity in the encodings in which it could stand somewhere.
func (id identity) marks() map[string]mark {
	out := make(map[string]mark)
	put := func(what, text string) {
		if len(text) >= 5 { // nothing that is found everywhere
			out[what] = mark{text: lower(text)}
		}
	}
	text := func(what string, raw []byte) {
		put(what+" in hex", hex.EncodeToString(raw))
		put(what+" in base32", strings.TrimRight(base32.StdEncoding.EncodeToString(raw), "="))
		for shift := range 3 { // wherever in an encoded text it begins
			all := append(make([]byte, shift), raw...)
			from, upto := (shift*8+5)/6, len(all)*8/6
			put(fmt.Sprint(what, " in base64, ", shift), base64.RawStdEncoding.EncodeToString(all)[from:upto])
			put(fmt.Sprint(what, " in base64url, ", shift), base64.RawURLEncoding.EncodeToString(all)[from:upto])
		}
	}
	hashed := func(what string, raw []byte) { // without a key: whoever has a list of users finds out
		a, b, c := sha256.Sum256(raw), sha1.Sum(raw), md5.Sum(raw)
		for name, sum := range map[string][]byte{"SHA-256": a[:10], "SHA-1": b[:10], "MD5": c[:10]} {
			what := name + " of the " + what
			put(what+" in hex", hex.EncodeToString(sum[:8]))
			put(what+" in base32", base32.StdEncoding.EncodeToString(sum))
			put(what+" in base64", base64.RawStdEncoding.EncodeToString(sum)[:12])
			put(what+" in base64url", base64.RawURLEncoding.EncodeToString(sum)[:12])
			put(what+" in bytes", string(sum[:8]))
		}
	}
	for what, word := range id.words {
		put(what, word)
		text(what, []byte(word))
		hashed(what, []byte(word))
	}
	for what, n := range map[string]uint64{"number": uint64(id.account), "device": uint64(id.device)} {
		if n == 0 { // not looked for
			continue
		}
		out[what] = mark{fmt.Sprint(n), digit}
		out[what+" in base 16"] = mark{fmt.Sprintf("%x", n), letter}
		put(what+" in base 16, padded", fmt.Sprintf("%016x", n))
		put(what+" in varint", string(binary.AppendUvarint(nil, n)))
		for order, raw := range map[string][]byte{"big": binary.BigEndian.AppendUint64(nil, n), "little": binary.LittleEndian.AppendUint64(nil, n)} {
			out[what+" in bytes, "+order] = mark{text: lower(string(raw))}
			text(what+", "+order, raw)
		}
		hashed(what+" in text", []byte(fmt.Sprint(n)))
		hashed(what+" in bytes", binary.BigEndian.AppendUint64(nil, n))
		hashed(what+" beside the channel's", []byte(fmt.Sprint(uint64(id.channel), " ", n)))
	}
	if n := uint64(id.account); n > 0 && n < 1<<16 {
		out["number in CBOR"] = mark{text: lower(string([]byte{0x19, byte(n >> 8), byte(n)}))}
	}
	return out
}

// given are the things that give one of those away, and how.
func (r *reach) given(ids ...identity) (out []string) {
	all := lower(strings.Join(r.got, "\n"))
	for _, id := range ids {
		marks := id.marks()
		for _, what := range slices.Sorted(maps.Keys(marks)) {
			if !marks[what].in(all) {
				continue
			}
			for _, g := range r.got {
				if marks[what].in(lower(g)) {
					out = append(out, fmt.Sprintf("the %s of %s is in %.600q", what, id.words["name"], g))
				}
			}
		}
	}
	return out
}

// TestMarksAreFound: an identity is found in whatever form it stands in something that a brand gets, and nothing is found
// where there is none. It is written here in other ways than by marks.
func TestMarksAreFound(t *testing.T) {
	t.Parallel()
	id := identity{account: 10_321, device: store.DeviceOf(10_321, "phoneof-qfelicity"), channel: 77, words: map[string]string{
		"name": "qfelicity", "nickname": "NickQFELICITY", "client": "phoneof-qfelicity", "cid": "qcid-felicity", "phone": "821023456701", "address": "198.51.100.77", "port": "31234",
	}}
	asJSON := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	number := make([]byte, 8)
	binary.BigEndian.PutUint64(number, 10_321)
	sum := sha256.Sum256([]byte("77 10321"))
	pseudonym := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	varint := []byte{0x08}
	for n := uint64(id.device); ; n >>= 7 {
		if n < 0x80 {
			varint = append(varint, byte(n))
			break
		}
		varint = append(varint, byte(n)|0x80)
	}
	planted := map[string][2]string{
		"name in JSON":                 {"name", asJSON(map[string]string{"f": "qfelicity"})},
		"name in upper case":           {"name", "QFELICITY"},
		"name in a topic":              {"name", string(mqttFrame(0x32, mqttString(nil, "user/qfelicity/json")))},
		"name in a link":               {"name", "https://files.example.com/" + base64.URLEncoding.EncodeToString([]byte(`{"owner":"qfelicity","file":"x"}`))},
		"name in an attachment":        {"name", asJSON(map[string][]byte{"blob": []byte("a qfelicity b")})},
		"name hashed":                  {"name", fmt.Sprintf("%x", sha256.Sum256([]byte("qfelicity")))},
		"nickname":                     {"nickname", asJSON([]string{"NickQFELICITY"})},
		"client in hex":                {"client", fmt.Sprintf("%x", "id phoneof-qfelicity")},
		"cid in a topic":               {"cid", "channel/cafe/ask/text/qcid-felicity"},
		"phone in E.164":               {"phone", "+821023456701"},
		"phone in a query":             {"phone", "?number=" + url.QueryEscape("+821023456701")},
		"phone hashed, in base64":      {"phone", md5Base64("821023456701")},
		"address in a log line":        {"address", "remote=198.51.100.77:31234"},
		"port":                         {"port", "remote=:31234"},
		"number in JSON":               {"number", asJSON(map[string]any{"by": 10_321})},
		"number in a log line":         {"number", "user=" + id.account.String()},
		"number as a label":            {"number", `hwangso_posts_total{user="10321"} 1`},
		"number in hex":                {"number", fmt.Sprintf("owner=%x", 10_321)},
		"number in a key":              {"number", store.KeyOf(id.account)},
		"number in base64":             {"number", asJSON(append([]byte("key"), number...))},
		"number in base32":             {"number", base32.StdEncoding.EncodeToString(number)},
		"number in CBOR":               {"number", "\xa1\x61f\x19\x28\x51"},
		"number hashed to a pseudonym": {"number", "thread/cafe/" + pseudonym.EncodeToString(sum[:10]) + "/json"},
		"number before a hash":         {"number", "10321 " + fmt.Sprintf("%x", sum)},
		"device":                       {"device", asJSON(uint64(id.device))},
		"device as it is listed":       {"device", "d=" + id.device.String()},
		"device in a varint":           {"device", string(varint)},
	}
	for name, p := range planted {
		var r reach
		r.add("clean", []byte(`{"code":200,"followers":20,"channel":"cafe","seq":110321,"time":"2026-03-02T10:00:00Z","thread":"k3v7q2mzt5xw4b6y","id":"2851aa0028510011","hash":"cf10321a56c43580","v1":"76ed7e5b8e643a66a38dbf6e0c78b38e7078fb9d2691fe10321a514303361d4a"}`))
		if found := r.given(id); len(found) > 0 {
			t.Fatalf("found where there is nothing: %q", found)
		}
		r.add("planted", []byte("before "+p[1]+" after"))
		found := r.given(id)
		if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, p[0]) && strings.Contains(f, "planted") }) {
			t.Errorf("%s: %q is not found by its %s but %q", name, p[1], p[0], found)
		}
	}
}

func md5Base64(s string) string {
	sum := md5.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(bytes.Clone(sum[:]))
}
