package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // decoded for thumbnails, as the others
	"image/jpeg"
	_ "image/png"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp"

	"github.com/hwangso/hwangso/store"
)

const (
	maxPicture  = 25 << 20   // bytes of a picture, which is held in memory while it is worked on
	maxPixels   = 50_000_000 // of a picture; a file of a few bytes can claim billions
	thumbSize   = 320        // pixels of a thumbnail's longer side
	thumbWeight = 70         // JPEG quality of a thumbnail
)

// types are the types that are kept, and how they are told apart: what the bytes look like (WHATWG MIME Sniffing), or ""
// where that says nothing.
var types = map[string]struct {
	sniffed []string
	strip   func(io.Writer, []byte) error
	inline  bool // a browser may show it: it cannot run anything
}{
	"image/jpeg":               {[]string{"image/jpeg"}, stripJPEG, true},
	"image/png":                {[]string{"image/png"}, stripPNG, true},
	"image/gif":                {[]string{"image/gif"}, stripGIF, true},
	"image/webp":               {[]string{"image/webp"}, stripWebP, true},
	"video/mp4":                {[]string{"video/mp4", "application/octet-stream"}, nil, true},
	"video/quicktime":          {[]string{"video/mp4", "application/octet-stream"}, nil, true},
	"video/webm":               {[]string{"video/webm"}, nil, true},
	"audio/mp4":                {[]string{"video/mp4", "application/octet-stream"}, nil, true},
	"audio/mpeg":               {[]string{"audio/mpeg", "application/octet-stream"}, nil, true},
	"audio/aac":                {[]string{"application/octet-stream"}, nil, true},
	"audio/ogg":                {[]string{"application/ogg"}, nil, true},
	"audio/webm":               {[]string{"video/webm"}, nil, true},
	"audio/wav":                {[]string{"audio/wave"}, nil, true},
	"application/pdf":          {[]string{"application/pdf"}, nil, false},
	"application/zip":          {[]string{"application/zip"}, nil, false},
	"text/plain":               {[]string{"text/plain"}, nil, false},
	"application/octet-stream": {nil, nil, false},
}

// Types lists the types that are kept, in no order.
func Types() []string {
	out := make([]string, 0, len(types))
	for t := range types {
		out = append(out, t)
	}
	return out
}

// typeOf normalises a type that a client names; CodeBad if it is none that is kept.
func typeOf(s string) (string, error) {
	t, _, err := mime.ParseMediaType(s)
	if err != nil {
		return "", store.Bad("type must be a media type such as image/jpeg")
	}
	switch t {
	case "image/heic", "image/heif", "image/avif":
		return "", store.Bad("pictures of type " + t + " are not taken, because their place and time cannot be removed: send JPEG, PNG, WebP or GIF")
	case "image/jpg":
		t = "image/jpeg"
	case "audio/x-wav", "audio/wave":
		t = "audio/wav"
	case "audio/x-m4a":
		t = "audio/mp4"
	}
	if _, ok := types[t]; !ok {
		return "", store.Bad("files of type " + t + " are not taken; application/octet-stream is for anything else")
	}
	return t, nil
}

var errType = store.Bad("the file is not of the type that was announced, or damaged")

