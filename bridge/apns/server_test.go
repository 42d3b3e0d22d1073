//lint:file-ignore SA1019 frames are written by hand here

package apns

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// server speaks HTTP/2 frame by frame, so that a test decides what is said at which moment. Each request is given to
// handle, in the order in which they end; it answers with the methods of peer, now or later, or not at all.
type server struct {
	handle func(*peer, *request)
	limit  uint32 // streams at once on a new connection; 0: 1,000
	late   bool   // says so only when the first request has come

	mu    sync.Mutex
	conns []*peer
	wg    sync.WaitGroup
}

// request is one that arrived whole.
type request struct {
	stream  uint32
	method  string
	path    string
	headers map[string]string
	body    []byte
	nth     int // of its connection, from 1
}

// peer is one connection.
type peer struct {
	s   *server
	nth int // from 1
	nc  net.Conn

	mu    sync.Mutex // of everything that is written
	fr    *http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
	deaf  bool // reads and says nothing: a black hole
	limit uint32
	open  int // streams
	most  int
	over  int // streams above the limit, which were refused
}

// listen starts a server on loopback and returns its URL.
func listen(t testing.TB, s *server) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", serverTLS(t))
	if err != nil {
		t.Fatal(err)
	}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		for _, p := range s.conns {
			p.nc.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return "https://" + l.Addr().String()
}

func (s *server) serve(nc net.Conn) {
	defer nc.Close()
	p := &peer{s: s, nc: nc, limit: s.limit}
	if p.limit == 0 {
		p.limit = 1000
	}
	p.fr = http2.NewFramer(nc, nc)
	p.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.enc = hpack.NewEncoder(&p.block)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(nc, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	s.mu.Lock()
	s.conns = append(s.conns, p)
	p.nth = len(s.conns)
	s.mu.Unlock()
	if !s.late {
		p.settings()
	}
	open := make(map[uint32]*request)
	requests := 0
	for {
		f, err := p.fr.ReadFrame()
		if err != nil {
			return
		}
		p.mu.Lock()
		deaf := p.deaf
		p.mu.Unlock()
		if deaf {
			continue
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				p.write(func() error { return p.fr.WriteSettingsAck() })
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				p.write(func() error { return p.fr.WritePing(true, f.Data) })
			}
		case *http2.MetaHeadersFrame:
			if !p.begin(f.StreamID) {
				continue
			}
			if requests++; requests == 1 && s.late {
				p.settings()
			}
			r := &request{stream: f.StreamID, headers: make(map[string]string), nth: requests}
			for _, h := range f.Fields {
				r.headers[h.Name] = h.Value
			}
			r.method, r.path = r.headers[":method"], r.headers[":path"]
			open[f.StreamID] = r
		case *http2.DataFrame:
			r := open[f.StreamID]
			if r == nil {
				continue
			}
			r.body = append(r.body, f.Data()...)
			if n := uint32(len(f.Data())); n > 0 {
				p.write(func() error { return p.fr.WriteWindowUpdate(0, n) })
			}
			if f.StreamEnded() {
				delete(open, f.StreamID)
				s.handle(p, r)
			}
		case *http2.RSTStreamFrame:
			p.end()
			delete(open, f.StreamID)
		}
	}
}

// begin counts a stream, or refuses it if there are too many.
func (p *peer) begin(stream uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open++
	p.most = max(p.most, p.open)
	if p.open <= int(p.limit) {
		return true
	}
	p.over++
	p.open--
	_ = p.fr.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
	return false
}

func (p *peer) end() {
	p.mu.Lock()
	p.open--
	p.mu.Unlock()
}

func (p *peer) write(f func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = f() // the peer may be gone, which the test sees
}

func (p *peer) settings() {
	p.write(func() error {
		return p.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: p.limit})
	})
}

// allow changes how many streams may be open.
func (p *peer) allow(n uint32) {
	p.mu.Lock()
	p.limit = n
	p.mu.Unlock()
	p.settings()
}

// answer ends a request. Headers are pairs.
func (p *peer) answer(r *request, status int, body string, headers ...string) {
	p.headers(r, status, body == "", headers...)
	if body != "" {
		p.write(func() error { return p.fr.WriteData(r.stream, true, []byte(body)) })
	}
	p.end()
}

func (p *peer) headers(r *request, status int, end bool, headers ...string) {
	p.write(func() error {
		p.block.Reset()
		fields := append([]string{":status", fmt.Sprint(status), "apns-id", r.headers["apns-id"]}, headers...)
		for i := 0; i < len(fields); i += 2 {
			if err := p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
				return err
			}
		}
		return p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: r.stream, BlockFragment: p.block.Bytes(), EndStream: end, EndHeaders: true})
	})
}

func (p *peer) reset(r *request, code http2.ErrCode) {
	p.write(func() error { return p.fr.WriteRSTStream(r.stream, code) })
	p.end()
}

// goAway says that streams after last were not processed.
func (p *peer) goAway(last uint32, code http2.ErrCode, debug string) {
	p.write(func() error { return p.fr.WriteGoAway(last, code, []byte(debug)) })
}

func (p *peer) blackHole() {
	p.mu.Lock()
	p.deaf = true
	p.mu.Unlock()
}

// connections are all there were.
func (s *server) connections() []*peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*peer(nil), s.conns...)
}

// ok answers everything with 200.
func ok(p *peer, r *request) { p.answer(r, 200, "") }

// log collects requests.
type requestLog struct {
	mu   sync.Mutex
	list []*request
}

func (l *requestLog) add(r *request) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, r)
	return len(l.list)
}

func (l *requestLog) all() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*request(nil), l.list...)
}

var (
	once sync.Once
	cert tls.Certificate
	pool *x509.CertPool
)

func certificates(t testing.TB) {
	t.Helper()
	once.Do(func() {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		pool = x509.NewCertPool()
		pool.AddCert(leaf)
		cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}
	})
}

func serverTLS(t testing.TB) *tls.Config {
	certificates(t)
	return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}
}

const (
	testID   = "ABC123DEFG"
	testTeam = "TEAM123456"
	testApp  = "com.example.app"
)

// writeKey makes a signing key and its file.
func writeKey(t testing.TB, file string) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return k
}

func writeFile(t testing.TB, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func testConfig(t testing.TB, url string) Config {
	t.Helper()
	certificates(t)
	file := filepath.Join(t.TempDir(), "AuthKey_"+testID+".p8")
	writeKey(t, file)
	return Config{KeyFile: file, TeamID: testTeam, Topic: testApp, URL: url, CA: pool}
}

func open(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

var testToken = strings.Repeat("0123456789abcdef", 4)

func testPush() *push.Push {
	return &push.Push{
		ID:    push.NewID(7, 8, 9, push.KindMessage),
		To:    graph.Registration{Device: 7, Provider: graph.APNs, Token: testToken, Time: 1},
		Class: push.Chat, Collapse: "m0123", Expires: time.Unix(1_800_000_000, 0),
		Note: push.Note{
			Kind: push.KindMessage, Thread: "feed", Room: "room/lobby", Seq: 9, Epoch: 2, Count: 3, Badge: 4,
			Key: "push_text", Args: []string{"Alice", "hello"}, Title: "Alice", Body: "hello", Plain: "New message",
		},
	}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
