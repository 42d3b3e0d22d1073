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

// logModel is what a store.Log must look like, kept in the plainest way: who may see each record is written down when
// it is appended.
type logModel struct {
	roles   map[store.AccountID]store.Role
	records []modelRecord // by sequence - 1
	marks   map[store.AccountID]store.Seq
	title   string
}

type modelRecord struct {
	sender   store.AccountID
	text     string
	audience store.Audience
	op       store.Op
	change   store.ChangeKind
	members  map[store.AccountID]bool // who was in when it was appended
	deleted  map[store.AccountID]bool
}

// sees is what logCase.sees must return.
func (m *logModel) sees(viewer store.AccountID) string {
	out := ""
	for i, r := range m.records {
		if viewer != 0 && (!r.members[viewer] || r.deleted[viewer] || r.audience != store.AudienceBoth && r.sender != viewer) {
			continue
		}
		if r.op.Kind != store.OpNone && viewer != 0 {
			if t := m.records[r.op.Target-1]; !t.members[viewer] || t.deleted[viewer] {
				continue
			}
		}
		out += fmt.Sprintf("%d:%s ", i+1, m.text(store.Seq(i+1), viewer))
	}
	return out
}

func (m *logModel) text(seq store.Seq, viewer store.AccountID) string {
	r := m.records[seq-1]
	text, edited := r.text, store.Seq(0)
	if viewer == 0 && r.audience != store.AudienceBoth { // the server sees what its only reader did to it
		viewer = r.sender
	}
	if r.op.Kind == store.OpEdit && m.recalled(r.op.Target, viewer) || m.recalled(seq, viewer) {
		return "-"
	}
	for i, o := range m.records {
		if o.op.Kind == store.OpEdit && o.op.Target == seq && o.appliesFor(viewer) {
			text, edited = o.text, store.Seq(i+1)
		}
	}
	switch {
	case edited != 0:
		return fmt.Sprintf("%s*%d", text, edited)
	case r.change != 0:
		return fmt.Sprintf("change%d", r.change)
	}
	return text
}

func (m *logModel) recalled(seq store.Seq, viewer store.AccountID) bool {
	for _, o := range m.records {
		if o.op.Kind == store.OpRecall && o.op.Target == seq && o.appliesFor(viewer) {
			return true
		}
	}
	return false
}

// appliesFor reports whether the viewer sees what the operation did.
func (r modelRecord) appliesFor(viewer store.AccountID) bool {
	return r.audience == store.AudienceBoth || r.sender == viewer
}

// logModelTest compares a store with the model under random operations. HWANGSO_TEST_SEED repeats a run,
// HWANGSO_TEST_OPS sets its length.
func logModelTest(t *testing.T, open OpenStore) {
	seed, n := uint64(time.Now().UnixNano()), 800
	if v, err := strconv.ParseUint(os.Getenv("HWANGSO_TEST_SEED"), 10, 64); err == nil {
		seed = v
	}
	if v, err := strconv.Atoi(os.Getenv("HWANGSO_TEST_OPS")); err == nil {
		n = v
	}
	t.Logf("HWANGSO_TEST_SEED=%d", seed)
	r := &logRun{logCase: newLogCase(t, open), rng: rand.New(rand.NewPCG(seed, 1)), models: map[store.LogID]*logModel{}}
	for i := range n {
		r.step(i)
	}
	r.compare()
	noError(t, r.Close())
}

type logRun struct {
	*logCase
	rng    *rand.Rand
	logs   []store.LogID
	models map[store.LogID]*logModel
	sent   []sentCID
}

type sentCID struct {
	draft store.Draft
	seq   store.Seq
}

func (r *logRun) account() store.AccountID {
	return []store.AccountID{r.a, r.b, r.c, r.d}[r.rng.IntN(4)]
}

