package cmd

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/hwangso/hwangso/broker/wire"
	"github.com/hwangso/hwangso/hooks"
)

// settings are what `hwangso serve` can be told.
type settings struct {
	data, keyFile, config      string
	phoneKey                   string
	trustedProxies             string
	proxyProtocol              bool
	sms, smsKey                string
	smsAllow, smsDeny          string
	smsCaps                    string
	smsCountryDay              int
	mqtt, mqtts, http, https   string
	admin                      string
	tlsCert, tlsKey            string
	insecure                   bool
	retention                  time.Duration
	minFree                    float64
	cache                      int
	maxMessage, maxFilters     int
	maxDevices, maxGuests      int
	maxGroup                   int
	maxConnections, maxPerAddr int
	acceptRate, packetRate     float64
	limits                     string
	expiry                     time.Duration
	reference                  string
	origins                    string
	jwtKeys, carriers          string
	logFormat, logLevel        string
	drain                      time.Duration
	narrate, stopWithStdin     bool
	files, filesURL, filesHTTP string
	s3Endpoint, s3Bucket       string
	s3Prefix, s3Region, s3Keys string
	maxFile, maxFiles          int64
	bulkLane                   string
	push                       pushSettings
	webhook                    webhookSettings
	nights                     string
	adCap                      int
	appApproval                bool
	channelsApproval           string
	channelsHour               int
}

