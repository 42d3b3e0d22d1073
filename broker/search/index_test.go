package search

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

func names(f Found) string {
	var out []string
	for _, r := range f.Entries {
		out = append(out, r.Name)
	}
	return strings.Join(out, " ")
}

func search(t *testing.T, x *Index, q Query) Found {
	t.Helper()
	f, err := x.Search(q, 1)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func sample() *Index {
	x := New()
	for i, r := range []Entry{
		{Name: "gangnam", Title: "서울강남맛집탐방", Tags: []string{"맛집", "서울"}, Language: "ko", Country: "KR", Size: 100},
		{Name: "baduk", Title: "바둑 두는 사람들", Description: "강남에서 모입니다", Language: "ko", Country: "KR", Size: 20},
		{Name: "cafe", Title: "Café Lovers", Tags: []string{"Coffee"}, Language: "pt-BR", Country: "BR", Size: 9},
		{Name: "go", Title: "Gophers", Tags: []string{"go", "coding"}, Description: "coffee and code", Language: "en", Size: 2000},
		{Name: "sushi", Title: "東京の寿司ログ", Language: "ja", Country: "JP", Size: 5},
		{Name: "thai", Title: "อาหารไทยอร่อย", Language: "th", Country: "TH", Size: 5},
		{Name: "kpop", Title: "K팝 팬클럽", Tags: []string{"k팝"}, Language: "ko", Size: 7},
		{Name: "closed", Title: "coffee closed", Hidden: true, Size: 7},
	} {
		r.Log = store.LogID(i + 1)
		x.Put(r)
	}
	return x
}

func TestSearch(t *testing.T) {
	x := sample()
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{Text: "강남"}, "gangnam baduk"},
		{Query{Text: "맛집"}, "gangnam"},
		{Query{Text: "집탐"}, "gangnam"},
		{Query{Text: "방"}, "gangnam"},
		{Query{Text: "강남 모입"}, "baduk"},
		{Query{Text: "강북"}, ""},
		{Query{Text: "남강"}, ""},
		{Query{Text: "寿司"}, "sushi"},
		{Query{Text: "京の"}, "sushi"},
		{Query{Text: "ไทย"}, "thai"},
		{Query{Text: "cafe"}, "cafe"},
		{Query{Text: "CAFÉ LOV"}, "cafe"},
		{Query{Text: "ｃｏｆ"}, "go cafe"}, // a large room outweighs a tag
		{Query{Text: "overs"}, ""},
		{Query{Text: "k팝"}, "kpop"},
		{Query{Text: "팬클"}, "kpop"},
		{Query{Tags: []string{"COFFEE"}}, "cafe"},
		{Query{Tags: []string{"go", "coding"}, Text: "goph"}, "go"},
		{Query{Language: "pt"}, "cafe"},
		{Query{Language: "p"}, ""},
		{Query{Language: "KO", Country: "kr"}, "gangnam baduk"},
		{Query{Text: "?!"}, ""},
		{Query{}, "go gangnam baduk cafe kpop sushi thai"},
		{Query{Skip: func(l store.LogID) bool { return l < 5 }}, "kpop sushi thai"},
	} {
		if got := names(search(t, x, c.q)); got != c.want {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
	for _, after := range []string{"x", "1.2", "..", "zzzzzzzzzzzzzzzz.1.a", "0.0.a", "1.-5.a"} {
		if _, err := x.Search(Query{After: after}, 1); store.CodeOf(err) != store.CodeBad {
			t.Errorf("after %q: %v", after, err)
		}
	}
}

func TestPut(t *testing.T) {
	x := sample()
	x.Tell([]News{{Log: 2, Events: 5000, Size: 30}, {Log: 99, Events: 1}}, 1)
	if got := names(search(t, x, Query{Text: "강남"})); got != "baduk gangnam" {
		t.Errorf("the busy room is not first: %s", got)
	}
	x.Put(Entry{Log: 2, Name: "baduk", Title: "체스", Size: 30})
	if got := names(search(t, x, Query{Text: "강남"})); got != "gangnam" {
		t.Errorf("an old description is found: %s", got)
	}
	if f := search(t, x, Query{Text: "체스"}); len(f.Entries) != 1 || f.Entries[0].Activity != 5000 || f.Entries[0].Size != 30 {
		t.Errorf("%+v", f)
	}
	x.Remove(2)
	x.Remove(2)
	if got := names(search(t, x, Query{Text: "체스"})); got != "" || x.Knows(2) || x.Len() != 7 {
		t.Errorf("%q, %d", got, x.Len())
	}
	x.Put(Entry{Log: 50, Name: "new", Title: "서울 체스"})
	if got := names(search(t, x, Query{Text: "서울"})); got != "gangnam new" {
		t.Errorf("in a place used before: %q", got)
	}
	for log := range store.LogID(60) {
		x.Remove(log)
	}
	if len(x.words) != 0 || x.Len() != 0 {
		t.Errorf("%d words are left", len(x.words))
	}
}

func TestActivityDecays(t *testing.T) {
	x := New()
	x.Put(Entry{Log: 1, Name: "a", Title: "x"})
	x.Tell([]News{{Log: 1, Events: 8, Size: -1}}, 1)
	later := 1 + HalfLife.Milliseconds()
	x.Tell([]News{{Log: 1, Events: 1, Size: -1}}, later)
	if f := search(t, x, Query{}); f.Entries[0].Activity != 5 || f.Entries[0].At != later {
		t.Errorf("%+v", f.Entries[0])
	}
}

func TestWeigh(t *testing.T) {
	x := sample()
	x.Weigh(2, 100_000, 3, 1)
	x.Weigh(99, 1, 1, 1)
	if f := search(t, x, Query{Text: "강남"}); names(f) != "baduk gangnam" || f.Entries[0].Size != 100_000 || f.Entries[0].Activity != 3 {
		t.Errorf("%+v", f)
	}
	x.Weigh(2, 1, 0, 1)
	if got := names(search(t, x, Query{Text: "강남"})); got != "gangnam baduk" {
		t.Errorf("what it was weighed before counts: %s", got)
	}
}

// Pages together are what one large page is, and what happens in between moves nothing twice.
func TestPages(t *testing.T) {
	x := New()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		x.Put(Entry{Log: store.LogID(i + 1), Name: fmt.Sprintf("r%03d", rng.IntN(1000)*1000+i), Title: "방 " + fmt.Sprint(i), Size: rng.IntN(4)})
	}
	all, err := x.Search(Query{Text: "방", Max: 1000}, 7)
	if err != nil || len(all.Entries) != 300 || all.Next != "" {
		t.Fatalf("%d, %q, %v", len(all.Entries), all.Next, err)
	}
	for _, skip := range []func(store.LogID) bool{nil, func(l store.LogID) bool { return l%3 == 0 }} {
		var got []string
		q := Query{Text: "방", Max: 7, Skip: skip}
		for pages := 0; ; pages++ {
			f, err := x.Search(q, int64(7+pages))
			if err != nil || pages > 60 {
				t.Fatal(err, pages)
			}
			for _, r := range f.Entries {
				got = append(got, r.Name)
			}
			if q.After = f.Next; f.Next == "" {
				break
			}
		}
		var want []string
		for _, r := range all.Entries {
			if skip == nil || !skip(r.Log) {
				want = append(want, r.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d in pages, %d in one", len(got), len(want))
		}
	}
}

// Random changes against a list that is searched by hand.
func TestAgainstModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	letters := []rune("가나다라ab寿")
	text := func() string {
		out := make([]rune, rng.IntN(6))
		for i := range out {
			out[i] = letters[rng.IntN(len(letters))]
		}
		return string(out)
	}
	x, model := New(), map[store.LogID]Entry{}
	for range 500 {
		log := store.LogID(rng.IntN(30) + 1)
		if rng.IntN(3) == 0 {
			x.Remove(log)
			delete(model, log)
		} else {
			r := Entry{Log: log, Name: fmt.Sprint("r", log), Title: text(), Tags: []string{text()}, Description: text()}
			x.Put(r)
			model[log] = r
		}
		q := text()
		got := map[string]bool{}
		for _, r := range search(t, x, Query{Text: q, Max: 100}).Entries {
			got[r.Name] = true
		}
		for _, r := range model {
			want := true
			terms(q, true, func(term string) bool {
				ok := false
				for _, field := range []string{r.Title, r.Tags[0], r.Description} {
					terms(field, false, func(w string) bool { ok = ok || strings.HasPrefix(w, term); return true })
				}
				want = want && ok
				return true
			})
			if got[r.Name] != want {
				t.Fatalf("seed %d: %q in %+v: %v, want %v", seed, q, r, got[r.Name], want)
			}
		}
		if len(model) != x.Len() {
			t.Fatalf("seed %d: %d rooms, want %d", seed, x.Len(), len(model))
		}
	}
}

func FuzzSearch(f *testing.F) {
	for _, s := range []string{"", "강남", "a", "İstanbul", "ﬃ", "\xff\xfe", "ー", "👩‍👩‍👧", strings.Repeat("가나다", 200), "ǅ", "ไท"} {
		f.Add(s, s)
	}
	x := sample()
	f.Fuzz(func(t *testing.T, text, query string) {
		const log = 1000
		x.Put(Entry{Log: log, Name: "fuzzed", Title: text})
		n := 0
		terms(text, false, func(term string) bool { n++; return term != "" })
		if _, err := x.Search(Query{Text: query, Tags: []string{query}}, 1); err != nil {
			t.Fatal(err)
		}
		asked := 0
		terms(text, true, func(string) bool { asked++; return true })
		if n > 0 && asked > 0 && n < MaxTerms { // whoever asks for the whole title finds the room
			if !slices.ContainsFunc(search(t, x, Query{Text: text, Max: 100}).Entries, func(r Entry) bool { return r.Log == log }) {
				t.Fatalf("%q is not found by itself", text)
			}
		}
		x.Remove(log)
		if x.Len() != 8 {
			t.Fatal("the room is still there")
		}
	})
}

// crowd is many rooms with texts of the usual kind: half of them Korean, three tags, a description of 60 characters.
func crowd(n int) []Entry {
	rng := rand.New(rand.NewPCG(3, 4))
	syllable := func() string { return string(rune(0xac00 + rng.IntN(600)*17)) }
	word := func() string {
		var b strings.Builder
		for range 3 + rng.IntN(6) {
			b.WriteByte("etaoinshrdlcumwfgypbvkjxqz"[min(25, int(rng.ExpFloat64()*6))])
		}
		return b.String()
	}
	out := make([]Entry, n)
	for i := range out {
		w := word
		if i%2 == 0 {
			w = func() string { return syllable() + syllable() + syllable() }
		}
		text := func(n int) string {
			s := w()
			for range n - 1 {
				s += " " + w()
			}
			return s
		}
		out[i] = Entry{Log: store.LogID(i + 1), Name: fmt.Sprintf("room%d", i), Title: text(3), Tags: []string{w(), w(), w()}, Description: text(12),
			Language: "ko", Country: "KR", Size: rng.IntN(3000), Activity: rng.ExpFloat64() * 100}
	}
	return out
}

// rooms are 100,000, or a twentieth of that with -short.
func rooms() []Entry {
	if testing.Short() {
		return crowd(5_000)
	}
	return crowd(100_000)
}

func BenchmarkBuild(b *testing.B) {
	rooms := rooms()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var x *Index
	for b.Loop() {
		x = New()
		for _, r := range rooms {
			x.Put(r)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(rooms)), "bytes/room")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(len(rooms)), "µs/room")
	runtime.KeepAlive(rooms)
	runtime.KeepAlive(x)
}

func BenchmarkSearch(b *testing.B) {
	rooms := rooms()
	x := New()
	for _, r := range rooms {
		x.Put(r)
	}
	two := func(s string) string { return string([]rune(s)[:2]) }
	for name, q := range map[string]Query{"two syllables": {Text: two(rooms[0].Title)}, "word": {Text: rooms[1].Tags[0]}, "one letter": {Text: "e"},
		"everything": {}, "three words": {Text: rooms[1].Title}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := x.Search(q, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("change", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			r := rooms[i%len(rooms)]
			r.Title = rooms[(i*7+1)%len(rooms)].Title
			x.Put(r)
		}
	})
}
