package webpush

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

// TestRFC8291 is the example of RFC 8291, appendix A.
func TestRFC8291(t *testing.T) {
	raw := func(s string) []byte {
		t.Helper()
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	from, err := ecdh.P256().NewPrivateKey(raw("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	if err != nil {
		t.Fatal(err)
	}
	to, err := publicKey(raw("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := seal(from, to, raw("BTBZMqHH6r4Tts7J_aSIgg"), [16]byte(raw("DGv6ra1nlYgDCS1FRnbzlw")), []byte("When I grow up, I want to be a watermelon"), 0)
	if err != nil {
		t.Fatal(err)
	}
	const want = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_" +
		"yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
	if s := base64.RawURLEncoding.EncodeToString(got); s != want {
		t.Errorf("%s, want\n%s", s, want)
	}
}

// subscriber is a browser: it decrypts what is sent to it, by code of its own.
type subscriber struct {
	key  *ecdh.PrivateKey
	auth []byte
}

func newSubscriber(t testing.TB) *subscriber {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &subscriber{key: key, auth: make([]byte, secretSize)}
	if _, err := rand.Read(s.auth); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *subscriber) p256dh() []byte { return s.key.PublicKey().Bytes() }

// open is RFC 8188, 2 and RFC 8291, 3.4 backwards, with HKDF written out as HMACs.
func (s *subscriber) open(body []byte) ([]byte, error) {
	if len(body) < header+tag+1 || body[20] != keySize || int(binary.BigEndian.Uint32(body[16:])) < len(body)-header {
		return nil, errors.New("no single record")
	}
	salt, sender, record := body[:16], body[21:header], body[header:]
	from, err := ecdh.P256().NewPublicKey(sender)
	if err != nil {
		return nil, err
	}
	secret, err := s.key.ECDH(from)
	if err != nil {
		return nil, err
	}
	mac := func(key []byte, parts ...[]byte) []byte {
		h := hmac.New(sha256.New, key)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	one := []byte{1}
	ikm := mac(mac(s.auth, secret), []byte("WebPush: info\x00"), s.p256dh(), sender, one)
	prk := mac(salt, ikm)
	block, err := aes.NewCipher(mac(prk, []byte("Content-Encoding: aes128gcm\x00"), one)[:16])
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, mac(prk, []byte("Content-Encoding: nonce\x00"), one)[:12], record, nil)
	if err != nil {
		return nil, err
	}
	plain = bytes.TrimRight(plain, "\x00")
	if len(plain) == 0 || plain[len(plain)-1] != 2 {
		return nil, errors.New("the record is not the last one")
	}
	return plain[:len(plain)-1], nil
}

// TestEncrypt: every length is read back, fits, and can be told from others by no more than four sizes.
func TestEncrypt(t *testing.T) {
	s := newSubscriber(t)
	seen := make(map[int]bool)
	for n := 0; n <= maxPlain; n += 1 + n/7 {
		for _, plain := range [][]byte{bytes.Repeat([]byte{'x'}, n), bytes.Repeat([]byte{0x02}, n)} {
			body, err := encrypt(plain, s.p256dh(), s.auth)
			if err != nil {
				t.Fatal(err)
			}
			seen[len(body)] = true
			if got, err := s.open(body); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%d bytes: %v, %v", n, got, err)
			}
		}
	}
	body, err := encrypt(make([]byte, maxPlain), s.p256dh(), s.auth)
	if err != nil || len(body) != maxBody {
		t.Errorf("the largest: %d bytes, %v", len(body), err)
	}
	seen[len(body)] = true
	if fmt.Sprint(len(seen)) != "4" {
		t.Errorf("sizes %v", seen)
	}
	if _, err := encrypt(make([]byte, maxPlain+1), s.p256dh(), s.auth); !errors.Is(err, errPlain) {
		t.Errorf("one byte too many: %v", err)
	}
	again, _ := encrypt(make([]byte, maxPlain), s.p256dh(), s.auth)
	if bytes.Equal(again[:header], body[:header]) {
		t.Error("salt and key were used twice")
	}
	for _, k := range [][]byte{nil, s.p256dh()[:64], make([]byte, keySize), append([]byte{2}, s.p256dh()[1:33]...)} {
		if _, err := encrypt(nil, k, s.auth); err == nil {
			t.Errorf("the key %x was taken", k)
		}
	}
	if _, err := encrypt(nil, s.p256dh(), s.auth[:15]); err == nil {
		t.Error("a short secret was taken")
	}
}
