package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/api"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/broker/wire"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// The tables of the documentation are written by the code that they describe:
//
//	go test -run TestTables -update .
//
// writes them between the lines <!-- table NAME --> and <!-- end -->; without -update the test fails if one differs.
var update = flag.Bool("update", false, "write the tables of docs/ anew")

func TestTables(t *testing.T) {
	w := newWorld(t)
	tables := map[string]func(*testing.T) string{
		"outcomes":     outcomesTable,
		"denials":      denialsTable,
		"flags":        flagsTable,
		"limits":       w.limitsTable,
		"metrics":      w.metricsTable,
		"rates":        ratesTable,
		"numbers":      numbersTable,
		"push texts":   pushTextsTable,
		"push reasons": pushReasonsTable,
	}
	found := make(map[string]bool)
	for _, name := range pages(t) {
		old := read(t, name)
		text := tableMark.ReplaceAllStringFunc(old, func(m string) string {
			table := tableMark.FindStringSubmatch(m)[1]
			write := tables[table]
			if write == nil {
				t.Errorf("%s: there is no table %q", name, table)
				return m
			}
			found[table] = true
			return fmt.Sprintf("<!-- table %s -->\n\n%s\n<!-- end -->", table, write(t))
		})
		if text == old {
			continue
		}
		if !*update {
			t.Errorf("%s is not what the code says: go test -run TestTables -update .\n%s", name, firstDifference(old, text))
			continue
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for table := range tables {
		if !found[table] {
			t.Errorf("no page has the table %q", table)
		}
	}
}

var tableMark = regexp.MustCompile(`(?s)<!-- table ([a-z ]+) -->\n.*?<!-- end -->`)

func firstDifference(old, now string) string {
	a, b := strings.Split(old, "\n"), strings.Split(now, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\n is     %s\n should %s", i+1, a[i], b[i])
		}
	}
	return "one of them ends earlier"
}

// outcomesTable is the table of outcomes, with the nearer words that a code may carry.
func outcomesTable(t *testing.T) string {
	rows := wire.Table()
	codes := make(map[store.Code]bool)
	var b strings.Builder
	b.WriteString("| code | `error` | nearer words | a publish on 3.1 and 3.1.1 | PUBACK on 5 | CONNACK on 5 | on 3.x | `retry_ms` |\n|---|---|---|---|---|---|---|---|\n")
	b.WriteString("| 200 | | | PUBACK; with a cid also `reply/{cid}`, if a filter selects it | 0x00, user property `seq` | 0x00 | 0 | |\n")
	for _, r := range rows {
		if word := (&store.Error{Code: r.Code}).Word(); word != r.Word {
			t.Errorf("code %d is %q to package store and %q to package wire", r.Code, word, r.Word)
		}
		codes[r.Code] = true
		retry := ""
		if r.Retry {
			retry = "yes"
		}
		v5 := fmt.Sprintf("0x%02X", r.V5)
		if r.Code == store.CodeBad {
			v5 += ", a topic 0x90"
		}
		connack := fmt.Sprintf("0x%02X", r.Connack)
		if r.Code == store.CodeBad {
			connack += ", a client id 0x85"
		}
		fmt.Fprintf(&b, "| %d | `%s` | %s | `%s` | %s | %s | %d | %s |\n", r.Code, r.Word, nearerWords(r.Code), r.V3, v5, connack, r.Return, retry)
	}
	for _, c := range storeCodes(t) {
		if !codes[c] {
			t.Errorf("package store has the code %d, the table of outcomes does not", c)
		}
	}
	return strings.ReplaceAll(b.String(), "`reply/, ", "`reply/`, ")
}

// denialsTable is how each denial of the policy is told, in the order of the policy's list.
func denialsTable(t *testing.T) string {
	rows := make(map[store.Code]wire.Row)
	for _, r := range wire.Table() {
		rows[r.Code] = r
	}
	var b strings.Builder
	b.WriteString("| outcome | code | `error` | a publish on 3.1 and 3.1.1 | PUBACK on 5 | `retry_ms` |\n|---|---|---|---|---|---|\n")
	for _, o := range policy.Outcomes {
		e, ok := errors.AsType[*store.Error](hooks.Refusal(o, time.Minute))
		if reason, denied := o.Denied(); denied != ok || ok && e.Word() != reason {
			t.Errorf("%s is told as %v", o, e)
			continue
		}
		if !ok {
			continue
		}
		r, known := rows[e.Code]
		if !known || (e.Retry > 0) && !r.Retry {
			t.Errorf("%s: code %d is told as %+v", o, e.Code, r)
		}
		retry := ""
		if e.Retry > 0 {
			retry = "yes"
		}
		fmt.Fprintf(&b, "| %s | %d | `%s` | `%s` | 0x%02X | %s |\n", o, e.Code, e.Word(), r.V3, r.V5, retry)
	}
	return strings.ReplaceAll(b.String(), "`reply/, then PUBACK`", "`reply/`, then PUBACK")
}

// nearerWords are the reasons of the policy's denials, and those of logins, that go with a code.
func nearerWords(c store.Code) string {
	var words []string
	add := func(e *store.Error) {
		if word := "`" + e.Word() + "`"; e.Code == c && e.Reason != "" && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	for _, o := range policy.Outcomes {
		if err, ok := errors.AsType[*store.Error](hooks.Refusal(o, 0)); ok {
			add(err)
		}
	}
	for _, e := range []*store.Error{
		{Code: store.CodeForbidden, Reason: store.ReasonRole},
		{Code: store.CodeForbidden, Reason: store.ReasonNotPublisher},
		{Code: store.CodeForbidden, Reason: store.ReasonNotFollower},
		{Code: store.CodeBad, Reason: hooks.ReasonTopic},
		hooks.ErrExpired, hooks.ErrOtherDevice, hooks.ErrClientID, hooks.ErrDevices, hooks.ErrGuests,
		broker.ErrShutdown,
	} {
		add(e)
	}
	return strings.Join(words, " ")
}

// storeCodes are the values of the constants Code… of package store, read from its source, so that none is forgotten.
func storeCodes(t *testing.T) (out []store.Code) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "store/error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(v.Names[0].Name, "Code") || len(v.Values) != 1 {
			return true
		}
		if lit, ok := v.Values[0].(*ast.BasicLit); ok {
			n, err := strconv.Atoi(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, store.Code(n))
		}
		return true
	})
	if len(out) < 10 {
		t.Fatalf("found %d codes in package store", len(out))
	}
	return out
}

