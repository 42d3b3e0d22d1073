package files

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Config is what Files are made of.
type Config struct {
	Store store.Store // required
	Blobs Blobs       // required
	URL   string      // the address under which Handler is reached, without a slash at its end; "" makes links without a host
	Temp  string      // directory for uploads under way; "" is the system's

	MaxSize    int64         // bytes of a file; 100 MiB
	Quota      int64         // bytes of a user's files together; 2 GiB
	MaxFiles   int           // files of a user; 5,000
	UploadLife time.Duration // of an upload address; 1 hour
	LinkLife   time.Duration // of a download address; 5 minutes
	Unattached time.Duration // how long a file waits for its message; 24 hours

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: metrics are counted and not shown
	Now        func() time.Time      // nil: time.Now
}

// Validate tells what is wrong with the configuration, nil if nothing.
func (c Config) Validate() error {
	switch {
	case c.Store == nil:
		return errors.New("files: no store")
	case c.Blobs == nil:
		return errors.New("files: no place for the bytes")
	case c.MaxSize < 0 || c.Quota < 0 || c.MaxFiles < 0 || c.UploadLife < 0 || c.LinkLife < 0 || c.Unattached < 0:
		return errors.New("files: a limit is negative")
	}
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.HasSuffix(c.URL, "/") || u.RawQuery != "" {
			return errors.New("files: the address must be such as https://files.example.com, without a slash at its end")
		}
	}
	return nil
}

// The tables. A file's rows lie with its owner, so that they go when the owner is erased; the others hold numbers only.
const (
	tableMine  store.Table = "user.file"  // owner; key: the file. What is known of it
	tableShown store.Table = "user.shown" // somebody; key: a file. May attach it although it is not the owner; expires
	tableFile  store.Table = "file"       // the file; key "": whose it is
	tableRef   store.Table = "file.ref"   // the file; key: log and sequence of a message that holds it
	tableLog   store.Table = "log.file"   // the log; key: sequence and file
	tableDue   store.Table = "file.due"   // "": key: time and file, when to look whether it is still held
	tableKey   store.Table = "service.files"
)

const (
	readerName = "files"
	shownLife  = 24 * time.Hour
	grace      = time.Minute // between the end of what held a file and its removal, and as long for what is being said
	maxDoomed  = 10_000
	idLength   = 26 // characters of 5 bits
)

// states of a file.
const (
	stateSlot  = ""      // waits for its bytes
	stateReady = "ready" // may be attached and linked
)

// meta is what is known of a file.
type meta struct {
	State   string `json:"state,omitempty"`
	Type    string `json:"type"`
	Size    int64  `json:"size"`
	Width   int    `json:"w,omitempty"`
	Height  int    `json:"h,omitempty"`
	Thumb   bool   `json:"thumb,omitempty"`
	Created int64  `json:"created"`
}

type owned struct {
	By store.AccountID `json:"by"`
}

// Files keeps files. It may be used from any goroutine.
type Files struct {
	cfg      Config
	store    store.Store
	graph    *graph.Graph
	blobs    Blobs
	log      *slog.Logger
	now      func() time.Time
	key      []byte
	metrics  *metrics
	decoding chan struct{} // pictures decoded at once
	uploads  chan struct{} // uploads under way at once
	at       atomic.Uint64 // the reader's position

	mu     sync.Mutex
	doomed map[string]time.Time // files that nothing may hold any more: since when; see Sweep

	stop context.CancelFunc
	wg   sync.WaitGroup
}

