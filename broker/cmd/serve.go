package cmd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdio "io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/hwangso/hwangso/bridge/webhook"
	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/broadcast"
	"github.com/hwangso/hwangso/broker/channel"
	"github.com/hwangso/hwangso/broker/files"
	followers "github.com/hwangso/hwangso/broker/tally"
	"github.com/hwangso/hwangso/broker/wire"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store/bolt"
)

// serve runs a server until ctx ends.
func serve(ctx context.Context, c command, args []string, io Streams) error {
	f := c.flags(io)
	var s settings
	s.register(f)
	if _, err := parse(f, args, 0, 0, io); err != nil {
		return err
	}
	if err := fill(f, os.LookupEnv); err != nil {
		return err
	}
	if err := s.validate(); err != nil {
		return err
	}
	log, err := s.logger(io)
	if err != nil {
		return err
	}
	srv, err := start(ctx, s, log, io)
	if err != nil {
		return err
	}
	srv.announce(io)
	ended := make(chan struct{})
	if s.stopWithStdin {
		go func() { // ends with standard input, or the program
			_, _ = stdio.Copy(stdio.Discard, io.In)
			close(ended)
		}()
	}
	select {
	case <-ctx.Done():
	case <-ended:
	case err = <-srv.failed:
	}
	log.Info("stopping")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.drain)
	defer cancel()
	err = errors.Join(err, srv.stop(drain))
	log.Info("stopped")
	return err
}

// server is a running server, in the order in which its parts started.
type server struct {
	set      settings
	log      *slog.Logger
	reg      *prometheus.Registry
	store    *bolt.Store
	auth     *hooks.Authenticator
	phones   *phone.Book
	out      stdio.Writer // the operator's terminal
	files    *files.Files // nil: none are kept
	limits   *limit.Limiter
	broker   *broker.Broker
	pushes   *pushes          // nil: nobody is woken
	webhooks *webhook.Service // nil: there are none
	posts    *broadcast.Broadcasts
	tally    *followers.Tally
	channels *channel.Service
	wire     *wire.Server
	ctl      control
	webs     []*http.Server
	lines    []string // what listens where, for people
	addrs    map[string]net.Addr
	socket   string
	failed   chan error
	wg       sync.WaitGroup
}

// start starts everything, or undoes what it has started.
func start(ctx context.Context, set settings, log *slog.Logger, io Streams) (*server, error) {
	srv, err := open(ctx, set, log, io)
	if err != nil {
		return nil, err
	}
	if srv.wire, err = wire.New(set.wireConfig(log, srv.reg, srv.limits), srv.broker, srv.auth); err == nil {
		err = srv.listen(ctx)
	}
	if err == nil {
		srv.ctl.begin()
		if srv.webhooks != nil {
			srv.webhooks.Start()
		}
		srv.tally.Start()
	}
	if err != nil {
		return nil, srv.undo(ctx, err)
	}
	return srv, nil
}

// open starts a server that nobody can reach: storage, broker and control API, without listeners. Commands use it on
// the data of a server that is not running.
func open(ctx context.Context, set settings, log *slog.Logger, io Streams) (srv *server, err error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	srv = &server{set: set, log: log, reg: reg, out: io.Out, failed: make(chan error, 8), addrs: make(map[string]net.Addr)}
	defer func() {
		if err != nil {
			srv, err = nil, srv.undo(ctx, err)
		}
	}()
	began := time.Now()
	if srv.store, err = bolt.Open(set.boltConfig(log, reg)); err != nil {
		return srv, err
	}
	log.Info("data directory open", "dir", set.data, "took", time.Since(began).Round(time.Millisecond))
	key, err := phone.OpenKey(ctx, set.phoneKeyFile(), srv.store)
	if err != nil {
		return srv, err
	}
	srv.phones = phone.NewBook(srv.store, key)
	if srv.auth, err = set.authenticator(srv.store); err != nil {
		return srv, err
	}
	var events broker.Events
	if set.narrate {
		events = newNarrator(io.Out, srv.store).events()
	}
	tell := events.Attached
	events.Attached = func(id hooks.Identity, present bool) {
		if id.New {
			srv.ctl.signedIn(id) // made below, before anybody can connect
		}
		if tell != nil {
			tell(id, present)
		}
	}
	gone := events.Detached
	events.Detached = func(id hooks.Identity, orderly bool) {
		if srv.pushes != nil && srv.pushes.bridge != nil && !id.Guest {
			srv.pushes.bridge.Detached(id.Account, id.Device) // made below, before anybody can connect
		}
		if gone != nil {
			gone(id, orderly)
		}
	}
	if err = srv.openFiles(ctx); err != nil {
		return srv, err
	}
	var attachable broker.Attachable
	if srv.files != nil {
		attachable = srv.files
	}
	if srv.limits, err = set.limiter(); err != nil {
		return srv, err
	}
	rules, err := set.rules(srv.phones)
	if err != nil {
		return srv, err
	}
	if srv.broker, err = broker.New(broker.Config{
		Store: srv.store, Rules: rules, Events: events, Files: attachable, Limits: srv.limits, MaxMessage: set.maxMessage, MaxFilters: set.maxFilters,
		MaxGuests: set.maxGuests, MaxExpiry: set.expiry, Unpaced: set.bulkLane == "off", Logger: log, Registerer: reg,
	}); err != nil {
		return srv, err
	}
	if err = srv.openPushes(); err != nil {
		return srv, err
	}
	if err = srv.openChannels(); err != nil {
		return srv, err
	}
	if err = srv.openWebhooks(ctx); err != nil {
		return srv, err
	}
	if err = srv.openBroadcasts(); err != nil {
		return srv, err
	}
	return srv, srv.control()
}

