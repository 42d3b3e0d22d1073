package cmd

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
)

const envPrefix = "HWANGSO_"

// fill gives every flag that the command line did not set the value that the environment has for it, or else the
// configuration file. The file is named by the flag -config itself, or HWANGSO_CONFIG. Names in the file that are no
// flag are an error, so that a typing mistake does not go unnoticed.
func fill(f *flag.FlagSet, getenv func(string) (string, bool)) error {
	set := make(map[string]bool)
	f.Visit(func(fl *flag.Flag) { set[fl.Name] = true })
	var err error
	f.VisitAll(func(fl *flag.Flag) {
		name := envName(fl.Name)
		if v, ok := getenv(name); ok && !set[fl.Name] && err == nil {
			if e := f.Set(fl.Name, v); e != nil {
				err = fmt.Errorf("environment variable %s: %q: %w", name, v, e)
			}
			set[fl.Name] = true
		}
	})
	if err != nil {
		return err
	}
	c := f.Lookup("config")
	if c == nil || c.Value.String() == "" {
		return nil
	}
	path := c.Value.String()
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	lines, err := parseConfig(text)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	for _, l := range lines {
		fl := f.Lookup(l.name)
		if fl == nil || l.name == "config" {
			return fmt.Errorf("configuration %s, line %d: there is no setting %q; hwangso serve --help lists them", path, l.line, l.name)
		}
		if set[l.name] {
			continue
		}
		if err := f.Set(l.name, l.value); err != nil {
			return fmt.Errorf("configuration %s, line %d: %s: %w", path, l.line, l.name, err)
		}
	}
	return nil
}

func envName(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

type configLine struct {
	name, value string
	line        int
}

// parseConfig reads lines `name = value`. Empty lines and those that begin with # are skipped; white space around name
// and value does not count; a value may stand in double quotes. A name may stand once.
func parseConfig(text []byte) ([]configLine, error) {
	var out []configLine
	seen := make(map[string]bool)
	sc := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; sc.Scan(); n++ {
		s := strings.TrimSpace(sc.Text())
		if s == "" || s[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(s, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" {
			return nil, fmt.Errorf("line %d: it must read name = value", n)
		}
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		if seen[name] {
			return nil, fmt.Errorf("line %d: %s stands there twice", n, name)
		}
		seen[name] = true
		out = append(out, configLine{name, value, n})
	}
	return out, sc.Err()
}
