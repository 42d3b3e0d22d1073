package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/broker/channel"
	"github.com/hwangso/hwangso/broker/tally"
	"github.com/hwangso/hwangso/store"
)

// TestNobodyAsksWhoFollows: who follows a channel is one method of one contract, and only who delivers and who counts may
// name it. No package that answers requests names the contract, calls a method of that name, or describes an interface
// with one, by which it could get at it from a store.
func TestNobodyAsksWhoFollows(t *testing.T) {
	may := map[string]bool{
		"store": true, "store/bolt": true, "store/storetest": true, // the contract, who keeps it, and its tests
		"bridge": true, "broker/tally": true, "broker/cmd": true, // who delivers, who counts, and who gives it to them
	}
	checked := make(map[string]bool)
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := d.Name(); d.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "testdata") {
			return filepath.SkipDir
		}
		pkg := filepath.ToSlash(filepath.Dir(name))
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || may[pkg] {
			return nil
		}
		checked[pkg] = true
		for _, why := range asksForFollowers(t, name, nil) {
			t.Errorf("%s: who follows a channel is told to nobody who answers requests", why)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"broker", "broker/api", "broker/channel", "broker/broadcast", "broker/coupon", "broker/link", "bridge/webhook", "hooks", "store/graph"} {
		if !checked[pkg] {
			t.Errorf("package %s was not looked at", pkg)
		}
	}
	for src, want := range map[string]bool{
		"package x\nfunc f(s store.Followers) {}":                                                 true,
		"package x\nfunc f(s any) { s.(interface{ Followers(a, b, c int) }).Followers(1, 2, 3) }": true,
		"package x\nfunc f() { st.Followers(1, 0, 5) }":                                           true,
		"package x\ntype n struct{ Followers *int }":                                              false,
		"package x\nfunc f(o *n) { if o.Followers != nil { return } }":                            false,
	} {
		if got := len(asksForFollowers(t, "x.go", src)) > 0; got != want {
			t.Errorf("%s: %v", src, got)
		}
	}
}

// asksForFollowers are the places of a file that name the contract or its method, which takes three things. Without
// either no value of another type gets at it: a Store has no such method. Counts of that name take fewer.
func asksForFollowers(t *testing.T, name string, src any) (out []string) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	const word = "Followers"
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "store" && n.Sel.Name == word {
				out = append(out, fset.Position(n.Pos()).String())
			}
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == word && len(n.Args) == 3 {
				out = append(out, fset.Position(n.Pos()).String())
			}
		case *ast.InterfaceType:
			for _, m := range n.Methods.List {
				for _, id := range m.Names {
					if id.Name == word && takesChannel(m.Type) {
						out = append(out, fset.Position(m.Pos()).String())
					}
				}
			}
		}
		return true
	})
	return out
}

// takesChannel reports whether a method could be the contract's: it takes three things. One that counts takes fewer.
func takesChannel(t ast.Expr) bool {
	f, ok := t.(*ast.FuncType)
	if !ok {
		return true
	}
	n := 0
	for _, p := range f.Params.List {
		n += max(1, len(p.Names))
	}
	return n >= 3
}

// TestNumbersNameNobody: nothing that the two packages about channels hand out to who answers requests can hold an account,
// but for who publishes.
func TestNumbersNameNobody(t *testing.T) {
	account := reflect.TypeFor[store.AccountID]()
	var holds func(typ reflect.Type, seen map[reflect.Type]bool) bool
	holds = func(typ reflect.Type, seen map[reflect.Type]bool) bool {
		if typ == account {
			return true
		}
		if seen[typ] {
			return false
		}
		seen[typ] = true
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Chan:
			return holds(typ.Elem(), seen)
		case reflect.Map:
			return holds(typ.Key(), seen) || holds(typ.Elem(), seen)
		case reflect.Struct:
			for i := range typ.NumField() {
				if holds(typ.Field(i).Type, seen) {
					return true
				}
			}
		case reflect.Func:
			for i := range typ.NumOut() {
				if holds(typ.Out(i), seen) {
					return true
				}
			}
		}
		return false
	}
	publishers := map[string]bool{"Find": true, "Get": true, "List": true, "Mine": true, "Search": true, "Create": true, "Set": true, "Pause": true,
		"Approve": true, "Suspend": true, "Offers": true, "Ask": true, "Alike": true}
	for _, typ := range []reflect.Type{reflect.TypeFor[*tally.Tally](), reflect.TypeFor[*channel.Service]()} {
		for i := range typ.NumMethod() {
			m := typ.Method(i)
			if typ == reflect.TypeFor[*channel.Service]() && publishers[m.Name] {
				continue // the members of a channel's logs are its publishers
			}
			if holds(m.Type, map[reflect.Type]bool{}) {
				t.Errorf("%v.%s returns accounts", typ, m.Name)
			}
		}
	}
}
