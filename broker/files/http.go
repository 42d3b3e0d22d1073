package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hwangso/hwangso/store"
)

// stall is how long an upload may bring nothing.
const stall = 30 * time.Second

// Handler serves uploads and downloads under /files/. Mount it on an origin of its own: a browser that is tricked into
// showing a file must find nothing there to steal.
func (s *Files) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /files/{id}", s.upload)
	mux.HandleFunc("GET /files/{id}", s.download)
	mux.HandleFunc("GET /files/{id}/thumb", s.download)
	mux.HandleFunc("OPTIONS /files/", func(w http.ResponseWriter, _ *http.Request) {
		open(w.Header())
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/files/", func(w http.ResponseWriter, _ *http.Request) {
		problem(w, &store.Error{Code: store.CodeNotFound, Text: "there is nothing here"})
	})
	return mux
}

// open lets pages of any origin use an address: who has it may use it, and nothing else is sent along.
func open(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, PUT")
	h.Set("Access-Control-Allow-Headers", "Content-Type, Range")
	h.Set("Access-Control-Max-Age", "86400")
}

var errLink = store.Forbidden("link", "the link has ended, or is damaged: ask for another one")

func (s *Files) upload(w http.ResponseWriter, r *http.Request) {
	open(w.Header())
	m, err := s.receive(w, r)
	s.metrics.uploaded(m.Size, err)
	if err != nil {
		if store.CodeOf(err) == store.CodeInternal {
			s.log.Error("upload failed", "err", err)
		}
		problem(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	answer := struct {
		Code   int    `json:"code"`
		File   string `json:"file"`
		Type   string `json:"type"`
		Size   int64  `json:"size"`
		Width  int    `json:"width,omitempty"`
		Height int    `json:"height,omitempty"`
	}{http.StatusCreated, r.PathValue("id"), m.Type, m.Size, m.Width, m.Height}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		s.log.Debug("answer not written", "err", err)
	}
}

// receive takes the bytes of a slot.
func (s *Files) receive(w http.ResponseWriter, r *http.Request) (m meta, err error) {
	if !s.signed("PUT", r.URL.Path, r.URL.Query()) {
		return m, errLink
	}
	id := r.PathValue("id")
	row, err := s.store.Row(tableFile, store.Owner(id), "")
	if err != nil {
		return m, err
	}
	var o owned
	if row.Version == 0 || json.Unmarshal(row.Value, &o) != nil {
		return m, errLink
	}
	row, err = s.store.Row(tableMine, store.OwnerOf(o.By), id)
	if err != nil {
		return m, err
	}
	if row.Version == 0 || json.Unmarshal(row.Value, &m) != nil {
		return m, errLink
	}
	switch {
	case m.State != stateSlot:
		return meta{}, &store.Error{Code: store.CodeConflict, Text: "the file was uploaded already"}
	case r.ContentLength < 0:
		return meta{}, store.Bad("say Content-Length")
	case r.ContentLength != m.Size:
		return meta{}, store.Bad("the slot is for " + strconv.FormatInt(m.Size, 10) + " bytes, not " + strconv.FormatInt(r.ContentLength, 10))
	}
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	default:
		return meta{}, &store.Error{Code: store.CodeUnavailable, Text: "too many uploads at once", Retry: 2 * time.Second}
	}
	f, err := os.CreateTemp(s.cfg.Temp, "upload-*")
	if err != nil {
		return meta{}, fmt.Errorf("files: upload: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if err := copyBody(f, w, r, m.Size); err != nil {
		return meta{}, err
	}
	kept, thumb, err := s.clean(r.Context(), f, m.Size, m.Type)
	if err != nil {
		return meta{}, err
	}
	kept.State, kept.Created = stateReady, m.Created
	// From here on the client may go: what has arrived is kept.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 5*time.Minute)
	defer cancel()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return meta{}, fmt.Errorf("files: upload: %w", err)
	}
	if err := s.blobs.Put(ctx, id, f, kept.Size, kept.Type); err != nil {
		return meta{}, unavailable(err)
	}
	if thumb != nil {
		if err := s.blobs.Put(ctx, thumbName(id), bytes.NewReader(thumb), int64(len(thumb)), "image/jpeg"); err != nil {
			return meta{}, unavailable(err)
		}
	}
	err = s.put(ctx, tableMine, store.OwnerOf(o.By), id, kept, 0, &row.Version)
	if store.CodeOf(err) == store.CodeConflict { // two uploads at once have the same size and type: one of them is the file
		return meta{}, &store.Error{Code: store.CodeConflict, Text: "the file was uploaded already"}
	}
	return kept, err
}

func thumbName(id string) string { return id + ".t" }

func unavailable(err error) error {
	return &store.Error{Code: store.CodeUnavailable, Text: "the file could not be stored: try again", Retry: 5 * time.Second, Err: err}
}

// copyBody copies exactly size bytes, as long as something arrives.
func copyBody(f *os.File, w http.ResponseWriter, r *http.Request, size int64) error {
	control := http.NewResponseController(w)
	body := http.MaxBytesReader(w, r.Body, size)
	buf := make([]byte, 64<<10)
	var got int64
	for {
		if err := control.SetReadDeadline(time.Now().Add(stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return fmt.Errorf("files: upload: %w", err)
		}
		n, err := body.Read(buf)
		got += int64(n)
		if n > 0 {
			if _, err := f.Write(buf[:n]); err != nil {
				return unavailable(err)
			}
		}
		switch {
		case errors.Is(err, io.EOF) && got == size:
			return nil
		case err != nil:
			return &store.Error{Code: store.CodeBad, Text: "the upload ended before its last byte", Err: err}
		}
	}
}

func (s *Files) download(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	open(h)
	q := r.URL.Query()
	if !s.signed("GET", r.URL.Path, q) {
		problem(w, errLink)
		return
	}
	id := r.PathValue("id")
	_, m, err := s.of(id)
	if err != nil {
		problem(w, err)
		return
	}
	name, contentType := id, m.Type
	if strings.HasSuffix(r.URL.Path, "/thumb") {
		name, contentType = thumbName(id), "image/jpeg"
	}
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "private, max-age=86400, immutable")
	if !types[contentType].inline {
		h.Set("Content-Disposition", "attachment")
	}
	ends, _ := strconv.ParseInt(q.Get("e"), 10, 64)
	err = s.blobs.Serve(w, r, name, time.Unix(ends, 0).Sub(s.now()))
	if err == nil {
		s.metrics.downloads.Inc()
		return
	}
	for _, k := range []string{"Content-Disposition", "Cache-Control"} {
		h.Del(k)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = errNoFile
	} else {
		s.log.Error("download failed", "err", err)
		err = unavailable(err)
	}
	problem(w, err)
}

// problem is a refusal as the control API writes it (RFC 9457).
func problem(w http.ResponseWriter, err error) {
	e := &store.Error{Code: store.CodeInternal, Text: "something went wrong on the server"}
	if found, ok := errors.AsType[*store.Error](err); ok && found.Code != store.CodeInternal {
		e = found
	}
	if e.Retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.Retry+time.Second-1)/time.Second)))
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(int(e.Code))
	body, err := json.Marshal(map[string]any{"type": "about:blank", "title": http.StatusText(int(e.Code)), "status": e.Code,
		"code": e.Code, "error": e.Word(), "text": e.Text, "detail": e.Text, "retry_ms": e.Retry.Milliseconds()})
	if err != nil { // strings and numbers always encode
		panic(err)
	}
	_, _ = w.Write(body) // the client has gone
}
