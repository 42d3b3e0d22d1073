package api

import (
	"archive/zip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// The rows of exports: of an account, how many it has asked for; of the service, links by the hash of their secret.
const (
	tableExports     store.Table = "user.export"
	tableExportLinks store.Table = "service.export"
)

// Limits of exports.
const (
	exportLife    = time.Hour   // of a link
	exportsADay   = 5           // links of an account
	exportsAtOnce = 2           // archives being written, of the whole server
	exportStall   = time.Minute // without a byte taken the download ends
)

var errNoExport = notFound("there is no such download, or not any more: ask for another one")

func exportOperations() []operation {
	return []operation{
		changing(op("export", "Ask for a copy of one's own data", "A zip archive with JSON lines: profile, settings, friends and blocked users by identifier, devices, channels, coupons and gifts, conversations as the user sees them, message requests. The answer names a path of this server from which it can be fetched with GET, once and within an hour, without credentials: who has the link has the data. Five links a day.", (*API).export)),
	}
}

type exportOut struct {
	Path     string    `json:"path,omitempty" doc:"GET it from the address of the HTTP API. Told once."`
	Expires  time.Time `json:"expires" doc:"Of the link."`
	Repeated bool      `json:"repeated,omitempty" doc:"The path was told in the answer to the first request."`
}

func (o *exportOut) withoutSecret() any {
	return &exportOut{Expires: o.Expires, Repeated: true}
}

// exportCount is a row of tableExports.
type exportCount struct {
	Since int64 `json:"s"` // Unix milliseconds of the first of the day
	N     int   `json:"n"`
}

func (a *API) export(ctx context.Context, c *caller, _ *none) (*exportOut, error) {
	done, err := a.turns.take(ctx, uint64(c.account.ID))
	if err != nil {
		return nil, err
	}
	defer done()
	owner, now := store.OwnerOf(c.account.ID), a.now()
	row, err := a.store.Row(tableExports, owner, "")
	if err != nil {
		return nil, fmt.Errorf("api: export: %w", err)
	}
	var n exportCount
	if row.Version != 0 {
		if err := json.Unmarshal(row.Value, &n); err != nil {
			return nil, fmt.Errorf("api: export: %w", err)
		}
	}
	const span = 24 * time.Hour
	if left := time.UnixMilli(n.Since).Add(span).Sub(now); left <= 0 {
		n = exportCount{Since: now.UnixMilli()}
	} else if n.N >= exportsADay {
		return nil, &store.Error{Code: store.CodeTooMany, Text: "too many copies today: the limit is " + strconv.Itoa(exportsADay), Retry: left}
	}
	n.N++
	v, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("api: export: %w", err)
	}
	if err := a.store.Update(ctx, store.Update{Owner: owner, Rows: []store.RowPut{{Table: tableExports, Value: v, Expires: n.Since + span.Milliseconds()}}}); err != nil {
		return nil, fmt.Errorf("api: export: %w", err)
	}
	var b [32]byte
	rand.Read(b[:]) // never fails
	link := base64.RawURLEncoding.EncodeToString(b[:])
	expires := now.Add(exportLife)
	err = a.store.Update(ctx, store.Update{Rows: []store.RowPut{{
		Table: tableExportLinks, Key: exportKey(link), Value: []byte(owner), Expires: expires.UnixMilli(),
	}}})
	if err != nil {
		return nil, fmt.Errorf("api: export: %w", err)
	}
	return &exportOut{Path: "/v1/export/" + link, Expires: expires.UTC()}, nil
}

// exportKey is what is stored of a link.
func exportKey(link string) string {
	h := hooks.Secret(link).Hash()
	return string(h[:])
}

// serveExport answers the GET of a link: the archive, written as it is read.
func (a *API) serveExport(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if r.Method != http.MethodGet { // HEAD would use the link up
		h.Set("Allow", http.MethodGet)
		writeProblem(w, http.StatusMethodNotAllowed, store.Bad("a download is fetched with GET"), store.Account{})
		return
	}
	began := time.Now()
	err := a.download(w, r)
	a.metrics.served("export.download", err, time.Since(began))
	if err == nil {
		return
	}
	if begun := h.Get("Content-Disposition") != ""; begun {
		a.log.Warn("export not finished", keyErr, err)
		panic(http.ErrAbortHandler) // the client must not take the half for the whole
	}
	writeProblem(w, 0, err, store.Account{})
}