// New returns a Files and starts its reader and sweeper. Close ends them.
func New(cfg Config) (*Files, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		v *int64
		d int64
	}{{&cfg.MaxSize, 100 << 20}, {&cfg.Quota, 2 << 30}, {(*int64)(&cfg.UploadLife), int64(time.Hour)},
		{(*int64)(&cfg.LinkLife), int64(5 * time.Minute)}, {(*int64)(&cfg.Unattached), int64(24 * time.Hour)}} {
		if *f.v == 0 {
			*f.v = f.d
		}
	}
	if cfg.MaxFiles == 0 {
		cfg.MaxFiles = 5000
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Temp != "" {
		if err := os.MkdirAll(cfg.Temp, 0o700); err != nil {
			return nil, fmt.Errorf("files: %w", err)
		}
	}
	s := &Files{cfg: cfg, store: cfg.Store, graph: graph.New(cfg.Store, cfg.Now), blobs: cfg.Blobs, log: cfg.Logger, now: cfg.Now,
		decoding: make(chan struct{}, 1), uploads: make(chan struct{}, 32), doomed: make(map[string]time.Time)}
	var err error
	if s.key, err = s.signingKey(); err != nil {
		return nil, fmt.Errorf("files: key: %w", err)
	}
	if s.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("files: metrics: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.wg.Go(func() { s.read(ctx) })
	s.wg.Go(func() { s.sweep(ctx) })
	return s, nil
}

// Close ends the reader and the sweeper and waits for them. Safe twice. Requests under way are the HTTP server's to end.
func (s *Files) Close() error {
	s.stop()
	s.wg.Wait()
	return nil
}

// signingKey is the key of addresses, made with the first start and kept sealed with the server's key, so that a copy of
// the data alone signs nothing.
func (s *Files) signingKey() ([]byte, error) {
	for {
		r, err := s.store.Row(tableKey, "", "key")
		if err != nil {
			return nil, err
		}
		if r.Version != 0 {
			return s.store.Unseal(0, sealedKey, r.Value)
		}
		key := make([]byte, sha256.Size)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		sealed, err := s.store.Seal(0, sealedKey, key)
		if err != nil {
			return nil, err
		}
		err = s.store.Update(context.Background(), store.Update{Rows: []store.RowPut{{Table: tableKey, Key: "key", Value: sealed, If: &r.Version}}})
		if err != nil && store.CodeOf(err) != store.CodeConflict {
			return nil, err
		}
	}
}

// sealedKey is what the key of addresses is sealed for.
const sealedKey = "addresses of files"

// Slot is the permission to upload one file.
type Slot struct {
	File    string
	Upload  string // PUT the bytes here, with their Content-Length
	Expires time.Time
}

// Slot makes room for a file of a user, of exactly this many bytes. Errors: CodeBad for a type that is not kept,
// CodeTooLarge, CodeFull when the user's files together would be too many or too large.
func (s *Files) Slot(ctx context.Context, owner store.AccountID, contentType string, size int64) (Slot, error) {
	t, err := typeOf(contentType)
	if err != nil {
		return Slot{}, err
	}
	switch {
	case size <= 0:
		return Slot{}, store.Bad("size must be the number of bytes that will be uploaded")
	case size > s.cfg.MaxSize:
		return Slot{}, tooLarge("a file", s.cfg.MaxSize)
	case types[t].strip != nil && size > maxPicture:
		return Slot{}, tooLarge("a picture", maxPicture)
	}
	if err := s.quota(owner, size); err != nil {
		return Slot{}, err
	}
	id := newID()
	now := s.now()
	expires := now.Add(s.cfg.UploadLife)
	if err := s.due(ctx, id, now.Add(s.cfg.Unattached)); err != nil {
		return Slot{}, err
	}
	if err := s.put(ctx, tableFile, store.Owner(id), "", owned{owner}, 0, nil); err != nil {
		return Slot{}, err
	}
	m := meta{Type: t, Size: size, Created: now.UnixMilli()}
	if err := s.put(ctx, tableMine, store.OwnerOf(owner), id, m, 0, nil); err != nil {
		return Slot{}, err
	}
	return Slot{File: id, Upload: s.address("PUT", id, "", expires), Expires: expires}, nil
}

func newID() string {
	var b [17]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails: see crypto/rand
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))[:idLength]
}

