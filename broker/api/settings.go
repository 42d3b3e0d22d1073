package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// setting is a row of the table of settings: what there is to choose, and where the choice is kept. The first of values
// is the default. One without values takes what valid does, and "" for its default; form says what that is.
type setting struct {
	name   string
	values []string
	text   string // for the documentation
	form   string
	valid  func(string) bool
	get    func(*graph.Settings) string
	set    func(*graph.Settings, string)
}

// Values of settings that the graph keeps as one bit.
const (
	settingOff      = "off"
	settingOn       = "on"
	settingSilent   = "silent"
	settingRing     = "ring"
	settingMentions = "mentions"
	settingAll      = "all"
)

// settingTable is every setting of a user, with its default, which is what a user has who never chose.
var settingTable = []setting{
	choice("strangers", "What becomes of messages of users who are neither friends nor answered: delivered with a warning, delivered like a friend's, kept in the request box until accepted, or refused.",
		func(s *graph.Settings) *graph.Strangers { return &s.Strangers },
		graph.StrangersWarn, graph.StrangersOpen, graph.StrangersRequest, graph.StrangersClosed),
	choice("invitations", "Who brings the user into a room: everybody may ask; whoever has it as a friend brings it in at once; only those whom it has as friends too do, and others ask; nobody.",
		func(s *graph.Settings) *graph.Invitations { return &s.Invitations },
		graph.InviteAsk, graph.InviteAnyone, graph.InviteFriends, graph.InviteNobody),
	bit("hide_blocked", "What blocked users write in rooms is hidden.", func(s *graph.Settings) *bool { return &s.HideBlocked }, settingOff, settingOn),
	bit("presence", "Friends who share it too see whether the user is online.", func(s *graph.Settings) *bool { return &s.Presence }, settingOff, settingOn),
	bit("findable", "Strangers find the user by its identifier.", func(s *graph.Settings) *bool { return &s.Unfindable }, settingOn, settingOff),
	choice("preview", "What a push shows: who has written; the text too; nothing of either.",
		func(s *graph.Settings) *graph.Preview { return &s.Preview },
		graph.PreviewSender, graph.PreviewFull, graph.PreviewHidden),
	bit("channel_pushes", "Whether posts of channels ring.", func(s *graph.Settings) *bool { return &s.ChannelPushes }, settingSilent, settingRing),
	bit("open_room_pushes", "Which messages of open rooms are pushed: mentions only, or all.", func(s *graph.Settings) *bool { return &s.OpenRoomPushes }, settingMentions, settingAll),
	choice("discovery", "Who finds the user by its phone number: users whose number it has too; whoever has the number; nobody.",
		func(s *graph.Settings) *graph.Discovery { return &s.Discovery },
		graph.DiscoveryMutual, graph.DiscoveryAnyone, graph.DiscoveryOff),
	{name: "country", text: "Where the user lives: by its clock advertising waits for the morning. Empty: where its phone number is from.",
		form: "a country's two letters of ISO 3166-1, such as KR, or empty", valid: hooks.ValidCountry,
		get: func(s *graph.Settings) string { return s.Country }, set: func(s *graph.Settings, v string) { s.Country = v }},
}

// takes reports whether a value is one of the setting's.
func (s *setting) takes(v string) bool {
	if s.valid != nil {
		return v == "" || s.valid(v)
	}
	return slices.Contains(s.values, v)
}

// wants says in words which values there are.
func (s *setting) wants() string {
	if s.valid != nil {
		return s.form
	}
	return alternatives(s.values)
}

// choice is a setting of several words, the default first.
func choice[T ~string](name, text string, at func(*graph.Settings) *T, values ...T) setting {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	return setting{name: name, values: words, text: text,
		get: func(s *graph.Settings) string { return wordOr(string(*at(s)), words[0]) },
		set: func(s *graph.Settings, v string) { *at(s) = T(v) }}
}

// bit is a setting of two words: off is what the zero bit means, and the default.
func bit(name, text string, at func(*graph.Settings) *bool, off, on string) setting {
	return setting{name: name, values: []string{off, on}, text: text,
		get: func(s *graph.Settings) string {
			if *at(s) {
				return on
			}
			return off
		},
		set: func(s *graph.Settings, v string) { *at(s) = v == on }}
}

func wordOr(word, otherwise string) string {
	if word == "" {
		return otherwise
	}
	return word
}

// settingsOut is all settings of a user. Its fields are the names of settingTable, in its order.
type settingsOut struct {
	Strangers      string `json:"strangers" doc:"warn, open, request or closed."`
	Invitations    string `json:"invitations" doc:"ask, anyone, friends or nobody."`
	HideBlocked    string `json:"hide_blocked" doc:"off or on."`
	Presence       string `json:"presence" doc:"off or on."`
	Findable       string `json:"findable" doc:"on or off."`
	Preview        string `json:"preview" doc:"sender, full or hidden."`
	ChannelPushes  string `json:"channel_pushes" doc:"silent or ring."`
	OpenRoomPushes string `json:"open_room_pushes" doc:"mentions or all."`
	Discovery      string `json:"discovery" doc:"mutual, anyone or off."`
	Country        string `json:"country" doc:"Two letters of ISO 3166-1, empty: not set."`
}

