package pushsim

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// The browser's half of Message Encryption for Web Push (RFC 8291) over the content coding aes128gcm (RFC 8188).

const (
	eceSalt   = 16
	eceHeader = eceSalt + 4 + 1 // salt, record size, length of the key identifier
	ecePoint  = 65              // an uncompressed point of P-256
	eceTag    = 16              // AES-GCM adds so much to every record
)

// Why a body is no push message. Browsers drop such a one without a word; the simulator tells its attempt log.
var (
	errECEShort  = errors.New("aes128gcm: the header is cut off")
	errECERecord = errors.New("aes128gcm: the record size is below 18")
	errECEKey    = errors.New("aes128gcm: the key identifier is not the sender's P-256 key")
	errECECipher = errors.New("aes128gcm: it does not decrypt with this subscription's keys")
	errECEPad    = errors.New("aes128gcm: the padding is wrong")
	errECESingle = errors.New("aes128gcm: a push message must be a single record")
)

// decryptECE decrypts the body of a push message to the subscription with the key pair recv and the authentication
// secret auth. A push message has one record (RFC 8291, section 4).
func decryptECE(body []byte, recv *ecdh.PrivateKey, auth []byte) ([]byte, error) {
	if len(body) < eceHeader {
		return nil, errECEShort
	}
	salt, size, idLen := body[:eceSalt], binary.BigEndian.Uint32(body[eceSalt:]), int(body[eceHeader-1])
	switch {
	case size < 18:
		return nil, errECERecord
	case len(body) < eceHeader+idLen:
		return nil, errECEShort
	case idLen != ecePoint:
		return nil, errECEKey
	}
	point, record := body[eceHeader:eceHeader+idLen], body[eceHeader+idLen:]
	send, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return nil, errECEKey
	}
	if uint64(len(record)) > uint64(size) {
		return nil, errECESingle
	}
	if len(record) < eceTag+1 {
		return nil, errECEShort
	}
	shared, err := recv.ECDH(send)
	if err != nil {
		return nil, errECEKey
	}
	// RFC 8291, 3.4: both public keys and the secret that only sender and receiver have go into the key material.
	info := append([]byte("WebPush: info\x00"), recv.PublicKey().Bytes()...)
	info = append(info, point...)
	ikm, err := hkdf.Key(sha256.New, shared, auth, string(info), 32)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", 12)
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
	plain, err := gcm.Open(nil, nonce, record, nil) // of the first record the sequence number is 0: the nonce as it is
	if err != nil {
		return nil, errECECipher
	}
	// RFC 8188, section 2: a delimiter, 2 in the last record, and zeros.
	for len(plain) > 0 && plain[len(plain)-1] == 0 {
		plain = plain[:len(plain)-1]
	}
	if len(plain) == 0 || plain[len(plain)-1] != 2 {
		return nil, errECEPad
	}
	return plain[:len(plain)-1], nil
}
