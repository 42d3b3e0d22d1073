package policy

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// row is one line of the truth table: its facts by the names of the columns.
type row struct {
	t     *testing.T
	line  int
	facts map[string]string
}

func (r row) is(column string) bool {
	switch v := r.word(column); v {
	case "0":
		return false
	case "1":
		return true
	default:
		r.t.Fatalf("line %d: %s is %q", r.line, column, v)
		return false
	}
}

func (r row) word(column string) string {
	v, ok := r.facts[column]
	if !ok {
		r.t.Fatalf("line %d has no column %s", r.line, column)
	}
	return v
}

// among is the word's place among the words of a column.
func (r row) among(column string, words ...string) int {
	at := slices.Index(words, r.word(column))
	if at < 0 {
		r.t.Fatalf("line %d: %s is %q", r.line, column, r.word(column))
	}
	return at
}

func (r row) state() store.AccountState {
	return []store.AccountState{store.AccountOK, store.AccountLimited, store.AccountSuspended}[r.among("aState", "ok", "limited", "suspended")]
}

func (r row) block() Block { return Block(r.among("bBlocksA", "none", "msg", "msg+profile")) }

func (r row) send() SendFacts {
	return SendFacts{AState: r.state(), ABlocksB: r.is("aBlocksB"), BHasA: r.is("bHasA"), BReplied: r.is("bReplied"),
		Budget: r.is("budget"), BExists: r.is("bExists"), BPolicy: Strangers(r.word("bPolicy")),
		RequestFull: r.is("requestFull"), BBlocksA: r.block()}
}

func (r row) invite() InviteFacts {
	return InviteFacts{AState: r.state(), Budget: r.is("budget"), Member: r.is("member"), Full: r.is("full"), AHasI: r.is("aHasI"),
		ABlocksI: r.is("aBlocksI"), IExists: r.is("iExists"), IRefused: r.is("iRefused"), IBlocksA: r.is("iBlocksA"),
		IHasA: r.is("iHasA"), IPolicy: Invitations(r.word("iPolicy")), IBlocksSomeMember: r.is("iBlocksSomeMember")}
}

func (r row) group() GroupFacts {
	return GroupFacts{AState: r.state(), AMuted: r.is("aMutedInRoom"), MMemberNow: r.is("mMemberNow"), MMemberThen: r.is("mMemberThen"),
		HistoryOpen: r.is("historyOpen"), BlockedThen: r.is("blockedThen"), MHideBlocked: r.is("mHideBlocked"),
		MMutesRoom: r.is("mMutesRoom"), Mentioned: r.is("mentioned")}
}

func (r row) visible() VisibleFacts {
	return VisibleFacts{BExists: r.is("bExists"), BHasA: r.is("bHasA"), AHasB: r.is("aHasB"), SharedRoom: r.is("sharedRoom"),
		Answered: r.is("answered"), Findable: r.is("findable"), BBlocksA: r.block(), ABlocksB: r.is("aBlocksB"),
		BShares: r.is("bShares"), AShares: r.is("aShares")}
}

func (r row) channel() ChannelFacts {
	return ChannelFacts{State: ChannelState(r.word("cState")), Following: r.is("following"), Blocked: r.is("blocked"),
		InSegment: r.is("inSegment"), Expired: r.is("expired"), Ad: r.among("kind", "info", "ad") == 1, AdConsent: r.is("adConsent"),
		Capped: r.is("capped"), Night: r.is("night"), Quiet: r.is("quiet"), Muted: r.is("muted"), PushWanted: r.is("pushWanted")}
}

func (r row) open() OpenFacts {
	roles := []store.Role{store.RoleNone, store.RoleMember, store.RoleModerator, store.RoleOwner}
	return OpenFacts{AState: r.state(), Role: roles[r.among("role", "none", "member", "moderator", "owner")], Banned: r.is("banned"),
		Kind: OpenKind(r.word("kind")), Code: r.is("code"), Full: r.is("full"), NickTaken: r.is("nickTaken"),
		Muted: r.is("muted"), Slow: r.is("slow"), Locked: r.is("locked")}
}

