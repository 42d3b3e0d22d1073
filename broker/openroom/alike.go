package openroom

import (
	"slices"
	"strings"
	"unicode"
)

// alike are the characters, after case folding, that pass for Latin letters, and what they pass for. Of i, l and 1, which
// pass for each other, l stands for all.
var alike = map[rune]string{
	// digits
	'0': "o", '1': "l", 'i': "l",
	// Cyrillic
	'а': "a", 'в': "b", 'с': "c", 'ԁ': "d", 'е': "e", 'ё': "e", 'ғ': "f", 'ԍ': "g", 'һ': "h", 'н': "h", 'і': "l", 'ї': "l",
	'ӏ': "l", 'ј': "j", 'к': "k", 'м': "m", 'о': "o", 'п': "n", 'р': "p", 'ԛ': "q", 'г': "r", 'ѕ': "s", 'т': "t", 'ѵ': "v",
	'ԝ': "w", 'х': "x", 'у': "y", 'ү': "y", 'ӡ': "3", 'з': "3", 'ь': "b", 'ә': "e",
	// Greek
	'α': "a", 'β': "b", 'ϲ': "c", 'δ': "d", 'ε': "e", 'η': "n", 'ι': "l", 'κ': "k", 'μ': "m", 'ν': "v", 'ο': "o", 'ρ': "p",
	'σ': "o", 'τ': "t", 'υ': "u", 'χ': "x", 'γ': "y", 'ω': "w", 'ζ': "z",
	// Armenian
	'օ': "o", 'ս': "u", 'ո': "n", 'հ': "h", 'ց': "g", 'ք': "p", 'յ': "j", 'զ': "q", 'լ': "l",
	// Latin beyond ASCII that no decomposition takes apart
	'ı': "l", 'ȷ': "j", 'ł': "l", 'ø': "o", 'đ': "d", 'ħ': "h", 'ŧ': "t", 'ƀ': "b", 'ɑ': "a", 'ɡ': "g", 'ɩ': "l", 'ɪ': "l",
	'ʟ': "l", 'ʀ': "r", 'ɴ': "n", 'ᴀ': "a", 'ᴄ': "c", 'ᴅ': "d", 'ᴇ': "e", 'ᴊ': "j", 'ᴋ': "k", 'ᴍ': "m", 'ᴏ': "o", 'ᴘ': "p",
	'ᴛ': "t", 'ᴜ': "u", 'ᴠ': "v", 'ᴡ': "w", 'ᴢ': "z", 'ʜ': "h", 'ʏ': "y", 'ǀ': "l", 'æ': "ae", 'œ': "oe", 'ŋ': "n", 'ƅ': "b",
	'ɾ': "r", 'ʋ': "u", 'ɯ': "w", 'ʙ': "b", 'ɢ': "g",
	// Cherokee and Lisu, whose capitals look Latin
	'ꭺ': "a", 'ꭰ': "d", 'ꭼ': "e", 'ꮋ': "h", 'ꮖ': "l", 'ꭻ': "j", 'ꮶ': "k", 'ꮮ': "l", 'ꮇ': "m", 'ꮲ': "p", 'ꭱ': "e",
	'ꮪ': "s", 'ꭲ': "l", 'ꮩ': "v", 'ꮃ': "w", 'ꮓ': "z",
	'Ꭰ': "d", 'Ꭱ': "r", 'Ꭲ': "t", 'Ꭺ': "a", 'Ꭻ': "j", 'Ꭼ': "e", 'Ꮋ': "h", 'Ꮇ': "m", 'Ꮖ': "l", 'Ꮲ': "p", 'Ꮪ': "s",
	'Ꮃ': "w", 'Ꮓ': "z", 'Ꮮ': "l", 'Ꮯ': "c", 'Ꮶ': "k",
	'ꓐ': "b", 'ꓑ': "p", 'ꓓ': "d", 'ꓔ': "t", 'ꓖ': "g", 'ꓗ': "k", 'ꓙ': "j", 'ꓚ': "c", 'ꓜ': "z", 'ꓝ': "f", 'ꓟ': "m",
	'ꓠ': "n", 'ꓡ': "l", 'ꓢ': "s", 'ꓣ': "r", 'ꓦ': "v", 'ꓧ': "h", 'ꓪ': "w", 'ꓫ': "x", 'ꓬ': "y", 'ꓮ': "a", 'ꓰ': "e",
	'ꓲ': "l", 'ꓳ': "o", 'ꓴ': "u",
	// Katakana and Han characters that are the same strokes
	'ー': "一", 'ロ': "口", 'ニ': "二", 'カ': "力", 'タ': "夕", 'エ': "工", 'ハ': "八", 'ト': "卜", 'へ': "ヘ", 'べ': "ベ", 'ぺ': "ペ",
}

