package storetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// pairModel is what a pair must look like, kept in the plainest way: for each record and user whether that user sees it
// is written down when it is appended, accepted or deleted.
type pairModel struct {
	users   [2]store.AccountID
	member  [2]bool
	records []pairRecord // by sequence - 1
	waiting [2][]int     // indexes of the messages of each user that wait
	head    [2]store.Seq
	wrote   [2]bool
}

type pairRecord struct {
	sender   int
	text     string
	audience store.Audience
	op       store.Op
	sees     [2]bool
	accepted [2]bool // lies in a range that was accepted, and not deleted since
}

func (m *pairModel) shown(viewer int) string {
	out := ""
	for i, r := range m.records {
		if !r.sees[viewer] || r.op.Kind != store.OpNone && !m.records[r.op.Target-1].sees[viewer] &&
			!(m.records[r.op.Target-1].accepted[viewer] && (r.sender == viewer || r.audience == store.AudienceBoth)) {
			continue // of what was accepted with others around it, operations show what they operate on
		}
		text, edited := r.text, store.Seq(0)
		for j, o := range m.records {
			applies := o.audience == store.AudienceBoth || o.sender == viewer || o.audience == store.AudienceRequest && o.sees[viewer]
			if o.op.Kind == store.OpEdit && int(o.op.Target) == i+1 && applies {
				text, edited = o.text, store.Seq(j+1)
			}
		}
		if edited != 0 {
			text = fmt.Sprintf("%s*%d", text, edited)
		}
		out += fmt.Sprintf("%d:%s ", i+1, text)
	}
	return out
}

func (m *pairModel) sides() string {
	out := ""
	for i := range 2 {
		wrote, first := "-", 0
		if m.wrote[i] {
			wrote = "w"
		}
		if len(m.waiting[i]) > 0 {
			first = m.waiting[i][0] + 1
		}
		out += fmt.Sprintf("%d%s%d@%d ", m.head[i], wrote, len(m.waiting[i]), first)
	}
	return out
}

// add notes an appended record.
func (m *pairModel) add(r pairRecord) {
	full := len(m.waiting[r.sender]) == store.MaxRequests
	if r.audience == store.AudienceRequest && r.op.Kind == store.OpNone && full {
		r.audience = store.AudienceSender
	}
	seq := store.Seq(len(m.records) + 1)
	for i := range 2 {
		if m.member[i] && (r.audience == store.AudienceBoth || r.sender == i) {
			r.sees[i], m.head[i] = true, seq
		}
	}
	if r.op.Kind == store.OpNone && r.audience != store.AudienceSender {
		m.wrote[r.sender] = true
		if r.audience == store.AudienceRequest {
			m.waiting[r.sender] = append(m.waiting[r.sender], len(m.records))
		}
	}
	m.records = append(m.records, r)
}

// answer takes what waits for a user away, and with accept shows it.
func (m *pairModel) answer(user int, accept bool) {
	other := 1 - user
	if accept && len(m.waiting[other]) > 0 {
		first := m.waiting[other][0]
		for i := first; i < len(m.records); i++ {
			r := &m.records[i]
			r.accepted[user] = true
			waits := r.audience == store.AudienceRequest && r.sender == other &&
				(r.op.Kind == store.OpNone || int(r.op.Target) > first) // nothing between was declined: it would not wait
			if waits {
				r.sees[user] = true
				m.head[user] = max(m.head[user], store.Seq(i+1))
			}
		}
	}
	m.waiting[other] = nil
	m.member[user] = m.member[user] || accept
}

// pairModelTest compares a pair with the model under random operations. HWANGSO_TEST_SEED repeats a run.
func pairModelTest(t *testing.T, open OpenStore) {
	seed, n := uint64(time.Now().UnixNano()), 250
	if v, err := strconv.ParseUint(os.Getenv("HWANGSO_TEST_SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("HWANGSO_TEST_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	l := newLogCase(t, open)
	log := l.pair(l.a)
	m := &pairModel{users: [2]store.AccountID{l.a, l.b}, member: [2]bool{true, false}}
	compare := func() {
		t.Helper()
		wantEqual(t, l.sides(log), m.sides())
		for i, u := range m.users {
			wantEqual(t, l.sees(log, u), m.shown(i))
			refs, err := l.LogsOf(u, 0, 0)
			noError(t, err)
			if (len(refs) == 1) != m.member[i] {
				t.Fatalf("%d is a member: %v, and has %d logs", u, m.member[i], len(refs))
			}
		}
	}
	for i := range n {
		u := rng.IntN(2)
		switch k := rng.IntN(100); {
		case k < 55: // a message, or an edit of an own one
			r := pairRecord{sender: u, text: fmt.Sprint("m", i), audience: store.Audience(rng.IntN(3))}
			if !m.member[u] { // who is none joins before it writes
				l.answer(log, store.ChangeOpen, m.users[u], 0, 0)
				m.member[u] = true
			}
			if r.audience == store.AudienceBoth && !m.member[1-u] {
				l.answer(log, store.ChangeOpen, m.users[1-u], 0, 0)
				m.member[1-u] = true
			}
			if target := rng.IntN(len(m.records) + 1); target > 0 && rng.IntN(3) == 0 && m.records[target-1].sender == u &&
				m.records[target-1].op.Kind == store.OpNone {
				r.op, r.audience = store.Op{Kind: store.OpEdit, Target: store.Seq(target)}, m.audienceOf(target-1)
			}
			l.append(store.Draft{Log: log, Sender: m.users[u], Text: []byte(r.text), Audience: r.audience, Op: r.op})
			m.add(r)
		case k < 70:
			l.answer(log, store.ChangeAccept, m.users[u], 0, 0)
			m.answer(u, true)
		case k < 78:
			l.answer(log, store.ChangeDecline, m.users[u], 0, 0)
			m.answer(u, false)
		case k < 84 && m.member[u] && len(m.records) > 0:
			from := rng.IntN(len(m.records))
			to := min(from+rng.IntN(3), len(m.records)-1)
			l.append(store.Draft{Log: log, Sender: m.users[u], Change: store.Change{Kind: store.ChangeDelete, Account: m.users[u],
				From: store.Seq(from + 1), To: store.Seq(to + 1)}})
			for j := from; j <= to; j++ {
				m.records[j].sees[u], m.records[j].accepted[u] = false, false
			}
		case k < 97:
			compare()
		default:
			compare()
			l.reopen()
		}
	}
	compare()
	l.reopen()
	compare()
	noError(t, l.Close())
}

// audienceOf is whom an author's edit of an own message is for, as package broker decides.
func (m *pairModel) audienceOf(i int) store.Audience {
	r := &m.records[i]
	switch {
	case r.audience == store.AudienceBoth || r.audience == store.AudienceRequest && r.sees[1-r.sender]:
		return store.AudienceBoth
	case r.audience == store.AudienceRequest:
		for _, w := range m.waiting[r.sender] {
			if w == i {
				return store.AudienceRequest
			}
		}
	}
	return store.AudienceSender
}
