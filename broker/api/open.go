package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hwangso/hwangso/broker/openroom"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// openOperations are those on open rooms.
func openOperations() []operation {
	return []operation{
		changing(op("open.create", "Create an open room", "Anybody can find it, and its members are known in it by nicknames and ids of the room's own: nobody, moderators neither, learns whose account is whose. The asking user owns it, under the nickname.", (*API).openCreate)),
		changing(op("open.set", "Change an open room", "By moderators and the owner. Fields that are absent stay as they are.", (*API).openSet)),
		op("open.get", "Look at an open room", "Without being in it. A room that is not there, that was closed, or that has banned the asking user gives the same answer.", (*API).openGet),
		op("open.search", "Find open rooms", "By words, tags, language and country. Closed and locked rooms are left out.", (*API).openSearch),
		changing(op("open.join", "Come into an open room", "At once, or by approval. A room that is not there and one that has banned the asking user give the same answer. At most 5 codes per 10 minutes.", (*API).openJoin)),
		changing(op("open.nick", "Change the own nickname", "Also the picture, in one open room. The id in the room stays the same. The nickname before is kept for a week.", (*API).openNick)),
		op("open.requests", "See who wants to come in", "By moderators and the owner; the oldest first.", (*API).openRequests),
		changing(op("open.approve", "Let somebody in", "By moderators and the owner.", (*API).openApprove)),
		changing(op("open.reject", "Decline to let somebody in", "By moderators and the owner. It may ask again.", (*API).openReject)),
		changing(op("open.mute", "Mute a member", "By moderators and the owner, for a while or until it is undone. Everybody in the room sees it.", (*API).openMute)),
		changing(op("open.ban", "Ban somebody", "By moderators and the owner. A member is removed, and the room looks to it as if it were not there; on:false ends the ban.", (*API).openBan)),
		op("open.bans", "List who is banned", "By moderators and the owner.", (*API).openBans),
		changing(op("open.slow", "Set slow mode", "By moderators and the owner: how many seconds from one message of a member to its next. Moderators and the owner are not held up.", (*API).openSlow)),
		changing(op("open.lock", "Lock or unlock a room", "By moderators and the owner: in a locked room only they write, and nobody comes in.", (*API).openLock)),
	}
}

// Limits of what is said about an open room.
const (
	maxTags = 10
	maxTag  = 30   // characters
	maxCode = 64   // bytes
	maxAsk  = 200  // characters that somebody says when it asks to come in
	maxSlow = 3600 // seconds
)

type openRoom struct {
	Room        string   `json:"room" doc:"The identifier, as in the topic room/{room}/…"`
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	Language    string   `json:"language,omitempty"`
	Country     string   `json:"country,omitempty"`
	Picture     string   `json:"picture,omitempty"`
	Members     int      `json:"members"`
	Capacity    int      `json:"capacity"`
	Join        string   `json:"join" doc:"public, approve, or code."`
	Slow        int      `json:"slow,omitempty" doc:"Seconds from one message of a member to its next."`
	Locked      bool     `json:"locked,omitempty"`
	Joined      bool     `json:"joined,omitempty" doc:"The asking user is in it."`
	Me          *openMe  `json:"me,omitempty" doc:"Who the asking user is in it, told to nobody else."`
}

type openMe struct {
	ID       string `json:"id" doc:"The room's own id of the asking user: ~ and 16 letters."`
	Nickname string `json:"nickname"`
	Picture  string `json:"picture,omitempty"`
	Role     string `json:"role"`
}

