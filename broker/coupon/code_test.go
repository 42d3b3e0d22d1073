package coupon

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// fixedSealer has the key of FIPS 197, appendix C.3, for both purposes.
func fixedSealer(t testing.TB) sealer {
	t.Helper()
	key, err := hex.DecodeString("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	return sealer{block, block}
}

// The blocks are those of openssl enc -aes-256-ecb, the texts those of a big number in base 32.
func TestCodeVectors(t *testing.T) {
	s := fixedSealer(t)
	for _, v := range []struct {
		n           number
		block, text string
	}{
		{1, "511dd5ef9a682b7da49f91c86c4f7ac3", "A4EXBVWTD0NQV94ZJ746RKVTRC"},
		{2, "b96b47bb7c941b58e4dcfb800d4fcc86", "Q5NMFEVWJGDNHS6WZE00TKYCGR"},
		{1<<accountBits | 1_000_000, "d15dddf1fa159602f6551115dc4ffda5", "T5EXVWFT2PB05XJN24AXRKZXMM"},
		{2<<accountBits | 1<<accountBits - 1, "4b6f5f1a0dde76593576654823361eb3", "9DQNY6GDVSV5JDBPCN426DGYPC"},
	} {
		c := s.seal(v.n)
		if got := hex.EncodeToString(c[:]); got != v.block {
			t.Errorf("%x: block %s, want %s", uint64(v.n), got, v.block)
		}
		if got := c.text(); got != v.text {
			t.Errorf("%x: %s, want %s", uint64(v.n), got, v.text)
		}
		back, ok := parseCode(v.text)
		if n, opened := s.open(back); !ok || !opened || n != v.n {
			t.Errorf("%s opens to %x, %v, %v", v.text, uint64(n), ok, opened)
		}
	}
	for block, text := range map[code]string{{}: "00000000000000000000000000", code(bytes.Repeat([]byte{0xff}, 16)): "ZZZZZZZZZZZZZZZZZZZZZZZZZW"} {
		if block.text() != text {
			t.Errorf("%x: %s, want %s", block, block.text(), text)
		}
	}
	if got := grouped("A4EXBVWTD0NQV94ZJ746RKVTRC"); got != "A4EXB-VWTD0-NQV94-ZJ746-RKVTRC" {
		t.Errorf("in groups: %s", got)
	}
}

func TestNumbers(t *testing.T) {
	n, err := numberOf(7, 3)
	if err != nil || n.account() != 7 || n.generation() != 3 {
		t.Errorf("%x: %v, %d, %v", uint64(n), n.account(), n.generation(), err)
	}
	for _, a := range []store.AccountID{0, 1 << accountBits, 1 << 63} {
		if _, err := numberOf(a, 0); err == nil {
			t.Errorf("account %d has a number", uint64(a))
		}
	}
}

func TestParseCode(t *testing.T) {
	const plain = "A4EXBVWTD0NQV94ZJ746RKVTRC"
	want, ok := parseCode(plain)
	if !ok {
		t.Fatal("the code itself")
	}
	wide := strings.Map(func(r rune) rune { return r + 0xff01 - '!' }, plain)
	for _, entry := range []string{
		strings.ToLower(plain), grouped(plain), " " + plain + "\n", strings.Join(strings.Split(plain, ""), " "), strings.Join(strings.Split(plain, ""), "‐"),
		wide, strings.Join(strings.Split(wide, ""), "－"), strings.Join(strings.Split(wide, ""), "\u3000"),
	} {
		if got, ok := parseCode(entry); !ok || got != want {
			t.Errorf("%q is read as %x, %v", entry, got, ok)
		}
	}
	confused, ok := parseCode("0OoIiLl1UuVv00000000000000")
	if straight, _ := parseCode("0001" + "1111VVVV" + "00000000000000"); !ok || confused != straight {
		t.Errorf("confused letters: %x, %v, want %x", confused, ok, straight)
	}
	for _, entry := range []string{"", "-", plain[1:], plain + "0", plain[:25] + "*", plain[:25] + "é", plain[:25] + "\x00", plain[:25] + "\xff",
		"ZZZZZZZZZZZZZZZZZZZZZZZZZZ", strings.Repeat("-", maxEntry) + plain} {
		if _, ok := parseCode(entry); ok {
			t.Errorf("%q is a code", entry)
		}
	}
}

// TestForged: whatever is one bit, one character or everything off is not a code.
func TestForged(t *testing.T) {
	s, rng := fixedSealer(t), rand.New(rand.NewPCG(1, 2))
	for range 50 {
		good := s.seal(number(rng.Uint64N(1<<accountBits-1) + 1))
		for bit := range 128 {
			bad := good
			bad[bit/8] ^= 1 << (bit % 8)
			if _, ok := s.open(bad); ok {
				t.Fatalf("%x with bit %d turned", good, bit)
			}
		}
	}
	for range 100_000 {
		var c code
		binary.BigEndian.PutUint64(c[:8], rng.Uint64())
		binary.BigEndian.PutUint64(c[8:], rng.Uint64())
		if _, ok := s.open(c); ok {
			t.Fatalf("%x", c)
		}
	}
}

func FuzzParseCode(f *testing.F) {
	for _, s := range []string{"", "A4EXBVWTD0NQV94ZJ746RKVTRC", grouped("Q5NMFEVWJGDNHS6WZE00TKYCGR"), "0OoIiLl1UuVv00000000000000", "ＺZ-‐ \u3000", "ZZZZZZZZZZZZZZZZZZZZZZZZZZ", "\xff\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		c, ok := parseCode(entry)
		if !ok {
			return
		}
		again, ok := parseCode(grouped(c.text()))
		if !ok || again != c || len(c.text()) != codeLen {
			t.Errorf("%q is %x, and that is %s, which is %x, %v", entry, c, c.text(), again, ok)
		}
		s := fixedSealer(t)
		if n, ok := s.open(c); ok && s.seal(n) != c {
			t.Errorf("%x opens to %x, which is sealed otherwise", c, uint64(n))
		}
	})
}