func (a *API) download(w http.ResponseWriter, r *http.Request) error {
	key := exportKey(r.PathValue("link"))
	row, err := a.store.Row(tableExportLinks, "", key)
	if err != nil {
		return fmt.Errorf("api: export: %w", err)
	}
	if row.Version == 0 || row.Expires <= a.now().UnixMilli() {
		return errNoExport
	}
	u, err := a.store.Account(store.AccountID(store.Owner(row.Value).Number()))
	if store.CodeOf(err) == store.CodeNotFound {
		return errNoExport
	}
	if err != nil {
		return fmt.Errorf("api: export: %w", err)
	}
	if err := standing(u); err != nil {
		return err
	}
	select {
	case a.exports <- struct{}{}:
		defer func() { <-a.exports }()
	default:
		return &store.Error{Code: store.CodeUnavailable, Text: "other copies are being written: try again in a minute", Retry: time.Minute}
	}
	err = a.store.Update(r.Context(), store.Update{Rows: []store.RowPut{{Table: tableExportLinks, Key: key, If: store.IfVersion(row.Version)}}})
	if store.CodeOf(err) == store.CodeConflict {
		return errNoExport // somebody was faster
	}
	if err != nil {
		return fmt.Errorf("api: export: %w", err)
	}
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Disposition", `attachment; filename="`+u.Name+`.zip"`)
	out := &patientWriter{w: w, control: http.NewResponseController(w)}
	return a.Export(r.Context(), u.ID, out)
}

// patientWriter ends a download of which nothing is taken any more.
type patientWriter struct {
	w       io.Writer
	control *http.ResponseController
}

func (p *patientWriter) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(exportStall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(b)
}

const exportReadme = `This is what the server keeps of your account, as you see it. Every file but this one holds one JSON object a line.

profile.jsonl        your profile, and when your account was made
settings.jsonl       your settings, quiet hours, muted conversations and those with a preview of their own
friends.jsonl        whom you have as friends, by identifier
blocked.jsonl        whom you block, by identifier
devices.jsonl        your devices, and who carries pushes to them since when, without the secret address
tokens.jsonl         what opens your account, without the secrets
conversations.jsonl  your conversations, also those that you have left or hidden
apps.jsonl           your apps that send links
links.jsonl          which apps' links you have opened, in which conversation
coupons.jsonl        coupons that you can show, without their codes
gifts.jsonl          coupons that you were given, and those that you gave away
channels.jsonl       channels that you follow, have left or block, with your consent to advertising; those you publish in
requests.jsonl       messages of people who wait for your answer
messages/            the messages of each conversation, also with channels, oldest first: s sequence, f sender, t time in Unix milliseconds,
                     b text, k kind, r the sequence it answers, x what happened
`

// Export writes an archive of what an account sees of its data. It reads page by page, paced by the budget of what
// nobody waits for to the second.
func (a *API) Export(ctx context.Context, u store.AccountID, w io.Writer) error {
	acct, err := a.store.Account(u)
	if err != nil {
		return fmt.Errorf("api: export: %w", err)
	}
	e := &exporter{a: a, ctx: ctx, c: &caller{id: hooks.Identity{Account: u, Name: acct.Name}, account: acct}, zip: zip.NewWriter(w)}
	if err := e.all(); err != nil {
		return fmt.Errorf("api: export: %w", err)
	}
	if err := e.zip.Close(); err != nil {
		return fmt.Errorf("api: export: %w", err)
	}
	return nil
}

// exporter writes one archive.
type exporter struct {
	a    *API
	ctx  context.Context // of the one archive
	c    *caller
	zip  *zip.Writer
	file io.Writer
}

// begin begins a file of the archive.
func (e *exporter) begin(name string) (err error) {
	e.file, err = e.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: e.a.now()})
	return err
}

func (e *exporter) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = e.file.Write(append(b, '\n'))
	return err
}

// exportProfile is the line of profile.jsonl.
type exportProfile struct {
	profileOut
	Created *time.Time `json:"created,omitempty"`
	Country string     `json:"country,omitempty"` // of the phone number, which is not kept
}

func (e *exporter) all() error {
	if err := e.begin("README.txt"); err != nil {
		return err
	}
	if _, err := io.WriteString(e.file, exportReadme); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		fill func() error
	}{
		{"profile.jsonl", e.profile}, {"settings.jsonl", e.settings}, {"friends.jsonl", e.friends}, {"blocked.jsonl", e.blocked},
		{"devices.jsonl", e.devices}, {"tokens.jsonl", e.tokens}, {"requests.jsonl", e.requests},
		{"apps.jsonl", e.apps}, {"links.jsonl", e.openings}, {"coupons.jsonl", e.myCoupons}, {"gifts.jsonl", e.gifts},
		{"channels.jsonl", e.channels},
	} {
		if err := e.begin(f.name); err != nil {
			return err
		}
		if err := f.fill(); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return e.conversations()
}

func (e *exporter) profile() error {
	own, err := e.a.ownProfile(e.c.account)
	if err != nil {
		return err
	}
	p := exportProfile{profileOut: *own, Created: at(e.c.account.Created)}
	if e.a.cfg.Phones != nil {
		if p.Country, err = e.a.cfg.Phones.Country(e.c.account.ID); err != nil {
			return err
		}
	}
	return e.line(p)
}

