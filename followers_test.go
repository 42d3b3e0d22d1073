package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// eachSource parses every Go file of the module that is no test.
func eachSource(t *testing.T, fn func(name, pkg string, fset *token.FileSet, f *ast.File)) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := d.Name(); d.IsDir() {
			if name != "." && (base[0] == '.' || base[0] == '_' || base == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		slash := filepath.ToSlash(name)
		fn(slash, path.Dir(slash), fset, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// handsOutAccounts are the ways in which whoever has a Store or the graph over it is told of accounts that it did not
// name. None begins with a channel and ends with its followers: a method that joins them needs a reason here.
var handsOutAccounts = map[string]string{
	"store.Store.Account":          "whose number one has",
	"store.Store.AccountByName":    "whose name one has",
	"store.Store.Accounts":         "operators and upkeep: everybody there is, whatever they follow",
	"store.Store.CreateAccount":    "the one that was made",
	"store.Store.Device":           "of a device that one names",
	"store.Store.Devices":          "of an account that one names",
	"store.Store.Edges":            "friends and blocks of an account that one names",
	"store.Store.Find":             "members; those of a channel's logs are its publishers",
	"store.Store.Follow":           "the journal, for what delivers: senders and members",
	"store.Store.Holds":            "operators: what is kept for a court",
	"store.Store.Info":             "members; those of a channel's logs are its publishers",
	"store.Store.LoadSession":      "of a device that one names",
	"store.Store.Logs":             "members; those of a channel's logs are its publishers, and of a thread who has written in it: asked for threads by nobody, see below",
	"store.Store.LogsOf":           "members of the logs in which an account is that one names",
	"store.Store.Open":             "members, as Find",
	"store.Store.Read":             "senders; those of a channel are its publishers",
	"store.Store.RequestsTo":       "who has written to an account that one names",
	"store.Store.Standing":         "members' read marks; nobody reads a channel as a member but its publishers",
	"store.Store.TokenByHash":      "whose token one has",
	"store.Store.Tokens":           "of an account that one names",
	"*graph.Graph.App":             "an app's owner",
	"*graph.Graph.Apps":            "apps' owners",
	"*graph.Graph.Invitations":     "who invites an account that one names",
	"*graph.Graph.InvitationsInto": "who is asked into a room",
	"*graph.Graph.InvitationsTo":   "who invites an account that one names",
	"*graph.Graph.MemberOf":        "who has a nickname in an open room",
	"*graph.Graph.NickOf":          "who has a nickname in an open room",
	"*graph.Graph.PostsRingFor":    "of accounts that one names, for whom posts ring: it gives back what it was given",
	"*graph.Graph.Relations":       "between two that one names",
	"*graph.Graph.Requests":        "who has written to an account that one names",
	"*graph.Graph.Room":            "who has made a room",
	"*graph.Graph.RoomMembers":     "members of a room",
	"*graph.Graph.Thread":          "one's own account of a thread that one names",
}

// TestContractsNameNoFollowers looks through what a request's handler holds: no method tells of accounts but those above.
func TestContractsNameNoFollowers(t *testing.T) {
	found := make(map[string]bool)
	for _, typ := range []reflect.Type{reflect.TypeFor[store.Store](), reflect.TypeFor[*graph.Graph]()} {
		for i := range typ.NumMethod() {
			m := typ.Method(i)
			name := typ.String() + "." + m.Name
			for k := range m.Type.NumOut() {
				if !holds(m.Type.Out(k), reflect.TypeFor[store.AccountID](), nil) {
					continue
				}
				found[name] = true
				if handsOutAccounts[name] == "" {
					t.Errorf("%s tells of accounts: say whose and why in handsOutAccounts", name)
				}
			}
		}
	}
	for name := range handsOutAccounts {
		if !found[name] {
			t.Errorf("%s is listed, and tells of no accounts", name)
		}
	}
}

// TestFollowRowsAreReadByOwner: the rows from which the list is made are named by the graph alone, which reads those of one
// account, and by the wiring, which makes a server's first data. A scan over all owners (AllRows) names its table, so the
// table's name is the door. A list of all threads would tell who has written to a channel.
func TestFollowRowsAreReadByOwner(t *testing.T) {
	named := make(map[string]bool)
	eachSource(t, func(name, pkg string, fset *token.FileSet, f *ast.File) {
		if pkg == "store/storetest" {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				if n.Name == "TableFollow" {
					named[name] = true
				}
			case *ast.BasicLit:
				if n.Kind == token.STRING && strings.Contains(n.Value, string(graph.TableFollow)) {
					named[name] = true
				}
			case *ast.CallExpr:
				s, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || len(n.Args) == 0 {
					break
				}
				arg, _ := n.Args[0].(*ast.SelectorExpr)
				if s.Sel.Name == "Logs" && arg != nil && arg.Sel.Name == "LogThread" {
					t.Errorf("%s: a list of all threads", fset.Position(n.Pos()))
				}
				if id, ok := n.Args[0].(*ast.Ident); s.Sel.Name == "AllRows" && (!ok || id.Name != "t" && !strings.HasPrefix(id.Name, "table")) {
					t.Errorf("%s: a scan over a table that is not the package's own", fset.Position(n.Pos()))
				}
			}
			return true
		})
	})
	for name := range named {
		switch name {
		case "store/graph/follow.go", "broker/cmd/seed_channels.go":
		default:
			t.Errorf("%s names the table of who follows", name)
		}
	}
	if !named["store/graph/follow.go"] {
		t.Error("nobody names the table: this test looks for the wrong thing")
	}
}

// holds reports whether values of a type can have one of another inside.
func holds(t, what reflect.Type, on []reflect.Type) bool {
	if t == what {
		return true
	}
	if slices.Contains(on, t) {
		return false
	}
	on = append(on, t)
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Chan:
		return holds(t.Elem(), what, on)
	case reflect.Map:
		return holds(t.Key(), what, on) || holds(t.Elem(), what, on)
	case reflect.Struct:
		for i := range t.NumField() {
			if holds(t.Field(i).Type, what, on) {
				return true
			}
		}
	case reflect.Func:
		for i := range t.NumOut() {
			if holds(t.Out(i), what, on) {
				return true
			}
		}
		for i := range t.NumIn() {
			if holds(t.In(i), what, on) {
				return true
			}
		}
	}
	return false
}