func (r *logRun) step(i int) {
	if len(r.logs) == 0 || len(r.logs) < 6 && r.rng.IntN(50) == 0 {
		id := r.room(fmt.Sprint("room", i), r.a, r.b)
		r.logs = append(r.logs, id)
		r.models[id] = &logModel{roles: map[store.AccountID]store.Role{r.a: store.RoleOwner, r.b: store.RoleMember},
			marks: map[store.AccountID]store.Seq{}, title: fmt.Sprint("title of room", i)}
	}
	log := r.logs[r.rng.IntN(len(r.logs))]
	m := r.models[log]
	switch k := r.rng.IntN(100); {
	case k < 45:
		r.message(log, m, i)
	case k < 60:
		r.operation(log, m, i)
	case k < 70:
		r.membership(log, m)
	case k < 76:
		r.delete(log, m)
	case k < 86:
		r.mark(log, m)
	case k < 92:
		r.repeat()
	case k < 94:
		title := fmt.Sprint("title ", i)
		r.add(log, m, store.Draft{Log: log, Kind: store.KindSystem, Change: store.Change{Kind: store.ChangeTitle, Title: title}})
		m.title = title
	case k < 98:
		r.compareLog(log, m)
	default:
		r.compare()
		r.reopen()
	}
}

// add appends a draft that must succeed, to both.
func (r *logRun) add(log store.LogID, m *logModel, d store.Draft) {
	r.t.Helper()
	seq := r.append(d)
	if seq != store.Seq(len(m.records)+1) {
		r.t.Fatalf("sequence %d, the model says %d", seq, len(m.records)+1)
	}
	in := map[store.AccountID]bool{}
	for a, role := range m.roles {
		in[a] = role != store.RoleNone
	}
	m.records = append(m.records, modelRecord{sender: d.Sender, text: string(d.Text), audience: d.Audience, op: d.Op,
		change: d.Change.Kind, members: in, deleted: map[store.AccountID]bool{}})
	if d.CID != "" {
		r.sent = append(r.sent, sentCID{d, seq})
	}
}

func (r *logRun) message(log store.LogID, m *logModel, i int) {
	d := store.Draft{Log: log, Sender: r.account(), Device: store.DeviceID(r.rng.IntN(3)), Text: fmt.Append(nil, "m", i), Need: store.RoleMember}
	if r.rng.IntN(3) == 0 {
		d.CID = fmt.Sprint("cid", i)
	}
	if r.rng.IntN(8) == 0 {
		d.Audience = store.AudienceSender
	}
	if m.roles[d.Sender] == store.RoleNone {
		_, err := r.Append(d).Result()
		wantCode(r.t, err, store.CodeForbidden)
		return
	}
	r.add(log, m, d)
}

func (r *logRun) operation(log store.LogID, m *logModel, i int) {
	d := store.Draft{Log: log, Sender: r.account(), Text: fmt.Append(nil, "e", i),
		Op: store.Op{Kind: store.OpEdit, Target: store.Seq(r.rng.IntN(len(m.records)+2) + 1)}}
	if r.rng.IntN(3) == 0 {
		d.Op.Kind, d.Text = store.OpRecall, nil
	}
	if r.rng.IntN(4) == 0 {
		d.Audience = store.AudienceSender
	}
	if int(d.Op.Target) > len(m.records) {
		_, err := r.Append(d).Result()
		wantCode(r.t, err, store.CodeBad)
		return
	}
	r.add(log, m, d)
}

func (r *logRun) membership(log store.LogID, m *logModel) {
	a := r.account()
	c := store.Change{Kind: store.ChangeJoin, Account: a, Role: store.RoleMember}
	in := m.roles[a] != store.RoleNone
	switch {
	case in && r.rng.IntN(2) == 0:
		c = store.Change{Kind: store.ChangeRole, Account: a, Role: store.Role(r.rng.IntN(3) + 1)}
		m.roles[a] = c.Role
		r.add(log, m, store.Draft{Log: log, Kind: store.KindSystem, Change: c})
	case in: // the one who leaves sees it
		c.Kind = []store.ChangeKind{store.ChangeLeave, store.ChangeRemove}[r.rng.IntN(2)]
		r.add(log, m, store.Draft{Log: log, Kind: store.KindSystem, Change: c})
		m.roles[a] = store.RoleNone
	default: // the one who joins sees it, and sometimes something before it
		m.roles[a] = store.RoleMember
		if n := len(m.records); n > 0 && r.rng.IntN(3) == 0 {
			c.From = store.Seq(r.rng.IntN(n) + 1)
		}
		r.add(log, m, store.Draft{Log: log, Kind: store.KindSystem, Change: c})
		if c.From > 0 {
			for seq := c.From; int(seq) < len(m.records); seq++ {
				m.records[seq-1].members[a] = true
			}
		}
	}
}

