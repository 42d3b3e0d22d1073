package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hwangso/hwangso/examples/chat/client"
)

// Identity is who a device is signed in as, as it is kept in a file between two starts.
type Identity struct {
	User     string `json:"user"`
	Token    string `json:"token"`
	ClientID string `json:"client_id"`
}

// SignUp asks for what a sign-up by phone number needs, line by line, and keeps the identity in a file that nobody else
// can read. A file that is there already is used without asking: the device is signed in.
func SignUp(ctx context.Context, s *client.Signup, number, region, name, file string, in io.Reader, out io.Writer) (Identity, error) {
	b, err := os.ReadFile(file)
	if err == nil {
		var id Identity
		if json.Unmarshal(b, &id) != nil || id.User == "" || id.Token == "" {
			return id, fmt.Errorf("%s holds no identity: remove it to sign up again", file)
		}
		fmt.Fprintf(out, "Signed in as %s, as %s says.\n", id.User, file)
		return id, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return Identity{}, err
	}
	if err := s.Start(ctx, number, region); err != nil {
		return Identity{}, err
	}
	fmt.Fprint(out, "A code was sent to the number. Type it here: ")
	code, err := readLine(in)
	if code == "" {
		return Identity{}, errors.Join(errors.New("no code was typed"), err)
	}
	acct, err := s.Verify(ctx, code, name, "")
	if errors.Is(err, client.ErrWaiting) {
		fmt.Fprint(out, "The number has an account. Say yes on another device of yours (account.approve), or type the PIN, if it has one: ")
		pin, readErr := readLine(in)
		if readErr != nil {
			return Identity{}, readErr
		}
		acct, err = s.Verify(ctx, code, name, pin)
		for errors.Is(err, client.ErrWaiting) {
			select {
			case <-ctx.Done():
				return Identity{}, ctx.Err()
			case <-time.After(2 * time.Second):
			}
			acct, err = s.Verify(ctx, code, name, "")
		}
	}
	if err != nil {
		return Identity{}, err
	}
	id := Identity{acct.User, acct.Token, s.ClientID}
	how := "Welcome back"
	if acct.New {
		how = "Welcome"
	}
	fmt.Fprintf(out, "%s, %s. The token is kept in %s.\n", how, acct.User, file)
	return id, keep(file, id)
}

// readLine reads a line byte by byte, so that what follows is left for the editor, without the white space around it. The
// end of the input ends a line.
func readLine(in io.Reader) (string, error) {
	var line []byte
	b := make([]byte, 1)
	for {
		n, err := in.Read(b)
		if n == 1 && b[0] != '\n' {
			if line = append(line, b[0]); len(line) > 1024 {
				return "", errors.New("the line is too long")
			}
		}
		if n == 1 && b[0] == '\n' || errors.Is(err, io.EOF) {
			return strings.TrimSpace(string(line)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// keep writes an identity so that it is there whole or not at all.
func keep(file string, id Identity) error {
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
