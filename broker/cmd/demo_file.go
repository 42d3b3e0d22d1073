package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// demoFile is where a running demonstration tells this user's other terminals how to reach it: in the runtime
// directory, or in a directory of the user's own among the temporary files.
func demoFile() (string, error) {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "hwangso-demo.json"), nil
	}
	dir := filepath.Join(os.TempDir(), "hwangso-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	// Others may have made a directory of that name: what lies in it would send our users to their server.
	if err := ownedByMe(dir); err != nil {
		return "", err
	}
	return filepath.Join(dir, "demo.json"), nil
}

// publish writes the file. The newest demonstration is the one that is found; forget removes it if it is still ours.
func (d *demonstration) publish() (forget func(), err error) {
	path, err := demoFile()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	tmp := path + "." + strconv.Itoa(d.PID)
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return nil, err
	}
	if err := os.Rename(tmp, path); err != nil {
		return nil, errors.Join(err, os.Remove(tmp))
	}
	return func() {
		if now, err := findDemo(); err == nil && now.PID == d.PID && now.Data == d.Data {
			_ = os.Remove(path) // what is left is overwritten by the next demonstration
		}
	}, nil
}

var errNoDemo = errors.New(`no demo is running: start "hwangso demo" in another terminal, or say -server, -user and -token`)

// findDemo reads the file of a demonstration that this user runs.
func findDemo() (*demonstration, error) {
	path, err := demoFile()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoDemo
	}
	if err != nil {
		return nil, err
	}
	if err := ownedByMe(path); err != nil {
		return nil, err
	}
	d := new(demonstration)
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}
