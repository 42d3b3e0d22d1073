package openroom

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hwangso/hwangso/store"
)

func TestCleanNick(t *testing.T) {
	for in, want := range map[string]string{
		"  Blue   Whale ": "Blue Whale",
		"ＢＬＵＥ":            "BLUE",
		"ㅋㅋㅋ고래":           "ㅋㅋㅋ고래",
		"José":            "José",
		"👩‍👩‍👧 family":    "👩‍👩‍👧 family",
		"☕":               "☕",
		"🇰🇷🇰🇷🇰🇷🇰🇷🇰🇷🇰🇷🇰🇷🇰🇷🇰🇷🇰🇷": "🇰🇷🇰🇷🇰🇷🇰🇷🇰🇷🇰🇷🇰🇷🇰🇷🇰🇷🇰🇷",
		strings.Repeat("가", 20): strings.Repeat("가", 20),
		"ครูสมศรี":              "ครูสมศรี",
	} {
		if got, err := CleanNick(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for in, code := range map[string]store.Code{
		"": store.CodeBad, " \t": store.CodeBad, "...": store.CodeBad, "a\nb": 0, "a\x00b": store.CodeBad, "\u202eabc": store.CodeBad,
		"~abcdefghijklmnop": store.CodeBad, "· joined": store.CodeBad, "・x": store.CodeBad, "@all": store.CodeBad, "bob: hi": store.CodeBad,
		"bob：hi": store.CodeBad, "a" + strings.Repeat("\u0301", 12): store.CodeBad, "\xff": store.CodeBad, "\u3164": store.CodeBad, "ab\u3164": store.CodeBad,
		"\u200b": store.CodeBad, "a\u200bb": store.CodeBad, strings.Repeat("가", 21): store.CodeTooLarge, strings.Repeat("a", 5000): store.CodeTooLarge,
		"\u2800\u2800": store.CodeBad, "\u0301a": store.CodeBad,
	} {
		if got, err := CleanNick(in); store.CodeOf(err) != code {
			t.Errorf("%q: %q, %v, want %d", in, got, err, code)
		}
	}
}

func TestSkeleton(t *testing.T) {
	for _, same := range [][]string{
		{"Whale", "whale", "WHALE", "ｗｈａｌｅ", "w h a l e", "wha1e", "whаle", "Whalé", "w.h.a.l.e", "𝐖𝐡𝐚𝐥𝐞", "vvhale"},
		{"Bill", "B1ll", "BiII", "вill"},
		{"modern", "modem"},
		{"고래", "고 래", "고래"},
		{"ロボ", "口ボ"},
		{"Ωmega", "wmega"},
		{"Ꭺlice", "alice", "аlісе"},
	} {
		for _, s := range same[1:] {
			if Skeleton(s) != Skeleton(same[0]) {
				t.Errorf("%q %q, %q %q", same[0], Skeleton(same[0]), s, Skeleton(s))
			}
		}
	}
	for _, p := range [][2]string{{"고래", "고레"}, {"か", "が"}, {"whale", "shale"}, {"가", "나"}, {"🐳", "🐬"}, {"x", "y"}} {
		if Skeleton(p[0]) == Skeleton(p[1]) {
			t.Errorf("%q and %q are one", p[0], p[1])
		}
	}
}

func TestReserved(t *testing.T) {
	for _, s := range []string{"admin", "Admin", "ADMIN 1", "adm1n", "@dmin", "аdmin", "a d m i n", "the admin", "Admin Bob", "m0d3rat0r", "Moderators", "hwangso",
		"hwang-so", "Hwangso Team", "황소", "황소 운영자", "운영자", "관리자입니다", "방장님", "管理人", "官方客服", "ผู้ดูแล", "Modérateur", "yönetici", "Administratorin",
		"Οwner", "official", "$ystem", "админ"} {
		if !Reserved(s) {
			t.Errorf("%q is free", s)
		}
	}
	for _, s := range []string{"Badminton", "cooperator", "Ali", "model", "Adam", "황소개구리", "고래", "Modesty", "whale", "hosted", "운동장", "ครูสมศรี", "Serverless Joe"} {
		if Reserved(s) {
			t.Errorf("%q is reserved", s)
		}
	}
}

func TestResembles(t *testing.T) {
	for _, p := range [][2]string{{"Whale", "whale"}, {"Whale1", "whale"}, {"Whales", "whale"}, {"whlae", "whale"}, {"whal", "whale"}, {"_whale_", "whale"},
		{"whale007", "whale"}, {"고래1", "고래"}} {
		if !Resembles(p[0], p[1]) {
			t.Errorf("%q does not resemble %q", p[0], p[1])
		}
	}
	for _, p := range [][2]string{{"Bob", "Rob"}, {"고래", "고레"}, {"blue whale", "whale"}, {"Tim2", "T"}, {"shark", "whale"}} {
		if Resembles(p[0], p[1]) {
			t.Errorf("%q resembles %q", p[0], p[1])
		}
	}
}

func FuzzNick(f *testing.F) {
	for _, s := range []string{"", "whale", "ㅋㅋ", "👩‍👩‍👧", "\u0301", "🇰🇷", "a\u200d", "ﬀ", "ẞ", "\u1100\u1161", "\xed\xa0\x80", "\ufdfa", "가\u3164", "\uaba4", "\u13d4", "\u13fd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		nick, err := CleanNick(s)
		if err != nil {
			if c := store.CodeOf(err); c != store.CodeBad && c != store.CodeTooLarge {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if !utf8.ValidString(nick) || len(nick) > MaxNickBytes || nick == "" {
			t.Fatalf("%q gives %q", s, nick)
		}
		if again, err := CleanNick(nick); err != nil || again != nick {
			t.Fatalf("%q is cleaned to %q, and that to %q, %v", s, nick, again, err)
		}
		if Skeleton(nick) == "" || Skeleton(nick) != Skeleton(strings.ToUpper(strings.ToLower(nick))) && strings.EqualFold(nick, strings.ToUpper(strings.ToLower(nick))) {
			t.Fatalf("%q: skeleton %q", nick, Skeleton(nick))
		}
		if !Resembles(nick, nick) {
			t.Fatalf("%q does not resemble itself", nick)
		}
		Reserved(nick)
	})
}