func (r *logRun) delete(log store.LogID, m *logModel) {
	a := r.account()
	if m.roles[a] == store.RoleNone || len(m.records) == 0 {
		return
	}
	from := r.rng.IntN(len(m.records)) + 1
	to := min(from+r.rng.IntN(4), len(m.records))
	_, err := r.Append(store.Draft{Log: log, Sender: a, Change: store.Change{Kind: store.ChangeDelete, Account: a,
		From: store.Seq(from), To: store.Seq(to)}}).Result()
	noError(r.t, err)
	for seq := from; seq <= to; seq++ {
		m.records[seq-1].deleted[a] = true
	}
}

func (r *logRun) mark(log store.LogID, m *logModel) {
	a, seq := r.account(), store.Seq(r.rng.IntN(len(m.records)+3))
	got, err := r.SetMark(store.Mark{Log: log, Account: a, Seq: seq}).Result()
	if m.roles[a] == store.RoleNone {
		wantCode(r.t, err, store.CodeForbidden)
		return
	}
	noError(r.t, err)
	m.marks[a] = max(m.marks[a], min(seq, store.Seq(len(m.records))))
	if seq > 0 && got.Seq != m.marks[a] && got.Seq != min(seq, store.Seq(len(m.records))) {
		r.t.Fatalf("mark %d, the model says %d", got.Seq, m.marks[a])
	}
}

func (r *logRun) repeat() {
	if len(r.sent) > 0 {
		s := r.sent[r.rng.IntN(len(r.sent))]
		r.repeated(s.draft, s.seq)
	}
}

func (r *logRun) compareLog(log store.LogID, m *logModel) {
	r.t.Helper()
	info, err := r.Info(log)
	noError(r.t, err)
	if info.Head != store.Seq(len(m.records)) || info.Title != m.title {
		r.t.Fatalf("%+v", info)
	}
	for _, a := range []store.AccountID{r.a, r.b, r.c, r.d, 0} {
		if got, want := r.sees(log, a), m.sees(a); got != want {
			r.t.Fatalf("log %v, viewer %d\ngot  %s\nwant %s", log, a, got, want)
		}
		if info.Members.Role(a) != m.roles[a] {
			r.t.Fatalf("log %v: role of %d is %v, not %v", log, a, info.Members.Role(a), m.roles[a])
		}
	}
	marks, err := r.Standing(log)
	noError(r.t, err)
	for a, role := range m.roles {
		if role != store.RoleNone && marks.Of(a) != m.marks[a] {
			r.t.Fatalf("log %v: mark of %d is %d, not %d", log, a, marks.Of(a), m.marks[a])
		}
	}
	r.compareMarks(log, marks)
}

// compareMarks sees that one user's mark is the same as among all, whether it is a member or not.
func (c *logCase) compareMarks(log store.LogID, marks store.Marks) {
	c.t.Helper()
	for _, a := range []store.AccountID{c.a, c.b, c.c, c.d, 0} {
		if got, err := c.MarkOf(log, a); err != nil || got != marks.Of(a) {
			c.t.Fatalf("log %v: mark of %d alone is %d, not %d (%v)", log, a, got, marks.Of(a), err)
		}
	}
}

func (r *logRun) compare() {
	r.t.Helper()
	for _, log := range r.logs {
		r.compareLog(log, r.models[log])
	}
}
