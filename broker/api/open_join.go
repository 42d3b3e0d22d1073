package api

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/broker/openroom"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

type openJoinIn struct {
	Room     string `json:"room" doc:"The room's identifier."`
	Nickname string `json:"nickname" doc:"In the room, up to 20 characters."`
	Picture  string `json:"picture,omitempty" doc:"The identifier of a file, shown in this room only."`
	Code     string `json:"code,omitempty" doc:"Where the room asks for one."`
	Text     string `json:"text,omitempty" doc:"To the moderators, where they let in."`
}

type openJoinOut struct {
	Joined  bool    `json:"joined" doc:"The asking user is a member, now or already."`
	Pending bool    `json:"pending,omitempty" doc:"Moderators have to let the asking user in. A notice tells when they did."`
	Me      *openMe `json:"me,omitempty" doc:"Who the asking user is in the room."`
}

func (a *API) openJoin(ctx context.Context, c *caller, in *openJoinIn) (*openJoinOut, error) {
	n, err := name("room", in.Room)
	if err != nil {
		return nil, err
	}
	nick, err := openroom.CleanNick(in.Nickname)
	if err != nil {
		return nil, err
	}
	pic, err := picture(in.Picture)
	if err != nil {
		return nil, err
	}
	text, err := words("text", in.Text, maxAsk, 4*maxAsk)
	if err != nil {
		return nil, err
	}
	if len(in.Code) > maxCode {
		return nil, tooLarge("code", maxCode, "bytes")
	}
	me := c.account.ID
	if in.Code != "" { // counted whatever the room, and whether there is one
		ok, retry, err := a.graph.TryCode(ctx, me)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, &store.Error{Code: store.CodeTooMany, Text: "too many codes were tried: wait a while", Retry: retry}
		}
	}
	e := &hooks.Entry{Name: n, Code: in.Code, Skeleton: openroom.Skeleton(nick), Like: func(other string) bool { return openroom.Resembles(nick, other) }}
	log, err := a.store.Find(store.RoomKey(n))
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return nil, fmt.Errorf("api: find: %w", err)
	}
	done, err := a.turns.take(ctx, uint64(log.ID)) // also of a room that is not there
	if err != nil {
		return nil, err
	}
	defer done()
	if err := a.broker.Access().JoinOpen(me, e); err != nil {
		return nil, err
	}
	if e.Outcome == policy.Noop {
		shown, err := a.meIn(me, e.Log)
		return &openJoinOut{Joined: true, Me: shown}, err
	}
	if openroom.Reserved(nick) {
		return nil, hooks.Refusal(policy.DenyNick, 0)
	}
	if err := a.roomForRoom(me); err != nil {
		return nil, err
	}
	if _, err := a.claim(ctx, me, e.Log, nick, pic); err != nil {
		if store.CodeOf(err) == store.CodeConflict {
			return nil, hooks.Refusal(policy.DenyNick, 0)
		}
		return nil, err
	}
	out := &openJoinOut{Joined: e.Outcome == policy.Join, Pending: e.Outcome == policy.Pending}
	if out.Pending {
		if err := a.graph.AskToJoin(ctx, e.Log.ID, graph.JoinRequest{Account: me, Text: text, Time: a.now().UnixMilli()}); err != nil {
			return nil, err
		}
	} else if err := a.admitOpen(ctx, &e.Log, e.Room, me); err != nil {
		return nil, err
	}
	out.Me, err = a.meIn(me, e.Log)
	return out, err
}

// admitOpen makes a user with a nickname a member. The record is the user's own, and names no device.
func (a *API) admitOpen(ctx context.Context, info *store.LogInfo, room *graph.Room, u store.AccountID) error {
	ch := store.Change{Kind: store.ChangeJoin, Account: u, Role: store.RoleMember}
	if room.HistoryMode() == graph.HistoryOpen {
		ch.From = 1
	}
	_, err := wait(ctx, a.store.Append(store.Draft{Log: info.ID, Sender: u, Kind: store.KindSystem, Change: ch, Version: info.Members.Version}))
	if err != nil {
		return fmt.Errorf("api: join: %w", err)
	}
	if *info, err = a.store.Info(info.ID); err != nil {
		return fmt.Errorf("api: info: %w", err)
	}
	return nil
}

type openNickIn struct {
	Room     string  `json:"room" doc:"The room's identifier."`
	Nickname string  `json:"nickname,omitempty" doc:"Absent: it stays."`
	Picture  *string `json:"picture,omitempty" doc:"The identifier of a file; empty: none. Absent: it stays."`
}