// clean makes of an uploaded file what is kept: checked, without metadata, in place. It returns what is to be known of it,
// and a thumbnail or nil.
func (s *Files) clean(ctx context.Context, f *os.File, size int64, claimed string) (meta, []byte, error) {
	m := meta{Type: claimed, Size: size}
	head := make([]byte, 512)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return m, nil, fmt.Errorf("files: read: %w", err)
	}
	sniffed, _, _ := strings.Cut(http.DetectContentType(head[:n]), ";")
	if err := fits(claimed, sniffed); err != nil {
		return m, nil, err
	}
	if movie := isMP4(head[:n]); movie || claimed == "video/mp4" || claimed == "video/quicktime" || claimed == "audio/mp4" {
		if !movie {
			return m, nil, errType
		}
		if err := stripMP4(f, size); errors.Is(err, errFormat) {
			return m, nil, errType
		} else if err != nil {
			return m, nil, err
		}
		return m, nil, nil
	}
	t, ok := types[sniffed] // what it looks like decides, whatever it is called
	if !ok || t.strip == nil {
		return m, nil, nil
	}
	if size > maxPicture {
		return m, nil, tooLarge("a picture", maxPicture)
	}
	select { // one at a time: a decoded picture can take 200 MB
	case s.decoding <- struct{}{}:
		defer func() { <-s.decoding }()
	case <-ctx.Done():
		return m, nil, ctx.Err()
	}
	src := make([]byte, size)
	if _, err := f.ReadAt(src, 0); err != nil && !errors.Is(err, io.EOF) {
		return m, nil, fmt.Errorf("files: read: %w", err)
	}
	var out bytes.Buffer
	if err := t.strip(&out, src); err != nil {
		return m, nil, errType
	}
	cfg, _, err := image.DecodeConfig(bytes.NewReader(out.Bytes()))
	if err != nil || cfg.Width <= 0 || cfg.Height <= 0 {
		return m, nil, errType
	}
	if int64(cfg.Width)*int64(cfg.Height) > maxPixels {
		return m, nil, &store.Error{Code: store.CodeTooLarge, Text: "a picture may have at most 50 million pixels"}
	}
	m.Width, m.Height, m.Size = cfg.Width, cfg.Height, int64(out.Len())
	turn := uint16(0)
	if at := bytes.Index(out.Bytes()[:min(out.Len(), 512)], []byte("Exif\x00\x00")); at >= 0 {
		turn = orientationOf(out.Bytes()[at+6:])
	}
	thumb, err := thumbnail(out.Bytes(), turn)
	if err != nil {
		return m, nil, errType
	}
	m.Thumb = true
	if err := f.Truncate(0); err != nil {
		return m, nil, fmt.Errorf("files: write: %w", err)
	}
	if _, err := f.WriteAt(out.Bytes(), 0); err != nil {
		return m, nil, fmt.Errorf("files: write: %w", err)
	}
	return m, thumb, nil
}

// fits reports whether bytes that look like one type may be called another.
func fits(claimed, sniffed string) error {
	want := types[claimed].sniffed
	if want == nil { // anything, but what a browser would take for a page is not called so
		return nil
	}
	for _, w := range want {
		if w == sniffed {
			return nil
		}
	}
	return errType
}

// isMP4 reports whether a file begins like an ISO base media file or QuickTime movie.
func isMP4(head []byte) bool {
	if len(head) < 12 {
		return false
	}
	switch string(head[4:8]) {
	case "ftyp", "moov", "mdat", "wide", "free", "skip", "pnot":
		return true
	}
	return false
}

// thumbnail makes a small JPEG with the picture's orientation.
func thumbnail(picture []byte, turn uint16) ([]byte, error) {
	src, _, err := image.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, fmt.Errorf("files: decode: %w", err)
	}
	b := src.Bounds()
	w, h := b.Dx(), b.Dy()
	if longer := max(w, h); longer > thumbSize {
		w, h = max(1, w*thumbSize/longer), max(1, h*thumbSize/longer)
	}
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(dst, dst.Bounds(), image.White, image.Point{}, draw.Src)
	draw.ApproxBiLinear.Scale(dst, dst.Bounds(), src, b, draw.Over, nil)
	var out bytes.Buffer
	if err := jpeg.Encode(&out, dst, &jpeg.Options{Quality: thumbWeight}); err != nil {
		return nil, fmt.Errorf("files: encode: %w", err)
	}
	if turn <= 1 {
		return out.Bytes(), nil
	}
	turned := append([]byte{0xff, 0xd8}, exifOrientation(turn)...)
	return append(turned, out.Bytes()[2:]...), nil
}
