package pushsim

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"testing"
)

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The example of RFC 8291, section 5 and appendix A.
const (
	rfcReceiver = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
	rfcAuth     = "BTBZMqHH6r4Tts7J_aSIgg"
	rfcBody     = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT" +
		"pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
	rfcText = "When I grow up, I want to be a watermelon"
)

func rfcKey(t testing.TB) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.P256().NewPrivateKey(unb64(t, rfcReceiver))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestDecryptExample decrypts the RFC's own message.
func TestDecryptExample(t *testing.T) {
	got, err := decryptECE(unb64(t, rfcBody), rfcKey(t), unb64(t, rfcAuth))
	if err != nil || string(got) != rfcText {
		t.Fatalf("%q, %v", got, err)
	}
}

// encryptECE is a sender's half, written for the tests: record is what stands in the record before encryption, the
// delimiter included.
func encryptECE(t testing.TB, record []byte, size uint32, to *ecdh.PublicKey, auth []byte) []byte {
	t.Helper()
	from, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := from.ECDH(to)
	if err != nil {
		t.Fatal(err)
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt)
	derive := func(secret, salt []byte, info string, n int) []byte {
		k, err := hkdf.Key(sha256.New, secret, salt, info, n)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	point := from.PublicKey().Bytes()
	ikm := derive(shared, auth, "WebPush: info\x00"+string(to.Bytes())+string(point), 32)
	block, err := aes.NewCipher(derive(ikm, salt, "Content-Encoding: aes128gcm\x00", 16))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	out := binary.BigEndian.AppendUint32(salt, size)
	out = append(append(out, 65), point...)
	return gcm.Seal(out, derive(ikm, salt, "Content-Encoding: nonce\x00", 12), record, nil)
}

// TestDecryptRefuses: what a browser would throw away is refused, each for its own reason.
func TestDecryptRefuses(t *testing.T) {
	key, auth := rfcKey(t), unb64(t, rfcAuth)
	good := encryptECE(t, []byte("hi\x02\x00\x00"), 4096, key.PublicKey(), auth)
	if got, err := decryptECE(good, key, auth); err != nil || string(got) != "hi" {
		t.Fatalf("%q, %v", got, err)
	}
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	other, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		body []byte
		key  *ecdh.PrivateKey
		auth []byte
		want error
	}{
		{"empty", nil, key, auth, errECEShort},
		{"no key", good[:21], key, auth, errECEShort},
		{"no record", good[:86], key, auth, errECEShort},
		{"only a tag", good[:86+16], key, auth, errECEShort},
		{"record size 17", change(func(b []byte) []byte { binary.BigEndian.PutUint32(b[16:], 17); return b }), key, auth, errECERecord},
		{"two records", change(func(b []byte) []byte { binary.BigEndian.PutUint32(b[16:], 18); return b }), key, auth, errECESingle},
		{"no point", change(func(b []byte) []byte { b[21] = 3; return b }), key, auth, errECEKey},
		{"off the curve", change(func(b []byte) []byte { b[80] ^= 1; return b }), key, auth, errECEKey},
		{"short key", change(func(b []byte) []byte { b[20] = 64; return b }), key, auth, errECEKey},
		{"changed", change(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), key, auth, errECECipher},
		{"other key", good, other, auth, errECECipher},
		{"other secret", good, key, make([]byte, 16), errECECipher},
		{"not the last record", encryptECE(t, []byte("hi\x01"), 4096, key.PublicKey(), auth), key, auth, errECEPad},
		{"only padding", encryptECE(t, []byte("\x00\x00"), 4096, key.PublicKey(), auth), key, auth, errECEPad},
	} {
		if got, err := decryptECE(c.body, c.key, c.auth); !errors.Is(err, c.want) {
			t.Errorf("%s: %q, %v, want %v", c.name, got, err, c.want)
		}
	}
}

// FuzzDecrypt: whatever arrives, nothing breaks, and nothing comes out that the receiver's keys did not vouch for.
func FuzzDecrypt(f *testing.F) {
	key, auth := rfcKey(f), unb64(f, rfcAuth)
	f.Add(unb64(f, rfcBody))
	f.Add([]byte{})
	f.Add(unb64(f, rfcBody)[:86])
	f.Add(bytes.Repeat([]byte{0xff}, 200))
	f.Add(encryptECE(f, []byte("\x02"), 18, key.PublicKey(), auth))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decryptECE(body, key, auth)
		if err == nil && len(got) > len(body)-eceHeader-ecePoint-eceTag-1 {
			t.Fatalf("%d bytes out of %d", len(got), len(body))
		}
	})
}