// tables are the truth tables: how many rows each has, and what the code says about a row.
var tables = map[string]struct {
	rows   int
	decide func(row) string
}{
	"T1_send_1to1":  {2304, func(r row) string { return string(Send(r.send())) }},
	"T2_invite":     {12288, func(r row) string { return string(Invite(r.invite())) }},
	"T3_group_view": {768, func(r row) string { return string(GroupView(r.group())) }},
	"T4_visibility": {1536, func(r row) string { return Visible(r.visible()).String() }},
	"T5_channel":    {6144, func(r row) string { return string(Channel(r.channel())) }},
	"T6_open_room": {9216, func(r row) string {
		if r.among("op", "join", "send") == 0 {
			return string(JoinOpen(r.open()))
		}
		return string(SendOpen(r.open()))
	}},
}

// eachRow reads the truth tables. Lines that begin with # name the columns of the rows of their table.
func eachRow(t *testing.T, visit func(table string, r row, outcome string)) {
	t.Helper()
	file, err := os.Open("testdata/policy.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	columns := make(map[string][]string)
	in := bufio.NewScanner(file)
	for line := 1; in.Scan(); line++ {
		words := strings.Split(in.Text(), "\t")
		if name, head := strings.CutPrefix(words[0], "#"); head {
			columns[name] = words[1:]
			continue
		}
		names := columns[words[0]]
		if len(names) == 0 || len(words) != len(names)+1 {
			t.Fatalf("line %d has %d words, its table %d columns", line, len(words), len(names))
		}
		facts := make(map[string]string, len(names))
		for i, name := range names {
			facts[name] = words[i+1]
		}
		outcome := facts["outcome"]
		delete(facts, "outcome")
		visit(words[0], row{t, line, facts}, outcome)
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
}

// TestTables holds the code against every row, and the rows against each other: every combination of facts stands there,
// once.
func TestTables(t *testing.T) {
	total, wrong := 0, 0
	seen := make(map[string]map[string]bool)
	values := make(map[string]map[string]map[string]bool)
	eachRow(t, func(table string, r row, outcome string) {
		total++
		rule, ok := tables[table]
		if !ok {
			t.Fatalf("line %d: there is no rule for table %s", r.line, table)
		}
		if seen[table] == nil {
			seen[table], values[table] = make(map[string]bool), make(map[string]map[string]bool)
		}
		var facts []string
		for column, v := range r.facts {
			if values[table][column] == nil {
				values[table][column] = make(map[string]bool)
			}
			values[table][column][v] = true
			facts = append(facts, column+"="+v)
		}
		slices.Sort(facts)
		seen[table][strings.Join(facts, " ")] = true
		if got := rule.decide(r); got != outcome {
			if wrong++; wrong <= 20 {
				t.Errorf("%s, line %d, %s: %s, want %s", table, r.line, strings.Join(facts, " "), got, outcome)
			}
		}
	})
	if wrong > 20 {
		t.Errorf("%d rows are wrong", wrong)
	}
	if total != 32256 {
		t.Errorf("%d rows, want 32256", total)
	}
	for name, rule := range tables {
		combinations := 1
		for _, v := range values[name] {
			combinations *= len(v)
		}
		if n := len(seen[name]); n != rule.rows || n != combinations {
			t.Errorf("%s: %d different rows, want %d of %d combinations", name, n, rule.rows, combinations)
		}
	}
}

// Outcomes lists what the tables say, no more and no less.
func TestOutcomesAreThoseOfTheTables(t *testing.T) {
	said := make(map[Outcome]bool)
	eachRow(t, func(table string, r row, outcome string) {
		if table != "T4_visibility" {
			said[Outcome(outcome)] = true
		}
	})
	for o := range said {
		if !slices.Contains(Outcomes, o) {
			t.Errorf("%s is not listed", o)
		}
	}
	for i, o := range Outcomes {
		if !said[o] || slices.Contains(Outcomes[:i], o) {
			t.Errorf("%s is listed and no table says it, or it is listed twice", o)
		}
	}
}
