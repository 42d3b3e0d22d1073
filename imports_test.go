package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Imports point one way:
//
//	main → broker/cmd → broker/api, broker/wire → broker → hooks → store ← store/bolt
//	                    broker/cmd → bridge → hooks
//
// The graph is the architecture: what is not listed here may not be imported, and the reason stands beside each row.
// Somebody who wants another arrow changes the row, and the reason with it.

// arrows is one package, or with a trailing /... a subtree, and everything it may import beside the standard library.
type arrows struct {
	pkg    string   // below the module; "." is main
	ours   []string // packages of this module
	theirs []string // modules, or packages of them
	why    string
}

const (
	modPrometheus = "github.com/prometheus/client_golang"
	modSys        = "golang.org/x/sys"
	modMochi      = "github.com/mochi-mqtt/server/v2"
	modMochiCodec = modMochi + "/packets"
	modWebsocket  = "github.com/coder/websocket"
	modBbolt      = "go.etcd.io/bbolt"
	modCBOR       = "github.com/fxamacker/cbor/v2"
	modHuma       = "github.com/danielgtaylor/huma/v2"
	modJWT        = "github.com/golang-jwt/jwt/v5"
	modTime       = "golang.org/x/time/rate"
	modPhone      = "github.com/nyaruka/phonenumbers"
	modText       = "golang.org/x/text"
	modMinio      = "github.com/minio/minio-go/v7"
	modImage      = "golang.org/x/image"
	modCrypto     = "golang.org/x/crypto"
	modAPNs       = "github.com/sideshow/apns2"
	modUniseg     = "github.com/rivo/uniseg"
	modFirebase   = "firebase.google.com/go/v4/messaging"
	modGoogle     = "google.golang.org/api/option"
	modOAuth      = "golang.org/x/oauth2"
	modHTTP2      = "golang.org/x/net/http2"
	modPaho       = "github.com/eclipse/paho.golang"
	modNet        = "golang.org/x/net"
)

