package cmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hwangso/hwangso/store/bolt"
)

const backupText = `The copy is consistent, also of a server that runs: it holds everything that was acknowledged before it began. DIR must
be empty or missing. The keys are not in it, so that the copy alone opens no message: keep copies of the master key,
of the phone key and of webpush.pem somewhere else. Photos and documents are in it as they are.`

func backup(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
		dir, err := filepath.Abs(rest[0])
		if err != nil {
			return err
		}
		var out backupAnswer
		if err := o.local(ctx, "backup", backupRequest{dir}, &out); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "Backup of %s written to %s in %v.\nKeep the master key (%s) apart from it: without the key nothing can be read. Keep %s with it: without that nobody is found by phone number; and %s: without that browsers have to subscribe to pushes again.\n",
			p.data, dir, out.Took.Round(time.Millisecond), keyPath(p), p.phoneKeyPath(), filepath.Join(filepath.Dir(keyPath(p)), "webpush.pem"))
		return nil
	})
}

func keyPath(p *place) string {
	if p.key != "" {
		return p.key
	}
	return filepath.Join(p.data, "keys", "master.key")
}

func (p *place) phoneKeyPath() string {
	s := p.settings()
	return s.phoneKeyFile()
}

const restoreText = `The directory that -data names must be empty or missing, but for the key file. Every file of the backup is checked. The
epoch is raised, so that clients notice that numbers may be given again.`

func restore(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	p.flags(f)
	rest, err := parse(f, args, 1, 1, io)
	if err != nil {
		return err
	}
	if err := p.fill(f); err != nil {
		return err
	}
	began := time.Now()
	if err := bolt.Restore(ctx, rest[0], p.data, keyPath(p)); err != nil {
		if errors.Is(err, bolt.ErrBackup) {
			return fmt.Errorf("%s cannot be restored: %w", rest[0], err)
		}
		return err
	}
	if err := linkTree(ctx, filesDir(rest[0]), filesDir(p.data)); err != nil {
		return fmt.Errorf("everything but photos and documents is restored; copy %s to %s: %w", filesDir(rest[0]), filesDir(p.data), err)
	}
	start := "hwangso serve -data " + p.data
	if p.key != "" {
		start += " -key " + p.key
	}
	fmt.Fprintf(io.Out, "%s is a data directory again, from %s, in %v. Start it with:\n  %s\n", p.data, rest[0], time.Since(began).Round(time.Millisecond), start)
	return nil
}

const checkText = `It reads everything and changes nothing but what a start of the server would. Findings are printed, one a line; with any
the exit code is 1. -rebuild makes the index anew from the journal first.`

func check(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	rebuild := f.Bool("rebuild", false, "make the index anew from the journal")
	p.flags(f)
	if _, err := parse(f, args, 0, 0, io); err != nil {
		return err
	}
	if err := p.fill(f); err != nil {
		return err
	}
	bar := newProgress(io.Err)
	r, err := bolt.Check(ctx, p.data, bolt.CheckOptions{
		Rebuild:  *rebuild,
		Progress: bar.show,
		Finding: func(line string) {
			bar.clear()
			fmt.Fprintln(io.Out, line)
		},
	})
	bar.clear()
	if errors.Is(err, bolt.ErrLocked) {
		return fmt.Errorf("%s is in use by %s: stop the server first, or check a backup that was restored elsewhere", p.data, lockedBy(p.data))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "%d segments, %d records, %d messages in %d conversations\n", r.Segments, r.Records, r.Messages, r.Logs)
	if r.Torn > 0 {
		fmt.Fprintf(io.Out, "%d bytes of an append that a crash cut short were dropped; nobody had been told that it happened\n", r.Torn)
	}
	if r.Findings > 0 {
		return fmt.Errorf("%d things are wrong with %s", r.Findings, p.data)
	}
	fmt.Fprintln(io.Out, "All is well.")
	return nil
}
