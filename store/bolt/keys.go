package bolt

import (
	"bytes"
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
)

// keyPrefix begins the master key file, so that nothing else is taken for a key.
const keyPrefix = "hwangso-key-1 "

// loadKey reads the master key, making it with crypto/rand if create is set and there is no file. The file holds one
// line, keyPrefix and 64 hexadecimal digits, and may be readable by its owner only. The fingerprint tells keys apart
// without giving anything away; it is kept with the data, so that data and key are not mixed up.
//
// A missing file without create is an error that wraps fs.ErrNotExist.
func loadKey(file string, create bool) (key [32]byte, fingerprint string, err error) {
	key, err = readKey(file)
	if create && errors.Is(err, fs.ErrNotExist) {
		if err = createKey(file); err == nil {
			key, err = readKey(file)
		}
	}
	if err != nil {
		return [32]byte{}, "", fmt.Errorf("bolt: key: %w", err)
	}
	sum := sha256.Sum256(append([]byte("hwangso fingerprint "), key[:]...))
	return key, hex.EncodeToString(sum[:8]), nil
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
		return key, fmt.Errorf("%s is not a key file", file)
	}
	if _, err := hex.Decode(key[:], digits); err != nil {
		return [32]byte{}, fmt.Errorf("%s is not a key file", file) // the cause would quote a digit of the key
	}
	return key, nil
}

// createKey writes a new key under another name and links it in place, so that the file is never seen half written
// and a key made by somebody else meanwhile is never replaced.
func createKey(file string) (err error) {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, ".key-*") // 0600
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
	return syncDir(dir)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
