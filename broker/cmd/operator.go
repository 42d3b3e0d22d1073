package cmd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hwangso/hwangso/broker/api"
	"github.com/hwangso/hwangso/store/bolt"
)

// place says on which data directory a command works.
type place struct {
	data, key, config string
	phoneKey          string  // from the environment or the file only
	minFree           float64 // so, too
	existing          bool    // a directory without data is a mistake, rather than one that is to have some
}

// flags adds the flags that say where, for a command that is given to a server, running or not.
func (p *place) flags(f *flag.FlagSet) {
	f.StringVar(&p.data, "data", "./data", "the server's data `directory`")
	f.StringVar(&p.key, "key", "", "the master key `file`, needed if no server is running (default DIR/keys/master.key)")
	f.StringVar(&p.config, "config", "", "the server's configuration `file`, for -data and -key")
}

// fill takes data and key from the environment and the server's configuration file where the command line has not said
// them, and from there how much of the disk has to be free: what the server does on its data, commands do.
func (p *place) fill(f *flag.FlagSet) error {
	var s settings
	of := flag.NewFlagSet("hwangso serve", flag.ContinueOnError)
	s.register(of)
	set := make(map[string]bool)
	f.Visit(func(fl *flag.Flag) {
		if fl.Name == "data" || fl.Name == "key" || fl.Name == "config" {
			set[fl.Name] = of.Set(fl.Name, fl.Value.String()) == nil
		}
	})
	err := fill(of, func(name string) (string, bool) {
		for _, n := range []string{"data", "key", "config", "phone-key", "min-free"} {
			if name == envName(n) {
				return os.LookupEnv(name)
			}
		}
		return "", false
	})
	p.data, p.key, p.config, p.phoneKey, p.minFree = s.data, s.keyFile, s.config, s.phoneKey, s.minFree
	return err
}

// operator is the operators' side of a server: over the socket of one that runs, or the same handler on the data of one
// that does not.
type operator struct {
	client  http.Client
	path    string // of the socket of one that runs
	running bool
	close   func() error
}

func (p *place) operator(ctx context.Context, streams Streams) (*operator, error) {
	path := filepath.Join(p.data, socketName)
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close() // it was only asked whether somebody is there
		t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}}
		return &operator{client: http.Client{Transport: t}, path: path, running: true, close: func() error { t.CloseIdleConnections(); return nil }}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("the server's admin socket: %w", err)
	}
	_, missing := os.Stat(filepath.Join(p.data, "FORMAT"))
	if missing != nil && p.existing {
		return nil, fmt.Errorf("there is no server's data in %s: say where it is with -data", p.data)
	}
	set := p.settings()
	srv, err := open(ctx, set, slog.New(slog.NewTextHandler(streams.Err, &slog.HandlerOptions{Level: slog.LevelWarn})), streams)
	if errors.Is(err, bolt.ErrLocked) {
		return nil, fmt.Errorf("no server answers on %s, and its data is locked by %s: wait until that has started or stopped", path, lockedBy(p.data))
	}
	if err != nil {
		return nil, err
	}
	if missing != nil {
		fmt.Fprintf(streams.Err, "A new data directory was made: %s\n", p.data)
	}
	return &operator{client: http.Client{Transport: inProcess{srv.ctl.socket}}, close: func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return srv.stop(ctx)
	}}, nil
}

// settings are those of a server of which only the data is used.
func (p *place) settings() settings {
	var s settings
	s.register(flag.NewFlagSet("", flag.ContinueOnError))
	s.data, s.keyFile, s.phoneKey, s.minFree = p.data, p.key, p.phoneKey, p.minFree
	s.push.stored = true
	return s
}

func lockedBy(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, "LOCK"))
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return "process " + pid
	}
	return "another process"
}

// inProcess is an http.RoundTripper that calls a handler.
type inProcess struct{ h http.Handler }

func (t inProcess) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	w := &answer{header: make(http.Header), code: http.StatusOK}
	defer func() {
		why := recover()
		thrown, _ := why.(error)
		switch {
		case errors.Is(thrown, http.ErrAbortHandler):
			resp, err = nil, errors.New("the answer broke off")
		case why != nil:
			panic(why)
		}
	}()
	t.h.ServeHTTP(w, r.WithContext(api.WithPeer(r.Context(), os.Getuid())))
	return &http.Response{StatusCode: w.code, Header: w.header, Body: io.NopCloser(&w.body), Request: r}, nil
}

// answer is an http.ResponseWriter into memory.
type answer struct {
	header http.Header
	code   int
	wrote  bool
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(code int) {
	if !a.wrote {
		a.code, a.wrote = code, true
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.wrote = true
	return a.body.Write(p)
}

// call runs an operation of the operators' API.
func (o *operator) call(ctx context.Context, op string, in, out any) error {
	return o.post(ctx, "/v1/"+op, in, out)
}

// local asks for what only the socket offers.
func (o *operator) local(ctx context.Context, what string, in, out any) error {
	return o.post(ctx, "/local/"+what, in, out)
}

func (o *operator) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://server"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := o.client.Do(r)
	if err != nil {
		return o.unanswered(ctx, err)
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return o.unanswered(ctx, err)
	}
	if resp.StatusCode >= 300 {
		var p struct{ Text, Error string }
		if json.Unmarshal(text, &p) != nil {
			p.Text = ""
		}
		return errors.New(cmp.Or(p.Text, p.Error, fmt.Sprintf("the server answered %d", resp.StatusCode)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// errUnanswered says that a server has gone before it answered: what it was asked is done or not.
var errUnanswered = errors.New("the server has stopped before it answered")

// unanswered is the error of a request that got no answer, in words for who typed the command.
func (o *operator) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !o.running {
		return err
	}
	return fmt.Errorf("%w (%s)", errUnanswered, o.path)
}

// operate is the common frame of the operators' commands: flags, between min and max arguments, an operator, the work.
func operate(ctx context.Context, c command, f *flag.FlagSet, p *place, args []string, min, max int, io Streams, work func(o *operator, rest []string) error) error {
	p.flags(f)
	rest, err := parse(f, args, min, max, io)
	if err != nil {
		return err
	}
	if err := p.fill(f); err != nil {
		return err
	}
	o, err := p.operator(ctx, io)
	if err != nil {
		return err
	}
	return errors.Join(work(o, rest), o.close())
}
