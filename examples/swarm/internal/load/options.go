//go:build linux

package load

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hwangso/hwangso/examples/swarm/internal/packet"
)

// Options is everything that describes a run. Zero values are not defaults:
// they come from the flags.
type Options struct {
	Workload string

	// whom
	Addr        string // host:port
	Target      string // "mqtt" or "hwangso"
	Version     string // "3.1", "3.1.1" or "5"
	User        string // target mqtt; "" is anonymous
	Password    string // of User; of every user u0… with target hwangso
	Prefix      string // of client identifiers
	First       int    // number of the first user
	AllowRemote bool
	ServerPID   int // 0 means do not measure the server

	// what
	N         int // pairs, listeners, connections, devices or senders
	QoS       int
	Rate      float64 // messages a second of all senders; 0 is a closed loop
	Window    int     // messages in flight a sender
	Size      int     // bytes of payload
	View      string  // target hwangso: encoding of what is received
	CID       bool    // target hwangso: messages carry the sender's id of them
	Rooms     int
	Members   int
	Senders   int // a room
	Messages  int // a sender, in offline and storm
	Via       string
	RecvMax   int // Receive Maximum of devices, 5.0 only
	Stuck     int
	Rounds    int
	Followers int
	Posts     int
	Live      bool
	Keep      bool
	Pause     time.Duration
	TLS, WS   bool
	WSPath    string
	CA        string
	Insecure  bool
	Subscribe bool

	// how long, how fast
	Time            time.Duration
	Warmup          time.Duration
	Drain           time.Duration
	Count           int // messages a sender, 0 is no limit
	ConnectRate     float64
	ConnectParallel int
	KeepAlive       time.Duration
	Loops           int

	// output
	JSON   string
	Quiet  bool
	Strict bool
}

// workloads names each workload and says what it does, in the order of --help.
var workloads = []struct{ name, does string }{
	{"pairs", "N senders, each with one receiver"},
	{"groups", "rooms whose members all receive what some of them write"},
	{"fanout", "one sender, N listeners"},
	{"broadcast", "N pairs at a steady rate, and posts to many followers in the midst of it"},
	{"idle", "N connections that only keep alive: the price of a connection"},
	{"offline", "N devices subscribe and leave, messages are sent to them, they catch up"},
	{"storm", "N devices lose their connections and come back at once"},
	{"slow", "pairs beside clients that stop reading, and without, in turns"},
	{"crash", "writes over server crashes and checks what was acknowledged"},
	{"compare", "one workload against two servers, in turns"},
}

