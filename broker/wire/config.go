package wire

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/hooks/limit"
)

// Config says how clients are received. Start from Default.
type Config struct {
	MaxConnections           int            // over all listeners; 0: only the process's descriptor limit, less a reserve for files
	MaxConnectionsPerAddress int            // from one IP address (an IPv6 /64 counts as one); 0: no limit
	AcceptRate               float64        // connections accepted per second over all listeners; 0: no limit
	ConnectTimeout           time.Duration  // from accept to the answered CONNECT, TLS and HTTP upgrade included
	WriteStall               time.Duration  // a write that makes no progress for so long ends the connection
	MaxPacket                int            // bytes of a packet's Remaining Length after login, at least 256
	MaxPacketBeforeLogin     int            // the same for the CONNECT
	MaxFilters               int            // entries of one SUBSCRIBE or UNSUBSCRIBE, at least 1
	MaxKeepAlive             time.Duration  // longest keep alive an MQTT 5 client gets, no keep alive counting as longest; whole seconds, 0: what the client asks
	MaxExpiry                time.Duration  // longest session expiry an MQTT 5 client gets, and that of a 3.x session that is not clean; whole seconds
	ReceiveMaximum           uint16         // unacknowledged QoS 1 and 2 publishes an MQTT 5 client may have under way, at least 1
	TopicAliasMaximum        uint16         // aliases an MQTT 5 client may set, 0: none
	PacketRate               float64        // packets read per second and connection in the long run, acknowledgements not counted; 0: no limit. Above it reading pauses
	PacketBurst              int            // packets that may arrive at once before PacketRate counts
	SendBuffer               int            // bytes of the kernel's send buffer; 0: the system's default
	ServerReference          string         // where MQTT 5 clients are sent at shutdown; "": nowhere
	Limits                   *limit.Limiter // of connections and failed logins by address; nil: none
	Origins                  []string       // WebSocket origins besides the server's own, as host patterns ("*.example.com")

	Logger     *slog.Logger          // nil: no log
	Registerer prometheus.Registerer // nil: metrics are counted and not exported
}

// Default returns the configuration of a server for phones: 64 KiB messages, 30 days of session, 20 s to move a stuck
// write.
func Default() Config {
	return Config{
		MaxConnectionsPerAddress: 20_000, // a mobile carrier's NAT holds many phones
		AcceptRate:               5_000,
		ConnectTimeout:           10 * time.Second,
		WriteStall:               20 * time.Second,
		MaxPacket:                66 << 10, // a 64 KiB message, its topic and properties
		MaxPacketBeforeLogin:     4 << 10,
		MaxFilters:               256,
		MaxExpiry:                30 * 24 * time.Hour,
		ReceiveMaximum:           1024,
		TopicAliasMaximum:        16,
		PacketRate:               50_000,
		PacketBurst:              50_000,
		SendBuffer:               64 << 10,
	}
}

// Validate reports what cannot be served. It changes nothing.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("wire: "+format, args...)) }
	if c.MaxConnections < 0 || c.MaxConnectionsPerAddress < 0 {
		bad("a connection limit is negative")
	}
	if c.AcceptRate < 0 || c.PacketRate < 0 || c.PacketRate > 0 && c.PacketBurst < 1 {
		bad("a rate is negative or its burst is below 1")
	}
	if c.ConnectTimeout <= 0 || c.WriteStall <= 0 {
		bad("ConnectTimeout and WriteStall must be above 0")
	}
	if c.MaxPacketBeforeLogin < 256 || c.MaxPacket < c.MaxPacketBeforeLogin || c.MaxPacket > maxRemaining {
		bad("want 256 <= MaxPacketBeforeLogin <= MaxPacket <= %d", maxRemaining)
	}
	if c.MaxFilters < 1 || c.ReceiveMaximum < 1 || c.SendBuffer < 0 {
		bad("want MaxFilters >= 1, ReceiveMaximum >= 1, SendBuffer >= 0")
	}
	if c.MaxKeepAlive < 0 || c.MaxKeepAlive%time.Second != 0 || c.MaxKeepAlive > 65535*time.Second {
		bad("MaxKeepAlive must be whole seconds up to 65,535")
	}
	if c.MaxExpiry < 0 || c.MaxExpiry%time.Second != 0 || c.MaxExpiry >= 1<<32*time.Second-time.Second {
		bad("MaxExpiry must be whole seconds below 2^32-1")
	}
	if len(c.ServerReference) > 1024 || !validString([]byte(c.ServerReference)) {
		bad("ServerReference is no UTF-8 text of at most 1,024 bytes")
	}
	for _, o := range c.Origins {
		if _, err := path.Match(o, ""); err != nil || o == "" {
			bad("origin pattern %q: it must be a host, * standing for any part of a level", o)
		}
	}
	return errors.Join(errs...)
}

func (c *Config) logger() *slog.Logger {
	if c.Logger != nil {
		return c.Logger
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

func (c *Config) maxExpiry() uint32 { return uint32(c.MaxExpiry / time.Second) }

// Keys of log attributes.
const (
	keyRemote = "remote"
	keyUser   = "user"
	keyClient = "client"
	keyErr    = "err"
	keyWhy    = "why"
	keyAddr   = "addr"
	keyStack  = "stack"
	keyTook   = "took"
	keyCount  = "count"
)
