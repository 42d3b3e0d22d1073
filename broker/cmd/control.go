package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hwangso/hwangso/broker/api"
	followers "github.com/hwangso/hwangso/broker/tally"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// control is the control API as the server sees it: handlers for its listeners, and its end.
type control struct {
	public http.Handler // users
	admin  http.Handler // operators, by token
	socket http.Handler // operators, by being able to connect
	// signedIn tells a user's devices that there is a new one.
	signedIn func(hooks.Identity)
	begin    func() // what is due by itself
	export   func(context.Context, store.AccountID, io.Writer) error
	api      *api.API
	drain    func()
	close    func() error
}

// control makes the control API of the server's broker.
func (srv *server) control() error {
	set := &srv.set
	carriers, err := readNetworks(set.carriers)
	if err != nil {
		return fmt.Errorf("-carriers: %w", err)
	}
	sender, err := set.codeSender(srv.out)
	if err != nil {
		return err
	}
	signUp, err := set.signUp()
	if err != nil {
		return err
	}
	a, err := api.New(api.Config{
		Broker: srv.broker, Auth: srv.auth, Phones: srv.phones, CodeSender: sender, SignUp: signUp,
		Limits:     api.Limits{Group: set.maxGroup, Devices: set.maxDevices},
		Files:      srv.files,
		Push:       srv.pushes.forAPI(),
		Broadcasts: srv.posts,
		Channels:   srv.channels, Numbers: srv.tally, Followed: srv.broker.FollowChanged,
		Carriers: carriers,
		Webhooks: srv.webhooks,
		AppsOpen: !set.appApproval, RoundLinks: followers.Round,
		Version: Version(), Gatherer: srv.reg,
		PublicMetrics: set.admin == "" && set.https == "" && onlyLoopback(set.http),
		Logger:        srv.log, Registerer: srv.reg,
	})
	if err != nil {
		return err
	}
	srv.broker.SetRequests(a)
	socket := http.NewServeMux()
	socket.Handle("/", a.Socket())
	socket.HandleFunc("POST /local/backup", srv.serveBackup)
	socket.HandleFunc("POST /local/export", srv.serveExport)
	socket.HandleFunc("POST /local/rooms", srv.serveRooms)
	socket.HandleFunc("POST /local/addresses", srv.serveAddresses)
	srv.ctl = control{api: a, public: a.Public(), admin: a.Admin(), socket: socket, signedIn: a.DeviceSignedIn, begin: a.Begin, export: a.Export, drain: a.Drain, close: a.Close}
	return nil
}

// readNetworks reads networks in CIDR notation, one a line. Empty lines and those that begin with # are skipped. No file,
// no networks.
func readNetworks(file string) (out []netip.Prefix, err error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		p, err := netip.ParsePrefix(line)
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %q is no network such as 203.0.113.0/24", file, n, line)
		}
		out = append(out, p)
	}
	return out, nil
}

// What follows is served to the operators' socket alone, because it is about this machine's files and addresses. The
// commands are its only users, so it is no part of the API.

type backupRequest struct {
	Dir string `json:"dir"` // absolute
}

type backupAnswer struct {
	Took time.Duration `json:"took_ns"`
}

func (srv *server) serveBackup(w http.ResponseWriter, r *http.Request) {
	var in backupRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil || !filepath.IsAbs(in.Dir) {
		localAnswer(w, nil, store.Bad("dir must be the absolute path of a directory"))
		return
	}
	began := time.Now()
	if err := srv.store.Backup(r.Context(), in.Dir); err != nil {
		srv.log.Error("backup failed", "err", err)
		localAnswer(w, nil, err)
		return
	}
	if srv.files != nil && srv.set.s3Endpoint == "" { // after the rows: a file that a row names is there
		from := srv.set.files
		if from == "" {
			from = filesDir(srv.set.data)
		}
		if err := linkTree(r.Context(), from, filesDir(in.Dir)); err != nil {
			srv.log.Error("backup of files failed", "err", err)
			localAnswer(w, nil, fmt.Errorf("the backup is complete but for its files: %w", err))
			return
		}
	}
	srv.log.Info("backup written", "took", time.Since(began))
	localAnswer(w, backupAnswer{time.Since(began)}, nil)
}

type roomsRequest struct {
	User string `json:"user"`
}

type roomsAnswer struct {
	Rooms []roomLine `json:"rooms"`
}

type roomLine struct {
	Room     string    `json:"room"`
	Title    string    `json:"title"`
	Role     string    `json:"role"`
	Members  int       `json:"members"`
	Messages store.Seq `json:"messages"`
}

// serveRooms lists the rooms a user is in.
func (srv *server) serveRooms(w http.ResponseWriter, r *http.Request) {
	var in roomsRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil {
		localAnswer(w, nil, store.Bad("the request is not JSON"))
		return
	}
	u, err := srv.store.AccountByName(in.User)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("there is no user %q", in.User)
	}
	out := roomsAnswer{Rooms: []roomLine{}}
	var after store.LogID
	for err == nil {
		var refs []store.LogRef
		if refs, err = srv.store.LogsOf(u.ID, after, 1000); err != nil || len(refs) == 0 {
			break
		}
		for _, ref := range refs {
			after = ref.ID
			if ref.Key.Kind == store.LogRoom && ref.Me.Role != store.RoleNone {
				out.Rooms = append(out.Rooms, roomLine{ref.Key.Name, ref.Title, ref.Me.Role.String(), ref.Members.Active, ref.Head})
			}
		}
	}
	localAnswer(w, out, err)
}

// serveAddresses tells what listens where: "mqtt" → "127.0.0.1:1883".
func (srv *server) serveAddresses(w http.ResponseWriter, _ *http.Request) {
	out := make(map[string]string, len(srv.addrs))
	for name, addr := range srv.addrs {
		out[name] = addr.String()
	}
	localAnswer(w, out, nil)
}

// localAnswer answers an operator at this machine, who is shown the whole chain of an error.
func localAnswer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		code := int(store.CodeOf(err))
		w.WriteHeader(code)
		v = map[string]any{"code": code, "text": err.Error()}
	}
	// A client that has gone away needs no answer.
	_ = json.NewEncoder(w).Encode(v)
}