// flags declares the flags of one workload with their defaults.
func flags(o *Options, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("swarm "+o.Workload, flag.ContinueOnError)
	fs.SetOutput(stderr)
	is := func(names ...string) bool { return slices.Contains(names, o.Workload) }

	fs.StringVar(&o.Addr, "addr", "127.0.0.1:1883", "`host:port` of the server, loopback only unless -allow-remote")
	fs.BoolVar(&o.AllowRemote, "allow-remote", false, "aim at a server on another machine; only at your own")
	fs.StringVar(&o.Target, "target", "mqtt", "`mqtt` (any broker, topics swarm/…) or hwangso (users u0…, rooms g0…)")
	fs.StringVar(&o.Version, "mqtt", "3.1.1", "protocol `version`: 3.1, 3.1.1 or 5")
	fs.StringVar(&o.User, "user", "", "user `name` with -target mqtt")
	fs.StringVar(&o.Password, "password", "", "`password` of -user; with -target hwangso the token of every seeded user")
	fs.StringVar(&o.Prefix, "prefix", "swarm", "`prefix` of client identifiers: two swarms at one server need two")
	fs.IntVar(&o.First, "first", 0, "`number` of the first user")
	fs.IntVar(&o.ServerPID, "server-pid", 0, "`process` of the server on this machine, to report its CPU and memory")
	fs.StringVar(&o.JSON, "json", "", "also write the report to this `file` (- is standard output)")
	fs.BoolVar(&o.Quiet, "quiet", false, "no progress on standard error")
	fs.BoolVar(&o.Strict, "strict", false, "exit status 1 if anything was lost, doubled, out of order or an error")
	loops := 1
	if is("broadcast") {
		loops = 2
	}
	fs.IntVar(&o.Loops, "loops", loops, "threads of the client, one epoll loop each")
	fs.Float64Var(&o.ConnectRate, "connect-rate", 0, "connections begun a `second`, 0 is as fast as they are accepted")
	parallel := 64
	if is("storm") {
		parallel = 1000
	}
	fs.IntVar(&o.ConnectParallel, "connect-parallel", parallel, "connections being opened at one moment")
	fs.DurationVar(&o.KeepAlive, "keepalive", time.Minute, "keep-alive, whole seconds; 0s is none")

	n, help := 100, "connections"
	switch o.Workload {
	case "pairs", "slow":
		help = "pairs"
	case "broadcast":
		n, help = 200, "pairs"
	case "fanout":
		help = "listeners"
	case "offline", "storm":
		help = "devices"
	case "crash":
		n, help = 20, "senders"
	}
	fs.IntVar(&o.N, "n", n, "number of "+help)
	qos := "QoS, 0 or 1"
	if is("crash") {
		qos = "QoS, 1 or 2"
	}
	fs.IntVar(&o.QoS, "qos", 1, qos)
	fs.IntVar(&o.Window, "inflight", 1, "messages in flight a sender")
	fs.IntVar(&o.Size, "size", 68, fmt.Sprintf("`bytes` of payload, at least %d", minPayload))
	view := "text"
	if is("groups", "fanout", "crash") {
		view = "json"
	}
	fs.StringVar(&o.View, "view", view, "with -target hwangso: `encoding` of what is received: text, line, json, cbor or batch")
	fs.BoolVar(&o.CID, "cid", true, "with -target hwangso: send an id with each message")
	long, what := 10*time.Second, "measured time"
	if is("broadcast") {
		long, what = 5*time.Second, "measured time before the posts and again after them"
	}
	if is("offline", "storm") {
		long, what = 10*time.Minute, "the whole run ends after this time, done or not"
	}
	fs.DurationVar(&o.Time, "time", long, what)
	fs.DurationVar(&o.Drain, "drain", 10*time.Second, "at the end, wait this long without progress for what is under way")
	if is("pairs", "groups", "fanout", "slow") {
		fs.Float64Var(&o.Rate, "rate", 0, "messages a `second` of all senders together; 0 is a closed loop, as fast as answers come")
		fs.IntVar(&o.Count, "count", 0, "stop after this many messages a sender; 0 is no limit")
		fs.DurationVar(&o.Warmup, "warmup", time.Second, "time before the measured time; none with -count")
	}
	if is("groups", "offline", "storm") {
		fs.IntVar(&o.Members, "members", 10, "members a room")
	}
	if is("groups") {
		fs.IntVar(&o.Rooms, "rooms", 10, "rooms")
		fs.IntVar(&o.Senders, "senders", 1, "members of each room who write")
	}
	if is("offline", "storm") {
		m := 1000
		if is("storm") {
			m = 10
		}
		fs.IntVar(&o.Messages, "messages", m, "messages sent to each device while it is away")
		fs.StringVar(&o.Via, "via", "pairs", "`how` the messages go: pairs (one sender a device) or rooms (of -members, one of them writes)")
		fs.IntVar(&o.RecvMax, "window", 0, "Receive Maximum of the devices, 0 is the protocol's 65,535; needs -mqtt 5")
		fs.DurationVar(&o.Pause, "pause", 0, "wait before the devices come back, to look at the server or drop its page cache")
		fs.BoolVar(&o.Keep, "keep", false, "leave the devices' sessions in the server at the end")
	}
	if is("broadcast") {
		fs.Float64Var(&o.Rate, "rate", 1000, "messages a `second` of all pairs together")
		fs.DurationVar(&o.Warmup, "warmup", time.Second, "time before the measured time")
		fs.IntVar(&o.Followers, "followers", 5000, "connected followers")
		fs.IntVar(&o.Posts, "posts", 10, "posts, the next one when one is acknowledged")
	}
	if is("slow") {
		fs.IntVar(&o.Stuck, "stuck", 50, "clients that stop reading")
		fs.IntVar(&o.Rounds, "rounds", 5, "runs of each kind")
	}
	if is("crash") {
		fs.BoolVar(&o.Live, "live", false, "receivers stay connected, instead of reading everything at the end")
	}
	if is("idle") {
		fs.BoolVar(&o.TLS, "tls", false, "connect with TLS")
		fs.BoolVar(&o.WS, "ws", false, "connect with WebSocket")
		fs.StringVar(&o.WSPath, "ws-path", "/mqtt", "`path` of the WebSocket")
		fs.StringVar(&o.CA, "ca", "", "`file` with the certificates to trust, PEM")
		fs.BoolVar(&o.Insecure, "insecure", false, "do not check the server's certificate")
		fs.BoolVar(&o.Subscribe, "subscribe", true, "each connection subscribes to one filter")
	}
	return fs
}

