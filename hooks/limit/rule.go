package limit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rule names a rate.
type Rule uint8

// The rules.
const (
	Publish Rule = iota
	PublishDevice
	PublishBytes
	Typing
	Reads
	Edits
	Reactions
	Subscribe
	Flood
	Connect
	ConnectUser
	FloodAddress
	Login
	LoginAccount
	Requests
	RequestsAddress
	APIRead
	APIChange
	APICreate
	APICostly
	Reports
	Appeals
	Asks
	Codes
	CodesAddress
	rules
)

// By is what a rule counts by.
type By string

// What rules count by.
const (
	ByUser         By = "user"
	ByDevice       By = "device"
	ByAddress      By = "address"
	ByLogin        By = "address and account"
	ByShop         By = "shop's key"
	day               = 24 * time.Hour
	maxPer            = 30 * day
	maxCount          = 1e9
	firstPause        = time.Second
	longestPause      = 15 * time.Minute
	defaultEntries    = 1 << 16
)

// Info describes a rule.
type Info struct {
	Rule    Rule
	Name    string
	By      By
	Default Rate
	Text    string // what is counted
	refusal string // a sentence for whoever meets it
}

// The defaults are far above what people do, and low enough that one account cannot keep a server busy.
var infos = [rules]Info{
	Publish:         {Publish, "publish", ByUser, Rate{100, time.Second, 5000}, "messages and operations", "too many messages at once"},
	PublishDevice:   {PublishDevice, "publish_device", ByDevice, Rate{50, time.Second, 3000}, "messages and operations", "too many messages at once from this device"},
	PublishBytes:    {PublishBytes, "publish_bytes", ByUser, Rate{4 << 20, time.Second, 64 << 20}, "bytes of messages and operations", "too much at once"},
	Typing:          {Typing, "typing", ByDevice, Rate{2, time.Second, 60}, "signs of typing", "too many signs of typing"},
	Reads:           {Reads, "reads", ByUser, Rate{20, time.Second, 1000}, "read marks", "too many read marks at once"},
	Edits:           {Edits, "edits", ByUser, Rate{5, time.Second, 200}, "edits, recalls and pins", "too many edits at once"},
	Reactions:       {Reactions, "reactions", ByUser, Rate{5, time.Second, 200}, "reactions", "too many reactions at once"},
	Subscribe:       {Subscribe, "subscribe", ByDevice, Rate{2, time.Second, 500}, "filters subscribed and unsubscribed", "too many subscriptions at once"},
	Flood:           {Flood, "flood", ByDevice, Rate{20, time.Second, 2000}, "refusals; beyond it the connection ends", "the client goes on in spite of refusals"},
	Connect:         {Connect, "connect", ByAddress, Rate{200, time.Second, 40_000}, "MQTT connections", "too many connections at once from this address"},
	ConnectUser:     {ConnectUser, "connect_user", ByUser, Rate{5, time.Second, 300}, "MQTT connections", "too many connections at once"},
	FloodAddress:    {FloodAddress, "flood_address", ByAddress, Rate{50, time.Second, 5000}, "refused connections; beyond it they are closed unheard", "the address goes on in spite of refusals"},
	Login:           {Login, "login", ByAddress, Rate{60, time.Minute, 600}, "failed logins", "too many failed logins from this address"},
	LoginAccount:    {LoginAccount, "login_account", ByLogin, Rate{10, time.Hour, 10}, "failed logins; beyond it a growing pause", "too many failed logins"},
	Requests:        {Requests, "requests", ByUser, Rate{30, time.Second, 600}, "control requests", "too many requests at once"},
	RequestsAddress: {RequestsAddress, "requests_address", ByAddress, Rate{1000, time.Second, 20_000}, "HTTP requests", "too many requests at once from this address"},
	APIRead:         {APIRead, "api_read", ByUser, Rate{30, time.Second, 600}, "control requests that read", "too many requests at once"},
	APIChange:       {APIChange, "api_change", ByUser, Rate{10, time.Second, 300}, "control requests that change something", "too many changes at once"},
	APICreate:       {APICreate, "api_create", ByUser, Rate{1, time.Second, 200}, "control requests that make a room, token or invitation", "too many new things at once"},
	APICostly:       {APICostly, "api_costly", ByUser, Rate{10, time.Second, 300}, "control requests for history and sync", "too many large requests at once"},
	Reports:         {Reports, "reports", ByUser, Rate{20, day, 20}, "reports", "too many reports today"},
	Appeals:         {Appeals, "appeals", ByUser, Rate{5, day, 5}, "appeals", "too many appeals today"},
	Asks:            {Asks, "asks", ByUser, Rate{30, 10 * time.Minute, 30}, "messages to channels", "too many messages to channels at once"},
	Codes:           {Codes, "codes", ByShop, Rate{10, time.Minute, 30}, "wrong codes of coupons; beyond it none is looked at", "too many wrong codes"},
	CodesAddress:    {CodesAddress, "codes_address", ByAddress, Rate{30, time.Minute, 100}, "wrong codes of coupons; beyond it none is looked at", "too many wrong codes from this address"},
}