func (o *settingsOut) fields() []*string {
	return []*string{&o.Strangers, &o.Invitations, &o.HideBlocked, &o.Presence, &o.Findable, &o.Preview, &o.ChannelPushes,
		&o.OpenRoomPushes, &o.Discovery, &o.Country}
}

type settingsIn struct {
	Strangers      *string `json:"strangers,omitempty" doc:"warn, open, request or closed."`
	Invitations    *string `json:"invitations,omitempty" doc:"ask, anyone, friends or nobody."`
	HideBlocked    *string `json:"hide_blocked,omitempty" doc:"off or on."`
	Presence       *string `json:"presence,omitempty" doc:"off or on."`
	Findable       *string `json:"findable,omitempty" doc:"on or off."`
	Preview        *string `json:"preview,omitempty" doc:"sender, full or hidden."`
	ChannelPushes  *string `json:"channel_pushes,omitempty" doc:"silent or ring."`
	OpenRoomPushes *string `json:"open_room_pushes,omitempty" doc:"mentions or all."`
	Discovery      *string `json:"discovery,omitempty" doc:"mutual, anyone or off."`
	Country        *string `json:"country,omitempty" doc:"Two letters of ISO 3166-1 such as KR, in upper case; empty: where the phone number is from."`
}

func (in *settingsIn) fields() []*string {
	return []*string{in.Strangers, in.Invitations, in.HideBlocked, in.Presence, in.Findable, in.Preview, in.ChannelPushes,
		in.OpenRoomPushes, in.Discovery, in.Country}
}

// settingsOperations are those on what a user has chosen for all its devices.
func settingsOperations() []operation {
	return []operation{
		op("settings.get", "Read the settings", "All of them, the defaults too.", (*API).settingsGet),
		changing(op("settings.set", "Change settings", "Settings that are absent stay as they are. The other devices get a notice. Whoever was answered before strangers were shut out (closed) has to be answered again.", (*API).settingsSet)),
		changing(op("mute.set", "Mute a conversation", "It does not ring until a time, or for ever. Messages arrive and are counted as before. The other devices get a notice.", (*API).muteSet)),
		op("mute.list", "List muted conversations", "Those whose mute has not ended.", (*API).muteList),
		changing(op("preview.set", "Choose what pushes show of a conversation", "Of this one, instead of what is set for all. The other devices get a notice.", (*API).previewSet)),
		op("preview.list", "List conversations with a preview of their own", "Those for which preview.set has chosen something.", (*API).previewList),
		changing(op("quiet.set", "Set the quiet hours", "The hours in which nothing rings, on the clock of a time zone. The other devices get a notice.", (*API).quietSet)),
		op("quiet.get", "Read the quiet hours", "And whether it is quiet now.", (*API).quietGet),
	}
}

func (a *API) settingsGet(_ context.Context, c *caller, _ *none) (*settingsOut, error) {
	return a.settingsOf(c.account.ID)
}

func (a *API) settingsOf(u store.AccountID) (*settingsOut, error) {
	s, err := a.graph.Settings(u)
	if err != nil {
		return nil, fmt.Errorf("api: settings: %w", err)
	}
	return shownSettings(s), nil
}

func shownSettings(s *graph.Settings) *settingsOut {
	out := new(settingsOut)
	for i, f := range out.fields() {
		*f = settingTable[i].get(s)
	}
	return out
}

func (a *API) settingsSet(ctx context.Context, c *caller, in *settingsIn) (*settingsOut, error) {
	for i, f := range in.fields() {
		if row := &settingTable[i]; f != nil && !row.takes(*f) {
			return nil, store.Bad(row.name + " must be " + row.wants())
		}
	}
	var was, is graph.Settings
	err := a.graph.SetSettings(ctx, c.account.ID, func(s *graph.Settings) error {
		was = *s
		for i, f := range in.fields() {
			if row := &settingTable[i]; f != nil && *f != row.get(s) {
				row.set(s, *f)
			}
		}
		is = *s
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("api: set settings: %w", err)
	}
	if was.Presence != is.Presence {
		a.broker.SharePresence(c.account.ID, is.Presence)
	}
	if was != is {
		a.notify(ctx, c.account.ID, view.Notice{What: view.NoticeSettings}, "")
	}
	return shownSettings(&is), nil
}

// alternatives writes words as a person does: a, b or c.
func alternatives(words []string) string {
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " or " + words[n]
}