func (s *settings) register(f *flag.FlagSet) {
	w := wire.Default()
	f.StringVar(&s.data, "data", "./data", "the data `directory`; it is made if it does not exist")
	f.StringVar(&s.keyFile, "key", "", "the master key `file` (default DIR/keys/master.key); keep a copy apart from backups")
	f.StringVar(&s.phoneKey, "phone-key", "", "the `file` with the key of phone numbers' hashes (default phone.key beside the master key); keep a copy of it, too")
	f.StringVar(&s.trustedProxies, "trusted-proxies", "", "`networks` of load balancers, such as 10.0.0.0/8,fd00::/8: their X-Forwarded-For is believed")
	f.BoolVar(&s.proxyProtocol, "proxy-protocol", false, "connections of -trusted-proxies to -mqtt, -mqtts, -http and -https begin with a PROXY protocol header, version 1 or 2")
	f.StringVar(&s.sms, "sms", "", "where one-time codes for signing up go: a `URL` (see docs/signup.md), log to print them, for development on this machine only, or empty: nobody signs up by phone number")
	f.StringVar(&s.smsKey, "sms-key", "", "a `file` with the secret that signs requests to -sms")
	f.StringVar(&s.smsAllow, "sms-allow", "", "the only `countries` that get codes, such as KR,JP (default all)")
	f.StringVar(&s.smsDeny, "sms-deny", "", "`countries` that get no codes")
	f.IntVar(&s.smsCountryDay, "sms-country-day", 10_000, "codes to one country and day")
	f.StringVar(&s.smsCaps, "sms-caps", "", "other `numbers` for single countries, such as KR=50000,DE=2000")
	f.StringVar(&s.config, "config", "", "a `file` with lines name = value, for what neither flags nor environment say")
	f.StringVar(&s.mqtt, "mqtt", "127.0.0.1:1883", "the `address` for MQTT over TCP, empty for none")
	f.StringVar(&s.mqtts, "mqtts", "", "the `address` for MQTT over TLS, such as :8883")
	f.StringVar(&s.http, "http", "127.0.0.1:8080", "the `address` for HTTP: WebSocket (/mqtt), API (/v1), health; empty for none")
	f.StringVar(&s.https, "https", "", "the `address` for the same over TLS, such as :443")
	f.StringVar(&s.admin, "admin", "", "a loopback `address` for /metrics and operators' requests (default: metrics on -http while that is loopback)")
	f.StringVar(&s.tlsCert, "tls-cert", "", "the certificate chain `file` in PEM, read again when it changes")
	f.StringVar(&s.tlsKey, "tls-key", "", "its private key `file` in PEM")
	f.BoolVar(&s.insecure, "insecure-listen", false, "allow -mqtt and -http beyond loopback without TLS: tokens travel readable")
	f.DurationVar(&s.retention, "retention", 365*24*time.Hour, "how long messages are kept")
	f.Float64Var(&s.minFree, "min-free", 5, "refuse messages below this share of free disk, in percent")
	f.IntVar(&s.cache, "cache", 16<<20, "`bytes` of recent messages kept in memory")
	f.IntVar(&s.maxMessage, "max-message", 64<<10, "`bytes` of a message")
	f.IntVar(&s.maxFilters, "max-filters", 50, "filters of a device")
	f.IntVar(&s.maxDevices, "max-devices", hooks.DefaultDevices, "devices of a user")
	f.IntVar(&s.maxGuests, "max-guests", hooks.DefaultGuests, "connections of a user that are no device")
	f.IntVar(&s.maxGroup, "max-group", 500, "members of a room")
	f.StringVar(&s.carriers, "carriers", "", "a `file` with the networks behind which mobile carriers hide many users, one CIDR a line")
	f.IntVar(&s.maxConnections, "max-connections", 0, "connections in all (default: what the open file limit allows)")
	f.IntVar(&s.maxPerAddr, "max-connections-per-address", w.MaxConnectionsPerAddress, "connections from one address, 0 for no limit")
	f.Float64Var(&s.acceptRate, "accept-rate", w.AcceptRate, "connections accepted per second, 0 for no limit")
	f.Float64Var(&s.packetRate, "packet-rate", w.PacketRate, "packets per second and connection, 0 for no limit; above it reading pauses")
	f.StringVar(&s.limits, "limits", "on", "`on` or off: limits of how much a user, device and address may do (hwangso limits); off is for measurements")
	f.StringVar(&s.bulkLane, "bulk-lane", "on", "`on` or off: a channel's posts wake its connected followers a few at a time, behind chat; off wakes all at once, for measurements")
	f.DurationVar(&s.expiry, "session-expiry", w.MaxExpiry, "how long a session outlives its connection at most")
	f.StringVar(&s.reference, "server-reference", "", "where MQTT 5 clients are sent when this server goes down, as `host:port`")
	f.StringVar(&s.origins, "origins", "", "web `hosts` whose pages may connect by WebSocket, besides this one, with commas")
	f.StringVar(&s.jwtKeys, "jwt-keys", "", "a JSON `file` with the keys of an outside identity provider")
	f.StringVar(&s.logFormat, "log-format", "text", "text or json")
	f.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	f.DurationVar(&s.drain, "drain", 20*time.Second, "how long a shutdown waits for clients")
	f.StringVar(&s.files, "files", "", "the `directory` for photos and documents (default DIR/files); none keeps none")
	f.StringVar(&s.filesHTTP, "files-http", "", "an `address` that serves files alone, so that they have an origin of their own (default: on -http and -https)")
	f.StringVar(&s.filesURL, "files-url", "", "what clients put before /files/, such as https://files.example.com; empty: the address they ask")
	f.StringVar(&s.s3Endpoint, "s3-endpoint", "", "keep files in a bucket of this S3-compatible store, such as https://s3.eu-central-1.amazonaws.com")
	f.StringVar(&s.s3Bucket, "s3-bucket", "", "the bucket, which must exist")
	f.StringVar(&s.s3Prefix, "s3-prefix", "", "put before every name in the bucket")
	f.StringVar(&s.s3Region, "s3-region", "", "the bucket's region; empty: asked for")
	f.StringVar(&s.s3Keys, "s3-keys", "", "a `file` with two lines, access key and secret key")
	f.Int64Var(&s.maxFile, "max-file", 100<<20, "`bytes` of a file")
	f.Int64Var(&s.maxFiles, "max-files", 2<<30, "`bytes` of a user's files together")
	f.StringVar(&s.nights, "nights", "", "a `file` with the hours in which advertising of channels waits, by country (see docs/policy.md); empty: those that are known")
	f.IntVar(&s.adCap, "ad-cap", hooks.AdCap, "advertising posts that a user gets in 24 hours from all channels together, 0 for no limit")
	f.StringVar(&s.channelsApproval, "channels-approval", "on", "brands' channels post once an operator has approved them (hwangso channel): on or off")
	f.IntVar(&s.channelsHour, "channels-hour", 3, "the `hour` in UTC, 0 to 23, at which the followers of channels are counted, once a day")
	f.BoolVar(&s.appApproval, "app-approval", true, "other people's apps send links once an operator has approved them (hwangso app)")
	s.push.register(f)
	s.webhook.register(f)
	f.BoolVar(&s.narrate, "narrate", false, "tell the traffic in words on standard output (no bodies)")
	f.BoolVar(&s.stopWithStdin, "stop-with-stdin", false, "stop when standard input ends, for a server that another program runs")
}