// undo stops what has started of a server that cannot start, and returns why.
func (srv *server) undo(ctx context.Context, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(why, srv.stop(ctx))
}

func onlyLoopback(addr string) bool {
	ok, err := loopback(addr)
	return addr == "" || err == nil && ok
}

func (s *settings) boltConfig(log *slog.Logger, reg prometheus.Registerer) bolt.Config {
	return bolt.Config{
		Dir: s.data, KeyFile: s.keyFile, Retention: s.retention, MinFree: freeShare(s.minFree), CacheBytes: s.cache,
		MaxMessage: s.maxMessage, Logger: log, Registerer: reg,
	}
}

// freeShare is the part of the disk that has to be free for the store, to which 0 means that nobody has said.
func freeShare(percent float64) float64 {
	if percent == 0 {
		return -1
	}
	return percent / 100
}

// limiter has every rate switched off with -limits off. This machine's own addresses are not limited: behind them is a proxy, which says
// nothing about whom it speaks for, or somebody who could do worse.
func (s *settings) limiter() (*limit.Limiter, error) {
	rates := make(map[limit.Rule]limit.Rate)
	if s.limits == "off" {
		for _, r := range limit.Rules() {
			rates[r.Rule] = limit.Rate{}
		}
	}
	return limit.New(limit.Config{Rates: rates, Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
}

func (s *settings) wireConfig(log *slog.Logger, reg prometheus.Registerer, limits *limit.Limiter) wire.Config {
	c := wire.Default()
	c.MaxConnections, c.MaxConnectionsPerAddress = s.maxConnections, s.maxPerAddr
	c.AcceptRate, c.PacketRate = s.acceptRate, s.packetRate
	c.MaxPacket = s.maxMessage + 2<<10
	c.MaxFilters = max(c.MaxFilters, s.maxFilters)
	c.MaxExpiry, c.ServerReference = s.expiry, s.reference
	if s.origins != "" {
		c.Origins = strings.Split(s.origins, ",")
	}
	c.Limits, c.Logger, c.Registerer = limits, log, reg
	return c
}

// listen opens every address, and the admin socket.
func (srv *server) listen(ctx context.Context) error {
	set := &srv.set
	var certs *wire.CertFile
	if set.tlsCert != "" {
		var err error
		if certs, err = wire.NewCertFile(set.tlsCert, set.tlsKey, srv.log); err != nil {
			return err
		}
	}
	tlsConfig := func(protos ...string) *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certs.GetCertificate, NextProtos: protos}
	}
	public := http.NewServeMux()
	public.Handle("/mqtt", http.HandlerFunc(srv.wire.ServeHTTP))
	public.Handle("/", srv.ctl.public)
	var filesOnly http.Handler
	if srv.files != nil {
		filesOnly = srv.files.Handler()
		if set.filesHTTP == "" {
			public.Handle("/files/", filesOnly)
		}
	}
	users, err := srv.forwarded(public)
	if err != nil {
		return err
	}
	for _, l := range []struct {
		name, addr string
		secure     bool
		web        http.Handler
	}{
		{"mqtt", set.mqtt, false, nil},
		{"mqtts", set.mqtts, true, nil},
		{"http", set.http, false, users},
		{"https", set.https, true, users},
		{"files-http", set.filesHTTP, false, filesOnly},
		{"admin", set.admin, false, srv.ctl.admin},
	} {
		if l.addr == "" || l.name == "files-http" && filesOnly == nil {
			continue
		}
		ln, err := net.Listen("tcp", l.addr)
		if err != nil {
			return fmt.Errorf("-%s: %w", l.name, err)
		}
		if ln, err = srv.behind(ln, l.name); err != nil {
			return err
		}
		srv.addrs[l.name] = ln.Addr()
		srv.lines = append(srv.lines, fmt.Sprintf("%-10s %s", l.name, ln.Addr()))
		switch {
		case l.web != nil:
			if l.secure {
				ln = tls.NewListener(ln, tlsConfig("http/1.1"))
			}
			srv.web(ln, l.web)
		case l.secure:
			srv.run(func() error { return srv.wire.ServeTLS(ctx, ln, tlsConfig("mqtt")) })
		default:
			srv.run(func() error { return srv.wire.Serve(ctx, ln) })
		}
	}
	ln, err := listenSocket(filepath.Join(set.data, socketName))
	if err != nil {
		return err
	}
	srv.socket = filepath.Join(set.data, socketName)
	srv.web(ln, srv.ctl.socket)
	return nil
}