func validID(id string) bool {
	if len(id) != idLength {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// quota refuses what would be too much of one user.
func (s *Files) quota(owner store.AccountID, size int64) error {
	count, after := 0, ""
	for {
		rows, err := s.store.Rows(tableMine, store.OwnerOf(owner), "", after, 1000)
		if err != nil {
			return fmt.Errorf("files: quota: %w", err)
		}
		for _, r := range rows {
			var m meta
			if err := json.Unmarshal(r.Value, &m); err != nil {
				return fmt.Errorf("files: quota: %w", err)
			}
			count++
			size += m.Size
			after = r.Key
		}
		if len(rows) < 1000 {
			break
		}
	}
	if count >= s.cfg.MaxFiles {
		return &store.Error{Code: store.CodeFull, Reason: "files", Text: "you have as many files as one may have: " + strconv.Itoa(s.cfg.MaxFiles)}
	}
	if size > s.cfg.Quota {
		return &store.Error{Code: store.CodeFull, Reason: "files", Text: "your files together may have at most " + strconv.FormatInt(s.cfg.Quota, 10) + " bytes"}
	}
	return nil
}

// May reports whether a user may attach these files: its own, and those it was shown within a day. The error says the
// same of a file that does not exist and of somebody else's.
func (s *Files) May(user store.AccountID, ids []string) error {
	for _, id := range ids {
		if s.isDoomed(id) {
			return errNoFile
		}
		m, ok, err := s.mine(user, id)
		if err != nil {
			return err
		}
		if ok && m.State == stateReady {
			continue
		}
		if ok {
			return &store.Error{Code: store.CodeConflict, Text: "the file was not uploaded yet"}
		}
		shown, err := s.store.Row(tableShown, store.OwnerOf(user), id)
		if err != nil {
			return fmt.Errorf("files: %w", err)
		}
		if shown.Version == 0 {
			return errNoFile
		}
	}
	return nil
}

var errNoFile = &store.Error{Code: store.CodeNotFound, Text: "you have no such file: upload it, or ask for a link to it first"}

func (s *Files) mine(owner store.AccountID, id string) (m *meta, ok bool, err error) {
	if !validID(id) {
		return nil, false, nil
	}
	r, err := s.store.Row(tableMine, store.OwnerOf(owner), id)
	if err != nil || r.Version == 0 {
		return nil, false, err
	}
	m, err = store.Decoded(r, func(b []byte) (m meta, err error) { return m, json.Unmarshal(b, &m) })
	return m, err == nil, err
}

// Link is the permission to get one file for a while.
type Link struct {
	URL, Thumb    string // Thumb is "" where there is none
	Type          string
	Size          int64
	Width, Height int // of a picture, else 0
	Expires       time.Time
}

// Link returns a link to a file that a message of a log names, if the viewer sees that message; the viewer may then also
// attach it to messages of its own for a day. CodeNotFound where it does not, or where there is no such file.
func (s *Files) Link(ctx context.Context, viewer store.AccountID, log store.LogID, seq store.Seq, id string) (Link, error) {
	if seq == 0 {
		return Link{}, errNoFile
	}
	page, err := s.store.Read(store.Query{Log: log, Viewer: viewer, After: seq - 1, Upto: seq, Max: 1})
	if code := store.CodeOf(err); code == store.CodeTrimmed || code == store.CodeNotFound || err == nil && len(page.Records) == 0 {
		return Link{}, errNoFile
	}
	if err != nil {
		return Link{}, fmt.Errorf("files: link: %w", err)
	}
	ids, err := view.Files(page.Records[0].Extra)
	if err != nil {
		return Link{}, fmt.Errorf("files: link: %w", err)
	}
	for _, have := range ids {
		if have == id {
			return s.shown(ctx, viewer, id)
		}
	}
	return Link{}, errNoFile
}

// LinkOwn returns a link to a file of the user's own.
func (s *Files) LinkOwn(_ context.Context, owner store.AccountID, id string) (Link, error) {
	m, ok, err := s.mine(owner, id)
	if err != nil {
		return Link{}, err
	}
	if !ok || m.State != stateReady {
		return Link{}, errNoFile
	}
	return s.link(id, m), nil
}

// shown links a file that the viewer was allowed to see.
func (s *Files) shown(ctx context.Context, viewer store.AccountID, id string) (Link, error) {
	owner, m, err := s.of(id)
	if err != nil {
		return Link{}, err
	}
	if owner != viewer {
		until := s.now().Add(shownLife)
		old, err := s.store.Row(tableShown, store.OwnerOf(viewer), id)
		if err != nil {
			return Link{}, fmt.Errorf("files: link: %w", err)
		}
		if old.Version == 0 || old.Expires < until.Add(-shownLife/2).UnixMilli() {
			if err := s.put(ctx, tableShown, store.OwnerOf(viewer), id, struct{}{}, until.UnixMilli(), nil); err != nil {
				return Link{}, err
			}
		}
	}
	return s.link(id, m), nil
}

// of is a file that can be had, and whose it is.
func (s *Files) of(id string) (store.AccountID, *meta, error) {
	if !validID(id) {
		return 0, nil, errNoFile
	}
	r, err := s.store.Row(tableFile, store.Owner(id), "")
	if err != nil {
		return 0, nil, fmt.Errorf("files: %w", err)
	}
	if r.Version == 0 {
		return 0, nil, errNoFile
	}
	o, err := store.Decoded(r, func(b []byte) (o owned, err error) { return o, json.Unmarshal(b, &o) })
	if err != nil {
		return 0, nil, fmt.Errorf("files: %w", err)
	}
	m, ok, err := s.mine(o.By, id)
	if err != nil {
		return 0, nil, fmt.Errorf("files: %w", err)
	}
	if !ok || m.State != stateReady {
		return o.By, m, errNoFile
	}
	return o.By, m, nil
}

func (s *Files) link(id string, m *meta) Link {
	expires := s.now().Add(s.cfg.LinkLife)
	l := Link{URL: s.address("GET", id, "", expires), Type: m.Type, Size: m.Size, Width: m.Width, Height: m.Height, Expires: expires}
	if m.Thumb {
		l.Thumb = s.address("GET", id, "thumb", expires)
	}
	return l
}

// address is a signed address of a file, or of its thumbnail.
func (s *Files) address(method, id, variant string, expires time.Time) string {
	path := "/files/" + id
	if variant != "" {
		path += "/" + variant
	}
	at := strconv.FormatInt(expires.Unix(), 10)
	return s.cfg.URL + path + "?e=" + at + "&s=" + s.signature(method, path, at)
}

func (s *Files) signature(method, path, expires string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(method + " " + path + " " + expires))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// signed reports whether an address is ours and has not ended.
func (s *Files) signed(method, path string, q url.Values) bool {
	at, err := strconv.ParseInt(q.Get("e"), 10, 64)
	if err != nil || s.now().Unix() >= at {
		return false
	}
	want := s.signature(method, path, q.Get("e"))
	return subtle.ConstantTimeCompare([]byte(want), []byte(q.Get("s"))) == 1
}

// put stores one row as JSON.
func (s *Files) put(ctx context.Context, t store.Table, o store.Owner, key string, v any, expires int64, version *uint64) error {
	b, err := json.Marshal(v)
	if err == nil {
		err = s.store.Update(ctx, store.Update{Owner: o, Rows: []store.RowPut{{Table: t, Key: key, Value: b, Expires: expires, If: version}}})
	}
	if err != nil {
		return fmt.Errorf("files: %s: %w", t, err)
	}
	return nil
}

// due notes when to look at a file.
func (s *Files) due(ctx context.Context, id string, at time.Time) error {
	return s.put(ctx, tableDue, "", store.KeyOf(uint64(at.UnixMilli()))+id, struct{}{}, 0, nil)
}

func dueOf(key string) (at int64, id string) {
	if len(key) < 8 {
		return 0, ""
	}
	return int64(binary.BigEndian.Uint64([]byte(key[:8]))), key[8:]
}

func tooLarge(what string, limit int64) error {
	return &store.Error{Code: store.CodeTooLarge, Text: what + " may have at most " + strconv.FormatInt(limit, 10) + " bytes"}
}
