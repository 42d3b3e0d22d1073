package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hwangso/hwangso/broker/files"
)

// noFiles is the value of -files for a server that keeps none.
const noFiles = "none"

// filesDir is the directory of files of a data directory.
func filesDir(data string) string { return filepath.Join(data, "files") }

// files opens what keeps photos and documents, nil for none.
func (srv *server) openFiles(ctx context.Context) error {
	set := &srv.set
	if set.files == noFiles {
		return nil
	}
	var blobs files.Blobs
	if set.s3Endpoint != "" {
		access, secret, err := readS3Keys(set.s3Keys)
		if err != nil {
			return fmt.Errorf("-s3-keys: %w", err)
		}
		s3, err := files.NewS3(files.S3Config{Endpoint: set.s3Endpoint, Bucket: set.s3Bucket, Prefix: set.s3Prefix, Region: set.s3Region,
			AccessKey: access, SecretKey: secret})
		if err != nil {
			return fmt.Errorf("-s3-endpoint: %w", err)
		}
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err := s3.Check(ctx); err != nil {
			return fmt.Errorf("-s3-endpoint: %w", err)
		}
		blobs = s3
	} else {
		dir := set.files
		if dir == "" {
			dir = filesDir(set.data)
		}
		disk, err := files.NewDisk(dir)
		if err != nil {
			return fmt.Errorf("-files: %w", err)
		}
		blobs = disk
	}
	var err error
	srv.files, err = files.New(files.Config{Store: srv.store, Blobs: blobs, URL: set.filesURL, Temp: filepath.Join(set.data, "uploads"),
		MaxSize: set.maxFile, Quota: set.maxFiles, Logger: srv.log, Registerer: srv.reg})
	return err
}

// readS3Keys reads an access key and a secret key from two lines of a file.
func readS3Keys(path string) (access, secret string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	lines := strings.Fields(string(b))
	if len(lines) != 2 {
		return "", "", fmt.Errorf("%s must hold two lines, the access key and the secret key", path)
	}
	return lines[0], lines[1], nil
}

// linkTree copies a directory of files that never change: as hard links where both lie on one file system. A directory
// that does not exist has nothing to copy; a file that goes meanwhile is not needed any more.
func linkTree(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case strings.HasPrefix(d.Name(), "."): // a temporary file
			return nil
		}
		if err := os.Link(path, target); err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}