// run runs a listener until it ends; its failure ends the server.
func (srv *server) run(serve func() error) {
	srv.wg.Go(func() {
		if err := serve(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, context.Canceled) {
			select {
			case srv.failed <- err:
			default:
			}
		}
	})
}

func (srv *server) web(ln net.Listener, h http.Handler) {
	w := &http.Server{
		Handler: h, ConnContext: withPeer, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(srv.log.Handler(), slog.LevelDebug),
	}
	srv.webs = append(srv.webs, w)
	srv.run(func() error { return w.Serve(ln) })
}

// readyLine follows what is announced: from here on the server can be reached.
const readyLine = "ready"

const serveText = `Every flag can also stand in the environment, as HWANGSO_ and its name in upper case with _ for - (HWANGSO_MQTT), or
in the file that -config names, as lines "name = value". A flag goes before the environment, the environment before the
file. SIGTERM and Ctrl-C stop it in an orderly way: clients are told, what is under way is finished. A second one ends
it at once; nothing acknowledged is lost even then.`

// announce tells people where to go.
func (srv *server) announce(io Streams) {
	fmt.Fprintf(io.Out, "hwangso %s serves %s\n", Version(), srv.set.data)
	for _, l := range srv.lines {
		fmt.Fprintf(io.Out, "  %s\n", l)
	}
	fmt.Fprintf(io.Out, "  %-10s %s\n", "pushes", srv.pushes.line())
	if some, err := srv.store.Accounts(0, 1); err == nil && len(some) == 0 {
		fmt.Fprintf(io.Out, `There are no users yet. In another terminal:
  hwangso user add alice -data %[1]s
  hwangso user add bob -friend alice -data %[1]s
and connect with the token that each of them prints.
`, srv.set.data)
	}
	fmt.Fprintln(io.Out, readyLine)
}

// stop stops in the opposite order of the start. It goes on after an error and returns all of them.
func (srv *server) stop(ctx context.Context) error {
	var errs []error
	if srv.ctl.drain != nil {
		srv.ctl.drain()
	}
	if srv.broker != nil {
		srv.broker.Drain()
	}
	if srv.wire != nil {
		errs = append(errs, srv.wire.Shutdown(ctx))
	}
	for _, w := range srv.webs {
		if err := w.Shutdown(ctx); err != nil {
			errs = append(errs, w.Close())
		}
	}
	if srv.posts != nil {
		errs = append(errs, srv.posts.Close())
	}
	if srv.webhooks != nil {
		errs = append(errs, srv.webhooks.Close())
	}
	if srv.ctl.close != nil {
		errs = append(errs, srv.ctl.close())
	}
	if srv.tally != nil {
		errs = append(errs, srv.tally.Close())
	}
	if srv.broker != nil {
		errs = append(errs, srv.broker.Close(ctx))
	}
	if srv.pushes != nil {
		errs = append(errs, srv.pushes.close())
	}
	if srv.files != nil {
		errs = append(errs, srv.files.Close())
	}
	srv.wg.Wait()
	if srv.socket != "" {
		if err := os.Remove(srv.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if srv.store != nil {
		errs = append(errs, srv.store.Close())
	}
	return errors.Join(errs...)
}

func (s *settings) authenticator(dir hooks.Directory) (*hooks.Authenticator, error) {
	keys, err := readJWTKeys(s.jwtKeys)
	if err != nil {
		return nil, err
	}
	return hooks.NewAuthenticator(hooks.Config{Directory: dir, Keys: keys, Devices: s.maxDevices})
}