// Validate says what is wrong with o; it changes nothing.
func (o *Options) Validate() error {
	switch {
	case o.Target != "mqtt" && o.Target != "hwangso":
		return fmt.Errorf("-target %q: use mqtt or hwangso", o.Target)
	case o.version() == 0:
		return fmt.Errorf("-mqtt %q: use 3.1, 3.1.1 or 5", o.Version)
	case o.Workload == "crash" && o.QoS != 1 && o.QoS != 2:
		return errors.New("-qos: crash needs 1 or 2, nothing is acknowledged at 0")
	case o.Workload != "crash" && o.QoS != 0 && o.QoS != 1:
		return errors.New("-qos: use 0 or 1")
	case o.N < 1 || o.Window < 1 || o.Loops < 1 || o.ConnectParallel < 1:
		return errors.New("-n, -inflight, -loops and -connect-parallel must be at least 1")
	case o.Window > 30000:
		return errors.New("-inflight: at most 30000, packet identifiers have 16 bits")
	case o.Size < minPayload || o.Size > 60000:
		return fmt.Errorf("-size: %d to 60000", minPayload)
	case o.Time <= 0 || o.Drain < 0 || o.Warmup < 0:
		return errors.New("-time must be positive, -drain and -warmup not negative")
	case o.Rate < 0 || o.ConnectRate < 0 || o.Count < 0 || o.First < 0:
		return errors.New("-rate, -connect-rate, -count and -first must not be negative")
	case o.KeepAlive < 0 || o.KeepAlive > 65535*time.Second || o.KeepAlive%time.Second != 0:
		return errors.New("-keepalive: whole seconds, at most 65535s")
	case o.RecvMax < 0 || o.RecvMax > 65535:
		return errors.New("-window: 1 to 65535")
	case o.RecvMax > 0 && o.version() != packet.V5:
		return errors.New("-window: Receive Maximum exists in MQTT 5 only, add -mqtt 5")
	case !slices.Contains([]string{"text", "line", "json", "cbor", "batch"}, o.View):
		return fmt.Errorf("-view %q: use text, line, json, cbor or batch", o.View)
	}
	switch o.Workload {
	case "groups":
		if o.Rooms < 1 || o.Members < 2 || o.Senders < 1 || o.Senders > o.Members {
			return errors.New("groups: -rooms at least 1, -members at least 2, -senders 1 to -members")
		}
	case "offline", "storm":
		if o.Messages < 0 || o.Messages > 1<<30 || o.Via != "pairs" && o.Via != "rooms" || o.Members < 2 {
			return fmt.Errorf("%s: -messages not negative, -via pairs or rooms, -members at least 2", o.Workload)
		}
		if o.Pause < 0 {
			return errors.New("-pause must not be negative")
		}
		if o.QoS != 1 {
			return fmt.Errorf("%s: servers keep messages for the absent at QoS 1 only", o.Workload)
		}
	case "broadcast":
		if o.Followers < 1 || o.Posts < 1 || o.Rate <= 0 || o.QoS != 1 {
			return errors.New("broadcast: -followers and -posts at least 1, -rate above 0, -qos 1")
		}
	case "slow":
		if o.Stuck < 1 || o.Rounds < 1 {
			return errors.New("slow: -stuck and -rounds at least 1")
		}
	}
	_, err := o.address()
	return err
}

func (o *Options) version() byte {
	switch strings.TrimPrefix(o.Version, "v") {
	case "3.1", "31", "mqttv31":
		return packet.V31
	case "3.1.1", "311", "mqttv311":
		return packet.V311
	case "5", "5.0", "mqttv5":
		return packet.V5
	}
	return 0
}

// address resolves -addr and refuses what is not loopback.
func (o *Options) address() (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("-addr %q: give host:port: %w", o.Addr, err)
	}
	if host == "localhost" || host == "" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		if !o.AllowRemote {
			return netip.AddrPort{}, fmt.Errorf("-addr %q: not a loopback address (-allow-remote aims at other machines)", o.Addr)
		}
		ips, err := net.LookupIP(host)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("-addr: %w", err)
		}
		ip, _ = netip.AddrFromSlice(ips[0])
	}
	ip = ip.Unmap()
	if !ip.IsLoopback() && !o.AllowRemote {
		return netip.AddrPort{}, fmt.Errorf("-addr %q: not a loopback address (-allow-remote aims at other machines)", o.Addr)
	}
	p, err := net.LookupPort("tcp", port)
	if err != nil || p == 0 {
		return netip.AddrPort{}, fmt.Errorf("-addr %q: no such port", o.Addr)
	}
	return netip.AddrPortFrom(ip, uint16(p)), nil
}
