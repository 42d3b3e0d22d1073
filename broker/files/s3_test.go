package files

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// bucket is as much of S3 as our client uses: objects in a map, behind real HTTP. It refuses what is not signed.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	asked   []string
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, r.Method+" "+r.URL.Path)
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=key/") && r.URL.Query().Get("X-Amz-Signature") == "" {
		http.Error(w, "who are you", http.StatusForbidden)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/photos/")
	switch r.Method {
	case http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "?", http.StatusBadRequest)
			return
		}
		b.objects[name] = body
		w.Header().Set("ETag", `"x"`)
	case http.MethodDelete:
		delete(b.objects, name)
		w.WriteHeader(http.StatusNoContent)
	default:
		if name == "" || r.URL.Path == "/photos" {
			return
		}
		body, ok := b.objects[name]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		for _, h := range []string{"Content-Type", "Content-Disposition"} {
			if v := r.URL.Query().Get("response-" + strings.ToLower(h)); v != "" {
				w.Header().Set(h, v)
			}
		}
		w.Write(body)
	}
}

func TestS3(t *testing.T) {
	b := &bucket{objects: map[string][]byte{}}
	web := httptest.NewServer(b)
	t.Cleanup(web.Close)
	blobs, err := NewS3(S3Config{Endpoint: web.URL, Bucket: "photos", Prefix: "hwangso/", Region: "eu-central-1", AccessKey: "key", SecretKey: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if err := blobs.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) { c.Blobs = blobs })
	id := w.file("alice", "application/pdf", []byte("%PDF-1.7 hello"))
	l, err := w.LinkOwn(t.Context(), w.id("alice"), id)
	if err != nil {
		t.Fatal(err)
	}
	code, h, body := w.do("GET", l.URL, nil)
	if code != 200 || string(body) == "" || h.Get("Content-Type") != "application/pdf" || h.Get("Content-Disposition") != "attachment" {
		t.Errorf("%d %v %q", code, h, body)
	}
	b.mu.Lock()
	if string(b.objects["hwangso/"+id]) != string(body) && !strings.Contains(string(b.objects["hwangso/"+id]), "%PDF-1.7 hello") {
		t.Errorf("the bucket holds %q after %v", b.objects, b.asked)
	}
	b.mu.Unlock()
	if err := w.Erase(t.Context(), w.id("alice")); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.objects) != 0 {
		t.Errorf("after erase the bucket holds %q", b.objects)
	}
}

func TestS3Config(t *testing.T) {
	for _, c := range []S3Config{{}, {Endpoint: "s3.example.com", Bucket: "b"}, {Endpoint: "https://s3.example.com/path", Bucket: "b"},
		{Endpoint: "https://s3.example.com"}} {
		if _, err := NewS3(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
