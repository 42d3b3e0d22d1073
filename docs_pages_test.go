package main

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages are the Markdown files of the repository's frame and documentation.
func pages(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/*.md", "store/*/*.md", "broker/*/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, names...)
	}
	if !slices.Contains(out, "README.md") || len(out) < 8 {
		t.Fatalf("pages missing: only %v", out)
	}
	return out
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var linkMark = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks follows every relative link of the documentation, to the heading.
func TestLinks(t *testing.T) {
	for _, name := range pages(t) {
		for _, m := range linkMark.FindAllStringSubmatch(read(t, name), -1) {
			link := m[1]
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(link, "#")
			target := name
			if file != "" {
				target = path.Join(path.Dir(filepath.ToSlash(name)), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s leads nowhere", name, link)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, target)), anchor) {
				t.Errorf("%s: %s has no heading for #%s", name, target, anchor)
			}
		}
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// anchors are the anchors of a page's headings, as GitHub makes them.
func anchors(text string) (out []string) {
	for line := range strings.Lines(text) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		title = notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
		out = append(out, strings.ReplaceAll(title, " ", "-"))
	}
	return out
}

var testCommand = regexp.MustCompile("go test[^`\n]* -(?:run|bench|fuzz) '?([\\^$A-Za-z0-9_|]+)'?[^`\n]*? (\\.[A-Za-z0-9_/.]*)")

// TestCommandsNameTests sees that a test, benchmark or fuzz target which a page tells to run exists.
func TestCommandsNameTests(t *testing.T) {
	funcs := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)[A-Za-z0-9_]*)\(`)
	total := 0
	for _, name := range pages(t) {
		for _, m := range testCommand.FindAllStringSubmatch(read(t, name), -1) {
			total++
			// Commands are run in the root, or on a package's own page in the package.
			files, err := filepath.Glob(filepath.Join(m[2], "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			if m[2] == "." {
				own, err := filepath.Glob(filepath.Join(filepath.Dir(name), "*_test.go"))
				if err != nil {
					t.Fatal(err)
				}
				files = append(files, own...)
			}
			var have []string
			for _, f := range files {
				for _, fn := range funcs.FindAllStringSubmatch(read(t, f), -1) {
					have = append(have, fn[1])
				}
			}
			for _, want := range strings.Split(m[1], "|") {
				if want == "^$" || want == "^" {
					continue
				}
				re := regexp.MustCompile(want)
				if !slices.ContainsFunc(have, re.MatchString) {
					t.Errorf("%s: %s names no test of %s", name, want, m[2])
				}
			}
		}
	}
	if total == 0 {
		t.Error("the documentation names no test at all")
	}
}

// TestRequestsNameNoDay: a time in a request that a page shows is computed, because a day that is written down is over one
// day, and the server refuses it.
func TestRequestsNameNoDay(t *testing.T) {
	day := regexp.MustCompile(`"(?:at|from|until|ends)":\s*"\d{4}-.*`)
	for _, name := range pages(t) {
		for _, m := range day.FindAllString(read(t, name), -1) {
			t.Errorf("%s: %s: compute the time, as with $(date -u -d '+1 hour' +%%FT%%TZ)", name, m)
		}
	}
	if computed := regexp.MustCompile(`"(?:at|until)":"\$\(date `).FindAllString(read(t, "docs/channels.md"), -1); len(computed) < 2 {
		t.Errorf("docs/channels.md computes %d times: this test looks for the wrong thing", len(computed))
	}
}

// TestDependenciesHaveAReason holds docs/dependencies.md against what the module imports.
func TestDependenciesHaveAReason(t *testing.T) {
	required := requiredModules(t)
	direct := make(map[string]bool)
	module := moduleOf(t)
	for _, f := range goFiles(t) {
		for _, imp := range f.imports {
			if imp == module || strings.HasPrefix(imp, module+"/") || !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
				continue
			}
			if m := moduleFor(required, imp); m != "" {
				direct[m] = true
			} else {
				t.Errorf("%s imports %s, which go.mod does not require", f.name, imp)
			}
		}
	}
	for line := range strings.Lines(read(t, ".ci/tools/go.mod")) {
		line = strings.TrimSpace(line)
		if tool := moduleFor(requiredIn(t, ".ci/tools/go.mod"), line); tool != "" && !strings.Contains(line, " ") {
			direct[tool] = true
		}
	}
	reasons := make(map[string]bool)
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*) \\|$")
	for _, m := range row.FindAllStringSubmatch(read(t, "docs/dependencies.md"), -1) {
		reasons[m[1]] = true
		if !direct[m[1]] {
			t.Errorf("docs/dependencies.md explains %s, which nothing imports", m[1])
		}
		if len(m[2]) < 30 {
			t.Errorf("docs/dependencies.md: %q is no reason for %s", m[2], m[1])
		}
	}
	for m := range direct {
		if !reasons[m] {
			t.Errorf("docs/dependencies.md has no row for %s", m)
		}
	}
}

func requiredModules(t *testing.T) []string { return requiredIn(t, "go.mod") }

var requireMark = regexp.MustCompile(`(?m)^(?:require )?\s*([^\s(]+\.[^\s(]+) v[0-9]\S*`)

func requiredIn(t *testing.T, name string) (out []string) {
	t.Helper()
	for _, m := range requireMark.FindAllStringSubmatch(read(t, name), -1) {
		out = append(out, m[1])
	}
	if len(out) == 0 {
		t.Fatalf("%s requires nothing", name)
	}
	return out
}

// moduleFor is the longest module path that an import path lies under.
func moduleFor(modules []string, imp string) (best string) {
	for _, m := range modules {
		if (imp == m || strings.HasPrefix(imp, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	return best
}
