package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// The scopes of operators' tokens.
const (
	ScopeAccounts  = "accounts"  // accounts, their tokens, devices and friends
	ScopeRooms     = "rooms"     // rooms and their members
	ScopeOperators = "operators" // operators' tokens
	ScopeStatus    = "status"    // server.status
	ScopeReports   = "reports"   // the queue of reports and appeals
	ScopeLimits    = "limits"    // limits, shown and set
	ScopeHolds     = "holds"     // legal holds
	ScopeAudit     = "audit"     // the audit log
	ScopeApps      = "apps"      // other people's apps, which send links
	ScopeChannels  = "channels"  // channels, their publishers and plans
	ScopePush      = "push"      // announcements, why devices were woken or not, and pauses of providers
)

var scopes = []string{ScopeAccounts, ScopeRooms, ScopeOperators, ScopeStatus, ScopeReports, ScopeLimits, ScopeHolds, ScopeAudit, ScopeApps, ScopePush,
	ScopeChannels, hooks.ScopeAll}

type account struct {
	Name     string     `json:"name"`
	Display  string     `json:"display"`
	Status   string     `json:"status,omitempty"`
	Language string     `json:"language,omitempty"`
	State    string     `json:"state" doc:"ok, limited or suspended."`
	Created  *time.Time `json:"created,omitempty"`
}

var states = [...]string{store.AccountOK: "ok", store.AccountLimited: "limited", store.AccountSuspended: "suspended", store.AccountLocked: "locked"}

func shownAccount(u store.Account) account {
	state := "unknown"
	if int(u.State) < len(states) {
		state = states[u.State]
	}
	return account{Name: u.Name, Display: u.Shown(), Status: u.Status, Language: u.Language, State: state, Created: at(u.Created)}
}

type accountCreateIn struct {
	Name     string `json:"name,omitempty" doc:"The identifier; absent: a random one."`
	Display  string `json:"display,omitempty"`
	Language string `json:"language,omitempty" doc:"BCP 47."`
	Label    string `json:"label,omitempty" doc:"Of the token."`
	Expires  int64  `json:"expires_in,omitempty" doc:"Seconds the token lives; absent: it does not end."`
}

type accountCreateOut struct {
	Account  account `json:"account"`
	Secret   string  `json:"secret,omitempty" doc:"An account token: it opens any device of the user. Told once."`
	Token    token   `json:"token"`
	Repeated bool    `json:"repeated,omitempty" doc:"The secret was told in the answer to the first request."`
}

func (o *accountCreateOut) withoutSecret() any {
	return &accountCreateOut{Account: o.Account, Token: o.Token, Repeated: true}
}

func (a *API) accountCreate(ctx context.Context, _ *caller, in *accountCreateIn) (*accountCreateOut, error) {
	u := store.Account{Name: rand.Text(), Created: a.now().UnixMilli()}
	if in.Name != "" {
		u.Name = in.Name
	}
	var err error
	if u.Name, err = name("name", u.Name); err != nil {
		return nil, err
	}
	if err := a.setProfile(&u, &profileSetIn{Display: &in.Display, Language: &in.Language}); err != nil {
		return nil, err
	}
	if _, err := a.draftToken(0, in.Label, in.Expires); err != nil {
		return nil, err
	}
	u, err = a.store.CreateAccount(ctx, u)
	if store.CodeOf(err) == store.CodeConflict {
		return nil, conflict("a user with this name exists: choose another name")
	}
	if err != nil {
		return nil, fmt.Errorf("api: create account: %w", err)
	}
	t, err := a.accountToken(ctx, u.ID, in.Label, in.Expires)
	if err != nil {
		return nil, err
	}
	return &accountCreateOut{Account: shownAccount(u), Secret: t.Secret, Token: t.Token}, nil
}

// accountToken makes a token that opens every device of a user.
func (a *API) accountToken(ctx context.Context, u store.AccountID, label string, seconds int64) (*issued, error) {
	t, err := a.draftToken(u, label, seconds)
	if err != nil {
		return nil, err
	}
	done, err := a.turns.take(ctx, uint64(u))
	if err != nil {
		return nil, err
	}
	defer done()
	if err := a.roomForToken(ctx, u); err != nil {
		return nil, err
	}
	return a.issue(ctx, t)
}

