package api

import (
	"bytes"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/hwangso/hwangso/broker/files"
	"github.com/hwangso/hwangso/store"
)

// newMediaWorld is newWorld with files.
func newMediaWorld(t *testing.T) *world {
	t.Helper()
	mux := http.NewServeMux()
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	var kept *files.Files
	w := &world{t: t, dir: t.TempDir(), tokens: make(map[string]string)}
	w.media = func(s store.Store) *files.Files {
		disk, err := files.NewDisk(filepath.Join(t.TempDir(), "files"))
		if err != nil {
			t.Fatal(err)
		}
		if kept, err = files.New(files.Config{Store: s, Blobs: disk, URL: web.URL, Temp: t.TempDir()}); err != nil {
			t.Fatal(err)
		}
		mux.Handle("/files/", kept.Handler())
		return kept
	}
	w.start(func(c *Config) { c.Files = kept })
	t.Cleanup(w.stop)
	t.Cleanup(func() {
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// upload puts a file of a user's, and returns its identifier.
func (w *world) upload(user, kind string, body []byte) string {
	w.t.Helper()
	return w.uploadTo(w.as(user, 200, "file.slot", obj{"type": kind, "size": len(body)}), body)
}

func (w *world) uploadTo(slot obj, body []byte) string {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodPut, slot["upload"].(string), bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if up := roundTrip(w.t, r); up.status != 201 {
		w.t.Fatalf("upload: %d %s", up.status, up.raw)
	}
	return slot["file"].(string)
}

// jpegOf is a small picture, another one for every width.
func jpegOf(t *testing.T, width int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, width, 30)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The picture of a profile is seen by those who see the profile, and by nobody else.
func TestProfilePicture(t *testing.T) {
	w := newMediaWorld(t)
	w.users("alice", "bob", "carol")
	w.friends("alice", "bob")
	picture := jpegOf(t, 40)
	first, second := w.upload("bob", "image/jpeg", picture), w.upload("bob", "image/jpeg", picture)
	w.as("alice", 404, "file.link", obj{"profile": "bob"})
	w.as("bob", 200, "profile.set", obj{"picture": first, "status": "busy"})
	want(t, "picture", w.as("alice", 200, "profile.get", obj{"user": "bob"})["picture"], first)
	link := w.as("alice", 200, "file.link", obj{"profile": "bob"})
	want(t, "link", say(link["type"], link["width"], link["height"]), "image/jpeg 40 30")
	r, err := http.NewRequest(http.MethodGet, link["url"].(string), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := roundTrip(t, r); got.status != 200 || len(got.raw) == 0 {
		t.Errorf("the link gives %d", got.status)
	}
	w.as("bob", 200, "file.link", obj{"profile": "bob"})
	if w.as("carol", 200, "profile.get", obj{"user": "bob"})["picture"] != nil {
		t.Error("a stranger is told of the picture")
	}
	missing := do(t, w.public.URL, "file.link", "Bearer "+w.tokens["carol"], obj{"profile": "carol"}) // who has none
	want(t, "a stranger's link", string(do(t, w.public.URL, "file.link", "Bearer "+w.tokens["carol"], obj{"profile": "bob"}).raw), string(missing.raw))

	w.as("bob", 200, "profile.set", obj{"picture": second})
	want(t, "another", w.as("alice", 200, "profile.get", obj{"user": "bob"})["picture"], second)
	w.as("bob", 200, "profile.set", obj{"display": "Bob"})
	want(t, "kept", w.as("bob", 200, "profile.get", nil)["picture"], second)
	w.as("bob", 404, "profile.set", obj{"picture": "nothing"})
	w.as("alice", 404, "profile.set", obj{"picture": second})
	want(t, "no picture", w.as("bob", 400, "profile.set", obj{"picture": w.upload("bob", "text/plain", []byte("hi"))})["text"], "the file is no picture")
	want(t, "alone", w.as("bob", 400, "file.link", obj{"profile": "bob", "file": second})["text"], "profile stands alone")
	w.as("bob", 200, "block.set", obj{"user": "alice", "level": "profile"})
	w.as("alice", 404, "file.link", obj{"profile": "bob"})
	w.as("bob", 200, "profile.set", obj{"picture": ""})
	w.as("bob", 404, "file.link", obj{"profile": "bob"})
}
