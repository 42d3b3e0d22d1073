package api

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// The audit log says what operators changed. Its entries are numbered from 1 without gaps, and each has a hash over
// itself and the hash of the one before. The newest number and hash are sealed with the server's key in a row of their
// own, so that neither the end can be cut off nor the chain be made anew without the master key.
//
// An entry is durable before the change is made; one that failed, or learnt afterwards what it was about, gets a second
// entry that names the first. Entries name accounts and rooms by number, so that an erased user's name is gone from
// them too, and hold no bodies, secrets or phone numbers.
const (
	tableAudit     store.Table = "service.audit"
	auditHead                  = "head"
	purposeAudit               = "audit head"
	auditHashBytes             = sha256.Size
)

// auditEntry is one line of the audit log, as it is stored behind its hash.
type auditEntry struct {
	Time     int64             `json:"t"`
	By       string            `json:"by"`
	Op       string            `json:"op"`
	Accounts []store.AccountID `json:"a,omitempty"`
	Log      store.LogID       `json:"l,omitempty"`
	Reason   string            `json:"r,omitempty"`
	What     map[string]any    `json:"w,omitempty"`
	Of       uint64            `json:"of,omitempty"` // completes that entry
	Code     store.Code        `json:"c,omitempty"`  // of Of: how it ended, 200 or why it failed
}

// audit is the end of the log. Whoever appends holds the turn.
type audit struct {
	turn chan struct{} // with room for one: holds a token when it is nobody's turn
	read bool
	n    uint64
	hash [auditHashBytes]byte
	head uint64 // version of the head's row
}

func (l *audit) init() {
	l.turn = make(chan struct{}, 1)
	l.turn <- struct{}{}
}

var errAudit = &store.Error{Code: store.CodeInternal, Text: "the audit log is damaged, so nothing is changed: see hwangso audit -verify"}

// record appends an entry durably and returns its number.
func (a *API) record(ctx context.Context, e auditEntry) (uint64, error) {
	l := &a.audit
	select {
	case <-l.turn:
		defer func() { l.turn <- struct{}{} }()
	case <-ctx.Done():
		return 0, &store.Error{Code: store.CodeUnavailable, Text: "too much is being changed at once", Retry: store.ErrUnavailable.Retry, Err: ctx.Err()}
	}
	if !l.read {
		if err := a.readAuditHead(l); err != nil {
			return 0, err
		}
	}
	if e.Time == 0 {
		e.Time = a.now().UnixMilli()
	}
	body, err := json.Marshal(e)
	if err != nil {
		return 0, fmt.Errorf("api: audit: %w", err)
	}
	n := l.n + 1
	hash := auditHash(l.hash, n, body)
	head, err := a.store.Seal(0, purposeAudit, append(binary.BigEndian.AppendUint64(nil, n), hash[:]...))
	if err != nil {
		return 0, fmt.Errorf("api: audit: %w", err)
	}
	err = a.store.Update(ctx, store.Update{Rows: []store.RowPut{
		{Table: tableAudit, Key: store.KeyOf(n), Value: append(hash[:], body...), If: store.IfVersion(0)},
		{Table: tableAudit, Key: auditHead, Value: head, If: store.IfVersion(l.head)},
	}})
	if err != nil {
		l.read = false // perhaps it is there
		if store.CodeOf(err) == store.CodeConflict {
			return 0, errAudit
		}
		return 0, fmt.Errorf("api: audit: %w", err)
	}
	row, err := a.store.Row(tableAudit, "", auditHead)
	if err != nil {
		l.read = false
	}
	l.n, l.hash, l.head = n, hash, row.Version
	// Outside the data directory too, for those who keep their logs elsewhere.
	a.log.Info("operator", "n", n, "by", e.By, keyOp, e.Op, "hash", hex.EncodeToString(hash[:8]))
	return n, nil
}

func auditHash(before [auditHashBytes]byte, n uint64, body []byte) (out [auditHashBytes]byte) {
	h := sha256.New()
	h.Write(before[:])
	h.Write(binary.BigEndian.AppendUint64(nil, n))
	h.Write(body)
	h.Sum(out[:0])
	return out
}