// pairs are letters that together pass for one.
var pairs = strings.NewReplacer("rn", "m", "vv", "w")

// leet are the digits, and signs the signs, that stand for letters among who plays with them. They count for reserved
// words only.
var (
	leet  = strings.NewReplacer("3", "e", "4", "a", "5", "s", "7", "t", "8", "b", "9", "g")
	signs = strings.NewReplacer("@", "a", "$", "s", "|", "l", "!", "l", "€", "e", "+", "t")
)

// undressed is what a nickname stands for once it is undressed.
func undressed(s string) string { return leet.Replace(Skeleton(signs.Replace(s))) }

// reservedWords are what nobody may call itself: the offices of a room and of the service, in the languages that the
// server speaks, and the service. A nickname is refused if it is one of them or one of its words is, digits at the ends
// not counted.
var reservedWords = []string{
	"admin", "administrator", "mod", "mods", "moderator", "operator", "owner", "staff", "support", "system", "official", "server",
	"bot", "host", "root", "sysop", "webmaster", "helpdesk", "everyone", "here", "nobody", "hwangso", "hwangsoteam", "황소",
	"관리자", "운영자", "운영진", "방장", "부방장", "공식", "시스템", "고객센터", "매니저",
	"管理人", "管理者", "運営", "公式", "モデレーター", "オーナー", "システム", "サポート",
	"administrador", "administradora", "moderador", "moderadora", "operador", "operadora", "dueno", "soporte", "oficial", "sistema",
	"管理員", "管理员", "版主", "群主", "房主", "客服", "官方", "系統", "系统", "運營", "运营",
	"ผู้ดูแล", "แอดมิน", "เจ้าของห้อง", "ระบบ", "ทีมงาน",
	"yonetici", "moderatör", "operatör", "sahip", "destek", "resmi", "sistem",
	"administratorin", "moderatorin", "betreiber", "inhaber", "besitzer", "offiziell",
	"administrateur", "administratrice", "modérateur", "modératrice", "opérateur", "propriétaire", "assistance", "officiel", "système",
	"dono", "dona", "suporte", "proprietário",
	"amministratore", "amministratrice", "moderatore", "moderatrice", "operatore", "proprietario", "assistenza", "ufficiale",
	"админ", "администратор", "модератор", "оператор", "владелец", "поддержка",
}

// within are reserved words that are refused wherever they stand in a nickname: long enough, or of a script without
// spaces, so that little else holds them.
var withinWords = []string{"administrat", "moderator", "hwangso", "관리자", "운영자", "운영진", "방장", "管理人", "管理者", "管理員", "管理员", "版主",
	"群主", "官方", "公式", "운영팀", "황소팀", "แอดมิน", "ผู้ดูแล"}

var (
	reserved = skeletons(reservedWords)
	within   = skeletons(withinWords)
)

func skeletons(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = undressed(w)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Reserved reports whether a nickname is kept for who runs rooms and the service: it holds one of their titles, however
// it is dressed up.
func Reserved(nick string) bool {
	is := func(s string) bool {
		for _, bare := range []string{s, strings.TrimFunc(s, unicode.IsDigit)} {
			if _, found := slices.BinarySearch(reserved, undressed(bare)); found && bare != "" {
				return true
			}
		}
		return false
	}
	if is(nick) || slices.ContainsFunc(strings.FieldsFunc(nick, parts), is) {
		return true
	}
	whole := undressed(nick)
	return slices.ContainsFunc(within, func(w string) bool { return strings.Contains(whole, w) })
}

// parts cuts a nickname into words; signs that stand for letters do not.
func parts(r rune) bool {
	return !strings.ContainsRune("@$|!€+", r) && !unicode.In(r, unicode.L, unicode.N, unicode.M)
}
