package files

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

// world is files over a real store, broker, directory and HTTP server, with a clock that tests move.
type world struct {
	*Files
	t      *testing.T
	store  *bolt.Store
	broker *broker.Broker
	web    *httptest.Server
	dir    string
	users  map[string]hooks.Identity

	mu    sync.Mutex
	clock time.Time

	allowed func() // nil, or called when the broker has asked what may be attached
}

// asked are files of which somebody has just been told what it may attach.
type asked struct {
	*Files
	w *world
}

func (a asked) May(user store.AccountID, ids []string) error {
	err := a.Files.May(user, ids)
	if a.w.allowed != nil {
		a.w.allowed()
	}
	return err
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), users: map[string]hooks.Identity{}, clock: time.Now()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.store, err = bolt.Open(bolt.Config{Dir: filepath.Join(w.dir, "data"), MinFree: -1, Now: w.time})
	must(err)
	disk, err := NewDisk(filepath.Join(w.dir, "files"))
	must(err)
	mux := http.NewServeMux()
	w.web = httptest.NewServer(mux)
	cfg := Config{Store: w.store, Blobs: disk, URL: w.web.URL, Temp: filepath.Join(w.dir, "temp"), Now: w.time}
	for _, f := range change {
		f(&cfg)
	}
	w.Files, err = New(cfg)
	must(err)
	mux.Handle("/files/", w.Handler())
	w.broker, err = broker.New(broker.Config{Store: w.store, Files: asked{w.Files, w}, Now: w.time})
	must(err)
	for _, name := range []string{"alice", "bob", "carol"} {
		a, err := w.store.CreateAccount(t.Context(), store.Account{Name: name})
		must(err)
		w.users[name] = hooks.Identity{Account: a.ID, Name: name, Device: 1}
	}
	for from := range w.users {
		for to := range w.users {
			if from != to {
				_, err := w.store.SetEdge(t.Context(), store.EdgeFriend, w.id(from), w.id(to), true, 0)
				must(err)
			}
		}
	}
	t.Cleanup(func() {
		w.web.Close()
		must(w.broker.Close(t.Context()))
		must(w.Close())
		must(w.store.Close())
	})
	return w
}

func (w *world) id(name string) store.AccountID { return w.users[name].Account }

// do sends a request and returns status, headers and body.
func (w *world) do(method, url string, body []byte, header ...string) (int, http.Header, []byte) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, res.Header, got
}

