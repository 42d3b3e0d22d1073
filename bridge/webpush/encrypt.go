package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

const (
	// maxBody is what every push service takes: RFC 8030, 7.2.
	maxBody = 4096
	// header is what stands before the one record: salt, record size, length of the key, key. RFC 8188, 2.1.
	header = 16 + 4 + 1 + keySize
	// tag is that of AES-GCM.
	tag = 16
	// maxPlain is what is left of maxBody for a payload, after the byte that ends it. RFC 8291, 4.
	maxPlain = maxBody - header - tag - 1
)

// sizes are the lengths to which payloads are padded, so that who carries them cannot tell a short text from a long one.
var sizes = [...]int{512, 1024, 2048, maxPlain}

var errPlain = errors.New("webpush: the payload is too large")

// encrypt makes the body of a message for a subscription, with a key and a salt of its own.
func encrypt(plain, p256dh, auth []byte) ([]byte, error) {
	to, err := publicKey(p256dh)
	if err != nil {
		return nil, errors.New("webpush: the subscription's p256dh is no public key")
	}
	if len(auth) != secretSize {
		return nil, errors.New("webpush: the subscription's auth does not have 16 bytes")
	}
	from, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	var salt [16]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, err
	}
	for _, n := range sizes {
		if len(plain) <= n {
			return seal(from, to, auth, salt, plain, n-len(plain))
		}
	}
	return nil, errPlain
}

// seal encrypts as RFC 8291, 3.4 has it: one record of aes128gcm, with so many bytes of padding.
func seal(from *ecdh.PrivateKey, to *ecdh.PublicKey, auth []byte, salt [16]byte, plain []byte, padding int) ([]byte, error) {
	secret, err := from.ECDH(to)
	if err != nil {
		return nil, err
	}
	mine := from.PublicKey().Bytes()
	info := make([]byte, 0, 14+2*keySize)
	info = append(append(append(info, "WebPush: info\x00"...), to.Bytes()...), mine...)
	ikm, err := hkdf.Key(sha256.New, secret, auth, string(info), 32)
	if err != nil {
		return nil, err
	}
	prk, err := hkdf.Extract(sha256.New, ikm, salt[:])
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, header+len(plain)+1+padding+tag)
	out = append(out, salt[:]...)
	out = binary.BigEndian.AppendUint32(out, maxBody) // the record size: more than the one record has
	out = append(out, byte(len(mine)))
	out = append(out, mine...)
	record := append(out[header:], plain...)
	record = append(record, 2) // the last record: RFC 8188, 2
	record = record[:len(record)+padding]
	return out[:header+len(gcm.Seal(record[:0], nonce, record, nil))], nil
}