func (a *API) openNick(ctx context.Context, c *caller, in *openNickIn) (*openMe, error) {
	info, done, err := a.roomOf(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	defer done()
	me := c.account.ID
	r, err := a.graph.Room(info.ID)
	if err != nil {
		return nil, fmt.Errorf("api: room: %w", err)
	}
	m, err := a.graph.RoomMember(info.ID, me)
	if err != nil {
		return nil, fmt.Errorf("api: member: %w", err)
	}
	if !r.Open {
		return nil, errNoOpenRoom
	}
	nick, pic := m.Nick, m.Picture
	if in.Picture != nil {
		if pic, err = picture(*in.Picture); err != nil {
			return nil, err
		}
	}
	if in.Nickname != "" {
		if nick, err = openroom.CleanNick(in.Nickname); err != nil {
			return nil, err
		}
	}
	if nick != m.Nick {
		taken, err := a.broker.Access().NickTaken(me, &hooks.Entry{Log: info, Room: r, Skeleton: openroom.Skeleton(nick),
			Like: func(other string) bool { return openroom.Resembles(nick, other) }})
		if err != nil {
			return nil, err
		}
		if taken || openroom.Reserved(nick) {
			return nil, hooks.Refusal(policy.DenyNick, 0)
		}
	}
	if _, err := a.claim(ctx, me, info, nick, pic); err != nil {
		if store.CodeOf(err) == store.CodeConflict {
			return nil, hooks.Refusal(policy.DenyNick, 0)
		}
		return nil, err
	}
	return a.meIn(me, info)
}

type openRequestsIn struct {
	Room  string `json:"room" doc:"The room's identifier."`
	After string `json:"after,omitempty" doc:"next of the page before; absent: the first page."`
	Limit int    `json:"limit,omitempty" doc:"Requests of a page; absent: 50."`
}

type openRequest struct {
	ID       string     `json:"id" doc:"The room's own id of who asks, for open.approve."`
	Nickname string     `json:"nickname"`
	Picture  string     `json:"picture,omitempty"`
	Text     string     `json:"text,omitempty"`
	Time     *time.Time `json:"time,omitempty"`
}

type openRequestsOut struct {
	Requests []openRequest `json:"requests"`
	Count    int           `json:"count" doc:"Of all requests."`
	Next     string        `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

func (a *API) openRequests(ctx context.Context, c *caller, in *openRequestsIn) (*openRequestsOut, error) {
	limit, err := a.page(in.Limit, 50)
	if err != nil {
		return nil, err
	}
	skip, err := numberAfter(in.After)
	if err != nil {
		return nil, err
	}
	info, done, err := a.moderated(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	done()
	list, err := a.graph.Requests(info.ID)
	if err != nil {
		return nil, err
	}
	out := &openRequestsOut{Requests: []openRequest{}, Count: len(list)}
	for i, r := range list {
		if uint64(i) < skip {
			continue
		}
		if len(out.Requests) == limit {
			out.Next = strconv.FormatInt(int64(i), 36)
			break
		}
		m, err := a.graph.RoomMember(info.ID, r.Account)
		if err != nil {
			return nil, fmt.Errorf("api: member: %w", err)
		}
		out.Requests = append(out.Requests, openRequest{m.ID, m.Nick, m.Picture, r.Text, at(r.Time)})
	}
	return out, nil
}

type openMemberIn struct {
	Room string `json:"room" doc:"The room's identifier."`
	User string `json:"user" doc:"The room's own id of whom it is about."`
}

var errNotAsking = notFound("there is no such request")

// asking is who waits to be let in under this id.
func (a *API) asking(info store.LogInfo, id string) (store.AccountID, error) {
	u, err := a.graph.MemberOf(info.ID, id)
	if err != nil {
		return 0, err
	}
	asks, err := a.graph.Asks(info.ID, u)
	if err == nil && (u == 0 || !asks) {
		err = errNotAsking
	}
	return u, err
}

func (a *API) openApprove(ctx context.Context, c *caller, in *openMemberIn) (*none, error) {
	info, done, err := a.moderated(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	u, err := a.approve(ctx, &info, in.User)
	done()
	if err == nil {
		a.notify(ctx, u, view.Notice{What: view.NoticeApproved, Room: info.Key.Name}, "")
	}
	return &none{}, err
}

func (a *API) approve(ctx context.Context, info *store.LogInfo, id string) (store.AccountID, error) {
	u, err := a.asking(*info, id)
	if err != nil {
		return 0, err
	}
	r, err := a.graph.Room(info.ID)
	if err != nil {
		return 0, fmt.Errorf("api: room: %w", err)
	}
	acct, err := a.store.Account(u)
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return 0, fmt.Errorf("api: account: %w", err)
	}
	gone := err != nil || acct.State == store.AccountSuspended
	switch {
	case gone:
		if err := a.graph.EndRequest(ctx, info.ID, u); err != nil {
			return 0, err
		}
		return 0, errNotAsking
	case info.Members.Active >= hooks.Capacity(r):
		return 0, hooks.Refusal(policy.DenyFull, 0)
	}
	if err := a.roomForRoom(u); err != nil {
		return 0, conflict("this one cannot come in now")
	}
	if info.Members.Role(u) == store.RoleNone {
		if err := a.admitOpen(ctx, info, r, u); err != nil {
			return 0, err
		}
	}
	return u, a.graph.EndRequest(ctx, info.ID, u)
}

func (a *API) openReject(ctx context.Context, c *caller, in *openMemberIn) (*none, error) {
	info, done, err := a.moderated(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	u, err := a.asking(info, in.User)
	if err == nil {
		err = a.graph.EndRequest(ctx, info.ID, u)
	}
	done()
	if err == nil {
		a.notify(ctx, u, view.Notice{What: view.NoticeRejected, Room: info.Key.Name}, "")
	}
	return &none{}, err
}