// setting is a flag of `hwangso serve` as its help tells it.
type setting struct{ name, kind, text, preset string }

var presetMark = regexp.MustCompile(` \(default "?(.*?)"?\)$`)

// settings runs `hwangso serve --help` and reads what it prints.
func settings(t *testing.T) []setting {
	t.Helper()
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"serve", "--help"}, strings.NewReader(""), &out, &errs); err != nil {
		t.Fatalf("serve --help: %v\n%s", err, errs.String())
	}
	_, list, ok := strings.Cut(out.String(), "\nFlags:\n")
	if !ok {
		t.Fatalf("serve --help lists no flags:\n%s", out.String())
	}
	var all []setting
	for line := range strings.Lines(list) {
		line = strings.TrimRight(line, "\n")
		if head, ok := strings.CutPrefix(line, "  -"); ok {
			name, kind, _ := strings.Cut(head, " ")
			all = append(all, setting{name: name, kind: kind})
			continue
		}
		if len(all) == 0 {
			continue
		}
		s := &all[len(all)-1]
		s.text = strings.TrimSpace(s.text + " " + strings.TrimSpace(line))
	}
	for i := range all {
		s := &all[i]
		if m := presetMark.FindStringSubmatch(s.text); m != nil {
			s.preset, s.text = m[1], strings.TrimSuffix(s.text, m[0])
		}
	}
	if len(all) < 10 {
		t.Fatalf("serve --help lists %d flags:\n%s", len(all), out.String())
	}
	return all
}

func flagsTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| flag | environment | default | |\n|---|---|---|---|\n")
	for _, s := range settings(t) {
		preset := s.preset
		if preset != "" {
			preset = "`" + preset + "`"
		}
		env := "HWANGSO_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
		fmt.Fprintf(&b, "| `-%s` %s | `%s` | %s | %s |\n", s.name, s.kind, env, preset, strings.ReplaceAll(s.text, "|", `\|`))
	}
	return b.String()
}

// world is a server without listeners: what its parts register and describe is what the tables say.
type world struct {
	api      *api.API
	me       hooks.Identity
	describe descriptions
}

// descriptions is a registerer that remembers what is registered.
type descriptions struct{ list []*prometheus.Desc }

func (d *descriptions) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc)
	go func() {
		c.Describe(descs)
		close(descs)
	}()
	for desc := range descs {
		d.list = append(d.list, desc)
	}
	return nil
}

func (d *descriptions) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		_ = d.Register(c) // never fails
	}
}

func (d *descriptions) Unregister(prometheus.Collector) bool { return true }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	st, err := bolt.Open(bolt.Config{Dir: t.TempDir(), MinFree: -1, Registerer: &w.describe})
	check(err)
	t.Cleanup(func() { check(st.Close()) })
	b, err := broker.New(broker.Config{Store: st, Registerer: &w.describe})
	check(err)
	t.Cleanup(func() { check(b.Close(t.Context())) })
	auth, err := hooks.NewAuthenticator(hooks.Config{Directory: st})
	check(err)
	w.api, err = api.New(api.Config{Broker: b, Auth: auth, Registerer: &w.describe})
	check(err)
	t.Cleanup(func() { check(w.api.Close()) })
	nobody := make(map[graph.PushProvider]push.Provider)
	for _, p := range graph.PushProviders() {
		nobody[p] = nowhere{}
	}
	pushes, err := bridge.New(bridge.Config{Store: st, Access: b.Access(), Live: b, Providers: nobody, Registerer: &w.describe})
	check(err)
	t.Cleanup(func() { check(pushes.Close()) })
	c := wire.Default()
	c.Registerer = &w.describe
	_, err = wire.New(c, b, auth)
	check(err)
	a, err := st.CreateAccount(t.Context(), store.Account{Name: "alice"})
	check(err)
	w.me = hooks.Identity{Account: a.ID, Name: a.Name}
	return w
}

// nowhere is a provider that reaches nobody.
type nowhere struct{}

func (nowhere) Send(context.Context, *push.Push) push.Answer {
	return push.Answer{Outcome: push.Unavailable}
}
func (nowhere) Refresh()     {}
func (nowhere) Close() error { return nil }