// validate reports what cannot be served, before anything is opened.
func (s *settings) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if (s.tlsCert == "") != (s.tlsKey == "") {
		bad("-tls-cert and -tls-key go together")
	}
	for _, l := range []struct{ flag, addr string }{{"-mqtts", s.mqtts}, {"-https", s.https}} {
		if l.addr != "" && s.tlsCert == "" {
			bad("%s needs -tls-cert and -tls-key", l.flag)
		}
	}
	for _, l := range []struct{ flag, addr, with string }{{"-mqtt", s.mqtt, "-mqtts"}, {"-http", s.http, "-https"}} {
		if l.addr == "" {
			continue
		}
		ok, err := loopback(l.addr)
		if err != nil {
			bad("%s: %w", l.flag, err)
		} else if !ok && !s.insecure {
			bad("%s %s is reachable beyond this machine and would carry tokens readable: use %s with a certificate, or say -insecure-listen", l.flag, l.addr, l.with)
		}
	}
	if s.admin != "" {
		if ok, err := loopback(s.admin); err != nil {
			bad("-admin: %w", err)
		} else if !ok {
			bad("-admin %s is reachable beyond this machine; it must be a loopback address", s.admin)
		}
	}
	if s.mqtt == "" && s.mqtts == "" && s.http == "" && s.https == "" {
		bad("there is no address to listen on")
	}
	if s.channelsApproval != "on" && s.channelsApproval != "off" {
		bad("-channels-approval must be on or off")
	}
	if s.channelsHour < 0 || s.channelsHour > 23 {
		bad("-channels-hour must be 0 to 23")
	}
	if s.s3Endpoint != "" && (s.s3Bucket == "" || s.s3Keys == "") {
		bad("-s3-endpoint needs -s3-bucket and -s3-keys")
	}
	if s.s3Endpoint != "" && s.files != "" {
		bad("-files and -s3-endpoint exclude each other")
	}
	if s.filesHTTP != "" {
		if ok, err := loopback(s.filesHTTP); err != nil {
			bad("-files-http: %w", err)
		} else if !ok && !s.insecure {
			bad("-files-http %s is reachable beyond this machine and would carry files readable: put it behind TLS on a loopback address, or say -insecure-listen", s.filesHTTP)
		}
	}
	s.push.validate(bad)
	s.webhook.validate(bad)
	if _, err := s.nightTable(); err != nil {
		bad("-nights: %w", err)
	}
	if s.adCap < 0 {
		bad("-ad-cap must not be negative")
	}
	if s.maxFile <= 0 || s.maxFiles <= 0 {
		bad("-max-file and -max-files must be above 0")
	}
	if s.minFree < 0 || s.minFree > 99 {
		bad("-min-free is a share in percent, 0 to 99")
	}
	if s.logFormat != "text" && s.logFormat != "json" {
		bad("-log-format is text or json")
	}
	if s.limits != "on" && s.limits != "off" {
		bad("-limits is on or off")
	}
	if s.bulkLane != "on" && s.bulkLane != "off" {
		bad("-bulk-lane is on or off")
	}
	if s.retention <= 0 {
		bad("-retention must be above 0")
	}
	errs = append(errs, s.validateSMS()...)
	if t, err := s.proxies(); err != nil {
		bad("-trusted-proxies: %w", err)
	} else if s.proxyProtocol && len(t) == 0 {
		bad("-proxy-protocol needs -trusted-proxies: nobody else's header is believed")
	}
	return errors.Join(errs...)
}

// phoneKeyFile is where the key of phone numbers' hashes lies.
func (s *settings) phoneKeyFile() string {
	if s.phoneKey != "" {
		return s.phoneKey
	}
	return s.besideMasterKey("phone.key")
}

// besideMasterKey is a file in the directory of the master key.
func (s *settings) besideMasterKey(name string) string {
	if s.keyFile != "" {
		return filepath.Join(filepath.Dir(s.keyFile), name)
	}
	return filepath.Join(s.data, "keys", name)
}

// loopback reports whether an address can be reached from this machine only.
func loopback(addr string) (bool, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, err
	}
	if host == "localhost" {
		return true, nil
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback(), nil
}

func (s *settings) logger(io Streams) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.logLevel)); err != nil {
		return nil, fmt.Errorf("-log-level %q: use debug, info, warn or error", s.logLevel)
	}
	opt := &slog.HandlerOptions{Level: level}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(io.Err, opt)), nil
	}
	return slog.New(slog.NewTextHandler(io.Err, opt)), nil
}
