package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	stdio "io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hwangso/hwangso/store"
)

const eraseText = `The user is signed out everywhere and leaves its rooms; name, number, devices, friends, files and keys are removed, and
nobody can read any more what it wrote. There is no way back, but for -undo: then the user can keep the account for
seven days.`

func erase(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	undo := f.Bool("undo", false, "not at once, but in seven days, unless the user undoes it")
	yes := f.Bool("yes", false, "at once, for good")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		if !*undo && !*yes {
			return fmt.Errorf("this cannot be undone: say -yes to remove %s for good, or -undo", rest[0])
		}
		var out struct{ Due *time.Time }
		if err := o.call(ctx, "account.erase", map[string]any{"account": rest[0], "undo": *undo}, &out); err != nil {
			return err
		}
		if out.Due != nil {
			fmt.Fprintf(io.Out, "%s will be removed on %s, unless the user undoes it.\n", rest[0], out.Due.Local().Format("2006-01-02 15:04"))
			return nil
		}
		fmt.Fprintf(io.Out, "%s was removed. The files of the data directory are cleaned within a day.\n", rest[0])
		return nil
	})
}

const exportText = `A zip archive with JSON lines: profile, settings, friends, devices, conversations as the user sees them.`

func export(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	to := f.String("o", "", "the `file` to write (default USER.zip); an existing one is not replaced")
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		if *to == "" {
			*to = filepath.Base(rest[0]) + ".zip"
		}
		if _, err := os.Lstat(*to); err == nil {
			return fmt.Errorf("%s is there already", *to)
		}
		size, err := o.fetch(ctx, "export", exportRequest{rest[0]}, *to)
		if err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "%s: %d bytes\n", *to, size)
		return nil
	})
}

// fetch writes what the socket streams into a file, which is there only if it is complete.
func (o *operator) fetch(ctx context.Context, what string, in any, file string) (size int64, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://server/local/"+what, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	resp, err := o.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode != http.StatusOK {
		var p struct{ Text string }
		if err := json.NewDecoder(stdio.LimitReader(resp.Body, 64<<10)).Decode(&p); err != nil || p.Text == "" {
			p.Text = fmt.Sprintf("the server answered %d", resp.StatusCode)
		}
		return 0, errors.New(p.Text)
	}
	part, err := os.CreateTemp(filepath.Dir(file), ".hwangso-*") // 0600
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part.Name()))
		}
	}()
	size, err = stdio.Copy(part, resp.Body)
	if err = errors.Join(err, part.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(part.Name(), file)
}

type exportRequest struct {
	User string `json:"user"`
}

// serveExport streams a user's archive to the operator.
func (srv *server) serveExport(w http.ResponseWriter, r *http.Request) {
	var in exportRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil {
		localAnswer(w, nil, store.Bad("the request is not JSON"))
		return
	}
	u, err := srv.store.AccountByName(in.User)
	if errors.Is(err, store.ErrNotFound) {
		err = &store.Error{Code: store.CodeNotFound, Text: "there is no such user"}
	}
	if err != nil {
		localAnswer(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/zip")
	if err := srv.ctl.export(r.Context(), u.ID, w); err != nil {
		srv.log.Error("export failed", "err", err)
		panic(http.ErrAbortHandler) // the half is not to be taken for the whole
	}
}
