package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3Config says where a bucket is.
type S3Config struct {
	Endpoint  string // such as https://s3.eu-central-1.amazonaws.com; http only for tests and private networks
	Bucket    string // must exist
	Prefix    string // put before every name; "" for none
	Region    string // "" lets the client ask
	AccessKey string
	SecretKey string
	Transport http.RoundTripper // nil: the client's own
}

// S3 keeps blobs in a bucket of any store with Amazon's S3 interface. Downloads are addresses that the bucket itself
// signs, so that their bytes do not pass through this server.
type S3 struct {
	client         *minio.Client
	bucket, prefix string
}

var _ Blobs = (*S3)(nil)

// NewS3 returns an S3. It does not connect; Check does.
func NewS3(c S3Config) (*S3, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("files: the endpoint must be an address such as https://s3.example.com, without a path")
	}
	if c.Bucket == "" {
		return nil, errors.New("files: the bucket is missing")
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""),
		Secure: u.Scheme == "https", Region: c.Region, Transport: c.Transport, BucketLookup: minio.BucketLookupAuto,
	})
	if err != nil {
		return nil, fmt.Errorf("files: s3: %w", err)
	}
	return &S3{client, c.Bucket, c.Prefix}, nil
}

// Check asks whether the bucket can be reached.
func (s *S3) Check(ctx context.Context) error {
	ok, err := s.client.BucketExists(ctx, s.bucket)
	if err != nil {
		return fmt.Errorf("files: s3: %w", err)
	}
	if !ok {
		return fmt.Errorf("files: s3: there is no bucket %s", s.bucket)
	}
	return nil
}

// Put implements Blobs.
func (s *S3) Put(ctx context.Context, name string, r io.Reader, size int64, contentType string) error {
	_, err := s.client.PutObject(ctx, s.bucket, s.prefix+name, r, size, minio.PutObjectOptions{ContentType: contentType})
	if err != nil {
		return fmt.Errorf("files: s3: %w", err)
	}
	return nil
}

// Serve implements Blobs: a redirection to an address that the bucket signs for as long as the link lives. The headers
// that were set are asked for there.
func (s *S3) Serve(w http.ResponseWriter, r *http.Request, name string, life time.Duration) error {
	if _, err := s.client.StatObject(r.Context(), s.bucket, s.prefix+name, minio.StatObjectOptions{}); err != nil {
		if minio.ToErrorResponse(err).StatusCode == http.StatusNotFound {
			return fmt.Errorf("files: s3: %w", fs.ErrNotExist)
		}
		return fmt.Errorf("files: s3: %w", err)
	}
	ask := url.Values{}
	for _, h := range []string{"Content-Type", "Content-Disposition", "Cache-Control"} {
		if v := w.Header().Get(h); v != "" {
			ask.Set("response-"+strings.ToLower(h), v)
		}
		w.Header().Del(h)
	}
	to, err := s.client.PresignedGetObject(r.Context(), s.bucket, s.prefix+name, max(life, time.Second), ask)
	if err != nil {
		return fmt.Errorf("files: s3: %w", err)
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to.String(), http.StatusSeeOther)
	return nil
}

// Delete implements Blobs.
func (s *S3) Delete(ctx context.Context, name string) error {
	if err := s.client.RemoveObject(ctx, s.bucket, s.prefix+name, minio.RemoveObjectOptions{}); err != nil {
		return fmt.Errorf("files: s3: %w", err)
	}
	return nil
}
