package coupon

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"

	"github.com/hwangso/hwangso/store"
)

// A code has 128 bits: one block of AES-256 (FIPS 197) over the number of the coupon, 64 bits, and 64 zero bits, under a
// key of the campaign alone. It has to be deterministic, or it would have to be stored, and it has to prove that the
// server made it, so it is deterministic authenticated encryption. Two constructions fit:
//
//   - AES-SIV (RFC 5297) makes a synthetic IV of 128 bits and encrypts the number under it: 192 bits, 39 characters to
//     read out at a till. With the IV cut to 64 bits, which the RFC does not allow, it would be 128; but then two codes
//     may meet in their IV at 2^32 of them and show the difference of their numbers.
//   - Pad, then encipher: Rogaway and Shrimpton, "A provable-security treatment of the key-wrap problem" (EUROCRYPT 2006),
//     show in their remarks on PTE that a strong pseudorandom permutation over the message and enough redundancy is a
//     deterministic authenticated encryption. The message here fits into one block, so the permutation is AES itself.
//
// This is the second one. What follows from AES-256 being a strong pseudorandom permutation:
//
//   - Forging: a block that the server did not make opens to a random one, whose 64 redundant bits are zero with
//     probability 2^-64. A request tries the campaigns of one channel, at most MaxCampaigns: below 2^-55 for each request,
//     of which tills are allowed a few in a minute.
//   - Privacy: different numbers have different blocks, each looking random. There is no IV that could repeat. Two codes
//     of one campaign are equal only if they are one code; that is what exactly once stands on.
//   - Campaigns have independent keys, so codes of two of them cannot be linked, by the brand or by anybody else.
//   - The keys come from a secret outside the database and are never stored. Only the server makes or reads codes.
type sealer struct {
	codes cipher.Block // makes codes
	rows  cipher.Block // makes keys of rows
}

// code is what a user shows.
type code [aes.BlockSize]byte

// sealer derives the keys of a campaign. The time of its creation is part of what they are derived from: if its
// identifier is used again after the rows are gone, old codes stay without meaning.
func (s *Service) sealer(channel store.LogID, c *Campaign) (sealer, error) {
	name := fmt.Sprintf("%d/%d/%s", uint64(channel), c.Created, c.ID)
	var out sealer
	for _, k := range []struct {
		into    *cipher.Block
		purpose string
	}{{&out.codes, "coupon code"}, {&out.rows, "coupon row"}} {
		key := s.cfg.Secret(k.purpose, name)
		block, err := aes.NewCipher(key[:])
		if err != nil {
			return out, fmt.Errorf("coupon: key: %w", err)
		}
		*k.into = block
	}
	return out, nil
}

// A number names a coupon and its holder: whose coupon it was in the beginning, in 56 bits, and above it how often it has
// changed hands.
type number uint64

const (
	accountBits = 56
	lastGift    = 0xfd // the last generation that may still be given away: one more, and one back
)

func numberOf(a store.AccountID, generation uint8) (number, error) {
	if a == 0 || a>>accountBits != 0 {
		return 0, fmt.Errorf("coupon: account %v has no number", a)
	}
	return number(generation)<<accountBits | number(a), nil
}

func (n number) account() store.AccountID { return store.AccountID(n &^ (0xff << accountBits)) }
func (n number) generation() uint8        { return uint8(n >> accountBits) }

// seal makes the code of a number.
func (s sealer) seal(n number) (c code) {
	binary.BigEndian.PutUint64(c[:8], uint64(n))
	s.codes.Encrypt(c[:], c[:])
	return c
}

// open returns the number of a code, false if this campaign did not make it.
func (s sealer) open(c code) (number, bool) {
	s.codes.Decrypt(c[:], c[:])
	return number(binary.BigEndian.Uint64(c[:8])), binary.BigEndian.Uint64(c[8:]) == 0
}

// row is what stands for an account in the key of a row: without the secret it cannot be told whose it is.
func (s sealer) row(a store.AccountID) string {
	var b [aes.BlockSize]byte
	binary.BigEndian.PutUint64(b[:8], uint64(a))
	s.rows.Encrypt(b[:], b[:])
	return string(b[:])
}

// codeLen is the length of a code as it is shown: 130 bits in characters of five, the last two of them zero.
const codeLen = 26

// alphabet is Crockford's base32 (https://www.crockford.com/base32.html): digits and letters without I, L, O and U.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// text is the code as it is shown and put into a barcode.
func (c code) text() string {
	var out [codeLen]byte
	hi, lo := binary.BigEndian.Uint64(c[:8]), binary.BigEndian.Uint64(c[8:])
	for i := range out {
		out[i] = alphabet[hi>>59]
		hi, lo = hi<<5|lo>>59, lo<<5
	}
	return string(out[:])
}

// values are the values of the characters of a code, -1 for what is none. What is easily confused counts as what it is
// taken for.
var values = func() (v [128]int8) {
	for i := range v {
		v[i] = -1
	}
	for i, c := range alphabet {
		v[c], v[unicode.ToLower(c)] = int8(i), int8(i)
	}
	for wrong, right := range map[rune]rune{'O': '0', 'I': '1', 'L': '1', 'U': 'V'} {
		v[wrong], v[unicode.ToLower(wrong)] = v[right], v[right]
	}
	return v
}()

// maxEntry is how long an entry may be, in bytes: a code in wide characters with a separator after each.
const maxEntry = 6 * codeLen

// parseCode reads a code as people type it: in any case, with spaces and hyphens anywhere, in the wide characters of East
// Asian keyboards too, with O for 0, I and L for 1, and U for V. false: this cannot be a code.
func parseCode(entry string) (c code, ok bool) {
	if len(entry) > maxEntry {
		return c, false
	}
	var hi, lo uint64
	n := 0
	for _, r := range entry {
		if unicode.IsSpace(r) || r == '-' || r >= 0x2010 && r <= 0x2015 || r == 0x2212 {
			continue
		}
		if r >= 0xff01 && r <= 0xff5e { // fullwidth forms
			r -= 0xff01 - '!'
			if r == '-' {
				continue
			}
		}
		if r < 0 || int(r) >= len(values) || values[r] < 0 || n == codeLen {
			return c, false
		}
		v := uint64(values[r])
		if n++; n < codeLen {
			hi, lo = hi<<5|lo>>59, lo<<5|v
			continue
		}
		if v&3 != 0 {
			return c, false
		}
		hi, lo = hi<<3|lo>>61, lo<<3|v>>2
	}
	binary.BigEndian.PutUint64(c[:8], hi)
	binary.BigEndian.PutUint64(c[8:], lo)
	return c, n == codeLen
}

// grouped is a code in groups, as people read it.
func grouped(text string) string {
	var b strings.Builder
	for i, r := range text {
		if i > 0 && i%5 == 0 && i < codeLen-1 {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return b.String()
}