type accountsOut struct {
	Accounts []account `json:"accounts"`
	Next     string    `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

func (a *API) accountList(_ context.Context, _ *caller, in *pageIn) (*accountsOut, error) {
	limit, err := a.page(in.Limit, 100)
	if err != nil {
		return nil, err
	}
	after, err := numberAfter(in.After)
	if err != nil {
		return nil, err
	}
	list, err := a.store.Accounts(store.AccountID(after), limit+1)
	if err != nil {
		return nil, fmt.Errorf("api: accounts: %w", err)
	}
	out := &accountsOut{Accounts: make([]account, 0, min(len(list), limit))}
	if len(list) > limit {
		list = list[:limit]
		out.Next = strconv.FormatUint(uint64(list[limit-1].ID), 36)
	}
	for _, u := range list {
		out.Accounts = append(out.Accounts, shownAccount(u))
	}
	return out, nil
}

type accountIn struct {
	Account string `json:"account" doc:"The user's identifier."`
}

type accountOut struct {
	Account account `json:"account"`
}

func (a *API) accountGet(_ context.Context, _ *caller, in *accountIn) (*accountOut, error) {
	u, err := a.user1("account", in.Account)
	return &accountOut{shownAccount(u)}, err
}

type accountSetIn struct {
	Account string `json:"account" doc:"The user's identifier."`
	profileSetIn
	State string `json:"state,omitempty" doc:"suspended ends the user's connections and lets nobody in; ok restores."`
}

func (a *API) accountSet(ctx context.Context, _ *caller, in *accountSetIn) (*accountOut, error) {
	state := slices.Index(states[:], in.State)
	if in.State != "" && state < 0 {
		return nil, store.Bad("state must be ok, limited or suspended")
	}
	u, err := a.user1("account", in.Account)
	if err != nil {
		return nil, err
	}
	u, err = a.changeAccount(ctx, u.ID, func(u *store.Account) error { return a.setProfile(u, &in.profileSetIn) })
	if err != nil {
		return nil, err
	}
	if in.State != "" && u.State != store.AccountState(state) {
		u, err = a.changeStanding(ctx, u.ID, func(_ store.Account, s *decision) (bool, error) {
			s.State, s.Since, s.Until, s.Reason, s.Appeal = store.AccountState(state), a.now().UnixMilli(), 0, "", ""
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return &accountOut{shownAccount(u)}, nil
}

type accountTokenIn struct {
	Account string `json:"account" doc:"The user's identifier."`
	Label   string `json:"label,omitempty"`
	Expires int64  `json:"expires_in,omitempty" doc:"Seconds the token lives; absent: it does not end."`
}

func (a *API) accountTokenCreate(ctx context.Context, _ *caller, in *accountTokenIn) (*issued, error) {
	u, err := a.user1("account", in.Account)
	if err != nil {
		return nil, err
	}
	return a.accountToken(ctx, u.ID, in.Label, in.Expires)
}

type accountDeviceIn struct {
	Account string `json:"account" doc:"The user's identifier."`
	Device  string `json:"device" doc:"A device's id, as device.list tells it."`
}

func (a *API) opDeviceList(_ context.Context, _ *caller, in *accountIn) (*devicesOut, error) {
	u, err := a.user1("account", in.Account)
	if err != nil {
		return nil, err
	}
	return a.devicesOf(u.ID, 0)
}

func (a *API) opDeviceRemove(ctx context.Context, _ *caller, in *accountDeviceIn) (*none, error) {
	u, err := a.user1("account", in.Account)
	if err != nil {
		return nil, err
	}
	return &none{}, a.removeDevice(ctx, u.ID, in.Device)
}

type opDeviceCreateIn struct {
	Account string `json:"account" doc:"The user's identifier."`
	tokenCreateIn
}

func (a *API) opDeviceCreate(ctx context.Context, _ *caller, in *opDeviceCreateIn) (*issued, error) {
	u, err := a.user1("account", in.Account)
	if err != nil {
		return nil, err
	}
	return a.deviceToken(ctx, u.ID, &in.tokenCreateIn)
}

func (a *API) opTokenList(_ context.Context, _ *caller, in *accountIn) (*tokensOut, error) {
	u, err := a.user1("account", in.Account)
	if err != nil {
		return nil, err
	}
	return a.tokensOf(u.ID, [32]byte{})
}

type opTokenRemoveIn struct {
	Account string `json:"account" doc:"The user's identifier."`
	Token   string `json:"token" doc:"A token's id, as token.list tells it."`
}

func (a *API) opTokenRemove(ctx context.Context, _ *caller, in *opTokenRemoveIn) (*none, error) {
	u, err := a.user1("account", in.Account)
	if err != nil {
		return nil, err
	}
	return &none{}, a.removeToken(ctx, u.ID, in.Token)
}

type friendSetIn struct {
	Users []string `json:"users" doc:"Two users."`
	On    *bool    `json:"on,omitempty" doc:"False ends it on both sides; absent: true."`
}

func (a *API) friendSet(ctx context.Context, _ *caller, in *friendSetIn) (*changedOut, error) {
	if len(in.Users) != 2 {
		return nil, store.Bad("users must name two users")
	}
	x, err := a.user1("users", in.Users[0])
	if err != nil {
		return nil, err
	}
	y, err := a.user1("users", in.Users[1])
	if err != nil {
		return nil, err
	}
	if x.ID == y.ID {
		return nil, store.Bad("users must name two users")
	}
	on := in.On == nil || *in.On
	there, err := a.setFriend(ctx, x.ID, y.ID, on)
	if err != nil {
		return nil, err
	}
	back, err := a.setFriend(ctx, y.ID, x.ID, on)
	return &changedOut{there || back}, err
}

type opRoomCreateIn struct {
	Room    string   `json:"room,omitempty" doc:"The identifier; absent: a random one."`
	Title   string   `json:"title,omitempty"`
	Owner   string   `json:"owner" doc:"The user who owns the room."`
	Members []string `json:"members,omitempty" doc:"Further members."`
}

func (a *API) opRoomCreate(ctx context.Context, c *caller, in *opRoomCreateIn) (*roomCreateOut, error) {
	title, err := words("title", in.Title, 0, a.limits().Title)
	if err != nil {
		return nil, err
	}
	room := randomRoom(c)
	if in.Room != "" {
		if room, err = name("room", in.Room); err != nil {
			return nil, err
		}
	}
	owner, err := a.user1("owner", in.Owner)
	if err != nil {
		return nil, err
	}
	members := []store.Member{{Account: owner.ID, Role: store.RoleOwner}}
	if len(in.Members) >= a.limits().Group {
		return nil, full("group", "the room has all the members it may have", a.limits().Group)
	}
	for _, m := range in.Members {
		u, err := a.user1("members", m)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(members, func(m store.Member) bool { return m.Account == u.ID }) {
			members = append(members, store.Member{Account: u.ID, Role: store.RoleMember})
		}
	}
	return a.openRoom(ctx, room, store.Creation{By: owner.ID, Title: title, Members: members})
}

type opRoomAddIn struct {
	roomUsersIn
	Role string `json:"role,omitempty" doc:"member, moderator or owner; absent: member."`
}

func (a *API) opRoomAdd(ctx context.Context, c *caller, in *opRoomAddIn) (*roomAddOut, error) {
	role := store.RoleMember
	if in.Role != "" {
		var ok bool
		if role, ok = store.ParseRole(in.Role); !ok || role == store.RoleNone {
			return nil, store.Bad("role must be member, moderator or owner")
		}
	}
	return a.addMembers(ctx, c, in.Room, in.Users, role)
}

type operatorTokenIn struct {
	Label   string   `json:"label,omitempty"`
	Scopes  []string `json:"scopes" doc:"accounts, rooms, operators, status, reports, limits, holds, audit, push, channels; * is all of them."`
	Expires int64    `json:"expires_in,omitempty" doc:"Seconds the token lives; absent: it does not end."`
}

// operatorTokenCreate makes a token with scopes that the caller has: nobody gives more than it has.
func (a *API) operatorTokenCreate(ctx context.Context, c *caller, in *operatorTokenIn) (*issued, error) {
	if len(in.Scopes) == 0 {
		return nil, store.Bad("scopes is missing: name at least one of " + strings.Join(scopes, ", "))
	}
	for _, s := range in.Scopes {
		if !slices.Contains(scopes, s) {
			return nil, store.Bad("scopes may hold " + strings.Join(scopes, ", "))
		}
		if !c.id.Allows(s) {
			return nil, store.Forbidden("scope", "your token does not have the scope "+s)
		}
	}
	t, err := a.draftToken(0, in.Label, in.Expires)
	if err != nil {
		return nil, err
	}
	t.Scopes = slices.Compact(slices.Sorted(slices.Values(in.Scopes)))
	done, err := a.turns.take(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := a.roomForToken(ctx, 0); err != nil {
		return nil, err
	}
	return a.issue(ctx, t)
}

func (a *API) operatorTokenList(_ context.Context, c *caller, _ *none) (*tokensOut, error) {
	return a.tokensOf(0, c.id.Token)
}

func (a *API) operatorTokenRemove(ctx context.Context, _ *caller, in *tokenRemoveIn) (*none, error) {
	return &none{}, a.removeToken(ctx, 0, in.Token)
}

type statusOut struct {
	Version  string      `json:"version"`
	Go       string      `json:"go"`
	Started  time.Time   `json:"started"`
	Uptime   int64       `json:"uptime_seconds"`
	Sessions int         `json:"sessions" doc:"Connected devices."`
	Ready    bool        `json:"ready"`
	Draining bool        `json:"draining,omitempty" doc:"The server is going down."`
	Storage  string      `json:"storage" doc:"ok, or why nothing can be stored."`
	Epoch    store.Epoch `json:"epoch" doc:"Raised by every restore."`
	Journal  [2]uint64   `json:"journal" doc:"The oldest kept position, and the one after the newest."`
	Limits   Limits      `json:"limits"`
}

func (a *API) serverStatus(_ context.Context, _ *caller, _ *none) (*statusOut, error) {
	first, end := a.store.Bounds()
	healthy := a.store.Healthy()
	out := &statusOut{Version: a.cfg.Version, Go: runtime.Version(), Started: a.started.UTC(), Uptime: int64(a.now().Sub(a.started) / time.Second),
		Sessions: a.broker.Sessions(), Draining: a.draining.Load(), Storage: "ok", Epoch: a.store.Epoch(),
		Journal: [2]uint64{uint64(first), uint64(end)}, Limits: *a.limits()}
	if healthy != nil {
		out.Storage = healthy.Error()
	}
	out.Ready = healthy == nil && !out.Draining
	return out, nil
}