// Rules lists the rules in their order.
func Rules() []Info { return append([]Info(nil), infos[:]...) }

// String is the rule's name.
func (r Rule) String() string {
	if r < rules {
		return infos[r].Name
	}
	return "unknown"
}

// ParseRule is the inverse of String.
func ParseRule(name string) (Rule, bool) {
	for r := range rules {
		if infos[r].Name == name {
			return r, true
		}
	}
	return 0, false
}

// Rate is Burst at once, and Count per Per in the long run. The zero Rate is no limit.
type Rate struct {
	Count float64
	Per   time.Duration
	Burst int
}

// Off reports whether the rate limits nothing.
func (r Rate) Off() bool { return r == Rate{} }

// Validate tells what is wrong with the rate, nil if nothing.
func (r Rate) Validate() error {
	switch {
	case r.Off():
		return nil
	case !(r.Count > 0 && r.Count <= maxCount) || r.Burst < 1 || r.Burst > maxCount:
		return fmt.Errorf("limit: a rate's count and burst are above 0 and at most %d", int(maxCount))
	case r.Per < time.Second || r.Per > maxPer:
		return fmt.Errorf("limit: a rate is per 1s to %v", maxPer)
	}
	return nil
}

// String is the rate as ParseRate reads it.
func (r Rate) String() string {
	if r.Off() {
		return "off"
	}
	return strconv.FormatFloat(r.Count, 'f', -1, 64) + "/" + period(r.Per) + ":" + strconv.Itoa(r.Burst)
}

// period is a duration without the zeros of Duration.String.
func period(d time.Duration) string {
	for _, u := range []struct {
		d time.Duration
		s string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d%u.d == 0 {
			if d == u.d {
				return u.s
			}
			return strconv.FormatInt(int64(d/u.d), 10) + u.s
		}
	}
	return d.String()
}

// ParseRate reads "COUNT/PERIOD:BURST", such as "30/s:600" or "10/10m:10"; without a burst it is the count. A period is a
// duration, or s, m, h, d for one of them, with a number before d too. "off" is no limit.
func ParseRate(s string) (Rate, error) {
	if s == "off" {
		return Rate{}, nil
	}
	bad := fmt.Errorf(`limit: a rate is written as count/period:burst, such as "30/s:600", or off`)
	head, burst, hasBurst := strings.Cut(s, ":")
	count, per, ok := strings.Cut(head, "/")
	if !ok || per == "" {
		return Rate{}, bad
	}
	var r Rate
	var err error
	if r.Count, err = strconv.ParseFloat(count, 64); err != nil || math.IsNaN(r.Count) || math.IsInf(r.Count, 0) {
		return Rate{}, bad
	}
	if per[0] < '0' || per[0] > '9' {
		per = "1" + per
	}
	if days, ok := strings.CutSuffix(per, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return Rate{}, bad
		}
		r.Per = time.Duration(n) * day
	} else if r.Per, err = time.ParseDuration(per); err != nil {
		return Rate{}, bad
	}
	r.Burst = int(min(max(math.Ceil(r.Count), 1), maxCount))
	if hasBurst {
		if r.Burst, err = strconv.Atoi(burst); err != nil {
			return Rate{}, bad
		}
	}
	if r.Off() {
		return Rate{}, bad
	}
	return r, r.Validate()
}