// file uploads a file and returns its identifier.
func (w *world) file(owner, contentType string, body []byte) string {
	w.t.Helper()
	s, err := w.Slot(w.t.Context(), w.id(owner), contentType, int64(len(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	if code, _, answer := w.do("PUT", s.Upload, body); code != 201 {
		w.t.Fatalf("upload: %d %s", code, answer)
	}
	return s.File
}

// send sends a message with attachments to a user, and waits until the reader has seen it.
func (w *world) send(from, to string, act hooks.Act, body string) (store.Receipt, error) {
	w.t.Helper()
	t := hooks.Topic{Place: hooks.User, Name: to, Act: act, View: hooks.JSON}
	r, err := w.broker.Send(w.t.Context(), w.users[from], t, broker.Publication{Payload: []byte(body)})
	if err == nil {
		w.caughtUp()
	}
	return r, err
}

// caughtUp waits until the reader has read everything.
func (w *world) caughtUp() {
	w.t.Helper()
	_, end := w.store.Bounds()
	for w.at.Load() < uint64(end) {
		if w.t.Context().Err() != nil {
			w.t.Fatal("the reader does not come")
		}
		pause(w.t.Context(), time.Millisecond)
	}
}

func attached(id string) string { return fmt.Sprintf(`{"k":"image","a":[{"file":%q}]}`, id) }

func (w *world) sweepAll() {
	w.t.Helper()
	w.caughtUp()
	for range 2 { // doomed, and removed
		if err := w.Sweep(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		w.pass(grace)
	}
}

// A message that may have a file just before that is removed keeps it; one that comes just after may not have it.
func TestSaidWhileSwept(t *testing.T) {
	w := newWorld(t)
	late, later := w.file("alice", "text/plain", []byte("late")), w.file("alice", "text/plain", []byte("later"))
	w.caughtUp()
	w.pass(w.cfg.Unattached + time.Second)
	w.allowed = func() {
		if err := w.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.send("alice", "bob", hooks.Message, attached(late)); err != nil {
		t.Fatal(err)
	}
	w.allowed = nil
	w.sweepAll()
	if _, err := w.LinkOwn(t.Context(), w.id("alice"), late); err != nil {
		t.Errorf("what bob was sent: %v", err)
	}
	if _, err := w.LinkOwn(t.Context(), w.id("alice"), later); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("what nobody was sent: %v", err)
	}

	gone := w.file("alice", "text/plain", []byte("gone"))
	w.caughtUp()
	w.pass(w.cfg.Unattached + time.Second)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := w.send("alice", "bob", hooks.Message, attached(gone))
	wantCode(t, err, store.CodeNotFound)
	wantCode(t, w.Hold(t.Context(), w.id("alice"), []string{gone}, "post"), store.CodeNotFound)
}

// After a restart files are swept though nothing is written.
func TestSweptAfterARestart(t *testing.T) {
	w := newWorld(t)
	w.file("alice", "text/plain", []byte("unsent"))
	if _, err := w.send("alice", "bob", hooks.Message, `{"b":"hello"}`); err != nil {
		t.Fatal(err)
	}
	if err := w.Files.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.Files, err = New(w.cfg); err != nil {
		t.Fatal(err)
	}
	w.pass(w.cfg.Unattached + time.Second)
	w.sweepAll()
	if n := w.blobCount(); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

// blobs counts the files on disk.
func (w *world) blobCount() int {
	n := 0
	err := filepath.WalkDir(filepath.Join(w.dir, "files"), func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func wantCode(t *testing.T, err error, code store.Code) {
	t.Helper()
	if got := store.CodeOf(err); got != code {
		t.Errorf("got code %d (%v), want %d", got, err, code)
	}
}

func TestPhotoFromPhoneToPhone(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	photo := jpegWith(t, segment(0xe1, exif(binary.BigEndian, 6)))
	id := w.file("alice", "image/jpeg", photo)
	if _, err := w.send("alice", "bob", hooks.Message, `{"b":"see","a":[{"file":"`+strings.ToUpper(id)+`"}]}`); err != nil {
		t.Fatal(err)
	}
	log, err := w.store.Find(store.PairKey(w.id("alice"), w.id("bob")))
	if err != nil {
		t.Fatal(err)
	}
	for _, viewer := range []string{"alice", "bob"} {
		l, err := w.Link(ctx, w.id(viewer), log.ID, 1, id)
		if err != nil {
			t.Fatal(err)
		}
		code, h, got := w.do("GET", l.URL, nil)
		if code != 200 || h.Get("Content-Type") != "image/jpeg" || h.Get("X-Content-Type-Options") != "nosniff" || bytes.Contains(got, []byte(secret)) {
			t.Errorf("%s: %d %v, %d bytes", viewer, code, h, len(got))
		}
		samePicture(t, got, photo)
		if l.Width != 40 || l.Height != 30 || l.Size != int64(len(got)) {
			t.Errorf("%+v", l)
		}
		code, h, thumb := w.do("GET", l.Thumb, nil)
		if m, _, err := image.Decode(bytes.NewReader(thumb)); code != 200 || err != nil || m.Bounds().Dx() != 40 || h.Get("Content-Type") != "image/jpeg" {
			t.Errorf("thumbnail: %d, %v", code, err)
		}
		if at := bytes.Index(thumb, []byte("Exif\x00\x00")); at < 0 || orientationOf(thumb[at+6:]) != 6 {
			t.Error("the thumbnail lies on its side")
		}
		code, h, part := w.do("GET", l.URL, nil, "Range", "bytes=2-9")
		if code != 206 || !bytes.Equal(part, got[2:10]) {
			t.Errorf("range: %d %v", code, h)
		}
	}
	for _, c := range []struct {
		viewer string
		seq    store.Seq
		id     string
	}{{"carol", 1, id}, {"bob", 2, id}, {"bob", 0, id}, {"bob", 1, newID()}, {"bob", 1, "no"}} {
		_, err := w.Link(ctx, w.id(c.viewer), log.ID, c.seq, c.id)
		wantCode(t, err, store.CodeNotFound)
	}
}

// Only what one owns or was shown can be attached, and nothing tells whether a file exists.
func TestAttachOnlyWhatOneSees(t *testing.T) {
	w := newWorld(t)
	id := w.file("alice", "text/plain", []byte("hello"))
	_, err := w.send("bob", "carol", hooks.Message, attached(id))
	wantCode(t, err, store.CodeNotFound)
	_, missing := w.send("bob", "carol", hooks.Message, attached(newID()))
	if missing == nil || err == nil || missing.Error() != err.Error() {
		t.Errorf("%q for a file of somebody else, %q for none", err, missing)
	}
	s, err := w.Slot(t.Context(), w.id("bob"), "text/plain", 5)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.send("bob", "carol", hooks.Message, attached(s.File))
	wantCode(t, err, store.CodeConflict)
	if _, err := w.send("alice", "bob", hooks.Message, attached(id)); err != nil {
		t.Fatal(err)
	}
	log, err := w.store.Find(store.PairKey(w.id("alice"), w.id("bob")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Link(t.Context(), w.id("bob"), log.ID, 1, id); err != nil {
		t.Fatal(err)
	}
	if _, err := w.send("bob", "carol", hooks.Message, attached(id)); err != nil {
		t.Errorf("what one was shown cannot be forwarded: %v", err)
	}
	w.pass(shownLife + time.Hour)
	_, err = w.send("bob", "carol", hooks.Message, attached(id))
	wantCode(t, err, store.CodeNotFound)
	for _, bad := range []string{`{"b":"x","a":[{"file":7}]}`, `{"b":"x","a":[{"file":"a/b"}]}`} {
		_, err = w.send("alice", "bob", hooks.Message, bad)
		wantCode(t, err, store.CodeBad)
	}
}

func TestUploadsAreChecked(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxSize, c.Quota, c.MaxFiles = 1<<20, 2<<20, 20 })
	ctx := t.Context()
	for _, c := range []struct {
		contentType string
		size        int64
		want        store.Code
	}{
		{"image/heic", 10, store.CodeBad}, {"text/html", 10, store.CodeBad}, {"what", 10, store.CodeBad}, {"", 10, store.CodeBad},
		{"image/png", 0, store.CodeBad}, {"image/png", -1, store.CodeBad}, {"image/png", 1<<20 + 1, store.CodeTooLarge},
	} {
		_, err := w.Slot(ctx, w.id("alice"), c.contentType, c.size)
		wantCode(t, err, c.want)
	}
	bomb := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x01\x00\x00\x00\x01\x00\x00\x08\x02\x00\x00\x00")
	bomb = binary.BigEndian.AppendUint32(bomb, crc32.ChecksumIEEE(bomb[12:]))
	bomb = append(bomb, "\x00\x00\x00\x00IEND\xae\x42\x60\x82"...)
	for _, c := range []struct {
		name, contentType string
		body              []byte
		want              int
	}{
		{"a page as a picture", "image/png", []byte("<html><script>alert(1)</script>"), 400},
		{"a picture of another type", "image/png", jpegWith(t), 400},
		{"a damaged picture", "image/jpeg", jpegWith(t)[:40], 400},
		{"65,536 pixels square", "image/png", bomb, 413},
		{"a page as text", "text/plain", []byte("<!DOCTYPE html><script>"), 400},
		{"no movie", "video/mp4", []byte("hello"), 400},
		{"anything", "application/octet-stream", []byte("<html>"), 201},
	} {
		s, err := w.Slot(ctx, w.id("alice"), c.contentType, int64(len(c.body)))
		if err != nil {
			t.Fatal(err)
		}
		code, _, answer := w.do("PUT", s.Upload, c.body)
		if code != c.want || !json.Valid(answer) {
			t.Errorf("%s: %d %s, want %d", c.name, code, answer, c.want)
		}
	}
	s, err := w.Slot(ctx, w.id("alice"), "text/plain", 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, url, body string
		want            int
	}{
		{"too short", s.Upload, "four", 400}, {"too long", s.Upload, "sixsix", 400},
		{"another file", strings.Replace(s.Upload, s.File, newID(), 1), "hello", 403},
		{"no signature", strings.Split(s.Upload, "?")[0], "hello", 403},
		{"later expiry", strings.Replace(s.Upload, "e=1", "e=2", 1), "hello", 403},
		{"right", s.Upload, "hello", 201}, {"again", s.Upload, "hello", 409},
	} {
		if code, _, answer := w.do("PUT", c.url, []byte(c.body)); code != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, code, answer, c.want)
		}
	}
	if code, _, _ := w.do("GET", s.Upload, nil); code != 403 {
		t.Errorf("an upload address can be read: %d", code)
	}
	l, err := w.LinkOwn(ctx, w.id("alice"), s.File)
	if err != nil {
		t.Fatal(err)
	}
	if code, h, body := w.do("GET", l.URL, nil); code != 200 || string(body) != "hello" || h.Get("Content-Disposition") != "attachment" ||
		!strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%d %v %q", code, h, body)
	}
	w.pass(6 * time.Minute)
	if code, _, _ := w.do("GET", l.URL, nil); code != 403 {
		t.Errorf("an ended link: %d", code)
	}
	if _, err = w.Slot(ctx, w.id("bob"), "application/pdf", 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err = w.Slot(ctx, w.id("bob"), "application/pdf", 1<<20); err != nil {
		t.Fatal(err)
	}
	_, err = w.Slot(ctx, w.id("bob"), "application/pdf", 1)
	wantCode(t, err, store.CodeFull)
	for range 20 {
		_, err = w.Slot(ctx, w.id("carol"), "application/pdf", 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Slot(ctx, w.id("carol"), "application/pdf", 1)
	wantCode(t, err, store.CodeFull)
	entries, err := os.ReadDir(filepath.Join(w.dir, "temp"))
	if err != nil || len(entries) != 0 {
		t.Errorf("%d uploads were left behind, %v", len(entries), err)
	}
}

// Many uploads to one slot leave one file.
func TestOneSlotManyUploads(t *testing.T) {
	w := newWorld(t)
	s, err := w.Slot(t.Context(), w.id("alice"), "text/plain", 5)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	codes := make([]int, 8)
	for i := range codes {
		wg.Go(func() { codes[i], _, _ = w.do("PUT", s.Upload, []byte("hello")) })
	}
	wg.Wait()
	made := 0
	for _, c := range codes {
		if c == 201 {
			made++
		} else if c != 409 && c != 503 {
			t.Errorf("%d", c)
		}
	}
	if made != 1 || w.blobCount() != 1 {
		t.Errorf("%d uploads succeeded, %d files", made, w.blobCount())
	}
}

// A file lives as long as a message holds it.
func TestFilesGo(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	never := w.file("alice", "text/plain", []byte("never"))
	kept := w.file("alice", "text/plain", []byte("kept"))
	twice := w.file("alice", "image/jpeg", jpegWith(t))
	send := func(from, to, id string) store.Seq {
		t.Helper()
		r, err := w.send(from, to, hooks.Message, attached(id))
		if err != nil {
			t.Fatal(err)
		}
		return r.Seq
	}
	recall := func(from, to string, seq store.Seq) {
		t.Helper()
		if _, err := w.send(from, to, hooks.Edit, fmt.Sprintf("recall %d", seq)); err != nil {
			t.Fatal(err)
		}
	}
	has := func(id string, want bool) {
		t.Helper()
		_, err := w.LinkOwn(ctx, w.id("alice"), id)
		if (err == nil) != want {
			t.Errorf("file there: %v, want %v", err == nil, want)
		}
	}
	send("alice", "bob", kept)
	first := send("alice", "bob", twice)
	second := send("alice", "carol", twice)
	w.pass(25 * time.Hour)
	w.sweepAll()
	has(never, false)
	has(kept, true)
	has(twice, true)
	w.pass(-25 * time.Hour) // messages can be recalled for a day
	recall("alice", "bob", first)
	w.pass(2 * grace)
	w.sweepAll()
	has(twice, true)
	recall("alice", "carol", second)
	w.sweepAll()
	has(twice, true)
	w.pass(2 * grace)
	w.sweepAll()
	has(twice, false)
	if n := w.blobCount(); n != 1 {
		t.Errorf("%d files on disk, want 1", n)
	}
	for range 2 {
		if err := w.Erase(ctx, w.id("alice")); err != nil {
			t.Fatal(err)
		}
	}
	has(kept, false)
	if n := w.blobCount(); n != 0 {
		t.Errorf("%d files on disk after erase", n)
	}
}

// A recall that only its sender sees leaves the receiver its evidence.
func TestShadowRecallKeepsTheFile(t *testing.T) {
	w := newWorld(t)
	id := w.file("alice", "text/plain", []byte("threat"))
	r, err := w.send("alice", "bob", hooks.Message, attached(id))
	if err != nil {
		t.Fatal(err)
	}
	log, err := w.store.Find(store.PairKey(w.id("alice"), w.id("bob")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Append(store.Draft{Log: log.ID, Sender: w.id("alice"), Audience: store.AudienceSender,
		Op: store.Op{Kind: store.OpRecall, Target: r.Seq}}).Result(); err != nil {
		t.Fatal(err)
	}
	w.caughtUp()
	w.pass(2 * grace)
	w.sweepAll()
	if _, err := w.Link(t.Context(), w.id("bob"), log.ID, r.Seq, id); err != nil {
		t.Errorf("the receiver lost the file: %v", err)
	}
}

func TestConfig(t *testing.T) {
	disk, err := NewDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &bolt.Store{}
	for _, c := range []Config{{}, {Store: s}, {Store: s, Blobs: disk, MaxSize: -1}, {Store: s, Blobs: disk, URL: "files"},
		{Store: s, Blobs: disk, URL: "https://x/"}, {Store: s, Blobs: disk, URL: "ftp://x"}} {
		if c.Validate() == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	if err := (Config{Store: s, Blobs: disk, URL: "https://files.example.com"}).Validate(); err != nil {
		t.Error(err)
	}
}