// readAuditHead reads where the log ends. A log without a head is empty: if entries stand there all the same, the next
// append finds its place taken.
func (a *API) readAuditHead(l *audit) error {
	row, err := a.store.Row(tableAudit, "", auditHead)
	if err != nil {
		return fmt.Errorf("api: audit: %w", err)
	}
	l.n, l.hash, l.head, l.read = 0, [auditHashBytes]byte{}, row.Version, true
	if row.Version == 0 {
		return nil
	}
	head, err := a.store.Unseal(0, purposeAudit, row.Value)
	if err != nil || len(head) != 8+auditHashBytes {
		l.read = false
		return errAudit
	}
	l.n, l.hash = binary.BigEndian.Uint64(head), [auditHashBytes]byte(head[8:])
	return nil
}

// about is what of an operator's request goes into the log, whatever the operation. Other fields are not looked at, so
// that a new one is not recorded before somebody thought of it.
type about struct {
	Account string   `json:"account"`
	User    string   `json:"user"`
	Users   []string `json:"users"`
	Members []string `json:"members"`
	Owner   string   `json:"owner"`
	Room    string   `json:"room"`
	Channel string   `json:"channel"`
	Plan    string   `json:"plan"`
	Reason  string   `json:"reason"`

	State   string            `json:"state"`
	Role    string            `json:"role"`
	Until   string            `json:"until"`
	For     int64             `json:"for"`
	On      *bool             `json:"on"`
	Token   string            `json:"token"`
	Device  string            `json:"device"`
	Report  string            `json:"report"`
	Outcome string            `json:"outcome"`
	Scopes  []string          `json:"scopes"`
	Set     map[string]string `json:"set"`
	Reset   []string          `json:"reset"`
}

// audited reports whether an operation goes into the audit log: what changes something, who looked at evidence, and who
// asked what a user was told of.
func (o *operation) audited() bool {
	return o.scope != "" && (o.changes || o.name == "report.get" || o.name == opPushWhy)
}

// auditing carries out an operator's operation between its entries.
func (a *API) auditing(ctx context.Context, o *operation, c *caller, body []byte, work func() (any, error)) (any, error) {
	var in about
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	e := auditEntry{By: c.by, Op: o.name, Reason: in.Reason, What: in.what()}
	for _, s := range append(append([]string{in.Account, in.User, in.Owner}, in.Users...), in.Members...) {
		if n, ok := hooks.NormalName(s); ok {
			u, err := a.store.AccountByName(n)
			if err != nil {
				continue // the operation itself says so
			}
			if err := cleanReason(in.Reason, u.Name); err != nil {
				return nil, err
			}
			e.Accounts = append(e.Accounts, u.ID)
		}
	}
	if err := cleanReason(in.Reason, ""); err != nil {
		return nil, err
	}
	if n, ok := hooks.NormalName(in.Room); ok {
		if info, err := a.store.Find(store.RoomKey(n)); err == nil {
			e.Log = info.ID
		}
	}
	if n, ok := hooks.NormalName(in.Channel); ok && in.Channel != "" {
		if info, err := a.store.Find(store.ChannelKey(n)); err == nil {
			e.Log = info.ID
		}
	}
	n, err := a.record(ctx, e)
	if err != nil {
		return nil, err
	}
	out, err := work()
	end := auditEntry{By: c.by, Op: o.name, Of: n, Code: 200}
	switch out := out.(type) {
	case *accountCreateOut:
		if u, err := a.store.AccountByName(out.Account.Name); err == nil {
			end.Accounts = []store.AccountID{u.ID}
		}
	case *roomCreateOut:
		if info, err := a.store.Find(store.RoomKey(out.Room)); err == nil {
			end.Log = info.ID
		}
	case *channelCreateOut:
		if info, err := a.store.Find(store.ChannelKey(out.Channel)); err == nil {
			end.Log = info.ID
		}
	}
	if err != nil {
		end.Code = store.CodeOf(err)
	} else if len(end.Accounts) == 0 && end.Log == 0 {
		return out, nil
	}
	if _, failed := a.record(context.WithoutCancel(ctx), end); failed != nil {
		a.log.Error("the end of an operator's change is not in the audit log", keyOp, o.name, "n", n, keyErr, failed)
	}
	return out, err
}