var importGraph = []arrows{
	{"store", nil, nil,
		"the words and contracts: whoever implements or uses them must get nothing else with them"},
	{"store/policy", []string{"store"}, nil,
		"pure functions from facts to outcomes: with nothing to look up, every row of a truth table can be tested"},
	{"store/graph", []string{"store", "store/policy"}, nil,
		"typed rows of the contact graph over any engine's tables: who changes a relation changes what it freezes too"},
	{"store/journal", nil, []string{modSys},
		"bytes in, positions out: it knows no record, so that the format on disk cannot depend on what is stored"},
	{"store/journal/faultfs", []string{"store/journal"}, nil,
		"a failing disk for tests of the journal and of what stands on it"},
	{"store/storetest", []string{"store"}, nil,
		"the contract as tests: it must judge every implementation, so it knows none"},
	{"store/bolt", []string{"store", "store/journal"}, []string{modBbolt, modPrometheus, modSys},
		"the embedded implementation, and the one place that names bbolt: another engine replaces this package alone"},

	{"hooks/limit", []string{"store"}, []string{modTime},
		"rates and budgets by key: asked by every layer above, so it knows none"},
	{"hooks", []string{"store", "store/graph", "store/policy"}, []string{modJWT},
		"who, where and may: asked by every transport, so it knows none, and no MQTT packet"},
	{"hooks/phone", []string{"store"}, []string{modPhone},
		"numbers and their hashes: asked by sign-up and discovery, and the one place that knows numbering plans"},
	{"hooks/mochihook", []string{"hooks", "store", "store/policy"}, []string{modMochi},
		"the same offered to a plain mochi server; it names mochi because that is what it is for"},

	{"broker/view", []string{"hooks", "store", "store/graph"}, []string{modCBOR},
		"encodings as pure functions; CBOR is spelled here and nowhere else; of the graph it knows what a post says in each language"},
	{"broker/coupon", []string{"broker/view", "hooks", "hooks/limit", "store", "store/graph", "store/policy"}, []string{modPrometheus},
		"coupons and gifts over rows: codes are made and read here and nowhere else; it sends through a function"},
	{"broker/discovery", []string{"broker/view", "hooks/phone", "store", "store/graph"}, []string{modPrometheus},
		"finding contacts by number and users by name: rows and budgets, asked by the API alone"},
	{"broker/search", []string{"store"}, []string{modText},
		"how rooms and channels are found by words, over texts alone: Unicode's tables come with it"},
	{"broker/openroom", []string{"broker/search", "store"}, []string{modText},
		"what a nickname may be, over texts alone"},
	{"broker/channel", []string{"broker/openroom", "broker/search", "store", "store/graph", "store/policy"}, nil,
		"channels, publishers, plans and the directory over any store: it has no way to ask who follows; what looks like another channel is what looks like another nickname"},
	{"bridge/push", []string{"store", "store/graph"}, []string{modUniseg},
		"the words between the bridge and the providers: whoever carries pushes gets nothing else of the server; texts are cut here and nowhere else"},
	{"bridge/credential", nil, nil,
		"a file that is read again when it changes: keys of every provider, and it knows none"},
	{"bridge/fcm", []string{"bridge/credential", "bridge/push"}, []string{modFirebase, modGoogle, modOAuth},
		"the one place that names Firebase, and of it the messages alone: its package of apps would bring Firestore and Cloud Storage"},
	{"bridge/egress", nil, nil,
		"what guards the roads to hosts that strangers chose: one guard for all of them, over addresses alone"},
	{"bridge/webpush", []string{"bridge/credential", "bridge/egress", "bridge/push", "store"}, []string{modJWT},
		"push services that browsers choose: encryption and signatures of web push are written out here"},
	{"bridge/webhook", []string{"bridge/egress", "store"}, []string{modPrometheus},
		"a reader of the journal and an outbox: what it tells of followers, posts and apps it asks functions, so that it knows nobody's list"},
	{"bridge/apns", []string{"bridge/credential", "bridge/push", "store/graph"}, []string{modAPNs, modHTTP2},
		"Apple's protocol, and the one place that names its library: another road to Apple replaces this package alone"},
	{"bridge/lane", []string{"bridge/push", "store/graph"}, []string{modPrometheus},
		"queues, quotas and retries over any provider: it knows pushes, and nothing of why they are sent"},
	{"bridge/bulk", []string{"bridge/lane", "bridge/push", "store", "store/graph"}, nil,
		"the same push to many, page by page: whose audience it is asks an interface, so that brands' followers are nobody's list"},
	{"bridge/pushsim", nil, []string{modNet, modJWT},
		"the push services on one's own machine: it shares no code with the bridge, or a mistake would hide on both sides"},
	{"bridge", []string{"bridge/bulk", "bridge/lane", "bridge/push", "broker/view", "hooks", "store", "store/graph", "store/policy"}, []string{modPrometheus},
		"one more reader of the journal: it asks contracts, and of the running server an interface"},
	{"broker", []string{"broker/view", "hooks", "hooks/limit", "store", "store/graph", "store/policy"}, []string{modPrometheus},
		"sessions and delivery without packets or files: the edge calls it, it calls contracts; of the policy it knows the words for what reaches a follower"},
	{"broker/tally", []string{"store", "store/graph"}, []string{modPrometheus},
		"the one reader of followers that makes numbers: who answers requests gets counts from it, and no follower"},
	{"broker/broadcast", []string{"broker/view", "hooks", "store", "store/graph", "store/policy"}, []string{modPrometheus},
		"posts that go out at their time: rows and one append; of the server, pushes and counts it knows interfaces, and of followers nothing"},
	{"broker/files", []string{"broker", "broker/view", "hooks", "store", "store/graph"}, []string{modPrometheus, modMinio, modImage},
		"photos and documents behind signed addresses: a reader of the journal like others, and the one place that names S3; its tests send through a broker"},
	{"broker/wire", []string{"broker", "broker/view", "hooks", "hooks/limit", "store"}, []string{modMochiCodec, modWebsocket, modPrometheus, modSys},
		"the MQTT edge: the one place of the server that names packets, and of mochi only the codec"},
	{"broker/proxy", nil, nil,
		"what proxies say of their clients: bytes and headers, nothing of the server, so that hostile ones can be tested alone"},
	{"broker/link", []string{"broker/view", "hooks", "store", "store/graph"}, []string{modPrometheus, modNet},
		"other people's apps and what their messages may open: it sends through an interface; whose a domain can be, and how its name is written, are tables of the module"},
	{"broker/signup", []string{"broker/view", "hooks", "hooks/phone", "store"}, []string{modCrypto, modPrometheus},
		"who may open an account and who may end it: called by the control API, and it calls the server through an interface"},
	{"broker/api", []string{"bridge", "bridge/bulk", "bridge/lane", "bridge/push", "bridge/webhook", "broker", "broker/broadcast", "broker/channel", "broker/coupon", "broker/discovery", "broker/files", "broker/link", "broker/openroom", "broker/search", "broker/signup", "broker/tally", "broker/view", "hooks", "hooks/limit", "hooks/phone", "store",
		"store/graph", "store/policy"}, []string{modHuma, modPrometheus},
		"control operations over any store: HTTP and OpenAPI are spelled here; of the bridge it shows decisions and how lanes are"},
	{"broker/cmd", []string{"bridge", "bridge/apns", "bridge/bulk", "bridge/fcm", "bridge/push", "bridge/pushsim", "bridge/webhook", "bridge/webpush", "broker", "broker/api", "broker/broadcast", "broker/channel", "broker/files", "broker/proxy", "broker/signup", "broker/tally",
		"broker/view", "broker/wire", "hooks", "hooks/limit", "hooks/phone", "store",
		"store/bolt", "store/graph", "store/policy", "examples/chat/client", "examples/chat/terminal", "examples/chat/tty"}, []string{modPrometheus, modSys},
		"main's other half: it chooses the implementations, and offers the chat example as a command"},
	{".", []string{"broker/cmd"}, nil,
		"main runs the program and nothing else, so that tests can run it too"},

	{"examples/embed", []string{"broker", "broker/wire", "hooks", "store", "store/bolt"}, nil,
		"somebody's own program is a main of its own: it chooses the implementations"},
	{"examples/mochi", []string{"hooks", "hooks/mochihook", "store", "store/bolt"}, []string{modMochi},
		"a plain mochi server with our users: nothing of the broker in it"},
	{"examples/chat/tty", nil, []string{modSys},
		"single keys from a terminal, for the chat example and the demo: it knows neither"},
	{"examples/chat/...", []string{"examples/chat/..."}, []string{modPaho},
		"a client, as somebody else would write it: no package of the server, so that it proves the protocol"},
	{"examples/brand", nil, []string{modPaho},
		"a brand's program, as somebody else would write it: no package of the server, so that it proves the protocol and the API"},
	{"examples/iot/...", []string{"examples/iot/..."}, nil,
		"a device that has nothing but a socket: its packets are written out, so that it proves the protocol"},
	{"examples/swarm/...", []string{"examples/swarm/..."}, []string{modWebsocket, modSys},
		"measures any MQTT broker, so it must not share code with ours: a mistake would hide on both sides"},
}