// shownRoom is an open room as a user sees it.
func (a *API) shownRoom(me store.AccountID, info store.LogInfo) (*openRoom, error) {
	r, err := a.graph.Room(info.ID)
	if err != nil {
		return nil, fmt.Errorf("api: room: %w", err)
	}
	out := &openRoom{Room: info.Key.Name, Title: info.Title, Description: r.Description, Tags: r.Tags, Language: r.Language, Country: r.Country,
		Picture: r.Picture, Members: info.Members.Active, Capacity: hooks.Capacity(r), Join: string(r.JoinMode()), Slow: r.Slow, Locked: r.Locked}
	if role := info.Members.Role(me); role != store.RoleNone {
		out.Joined = true
		if out.Me, err = a.meIn(me, info); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// meIn is who a user is in an open room, nil in another one.
func (a *API) meIn(me store.AccountID, info store.LogInfo) (*openMe, error) {
	m, err := a.graph.RoomMember(info.ID, me)
	if err != nil {
		return nil, fmt.Errorf("api: member: %w", err)
	}
	if m.ID == "" {
		return nil, nil
	}
	return &openMe{m.ID, m.Nick, m.Picture, info.Members.Role(me).String()}, nil
}

// openFields are what is said about an open room.
type openFields struct {
	Title       *string   `json:"title,omitempty"`
	Description *string   `json:"description,omitempty"`
	Tags        *[]string `json:"tags,omitempty" doc:"At most 10."`
	Language    *string   `json:"language,omitempty" doc:"BCP 47."`
	Country     *string   `json:"country,omitempty" doc:"ISO 3166, two letters."`
	Picture     *string   `json:"picture,omitempty" doc:"The identifier of a file."`
	Capacity    *int      `json:"capacity,omitempty" doc:"Members at most, up to 3,000; 0: as many as there may be."`
	Join        *string   `json:"join,omitempty" doc:"public: whoever wants to; approve: moderators let in; code: who knows the code. Absent: public."`
	Code        *string   `json:"code,omitempty" doc:"With join code: the code, 4 to 64 bytes."`
}

// apply checks the fields and puts them into a room's settings. The title is the log's and comes back.
func (a *API) apply(r *graph.Room, log store.LogID, f *openFields) error {
	var err error
	if f.Description != nil {
		if r.Description, err = paragraph("description", *f.Description, a.limits().Description); err != nil {
			return err
		}
	}
	if f.Tags != nil {
		if r.Tags, err = roomTags(*f.Tags); err != nil {
			return err
		}
	}
	if f.Language != nil {
		if r.Language, err = language(*f.Language); err != nil {
			return err
		}
	}
	if f.Country != nil {
		if r.Country, err = country(*f.Country); err != nil {
			return err
		}
	}
	if f.Picture != nil {
		if r.Picture, err = picture(*f.Picture); err != nil {
			return err
		}
	}
	if f.Capacity != nil {
		if r.Capacity = *f.Capacity; r.Capacity < 0 || r.Capacity > hooks.OpenCapacity {
			return store.Bad("capacity must be 0 to " + strconv.Itoa(hooks.OpenCapacity))
		}
	}
	if f.Join != nil {
		switch r.Join = graph.Join(*f.Join); r.Join {
		case graph.JoinPublic, graph.JoinApprove, graph.JoinCode:
		default:
			return store.Bad("join must be public, approve or code")
		}
	}
	if f.Code != nil {
		if len(*f.Code) < 4 || len(*f.Code) > maxCode {
			return store.Bad("code must be 4 to " + strconv.Itoa(maxCode) + " bytes")
		}
		r.CodeHash = graph.CodeHash(log, *f.Code)
	}
	if r.JoinMode() != graph.JoinCode {
		r.CodeHash = nil
	} else if len(r.CodeHash) == 0 {
		return store.Bad("code is missing: join is code")
	}
	return nil
}

func roomTags(tags []string) ([]string, error) {
	if len(tags) > maxTags {
		return nil, tooLarge("tags", maxTags, "tags")
	}
	var out []string
	for _, t := range tags {
		t, err := words("a tag", strings.TrimPrefix(strings.TrimSpace(t), "#"), maxTag, 4*maxTag)
		if err != nil {
			return nil, err
		}
		if t == "" {
			return nil, store.Bad("a tag is empty")
		}
		if !slices.ContainsFunc(out, func(s string) bool { return strings.EqualFold(s, t) }) {
			out = append(out, t)
		}
	}
	return out, nil
}

// paragraph checks a text of several lines.
func paragraph(field, s string, octets int) (string, error) {
	s = strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n"))
	if len(s) > octets {
		return "", tooLarge(field, octets, "bytes")
	}
	for line := range strings.SplitSeq(s, "\n") {
		if _, err := words(field, line, 0, 0); err != nil {
			return "", err
		}
	}
	return s, nil
}

func country(s string) (string, error) {
	s = strings.ToUpper(s)
	if s != "" && (len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z') {
		return "", store.Bad(`country must be two letters such as "KR"`)
	}
	return s, nil
}

func picture(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	return name("picture", s)
}

type openCreateIn struct {
	Room     string `json:"room,omitempty" doc:"The identifier; absent: a random one."`
	Nickname string `json:"nickname" doc:"Of the asking user in the room, up to 20 characters."`
	openFields
}

type openCreateOut struct {
	openRoom
	Created bool `json:"created" doc:"False: the room was there, and the asking user owns it."`
}

func (a *API) openCreate(ctx context.Context, c *caller, in *openCreateIn) (*openCreateOut, error) {
	if c.account.State == store.AccountLimited {
		return nil, hooks.Refusal(policy.DenyLimited, 0)
	}
	if in.Title == nil || strings.TrimSpace(*in.Title) == "" {
		return nil, store.Bad("title is missing: it is what others find the room by")
	}
	title, err := words("title", *in.Title, 0, a.limits().Title)
	if err != nil {
		return nil, err
	}
	nick, err := openroom.CleanNick(in.Nickname)
	if err != nil {
		return nil, err
	}
	if openroom.Reserved(nick) {
		return nil, hooks.Refusal(policy.DenyNick, 0)
	}
	if err := a.apply(&graph.Room{}, 0, &in.openFields); err != nil {
		return nil, err
	}
	room := randomRoom(c)
	if in.Room != "" {
		if room, err = name("room", in.Room); err != nil {
			return nil, err
		}
	}
	if err := a.roomForRoom(c.account.ID); err != nil {
		return nil, err
	}
	me := c.account.ID
	made, err := a.openRoom(ctx, room, store.Creation{By: me, Title: title, Members: []store.Member{{Account: me, Role: store.RoleOwner}}})
	if err != nil {
		return nil, err
	}
	info, err := a.store.Find(store.RoomKey(room))
	if err != nil {
		return nil, fmt.Errorf("api: find: %w", err)
	}
	done, err := a.turns.take(ctx, uint64(info.ID))
	if err != nil {
		return nil, err
	}
	defer done()
	r, err := a.graph.Room(info.ID)
	if err != nil {
		return nil, fmt.Errorf("api: room: %w", err)
	}
	if !r.Open {
		// A crash may have come between the two halves of this. Anything else is a group.
		if !made.Created && (len(info.Members.Members) != 1 || info.Head > 1) {
			return nil, conflict("a room with this identifier exists: choose another one")
		}
		if _, err := a.claim(ctx, me, info, nick, ""); err != nil {
			return nil, err
		}
		err := a.graph.SetRoom(ctx, info.ID, func(r *graph.Room) error {
			r.Open = true
			return a.apply(r, info.ID, &in.openFields)
		})
		if err != nil {
			return nil, fmt.Errorf("api: set room: %w", err)
		}
	}
	if err := a.indexRoom(info.ID); err != nil {
		return nil, err
	}
	shown, err := a.shownRoom(me, info)
	if err != nil {
		return nil, err
	}
	return &openCreateOut{*shown, made.Created}, nil
}

// claim gives a user a nickname in a room that is taken by nobody else.
func (a *API) claim(ctx context.Context, me store.AccountID, info store.LogInfo, nick, picture string) (string, error) {
	m, err := a.graph.RoomMember(info.ID, me)
	if err != nil {
		return "", fmt.Errorf("api: member: %w", err)
	}
	old := ""
	if m.Nick != "" {
		old = openroom.Skeleton(m.Nick)
	}
	return a.graph.ClaimNick(ctx, info.ID, me, nick, openroom.Skeleton(nick), old, picture, func(n graph.Nick) bool {
		free, err := a.broker.Access().NickFree(info, n)
		return err == nil && free
	})
}

// errNoOpenRoom is what is told of a room that is not there, and of one that is not there for this user.
var errNoOpenRoom = hooks.Refusal(policy.DenyUnreachable, 0)

type openGetIn struct {
	Room string `json:"room" doc:"The room's identifier."`
}

func (a *API) openGet(_ context.Context, c *caller, in *openGetIn) (*openRoom, error) {
	n, err := name("room", in.Room)
	if err != nil {
		return nil, err
	}
	info, err := a.store.Find(store.RoomKey(n))
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return nil, fmt.Errorf("api: find: %w", err)
	}
	missing := err != nil
	r, err := a.graph.Room(info.ID)
	if err != nil {
		return nil, fmt.Errorf("api: room: %w", err)
	}
	m, err := a.graph.RoomMember(info.ID, c.account.ID)
	if err != nil {
		return nil, fmt.Errorf("api: member: %w", err)
	}
	if missing || !r.Open || m.Banned != 0 || r.Closed != 0 && info.Members.Role(c.account.ID) == store.RoleNone {
		return nil, errNoOpenRoom
	}
	return a.shownRoom(c.account.ID, info)
}

type openSetIn struct {
	Room string `json:"room" doc:"The room's identifier."`
	openFields
}

func (a *API) openSet(ctx context.Context, c *caller, in *openSetIn) (*openRoom, error) {
	info, done, err := a.moderated(ctx, c, in.Room)
	if err != nil {
		return nil, err
	}
	defer done()
	title := info.Title
	if in.Title != nil {
		if title, err = words("title", *in.Title, 0, a.limits().Title); err != nil {
			return nil, err
		}
		if title == "" {
			return nil, store.Bad("title is missing: it is what others find the room by")
		}
	}
	if err := a.graph.SetRoom(ctx, info.ID, func(r *graph.Room) error { return a.apply(r, info.ID, &in.openFields) }); err != nil {
		return nil, err
	}
	if title != info.Title {
		if err := a.change(ctx, c, &info, store.Change{Kind: store.ChangeTitle, Title: title}, store.RoleModerator); err != nil {
			return nil, err
		}
	}
	if err := a.indexRoom(info.ID); err != nil {
		return nil, err
	}
	return a.shownRoom(c.account.ID, info)
}

// moderated is an open room as a moderator finds it, within the room's turn.
func (a *API) moderated(ctx context.Context, c *caller, room string) (store.LogInfo, func(), error) {
	info, done, err := a.roomOf(ctx, c, room)
	if err != nil {
		return info, nil, err
	}
	r, err := a.graph.Room(info.ID)
	switch {
	case err != nil:
		err = fmt.Errorf("api: room: %w", err)
	case !r.Open:
		err = errNoOpenRoom
	case !c.id.Operator && info.Members.Role(c.account.ID) < store.RoleModerator:
		err = store.Forbidden(store.ReasonRole, "only moderators and the owner of the room do this")
	}
	if err != nil {
		done()
		return info, nil, err
	}
	return info, done, nil
}