func (in *about) what() map[string]any {
	w := make(map[string]any)
	put := func(key, s string) {
		if s != "" {
			w[key] = cut(s, 64)
		}
	}
	put("state", in.State)
	put("role", in.Role)
	put("plan", in.Plan)
	put("until", in.Until)
	put("token", in.Token)
	put("device", in.Device)
	put("report", in.Report)
	put("outcome", in.Outcome)
	if in.For != 0 {
		w["for"] = in.For
	}
	if in.On != nil {
		w["on"] = *in.On
	}
	if len(in.Scopes) > 0 {
		w["scopes"] = cutAll(in.Scopes)
	}
	if len(in.Set) > 0 && len(in.Set) <= 100 {
		set := make(map[string]string, len(in.Set))
		for k, v := range in.Set {
			set[cut(k, 64)] = cut(v, 64)
		}
		w["set"] = set
	}
	if len(in.Reset) > 0 {
		w["reset"] = cutAll(in.Reset)
	}
	if len(w) == 0 {
		return nil
	}
	return w
}

func cut(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

func cutAll(list []string) (out []string) {
	for _, s := range list[:min(len(list), 100)] {
		out = append(out, cut(s, 64))
	}
	return out
}

// maxReason bounds an operator's reason and a user's words to operators.
const maxReason = 500

// cleanReason refuses a reason that must not stay for ever: with a phone number, or the user's name.
func cleanReason(reason, user string) error {
	if _, err := words("reason", reason, maxReason, 4*maxReason); err != nil {
		return err
	}
	run, spaced := 0, 0 // digits in a row, and with what stands between those of a phone number
	for _, r := range reason {
		switch {
		case unicode.IsDigit(r):
			run++
			if spaced++; run >= 7 || spaced >= 9 {
				return store.Bad("reason must hold no long number: it is kept for ever, and a phone number must not be")
			}
		case strings.ContainsRune(" -.()+", r):
			run = 0
		default:
			run, spaced = 0, 0
		}
	}
	if user == "" {
		return nil
	}
	notInName := func(r rune) bool { return r != '.' && (r >= 0x80 || !hooks.ValidName(string(r))) }
	for word := range strings.FieldsFuncSeq(strings.ToLower(reason), notInName) {
		if strings.Trim(word, ".") == user {
			return store.Bad("reason must not name the user: it is kept for ever, the name only as long as the account")
		}
	}
	return nil
}

type auditListIn struct {
	Before uint64 `json:"before,omitempty" doc:"Entries with smaller numbers; absent: the newest."`
	Limit  int    `json:"limit,omitempty" doc:"Items of a page; absent: 100."`
}

type auditLine struct {
	Number   uint64         `json:"n"`
	Time     time.Time      `json:"time"`
	By       string         `json:"by" doc:"A token's id and label, the user number at the admin socket, or server."`
	Op       string         `json:"op"`
	Accounts []string       `json:"accounts,omitempty" doc:"Whom it is about; #number of an account that is gone."`
	Room     string         `json:"room,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	What     map[string]any `json:"what,omitempty" doc:"Further fields of the request."`
	Of       uint64         `json:"of,omitempty" doc:"The auditEntry that this one completes."`
	Code     int            `json:"code_of,omitempty" doc:"How that ended: 200, or the code of its refusal."`
	Hash     string         `json:"hash" doc:"SHA-256 over the hash before, the number and the auditEntry, in hexadecimal."`
}

type auditListOut struct {
	Entries []auditLine `json:"entries"`
	Next    uint64      `json:"next,omitempty" doc:"The before of the next page; absent: this was the last."`
}

func (a *API) auditList(_ context.Context, _ *caller, in *auditListIn) (*auditListOut, error) {
	limit, err := a.page(in.Limit, 100)
	if err != nil {
		return nil, err
	}
	var l audit
	if err := a.readAuditHead(&l); err != nil {
		return nil, err
	}
	out := &auditListOut{Entries: []auditLine{}}
	n := l.n
	if in.Before > 0 {
		n = min(n, in.Before-1)
	}
	for ; n > 0 && len(out.Entries) < limit; n-- {
		row, err := a.store.Row(tableAudit, "", store.KeyOf(n))
		if err != nil {
			return nil, fmt.Errorf("api: audit: %w", err)
		}
		line := auditLine{Number: n, Op: "(missing)"}
		if e, hash, ok := readEntry(row.Value); ok {
			line = a.auditLine(n, e, hash)
		}
		out.Entries = append(out.Entries, line)
	}
	if n > 0 {
		out.Next = n + 1
	}
	return out, nil
}

func readEntry(row []byte) (e auditEntry, hash [auditHashBytes]byte, ok bool) {
	if len(row) < auditHashBytes {
		return e, hash, false
	}
	return e, [auditHashBytes]byte(row), json.Unmarshal(row[auditHashBytes:], &e) == nil
}

func (a *API) auditLine(n uint64, e auditEntry, hash [auditHashBytes]byte) auditLine {
	line := auditLine{Number: n, Time: time.UnixMilli(e.Time).UTC(), By: e.By, Op: e.Op, Reason: e.Reason, What: e.What,
		Of: e.Of, Code: int(e.Code), Hash: hex.EncodeToString(hash[:])}
	for _, id := range e.Accounts {
		line.Accounts = append(line.Accounts, a.nameOf(id))
	}
	if e.Log != 0 {
		line.Room = a.roomName(e.Log)
	}
	return line
}

// nameOf is an account's name for operators, #number if it is gone.
func (a *API) nameOf(id store.AccountID) string {
	if u, err := a.store.Account(id); err == nil && u.Name != "" {
		return u.Name
	}
	return fmt.Sprintf("#%d", id)
}

// roomName is a room's identifier for operators, #number if it has none (any more).
func (a *API) roomName(log store.LogID) string {
	if info, err := a.store.Info(log); err == nil && info.Key.Kind == store.LogRoom {
		return info.Key.Name
	}
	return fmt.Sprintf("#%d", log)
}

type auditVerifyOut struct {
	OK      bool   `json:"ok"`
	Entries uint64 `json:"entries"`
	Head    string `json:"head,omitempty" doc:"The hash of the newest entry. Who keeps it elsewhere can compare."`
	Broken  uint64 `json:"broken,omitempty" doc:"The first entry that is not as it was written."`
	Text    string `json:"text,omitempty" doc:"What is wrong."`
}

// auditVerify reads the whole log. Entries that are appended meanwhile are not looked at.
func (a *API) auditVerify(ctx context.Context, _ *caller, _ *none) (*auditVerifyOut, error) {
	var l audit
	if err := a.readAuditHead(&l); err != nil {
		return &auditVerifyOut{Text: "the head of the log does not open: it was not written by this server"}, nil
	}
	out := &auditVerifyOut{Entries: l.n}
	hash, n, after := [auditHashBytes]byte{}, uint64(0), ""
	for n < l.n {
		rows, err := a.store.Rows(tableAudit, "", "", after, 500)
		if err != nil {
			return nil, fmt.Errorf("api: audit: %w", err)
		}
		if len(rows) == 0 || ctx.Err() != nil {
			break
		}
		for _, row := range rows {
			after = row.Key
			if row.Key == auditHead || n == l.n {
				continue
			}
			n++
			if store.NumberOf(row.Key) != n || len(row.Value) < auditHashBytes {
				out.Broken, out.Text = n, "an entry is missing"
				return out, nil
			}
			hash = auditHash(hash, n, row.Value[auditHashBytes:])
			if hash != [auditHashBytes]byte(row.Value) {
				out.Broken, out.Text = n, "an entry was changed"
				return out, nil
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch {
	case n < l.n:
		out.Broken, out.Text = n+1, "the end of the log is missing"
	case hash != l.hash:
		out.Broken, out.Text = n, "the log ends otherwise than it was written"
	default:
		out.OK = true
	}
	if n == 0 && l.n == 0 { // a log that was removed whole leaves nothing, or entries without a head
		if rows, err := a.store.Rows(tableAudit, "", "", "", 1); err != nil || len(rows) > 0 {
			out.OK, out.Broken, out.Text = false, 1, "there are entries and no head"
		}
	}
	out.Head = hex.EncodeToString(l.hash[:])
	return out, nil
}
