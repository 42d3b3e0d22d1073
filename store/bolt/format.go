package bolt

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hwangso/hwangso/store"
)

// dataFormat is the version of a data directory that this program writes.
const dataFormat = 2

// ErrFormat says that a data directory cannot be used by this program or with this key.
var ErrFormat = errors.New("bolt: data directory cannot be used")

// format is the file FORMAT: what a data directory is, in lines of name and value that a person can read.
type format struct {
	version int
	store   [16]byte    // random, made with the store; a restore keeps it
	epoch   store.Epoch // raised by every restore
	key     string      // fingerprint of the master key
}

func (f format) encode() []byte {
	return fmt.Appendf(nil, "hwangso-data %d\nstore %x\nepoch %d\nkey %s\n", f.version, f.store, f.epoch, f.key)
}

// parseFormat reads a FORMAT file. Of a newer one nothing but the version is read.
func parseFormat(b []byte) (f format, err error) {
	seen := 0
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "hwangso-data":
			f.version, err = strconv.Atoi(value)
			if err == nil && f.version > dataFormat {
				return f, fmt.Errorf("%w: it has format %d, this program knows up to %d: use a newer one", ErrFormat, f.version, dataFormat)
			}
		case "store":
			var id []byte
			if id, err = hex.DecodeString(value); err == nil && copy(f.store[:], id) != len(f.store) {
				err = errors.New("store identity is cut short")
			}
		case "epoch":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 32)
			f.epoch = store.Epoch(n)
		case "key":
			f.key = value
		default:
			err = fmt.Errorf("unknown line %q", name)
		}
		if err != nil {
			return f, fmt.Errorf("%w: FORMAT: %w", ErrFormat, err)
		}
		seen++
	}
	if seen != 4 || f.version < 1 || f.epoch < 1 || f.key == "" {
		return f, fmt.Errorf("%w: FORMAT is not complete", ErrFormat)
	}
	return f, nil
}

// readFormat reads the FORMAT of a data directory; fs.ErrNotExist if there is none.
func readFormat(dir string) (format, error) {
	b, err := os.ReadFile(filepath.Join(dir, fileFormat))
	if err != nil {
		return format{}, fmt.Errorf("bolt: %w", err)
	}
	return parseFormat(b)
}

// writeFormat replaces FORMAT durably.
func writeFormat(dir string, f format) error {
	return writeFileDurably(filepath.Join(dir, fileFormat), f.encode())
}

func writeFileDurably(path string, b []byte) (err error) {
	tmp := path + ".new"
	w, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("bolt: %w", err)
	}
	_, err = w.Write(b)
	if err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("bolt: write %s: %w", path, err)
	}
	return nil
}

// openFormat reads FORMAT and the master key and sees that they fit; it begins both in an empty directory.
func openFormat(cfg Config) (f format, master [32]byte, err error) {
	f, err = readFormat(cfg.Dir)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return f, master, err
	}
	if fresh {
		if _, err := os.Stat(filepath.Join(cfg.Dir, dirJournal)); err == nil {
			return f, master, fmt.Errorf("%w: it has a journal but no FORMAT", ErrFormat)
		}
		if err := os.MkdirAll(filepath.Dir(cfg.KeyFile), 0o700); err != nil {
			return f, master, fmt.Errorf("bolt: %w", err)
		}
	}
	master, fingerprint, err := loadKey(cfg.KeyFile, fresh)
	if err != nil {
		return f, master, err
	}
	if fresh {
		f = format{version: dataFormat, epoch: 1, key: fingerprint}
		if _, err := rand.Read(f.store[:]); err != nil {
			return f, master, err
		}
		return f, master, writeFormat(cfg.Dir, f)
	}
	if f.key == fingerprint {
		f, err = migrate(cfg.Dir, f, migrations)
		return f, master, err
	}
	return f, master, fmt.Errorf("%w: it was sealed with the key %s, %s holds %s", ErrFormat, f.key, cfg.KeyFile, fingerprint)
}