// Tests may import whatever their package may, the package itself, and these: real files are cheap, and a fault is
// injected below them, or at the other end of a wire. They may speak to a server with any library that go.mod lists, but
// for one: see below.
var forTests = []string{"bridge/pushsim", "store", "store/bolt", "store/graph", "store/journal", "store/journal/faultfs", "store/storetest"}

// The end-to-end tests run the whole program.
var wholeProgram = []string{".", "broker/cmd"}

// onlyIn lists modules with one owner, tests included: bbolt's types must not leak into tests of
// other packages, or the engine could not be exchanged.
var onlyIn = map[string][]string{modBbolt: {"store/bolt"}}

// TestImports holds every Go file of the module, whatever its build tags, against the graph.
func TestImports(t *testing.T) {
	module := moduleOf(t)
	seen := make(map[string]bool)
	for _, f := range goFiles(t) {
		rule := ruleFor(f.pkg)
		if rule == nil {
			t.Errorf("%s: package %s has no row in the graph of imports_test.go: say what it may import, and why", f.name, f.pkg)
			continue
		}
		seen[rule.pkg] = true
		for _, imp := range f.imports {
			ours, inside := strings.CutPrefix(imp, module)
			switch {
			case inside && (ours == "" || ours[0] == '/'):
				if ours = strings.TrimPrefix(ours, "/"); ours == "" {
					ours = "."
				}
				if !mayOurs(rule, f, ours) {
					t.Errorf("%s imports %s, which %s may not: %s", f.name, ours, rule.pkg, rule.why)
				}
			case !strings.Contains(strings.SplitN(imp, "/", 2)[0], "."):
				// The standard library.
			default:
				if !mayTheirs(rule, f, imp) {
					t.Errorf("%s imports %s, which %s may not: %s", f.name, imp, rule.pkg, rule.why)
				}
			}
		}
	}
	for _, r := range importGraph {
		if !seen[r.pkg] {
			t.Errorf("the graph has a row for %s, and there is no such package", r.pkg)
		}
	}
}