func (e *exporter) settings() error {
	s, err := e.a.settingsOf(e.c.account.ID)
	if err != nil {
		return err
	}
	if err := e.line(s); err != nil {
		return err
	}
	quiet, err := e.a.graph.Quiet(e.c.account.ID)
	if err != nil {
		return err
	}
	if quiet.On() {
		if err := e.line(struct {
			Quiet *quietOut `json:"quiet"`
		}{lastingQuiet(quiet)}); err != nil {
			return err
		}
	}
	mutes, err := e.a.muteList(e.ctx, e.c, nil)
	if err != nil {
		return err
	}
	for _, m := range mutes.Mutes {
		if err := e.line(m); err != nil {
			return err
		}
	}
	previews, err := e.a.previewList(e.ctx, e.c, nil)
	if err != nil {
		return err
	}
	for _, p := range previews.Previews {
		if err := e.line(p); err != nil {
			return err
		}
	}
	return nil
}

// named is a user by its identifier.
type named struct {
	User string `json:"user"`
}

func (e *exporter) friends() error {
	return e.people(func(in *pageIn) ([]string, string, error) {
		out, err := e.a.contactList(e.ctx, e.c, &contactListIn{After: in.After, Limit: in.Limit})
		if err != nil {
			return nil, "", err
		}
		var names []string
		for _, u := range out.Users {
			names = append(names, u.Name)
		}
		return names, out.Next, nil
	})
}

func (e *exporter) blocked() error {
	return e.people(func(in *pageIn) ([]string, string, error) {
		out, err := e.a.blockList(e.ctx, e.c, in)
		if err != nil {
			return nil, "", err
		}
		var names []string
		for _, u := range out.Users {
			names = append(names, u.Name)
		}
		return names, out.Next, nil
	})
}

func (e *exporter) people(page func(*pageIn) (names []string, next string, err error)) error {
	for in := (&pageIn{Limit: e.a.limits().Page}); ; {
		names, next, err := page(in)
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := e.line(named{n}); err != nil {
				return err
			}
		}
		if err := e.a.broker.Bulk(e.ctx, len(names)+1); err != nil || next == "" {
			return err
		}
		in.After = next
	}
}

func (e *exporter) devices() error {
	out, err := e.a.devicesOf(e.c.account.ID, 0)
	if err != nil {
		return err
	}
	for _, d := range out.Devices {
		if err := e.line(d); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) tokens() error {
	out, err := e.a.tokensOf(e.c.account.ID, [32]byte{})
	if err != nil {
		return err
	}
	for _, t := range out.Tokens {
		if err := e.line(t); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) requests() error {
	for in := (&pageIn{}); ; {
		out, err := e.a.requestList(e.ctx, e.c, in)
		if err != nil {
			return err
		}
		for _, r := range out.Requests {
			if err := e.line(r); err != nil {
				return err
			}
		}
		if err := e.a.broker.Bulk(e.ctx, 3*len(out.Requests)+1); err != nil || out.Next == "" {
			return err
		}
		in.After = out.Next
	}
}

// exportConversation is a line of conversations.jsonl.
type exportConversation struct {
	Room    string    `json:"room,omitempty"`
	User    string    `json:"user,omitempty"`
	Title   string    `json:"title,omitempty"`
	Role    string    `json:"role"`
	Members int       `json:"members"`
	Head    store.Seq `json:"head"`
	File    string    `json:"file"`
}

func (e *exporter) conversations() error {
	list, err := e.a.conversations(e.ctx, e.c.account.ID)
	if err != nil {
		return err
	}
	sortListed(list)
	if err := e.begin("conversations.jsonl"); err != nil {
		return err
	}
	var all []exportConversation
	for i := range list {
		entry, err := e.a.entry(e.c.account.ID, 0, &list[i])
		if err != nil {
			return err
		}
		c := exportConversation{Room: entry.Room, User: entry.User, Title: entry.Title, Role: entry.Role, Members: entry.Members, Head: entry.Head}
		if c.File = "messages/room/" + c.Room + ".jsonl"; c.Room == "" {
			c.File = "messages/user/" + c.User + ".jsonl"
		}
		if err := e.line(c); err != nil {
			return err
		}
		if err := e.a.broker.Bulk(e.ctx, 1); err != nil {
			return err
		}
		all = append(all, c)
	}
	for _, c := range all {
		if err := e.messages(c); err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
	}
	return nil
}

// messages writes what room.history shows.
func (e *exporter) messages(c exportConversation) error {
	if err := e.begin(c.File); err != nil {
		return err
	}
	in := &roomHistoryIn{Conversation: Conversation{Room: c.Room, User: c.User}, Limit: e.a.limits().Page}
	for from := store.Seq(0); ; {
		in.After = &from
		out, err := e.a.roomHistory(e.ctx, e.c, in)
		if store.CodeOf(err) == store.CodeNotFound { // it has gone since it was listed
			return nil
		}
		if err != nil {
			return err
		}
		for _, item := range out.Items {
			if err := e.line(item); err != nil {
				return err
			}
		}
		if err := e.a.broker.Bulk(e.ctx, len(out.Items)+1); err != nil || !out.More {
			return err
		}
		from = out.After
	}
}
