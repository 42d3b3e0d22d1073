package phone

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/hwangso/hwangso/store"
)

// keyPrefix begins the key file, so that nothing else is taken for a key.
const keyPrefix = "hwangso-phone-key-1 "

// tableService holds what the service knows of phone numbers beside accounts: key "key" is the fingerprint.
const tableService store.Table = "service.phone"

const rowFingerprint = "key"

// ErrKey says that the key file is not the one under which the stored hashes were made, or is gone.
var ErrKey = errors.New("phone: the stored numbers were made with another key")

// Hash stands for a number. Equal numbers have equal hashes under one key.
type Hash [sha256.Size]byte

// Key makes hashes of numbers.
type Key struct{ secret [32]byte }

// Hash is the number's hash.
func (k *Key) Hash(n Number) Hash { return k.Sum("number", n.e164) }

// Sum is a hash of anything else that must not be found out by trying, such as an address that a limit counts. purpose
// keeps hashes of different kinds apart.
func (k *Key) Sum(purpose, text string) (h Hash) {
	m := hmac.New(sha256.New, k.secret[:])
	m.Write([]byte(purpose)) // never fails, as the following
	m.Write([]byte{0})
	m.Write([]byte(text))
	m.Sum(h[:0])
	return h
}

// NewKey is a key from 32 secret bytes.
func NewKey(secret [32]byte) *Key { return &Key{secret: secret} }

// OpenKey reads the key file, one line readable by its owner only. If the store knows no key yet and there is no file,
// it makes one with mode 0600, and its directory. The fingerprint of the first key is kept in the store; from then on
// another key, or none, is ErrKey: with it every number would look new.
func OpenKey(ctx context.Context, file string, t store.Tables) (*Key, error) {
	kept, err := t.Row(tableService, "", rowFingerprint)
	if err != nil {
		return nil, fmt.Errorf("phone: fingerprint: %w", err)
	}
	secret, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		if kept.Version != 0 {
			return nil, fmt.Errorf("%w: %s is missing; bring it back from where it was kept", ErrKey, file)
		}
		if err = createKey(file); err == nil {
			secret, err = readKey(file)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("phone: key: %w", err)
	}
	k := NewKey(secret)
	sum := k.Sum("fingerprint", "")
	print := []byte(hex.EncodeToString(sum[:8]))
	if kept.Version == 0 {
		err := t.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tableService, Key: rowFingerprint, Value: print, If: store.IfVersion(0)}}})
		if err == nil {
			return k, nil
		}
		if store.CodeOf(err) != store.CodeConflict {
			return nil, fmt.Errorf("phone: fingerprint: %w", err)
		}
		if kept, err = t.Row(tableService, "", rowFingerprint); err != nil {
			return nil, fmt.Errorf("phone: fingerprint: %w", err)
		}
	}
	if !bytes.Equal(kept.Value, print) {
		return nil, fmt.Errorf("%w: the store was begun with %s, %s holds %s", ErrKey, kept.Value, file, print)
	}
	return k, nil
}

func readKey(file string) (key [32]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return key, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return key, err
	}
	if !info.Mode().IsRegular() {
		return key, fmt.Errorf("%s is not a regular file", file)
	}
	// Windows has no such bits; access lists protect the file there.
	if perm := info.Mode().Perm(); runtime.GOOS != "windows" && perm&0o077 != 0 {
		return key, fmt.Errorf("%s can be read by others (mode %#o): run chmod 600 on it", file, perm)
	}
	line, err := io.ReadAll(io.LimitReader(f, 256))
	if err != nil {
		return key, err
	}
	digits, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r\n"), []byte(keyPrefix))
	if !ok || len(digits) != hex.EncodedLen(len(key)) {
		return key, fmt.Errorf("%s is not a phone key file", file)
	}
	if _, err := hex.Decode(key[:], digits); err != nil {
		return [32]byte{}, fmt.Errorf("%s is not a phone key file", file) // the cause would quote a digit of the key
	}
	return key, nil
}

// createKey writes a new key under another name and links it in place: the file is never seen half written, and one
// made by somebody else meanwhile is never replaced.
func createKey(file string) (err error) {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".phone-key-*") // 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = fmt.Fprintf(f, "%s%x\n", keyPrefix, key)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