// TestGraphPointsOneWay sees that the rows allow no cycle and nothing from below to above: a row may name only packages
// of earlier rows, but for main's half and the examples, which nobody below them names.
func TestGraphPointsOneWay(t *testing.T) {
	place := make(map[string]int)
	for i, r := range importGraph {
		place[r.pkg] = i
	}
	for i, r := range importGraph {
		if r.why == "" {
			t.Errorf("%s: a rule without a reason", r.pkg)
		}
		for _, o := range r.ours {
			if strings.HasPrefix(o, "examples/") {
				if r.pkg != "broker/cmd" && !strings.HasPrefix(r.pkg, "examples/") {
					t.Errorf("%s may import %s: the server is not to depend on an example", r.pkg, o)
				}
				continue
			}
			if at, ok := place[o]; !ok || at >= i {
				t.Errorf("%s may import %s, which does not stand above it in the graph", r.pkg, o)
			}
		}
	}
}

func ruleFor(pkg string) *arrows {
	for i := range importGraph {
		if covers(importGraph[i].pkg, pkg) {
			return &importGraph[i]
		}
	}
	return nil
}

// covers reports whether an entry, perhaps with /... at its end, means the package.
func covers(entry, pkg string) bool {
	if root, ok := strings.CutSuffix(entry, "/..."); ok {
		return pkg == root || strings.HasPrefix(pkg, root+"/")
	}
	return entry == pkg
}

func mayOurs(r *arrows, f goFile, pkg string) bool {
	in := func(list []string) bool {
		return slices.ContainsFunc(list, func(e string) bool { return covers(e, pkg) })
	}
	if in(r.ours) {
		return true
	}
	if !f.test {
		return false
	}
	return pkg == f.pkg || in(forTests) || slices.Contains(wholeProgram, f.pkg)
}

func mayTheirs(r *arrows, f goFile, imp string) bool {
	under := func(m string) bool { return imp == m || strings.HasPrefix(imp, m+"/") }
	for m, pkgs := range onlyIn {
		if under(m) {
			return slices.Contains(pkgs, f.pkg)
		}
	}
	return f.test || slices.ContainsFunc(r.theirs, under)
}

// goFile is what matters here of a Go file.
type goFile struct {
	name    string // slash separated, from the module's root
	pkg     string // its directory, "." the root
	test    bool
	imports []string
}

// goFiles parses the imports of every Go file of the module. Modules inside it, testdata and hidden directories are
// not part of it.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var out []goFile
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name == "." {
				return nil
			}
			_, nested := os.Stat(filepath.Join(name, "go.mod"))
			if base[0] == '.' || base[0] == '_' || base == "testdata" || nested == nil {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(fset, name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		slash := filepath.ToSlash(name)
		f := goFile{name: slash, pkg: path.Dir(slash), test: strings.HasSuffix(base, "_test.go")}
		for _, i := range parsed.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, p)
		}
		out = append(out, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no Go files found")
	}
	return out
}

// moduleOf is the module's path, from go.mod.
func moduleOf(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if m, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return m
		}
	}
	t.Fatal("go.mod names no module")
	return ""
}
