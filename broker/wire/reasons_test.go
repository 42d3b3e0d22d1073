package wire

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// Every code of package store has its line, with its own word, and the table in the comment says the same.
func TestTableIsComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../store/error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []store.Code
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "Code") && len(v.Values) == 1 {
			if lit, ok := v.Values[0].(*ast.BasicLit); ok && lit.Kind == token.INT {
				code, _ := strconv.Atoi(lit.Value)
				codes = append(codes, store.Code(code))
			}
		}
		return true
	})
	rows := Table()
	if len(codes) < 10 || len(codes) != len(rows) {
		t.Fatalf("%d codes, %d lines", len(codes), len(rows))
	}
	source, err := os.ReadFile("reasons.go")
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		e := &store.Error{Code: r.Code}
		if codes[i] != r.Code || e.Word() != r.Word || row(e) != r {
			t.Errorf("line %d: %+v; the store's code is %d, its word %q", i, r, codes[i], e.Word())
		}
		if r.V5 < 0x80 || r.V5 == 0x95 || r.Connack < 0x80 || r.Return < 1 || r.Return > 5 {
			t.Errorf("%d: illegal reason codes %+v", r.Code, r)
		}
		answer := map[Answer]string{AnswerAck: "reply/, then PUBACK ", AnswerClose: "reply/, then the close"}[r.V3]
		line := fmt.Sprintf("//\t%d   %-13s %-22s  %#x    %#x     %d", r.Code, r.Word, answer, r.V5, r.Connack, r.Return)
		if !strings.Contains(string(source), line) {
			t.Errorf("the comment has no line\n%s", line)
		}
		if again := strings.Contains(string(source), line+"   retry_ms"); again != r.Retry {
			t.Errorf("%d: retry_ms is %v in the comment", r.Code, again)
		}
	}
	if r := row(errors.New("x")); r.Code != store.CodeInternal {
		t.Errorf("an unknown error is %+v", r)
	}
	if r := row(&store.Error{Code: 999}); r.Code != store.CodeInternal {
		t.Errorf("an unknown code is %+v", r)
	}
}

// PUBACK of MQTT 5 has few reason codes; clients end the connection on others.
func TestPubackReasonsAreLegal(t *testing.T) {
	legal := map[byte]bool{0x83: true, 0x87: true, 0x90: true, 0x97: true, 0x99: true}
	_, topicErr := hooks.ParsePublish("foo/bar")
	errs := []error{errors.New("x"), topicErr, fmt.Errorf("wrapped: %w", topicErr)}
	for _, r := range Table() {
		errs = append(errs, &store.Error{Code: r.Code, Retry: time.Second}, fmt.Errorf("wrapped: %w", &store.Error{Code: r.Code}))
	}
	for _, err := range errs {
		if code, _ := pubReason(err); !legal[code] {
			t.Errorf("%v: %#x", err, code)
		}
	}
	if code, _ := pubReason(topicErr); code != 0x90 {
		t.Errorf("a bad topic is %#x", code)
	}
	if code, p := pubReason(errors.New("/var/lib/secret")); code != 0x83 || strings.Contains(p.text, "secret") {
		t.Errorf("an internal error shows %#x %q", code, p.text)
	}
	for _, c := range []struct {
		filter string
		want   byte
	}{{"foo/bar", 0x8f}, {"a//b", 0x8f}, {"room/#/x", 0x8f}, {strings.Repeat("x", 600), 0x8f}, {"$share/g/room/#", 0x9e}, {"$SYS/#", 0x87}} {
		_, err := hooks.ParseFilter(c.filter)
		if got := subReason(v5, err); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.filter, got, c.want)
		}
		if got := subReason(v311, err); got != 0x80 {
			t.Errorf("%s: %#x in 3.1.1", c.filter, got)
		}
	}
}

func TestCutText(t *testing.T) {
	if s := cutText("안녕하세요", 7); s != "안녕" {
		t.Errorf("%q", s)
	}
	if s := cutText("abc", 3); s != "abc" {
		t.Errorf("%q", s)
	}
}