var descMark = regexp.MustCompile(`fqName: "([^"]*)", help: "([^"]*)".*constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)

func (w *world) metricsTable(t *testing.T) string {
	rows := make(map[string]string)
	for _, d := range w.describe.list {
		m := descMark.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("cannot read the description %s", d)
		}
		var labels []string
		for l := range strings.SplitSeq(m[3]+","+m[4], ",") {
			if l, _, _ = strings.Cut(l, "="); l != "" {
				labels = append(labels, "`"+l+"`")
			}
		}
		rows[m[1]] = fmt.Sprintf("| `%s` | %s | %s |\n", m[1], strings.Join(labels, " "), m[2])
	}
	var b strings.Builder
	b.WriteString("| metric | labels | |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		b.WriteString(rows[name])
	}
	return b.String()
}

// limitsTable has the limits that are constants or settings; what stands beside them is what happens beyond.
func (w *world) limitsTable(t *testing.T) string {
	presets := make(map[string]string)
	for _, s := range settings(t) {
		presets[s.name] = s.preset
	}
	var me struct {
		Limits map[string]int `json:"limits"`
	}
	answer := w.api.Request(t.Context(), w.me, "account.me", "", nil)
	if err := json.Unmarshal(answer, &me); err != nil || me.Limits["group"] == 0 {
		t.Fatalf("account.me: %v: %s", err, answer)
	}
	used := make(map[string]bool)
	set := func(name string) string {
		v, ok := presets[name]
		if !ok {
			t.Errorf("serve has no flag -%s", name)
		}
		return cmp.Or(v, "none")
	}
	lim := func(name string) string {
		v, ok := me.Limits[name]
		if !ok {
			t.Errorf("account.me tells no limit %q", name)
		}
		used[name] = true
		return strconv.Itoa(v)
	}
	d := wire.Default()
	n := strconv.Itoa
	rows := []struct{ what, limit, flag, beyond string }{
		{"**Messages**", "", "", ""},
		{"bytes of a message", set("max-message"), "max-message", "413 `too_large`; a packet 2 KiB larger: MQTT 5, which was told the limit, 0x95 and the end; 3.x is read over and told 413"},
		{"mentions in a message", n(view.MaxMentions), "", "400"},
		{"attachments of a message", n(view.MaxAttachments), "", "400"},
		{"bytes of an attachment in CBOR", n(view.MaxAttachment), "", "413"},
		{"bytes of a publish to `…/typing`", n(view.MaxTyping), "", "413, not told"},
		{"how long messages are kept", set("retention"), "retention", "410 `trimmed` from history; a device continues at the oldest that is kept"},
		{"**Topics and names**", "", "", ""},
		{"bytes of a topic or filter", n(hooks.MaxTopic), "", "400 `topic`: 0x90, filters 0x8F"},
		{"levels of a topic or filter", n(hooks.MaxTopicDeep), "", "the same"},
		{"characters of a user's or room's identifier", n(hooks.MaxName), "", "the same"},
		{"characters of a request identifier", n(hooks.MaxName), "", "the same"},
		{"characters of a cid in a topic", n(hooks.MaxCID), "", "the same"},
		{"bytes of a client identifier", n(hooks.MaxClientID), "", "400 `client_id`: CONNACK 0x85, 3.x 2"},
		{"**What a user may have**", "", "", ""},
		{"devices", set("max-devices"), "max-devices", "507 `devices`: CONNACK 0x97, 3.x 5"},
		{"connections that are no device", set("max-guests"), "max-guests", "429 `guests`: CONNACK 0x97, 3.x 3"},
		{"filters of a device", set("max-filters"), "max-filters", "507 `full`: SUBACK 0x97, 3.1.1 0x80"},
		{"filters in one SUBSCRIBE", n(d.MaxFilters), "", "disconnect 0x97"},
		{"rooms", lim("rooms"), "", "507 `rooms`"},
		{"members of a room", set("max-group"), "max-group", "507 `group`"},
		{"friends", lim("friends"), "", "507 `friends`"},
		{"blocked users", lim("blocks"), "", "507 `blocks`"},
		{"invitations a day (UTC), each user and room once", lim("invites"), "", "429 `invite_limit`"},
		{"tokens", lim("tokens"), "", "507 `tokens`"},
		{"bytes of a file", set("max-file"), "max-file", "413 `too_large`"},
		{"bytes of a user's files together", set("max-files"), "max-files", "507 `files`"},
		{"separate deleted ranges in a conversation", lim("deleted"), "", "507 `deleted`"},
		{"**Control requests**", "", "", ""},
		{"requests of a user under way", lim("at_once"), "", "429 `rate`"},
		{"bytes of a request", lim("body"), "", "413 `too_large`"},
		{"users named in one request", lim("batch"), "", "413"},
		{"items of a page", lim("page"), "", "400"},
		{"bytes of a room's title", lim("title"), "", "413"},
		{"bytes of a room's description", lim("description"), "", "413"},
		{"characters of a display name", lim("display"), "", "413"},
		{"characters of a status", lim("status"), "", "413"},
		{"characters of a label", lim("label"), "", "413"},
		{"**Connections**", "", "", ""},
		{"connections in all", "what the open file limit allows", "max-connections", "closed at once"},
		{"connections from one address (an IPv6 /64)", set("max-connections-per-address"), "max-connections-per-address", "closed at once"},
		{"connections accepted per second", set("accept-rate"), "accept-rate", "they wait"},
		{"time to the answered CONNECT", d.ConnectTimeout.String(), "", "closed"},
		{"bytes of a packet before it", n(d.MaxPacketBeforeLogin), "", "closed"},
		{"packets per second and connection", set("packet-rate"), "packet-rate", "reading pauses"},
		{"unacknowledged publishes of an MQTT 5 client", n(int(d.ReceiveMaximum)), "", "disconnect 0x93"},
		{"topic aliases an MQTT 5 client may set", n(int(d.TopicAliasMaximum)), "", "disconnect"},
		{"a write without any progress", d.WriteStall.String(), "", "closed"},
		{"a session without a connection", set("session-expiry"), "session-expiry", "the session ends; cursors stay"},
		{"**The machine**", "", "", ""},
		{"free disk", set("min-free") + " %", "min-free", "503 `unavailable`, reads go on"},
		{"bytes of recent messages in memory", set("cache"), "cache", "older ones are read from disk"},
		{"waiting for clients at shutdown", set("drain"), "drain", "they are cut off; nothing acknowledged is lost"},
	}
	var b strings.Builder
	b.WriteString("| what | limit | flag | beyond it |\n|---|---|---|---|\n")
	for _, r := range rows {
		f := ""
		if r.flag != "" {
			f = "`-" + r.flag + "`"
			if _, ok := presets[r.flag]; !ok {
				t.Errorf("serve has no flag -%s", r.flag)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.what, r.limit, f, r.beyond)
	}
	for name := range presets {
		limit := strings.HasPrefix(name, "max-") || strings.HasPrefix(name, "min-") || strings.HasSuffix(name, "-rate")
		if limit && !strings.Contains(b.String(), "`-"+name+"`") {
			t.Errorf("the flag -%s is a limit, and the limits table does not have it", name)
		}
	}
	for name := range me.Limits {
		if !used[name] && name != "group" && name != "devices" { // these two are flags
			t.Errorf("account.me tells the limit %q, and the limits table does not have it", name)
		}
	}
	return b.String()
}

// ratesTable has the rules of package limit.
func ratesTable(*testing.T) string {
	var b strings.Builder
	b.WriteString("| rate | by | default | of |\n|---|---|---|---|\n")
	for _, r := range limit.Rules() {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s |\n", r.Name, r.By, r.Default, r.Text)
	}
	return b.String()
}

// numbersTable has the numbers of package limit.
func numbersTable(*testing.T) string {
	var b strings.Builder
	b.WriteString("| number | default | |\n|---|---|---|\n")
	for _, n := range limit.Numbers() {
		fmt.Fprintf(&b, "| `%s` | %d | %s |\n", n.Name, n.Default, n.Text)
	}
	return b.String()
}

// pushReasonsTable is what each reason of a decision about a push means, in the order of the source.
func pushReasonsTable(t *testing.T) string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "bridge/ring.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| reason | |\n|---|---|\n")
	n := 0
	ast.Inspect(f, func(node ast.Node) bool {
		v, ok := node.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(v.Names[0].Name, "Reason") || len(v.Values) != 1 {
			return true
		}
		if lit, ok := v.Values[0].(*ast.BasicLit); ok {
			reason, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "| `%s` | %s |\n", reason, api.PushSentence(bridge.Reason(reason)))
			n++
		}
		return true
	})
	if n < 20 {
		t.Fatalf("found %d reasons in bridge/ring.go", n)
	}
	return b.String()
}
