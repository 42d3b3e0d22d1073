package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
)

// Public is the handler for users: the operations, the OpenAPI documents, /healthz, /readyz, and /metrics if the
// configuration says so. Anything else is 404, so it can be mounted at / beside other paths.
func (a *API) Public() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/export/{link}", a.serveExport)
	mux.Handle("/", a.handler("hwangso", userOperations(), a.users, a.user, a.cfg.PublicMetrics))
	return mux
}

// Admin is the handler for operators on a listener of their own: an operator's token with the operation's scope is
// asked for. /metrics, /healthz and /readyz ask for nothing.
func (a *API) Admin() http.Handler {
	return a.handler("hwangso operators", operatorOperations(), a.operators, a.operator, true)
}

// Socket is Admin for a socket whose permissions say who may connect: every request is an operator's with all scopes,
// without a token.
func (a *API) Socket() http.Handler {
	trusted := func(*http.Request) (hooks.Identity, error) {
		return hooks.Identity{Operator: true, Scopes: []string{hooks.ScopeAll}}, nil
	}
	return a.handler("hwangso operators", operatorOperations(), a.operators, trusted, true)
}

type authenticate func(*http.Request) (hooks.Identity, error)

func (a *API) handler(title string, table []operation, by map[string]*operation, who authenticate, metrics bool) http.Handler {
	mux := http.NewServeMux()
	for i := range table {
		mux.HandleFunc("POST /v1/"+table[i].name, func(w http.ResponseWriter, r *http.Request) {
			a.serveHTTP(w, r, table[i].name, by, who)
		})
	}
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/v1/")
		if _, known := by[name]; known {
			w.Header().Set("Allow", http.MethodPost)
			writeProblem(w, http.StatusMethodNotAllowed, store.Bad("operations are called with POST"), store.Account{})
			return
		}
		if r.Method != http.MethodPost {
			writeProblem(w, http.StatusNotFound, notFound("there is no such operation"), store.Account{})
			return
		}
		a.serveHTTP(w, r, name, by, who)
	})
	serveDocument(mux, title, a.cfg.Version, table)
	a.serveHealth(mux, metrics)
	// A browser sends basic credentials by itself, also for a page of somebody else.
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, 0, store.Forbidden("origin", "pages of another origin may not call this"), store.Account{})
	}))
	return guard.Handler(mux)
}

// serveHTTP runs one operation.
func (a *API) serveHTTP(w http.ResponseWriter, r *http.Request, name string, table map[string]*operation, who authenticate) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	began := time.Now()
	c := &caller{rid: r.Header.Get("Idempotency-Key")}
	refuse := func(err error) {
		a.metrics.served("refused", err, time.Since(began))
		writeProblem(w, 0, err, c.account)
	}
	var err error
	from := hostOf(r)
	if err := a.broker.Limits().Address(limit.RequestsAddress, from, 1); err != nil {
		refuse(err)
		return
	}
	open := table[name] != nil && table[name].open
	if open {
		c.account.Language, _, _ = strings.Cut(r.Header.Get("Accept-Language"), ",")
	} else {
		c.id, err = who(r)
	}
	c.id.Address = from
	if errors.Is(err, hooks.ErrSuspended) && table[name] != nil && table[name].heard {
		err = nil // the table decides: see admit
	}
	if c.id.Operator {
		c.by = a.operatorName(r.Context(), c.id)
	} else if err == nil && !open {
		err = a.broker.Limits().User(limit.Requests, c.id.Account, 1)
	}
	if store.CodeOf(err) == store.CodeTooMany {
		refuse(err)
		return
	}
	if err != nil {
		h.Add("WWW-Authenticate", `Bearer realm="hwangso"`)
		h.Add("WWW-Authenticate", `Basic realm="hwangso", charset="UTF-8"`)
		refuse(err)
		return
	}
	if c.rid != "" && !hooks.ValidRequestID(c.rid) {
		refuse(store.Bad("the Idempotency-Key must be 1 to " + strconv.Itoa(hooks.MaxName) + " characters of A-Z a-z 0-9 . _ ~ -"))
		return
	}
	if ct := r.Header.Get("Content-Type"); ct != "" {
		if t, _, err := mime.ParseMediaType(ct); err == nil && strings.HasPrefix(t, "multipart/") {
			refuse(store.Bad("send JSON: Content-Type: application/json"))
			return
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(a.limits().Body)))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			refuse(tooLarge("a request", a.limits().Body, "bytes"))
		} else {
			refuse(&store.Error{Code: store.CodeBad, Text: "the request ended before its body", Err: err})
		}
		return
	}
	answer, err := a.serve(r.Context(), table, c, name, body)
	if err != nil {
		writeProblem(w, 0, err, c.account)
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(answer)))
	if bytes.HasPrefix(answer, []byte(answer202)) {
		w.WriteHeader(http.StatusAccepted)
	}
	w.Write(answer)
}

