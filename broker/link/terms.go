package link

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Limits of an app's terms.
const (
	maxName    = 40 // characters
	maxSchemes = 10 // of a system
	maxIDs     = 10
	maxStores  = 10
	maxID      = 150 // bytes
)

// checkTerms returns terms as they are stored: hosts in punycode, schemes in lower case, each once.
func (s *Service) checkTerms(in graph.AppTerms) (out graph.AppTerms, err error) {
	out.Icon = strings.ToLower(in.Icon)
	if out.Name, err = line("name", in.Name, maxName); err != nil {
		return out, err
	}
	if out.Name == "" {
		return out, store.Bad("name is missing: what people read with every link")
	}
	if len(in.Domains) > s.cfg.Limits.Domains {
		return out, full("domains", "an app has too many domains", s.cfg.Limits.Domains)
	}
	for i, d := range in.Domains {
		host, err := normalDomain(d)
		if err != nil {
			return out, store.Bad(fmt.Sprintf("domains[%d] %v", i, err))
		}
		if !slices.Contains(out.Domains, host) {
			out.Domains = append(out.Domains, host)
		}
	}
	slices.Sort(out.Domains)
	known := view.LinkSystems()
	for _, p := range slices.Sorted(maps.Keys(in.Systems)) {
		if !slices.Contains(known, string(p)) {
			return out, store.Bad("systems must be among " + strings.Join(known, ", "))
		}
		sys, err := checkSystem(p, in.Systems[p], out.Domains)
		if err != nil {
			return out, err
		}
		if out.Systems == nil {
			out.Systems = make(map[graph.Platform]graph.AppSystem)
		}
		out.Systems[p] = sys
	}
	if len(out.Domains) == 0 && len(out.Systems) == 0 {
		return out, store.Bad("an app needs a domain or a system: without, its links open nothing")
	}
	return out, nil
}

func checkSystem(p graph.Platform, in graph.AppSystem, domains []string) (out graph.AppSystem, err error) {
	at := "systems." + string(p) + "."
	if len(in.Schemes) > maxSchemes || len(in.IDs) > maxIDs || len(in.Stores) > maxStores {
		return out, store.Bad(at + "schemes, ids and stores have at most 10 each")
	}
	for _, scheme := range in.Schemes {
		scheme = strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(scheme, "//"), ":"))
		if !validScheme(scheme) {
			return out, store.Bad(at + "schemes must be such as mygame: 2 to 64 of a-z 0-9 + - . and a letter first")
		}
		if !ownScheme(scheme) {
			return out, store.Bad(at + "schemes: " + scheme + " is no app's own")
		}
		if !slices.Contains(out.Schemes, scheme) {
			out.Schemes = append(out.Schemes, scheme)
		}
	}
	for _, id := range in.IDs {
		if id == "" || len(id) > maxID || strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			return out, store.Bad(at + "ids must be names in the store such as com.example.game: at most " + strconv.Itoa(maxID) + " of A-Z a-z 0-9 . _ -")
		}
		if !slices.Contains(out.IDs, id) {
			out.IDs = append(out.IDs, id)
		}
	}
	for i, u := range in.Stores {
		url, err := installURL(p, u, domains, out.IDs)
		if err != nil {
			return out, store.Bad(fmt.Sprintf("%sstores[%d] %v", at, i, err))
		}
		if !slices.Contains(out.Stores, url) {
			out.Stores = append(out.Stores, url)
		}
	}
	slices.Sort(out.Schemes)
	slices.Sort(out.IDs)
	slices.Sort(out.Stores)
	return out, nil
}

// covered reports whether terms allow nothing that others do not: they can hold at once.
func covered(next, now graph.AppTerms) bool {
	subset := func(a, b []string) bool {
		return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
	}
	if next.Name != now.Name || next.Icon != now.Icon || !subset(next.Domains, now.Domains) {
		return false
	}
	for p, n := range next.Systems {
		o, ok := now.Systems[p]
		// Without ids any app of the store can be named, so fewer of them can be more.
		if !ok || !subset(n.Schemes, o.Schemes) || !subset(n.Stores, o.Stores) || !subset(n.IDs, o.IDs) || len(n.IDs) == 0 && len(o.IDs) > 0 {
			return false
		}
	}
	return true
}

// line checks a text that people read in one line. White space around it goes.
func line(field, s string, most int) (string, error) {
	s = strings.TrimSpace(s)
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > most {
		return "", &store.Error{Code: store.CodeTooLarge, Text: field + " may have at most " + strconv.Itoa(most) + " characters"}
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == utf8.RuneError || r == 0x2028 || r == 0x2029 || unicode.Is(unicode.Cf, r) && r != 0x200d {
			return "", store.Bad(field + " must be one line of text without control characters")
		}
	}
	return s, nil
}

func full(word, what string, limit int) error {
	return &store.Error{Code: store.CodeFull, Reason: word, Text: what + ": the limit is " + strconv.Itoa(limit)}
}