var (
	errNoCredentials = &store.Error{Code: store.CodeAuth, Text: "say who you are: Authorization: Bearer with a token, or Basic with user name and token"}
	errNotOperator   = store.Forbidden("operator", "this is for operators: use an operator's token")
)

// identify reads the Authorization header, unless there were too many wrong ones.
func (a *API) identify(r *http.Request) (hooks.Identity, error) {
	l, from := a.broker.Limits(), hostOf(r)
	user, pass, basic := r.BasicAuth() // user "" without
	if err := l.MayLogin(from, user); err != nil {
		return hooks.Identity{}, err
	}
	id, err := a.authenticate(r, user, pass, basic)
	switch {
	case err == nil:
		l.LoginSucceeded(from, user)
	case errors.Is(err, hooks.ErrCredentials):
		l.LoginFailed(from, user)
	}
	return id, err
}

func (a *API) authenticate(r *http.Request, user, pass string, basic bool) (hooks.Identity, error) {
	if basic {
		return a.cfg.Auth.Basic(user, hooks.Secret(pass))
	}
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return hooks.Identity{}, errNoCredentials
	}
	return a.cfg.Auth.Bearer(hooks.Secret(strings.TrimSpace(secret)))
}

// user lets users through. An operator's token means nothing here.
func (a *API) user(r *http.Request) (hooks.Identity, error) {
	id, err := a.identify(r)
	if err == nil && id.Operator {
		return hooks.Identity{}, hooks.ErrCredentials
	}
	return id, err
}

// operator lets operators through.
func (a *API) operator(r *http.Request) (hooks.Identity, error) {
	id, err := a.identify(r)
	if err == nil && !id.Operator {
		return hooks.Identity{}, errNotOperator
	}
	return id, err
}

// hostOf is the address a request comes from; the zero Addr where there is none, as on a Unix socket.
func hostOf(r *http.Request) netip.Addr {
	p, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap().WithZone("")
}

type peerKey struct{}

// WithPeer says which user of this machine is at the other end of the admin socket, for the audit log.
func WithPeer(ctx context.Context, uid int) context.Context {
	return context.WithValue(ctx, peerKey{}, "uid "+strconv.Itoa(uid))
}

// operatorName is what the audit log calls an operator: its token, or who is at the admin socket.
func (a *API) operatorName(ctx context.Context, id hooks.Identity) string {
	if id.Token == [32]byte{} {
		if peer, ok := ctx.Value(peerKey{}).(string); ok {
			return peer
		}
		return "admin socket"
	}
	by := "token " + tokenID(id.Token)
	if t, err := a.store.TokenByHash(0, id.Token); err == nil && t.Label != "" {
		by += " " + t.Label
	}
	return by
}

// problem is a refusal over HTTP: RFC 9457, and the keys that refusals have over MQTT.
type problem struct {
	Type   string `json:"type" doc:"Always about:blank: error says what is the matter."`
	Title  string `json:"title" doc:"The status in words."`
	Status int    `json:"status" doc:"The HTTP status."`
	Detail string `json:"detail,omitempty" doc:"The same as text."`
	Code   int    `json:"code" doc:"The same as status, as in answers over MQTT."`
	Error  string `json:"error" doc:"The protocol word of the refusal, such as not_friend."`
	Text   string `json:"text,omitempty" doc:"A sentence for a person, in the user's language where there is one."`
	Retry  int64  `json:"retry_ms" doc:"When trying again makes sense, in milliseconds; 0: unknown or never."`
}

// writeProblem writes a refusal. status 0 means that of the error's code.
func writeProblem(w http.ResponseWriter, status int, err error, reader store.Account) {
	o := view.Failure(err, "", lang(reader))
	if status == 0 {
		status = int(o.Code)
	}
	p := problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: o.Text, Code: int(o.Code),
		Error: o.Word, Text: o.Text}
	if o.Retry > 0 {
		p.Retry = int64((o.Retry + time.Millisecond - 1) / time.Millisecond)
		w.Header().Set("Retry-After", strconv.FormatInt(int64((o.Retry+time.Second-1)/time.Second), 10))
	}
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers always encode
		panic(err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	w.Write(body)
}
