package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

const opPushWhy = "push.why"

// operatorPushOperations are the operators' own.
func operatorPushOperations() []operation {
	return []operation{
		scoped(ScopePush, op(opPushWhy, "Ask why a user's devices rang, or did not", "What was decided about one message for each device, oldest first. It tells what the user has muted, read and hidden, so that somebody asked is in the audit log.", (*API).opPushWhy)),
		scoped(ScopeStatus, op("push.status", "See how pushes are", "How far the bridge is behind, what waits, and how each provider is.", (*API).pushStatus)),
		scoped(ScopePush, changing(op("push.resume", "Try a paused provider again", "Before its pause has ended: with the next push it is seen whether it works again. One push is risked, not all that wait.", (*API).pushResume))),
	}
}

// pushBridge is what is asked, or the refusal of a server that sends no pushes.
func (a *API) pushBridge() (Bridge, error) {
	if p := a.cfg.Push; p != nil && p.Bridge != nil {
		return p.Bridge, nil
	}
	return nil, errNoPushes
}

type pushWhyIn struct {
	Conversation
	Notices bool      `json:"notices,omitempty" doc:"The server's notices to the user, instead of a conversation."`
	Channel string    `json:"channel,omitempty" doc:"A channel that the user follows, instead of a conversation."`
	Log     string    `json:"log,omitempty" doc:"With channel: posts, also if absent, ads, or thread, what the user and the channel write to each other."`
	Seq     store.Seq `json:"seq" doc:"The message."`
}

type opPushWhyIn struct {
	Account string `json:"account" doc:"The user's identifier."`
	pushWhyIn
}

type pushWhyOut struct {
	Decisions []pushDecision `json:"decisions" doc:"Empty: nothing is known of it any more, or nothing was to be decided."`
}

type pushDecision struct {
	Device string      `json:"device"`
	Label  string      `json:"label,omitempty" doc:"Of the device, or its client identifier."`
	Time   time.Time   `json:"time"`
	From   store.Seq   `json:"from" doc:"The first message that was decided about together."`
	Upto   store.Seq   `json:"upto" doc:"The last one."`
	Reason string      `json:"reason" doc:"In one word."`
	Text   string      `json:"text" doc:"In a sentence."`
	Until  *time.Time  `json:"until,omitempty" doc:"When it is looked at again; absent: it is decided."`
	Push   string      `json:"push,omitempty" doc:"The push's identifier: APNs has it as apns-id."`
	Answer *pushAnswer `json:"answer,omitempty" doc:"The provider's; absent: none was asked."`
}

type pushAnswer struct {
	Outcome string `json:"outcome" doc:"delivered: the provider has taken it. gone, suspect, blocked: it does not take the token. too_large, rejected: it does not take the push. device_busy, busy, unavailable, unknown: not now. expired, denied: it does not take the server's credentials."`
	Status  int    `json:"status,omitempty" doc:"Of HTTP; absent: there was no answer."`
	Reason  string `json:"reason,omitempty" doc:"The provider's own word."`
}

func shownAnswer(a *push.Answer) *pushAnswer {
	if a == nil {
		return nil
	}
	return &pushAnswer{a.Outcome.String(), a.Status, a.Reason}
}

var errNoMessage = notFound("there is no such message in this conversation")

// pushWhy answers a user about its own devices. Of a message that does not exist for it, it learns nothing.
func (a *API) pushWhy(ctx context.Context, c *caller, in *pushWhyIn) (*pushWhyOut, error) {
	if err := in.valid(); err != nil {
		return nil, err
	}
	b, err := a.pushBridge()
	if err != nil {
		return nil, err
	}
	if in.Notices {
		return a.whyOf(ctx, b, c.account, store.NoticeKey(c.account.ID), in.Seq)
	}
	if in.Channel != "" {
		return a.whyOfChannel(ctx, b, c.account, in)
	}
	info, h, err := a.find(c.account.ID, in.Conversation)
	if err != nil {
		return nil, err
	}
	if in.Seq > h.seen {
		return nil, errNoMessage
	}
	return a.whyOf(ctx, b, c.account, info.Key, in.Seq)
}

func (in *pushWhyIn) valid() error {
	switch {
	case in.Seq == 0:
		return store.Bad("seq is missing: the message's sequence")
	case in.Channel != "" && (in.Notices || in.Room != "" || in.User != ""):
		return store.Bad("a channel is no conversation: leave out room, user and notices")
	case in.Log != "" && in.Channel == "":
		return store.Bad("log is of a channel: name it in channel")
	case in.Channel != "":
		_, err := in.channelKey(0)
		return err
	case in.Notices && (in.Room != "" || in.User != ""):
		return store.Bad("notices are no conversation: leave out room and user")
	case in.Notices:
		return nil
	}
	_, err := in.topic()
	return err
}

func (a *API) opPushWhy(ctx context.Context, _ *caller, in *opPushWhyIn) (*pushWhyOut, error) {
	u, err := a.user1("account", in.Account)
	if err != nil {
		return nil, err
	}
	if err := in.valid(); err != nil {
		return nil, err
	}
	b, err := a.pushBridge()
	if err != nil {
		return nil, err
	}
	key := store.NoticeKey(u.ID)
	switch {
	case in.Channel != "":
		return a.whyOfChannel(ctx, b, u, &in.pushWhyIn)
	case in.Notices:
	case in.Room != "":
		n, err := name("room", in.Room)
		if err != nil {
			return nil, err
		}
		key = store.RoomKey(n)
	default:
		peer, err := a.user1("user", in.User)
		if err != nil {
			return nil, err
		}
		key = store.PairKey(u.ID, peer.ID)
	}
	return a.whyOf(ctx, b, u, key, in.Seq)
}

// whyOf tells the decisions about a message for a user's devices.
func (a *API) whyOf(ctx context.Context, b bridge.Asked, u store.Account, key store.Key, seq store.Seq) (*pushWhyOut, error) {
	info, err := a.store.Find(key)
	if store.CodeOf(err) == store.CodeNotFound {
		return nil, notFound("there is no such conversation")
	}
	if err != nil {
		return nil, fmt.Errorf("api: find: %w", err)
	}
	if info.Members.Find(u.ID) == nil {
		return nil, notFound("the user was never in this conversation")
	}
	if seq > info.Head {
		return nil, errNoMessage
	}
	return a.decisions(ctx, b, u, info.ID, seq)
}

// channelKey is the log that is asked about.
func (in *pushWhyIn) channelKey(me store.AccountID) (store.Key, error) {
	n, err := name("channel", in.Channel)
	if err != nil {
		return store.Key{}, err
	}
	switch in.Log {
	case "", "posts":
		return store.ChannelKey(n), nil
	case "ads":
		return store.AdsKey(n), nil
	case "thread":
		return store.ThreadKey(me, n), nil
	}
	return store.Key{}, store.Bad("log must be posts, ads or thread")
}

// whyOfChannel tells the decisions about a post, or a message of the user's own thread with a channel.
func (a *API) whyOfChannel(ctx context.Context, b bridge.Asked, u store.Account, in *pushWhyIn) (*pushWhyOut, error) {
	key, err := in.channelKey(u.ID)
	if err != nil {
		return nil, err
	}
	info, err := a.store.Find(key)
	if store.CodeOf(err) == store.CodeNotFound {
		return nil, notFound("there is no such channel, or nothing was written there")
	}
	if err != nil {
		return nil, fmt.Errorf("api: find: %w", err)
	}
	q := store.Query{Log: info.ID, After: in.Seq - 1, Upto: in.Seq, Max: 1}
	if key.Kind == store.LogThread {
		q.Viewer = u.ID
	}
	page, err := a.store.Read(q)
	if code := store.CodeOf(err); err != nil && code != store.CodeTrimmed {
		return nil, fmt.Errorf("api: read: %w", err)
	}
	if len(page.Records) == 0 {
		return nil, errNoMessage
	}
	return a.decisions(ctx, b, u, info.ID, in.Seq)
}

func (a *API) decisions(ctx context.Context, b bridge.Asked, u store.Account, log store.LogID, seq store.Seq) (*pushWhyOut, error) {
	found, err := b.Why(ctx, u.ID, log, seq)
	if err != nil {
		if _, ok := errors.AsType[*store.Error](err); ok {
			return nil, err
		}
		return nil, fmt.Errorf("api: why: %w", err)
	}
	devices, err := a.store.Devices(u.ID)
	if err != nil {
		return nil, fmt.Errorf("api: devices: %w", err)
	}
	labels := make(map[store.DeviceID]string, len(devices))
	for _, d := range devices {
		if labels[d.ID] = d.Label; d.Label == "" {
			labels[d.ID] = d.ClientID
		}
	}
	out := &pushWhyOut{Decisions: make([]pushDecision, 0, len(found))}
	for i := range found {
		d := &found[i]
		shown := pushDecision{Device: d.Device.String(), Label: labels[d.Device], Time: d.Time.UTC(), From: d.From, Upto: d.Upto,
			Reason: string(d.Reason), Text: PushSentence(d.Reason), Answer: shownAnswer(d.Answer)}
		if !d.Until.IsZero() {
			shown.Until = at(d.Until.UnixMilli())
		}
		if d.Push != (push.ID{}) {
			shown.Push = d.Push.String()
		}
		out.Decisions = append(out.Decisions, shown)
	}
	return out, nil
}

// sentences say what each reason means.
var sentences = map[bridge.Reason]string{
	bridge.ReasonOwn:       "The user wrote it.",
	bridge.ReasonLeft:      "The user is not in the conversation any more.",
	bridge.ReasonHidden:    "There was nothing to ring for: it is an operation or an event, or of somebody whom the user has blocked.",
	bridge.ReasonRecalled:  "The message was taken back.",
	bridge.ReasonMuted:     "The user has muted the conversation.",
	bridge.ReasonMention:   "Open rooms ring for mentions only, as the user has set it, and this mentions somebody else or nobody.",
	bridge.ReasonRead:      "The user has read it, on some device.",
	bridge.ReasonAcked:     "The device was connected and has acknowledged it.",
	bridge.ReasonNotifies:  "The device has acknowledged it in the background, and tells its user by itself.",
	bridge.ReasonSilentLog: "Messages of this kind never ring.",
	bridge.ReasonBoxed:     "It is a message request, and the user was told of the request box within a day.",
	bridge.ReasonNoToken:   "The device has registered nothing with device.push.",
	bridge.ReasonExpired:   "It was too old to be told by itself when it could be sent: it is told in a summary.",
	bridge.ReasonRefused:   "The provider will not take the push.",
	bridge.ReasonSuspended: "The account is suspended.",
	bridge.ReasonDouble:    "The device was told of it before the server was started again.",
	bridge.ReasonLive:      "The device was connected: the posts of channels reach it there.",
	bridge.ReasonSilent:    "The user has not asked for pushes of this channel.",
	bridge.ReasonNotFor:    "The post is not for this user: of another audience, without its consent, or more advertising than it gets in a day.",
	bridge.ReasonHush:      "The user has quiet hours, in which the posts of channels do not ring, and neither afterwards.",
	bridge.ReasonPassed:    "The post had no pushes, or the user could not be told when its turn came.",

	bridge.ReasonGrace:  "The device is connected and has some seconds to acknowledge it.",
	bridge.ReasonActive: "The user is at another device: it waits a moment for a sign that it was read there.",
	bridge.ReasonWindow: "The device rang for this conversation a moment ago: it is told together with what comes until the window ends.",
	bridge.ReasonQuiet:  "The user has quiet hours: it is told in a summary afterwards.",
	bridge.ReasonCapped: "The device got too many pushes within a minute: it is told in a summary.",
	bridge.ReasonRetry:  "The provider did not take it: it is tried again.",
	bridge.ReasonHeld:   "The provider is not asked at the moment: see hwangso push status.",
	bridge.ReasonNight:  "It is advertising, and night where the user is: it is told in the morning.",
	bridge.ReasonTurn:   "The followers are told one after the other, and the turn has not come, or the post is paused.",

	bridge.ReasonAway:       "The device was not connected.",
	bridge.ReasonSilence:    "The device was connected, and did not acknowledge it in time.",
	bridge.ReasonBackground: "The device was connected in the background, and does not tell its user by itself.",
	bridge.ReasonUpdate:     "It replaced what the device showed of the conversation.",
	bridge.ReasonSummary:    "It was told in a summary of unread messages.",
	bridge.ReasonClear:      "What the device showed of the conversation was taken away.",
}

// PushSentence is what a reason means, in a sentence.
func PushSentence(r bridge.Reason) string {
	if s := sentences[r]; s != "" {
		return s
	}
	return "It was decided for the reason " + string(r) + "."
}

type pushStatusOut struct {
	Behind    int64      `json:"behind" doc:"Bytes of the journal that the bridge has not read yet."`
	Unsettled int        `json:"unsettled" doc:"Entries that were read, and would be read again after a crash."`
	Rings     int        `json:"rings" doc:"Conversations of devices that something is under way with."`
	Rows      int64      `json:"rows" doc:"Those that wait on disk: windows, retries, quiet hours."`
	Providers []pushLane `json:"providers"`
}

// pushLane is lane.Status as operators see it.
type pushLane struct {
	Provider  string         `json:"provider"`
	State     string         `json:"state" doc:"open; recovering: few pushes at once, becoming more; busy: the provider asked for a pause; down: attempts fail; denied: it refuses the server's credentials; guarded: so many tokens look invalid that the fault must be the server's; partly: of several routes some are not open; closed."`
	Why       string         `json:"why,omitempty" doc:"The provider's word for it."`
	Since     *time.Time     `json:"since,omitempty"`
	Probe     *time.Time     `json:"probe,omitempty" doc:"When the next push may find out whether it works again."`
	InFlight  int            `json:"in_flight"`
	Limit     int            `json:"limit" doc:"How many may be in flight."`
	Queued    map[string]int `json:"queued" doc:"By class: chat, clear, bulk."`
	OldestMS  int64          `json:"oldest_ms" doc:"How long the oldest one has been queued."`
	LastError string         `json:"last_error,omitempty"`
	LastAt    *time.Time     `json:"last_error_at,omitempty"`
	Guard     pushGuard      `json:"guard"`
	BulkRate  float64        `json:"bulk_rate,omitempty" doc:"Pushes of the class bulk a second, at this moment; absent: as many as go."`
	Routes    []pushRoute    `json:"routes" doc:"Those that are not open, then the busiest; at most 20."`
}

type pushGuard struct {
	Reached  int        `json:"reached" doc:"Devices that were reached in the last 12 to 24 hours."`
	Suspects int        `json:"suspects" doc:"Devices whose token looks invalid, since the last success."`
	Removed  uint64     `json:"removed" doc:"Tokens that were taken away because they looked invalid, since the start."`
	Kept     uint64     `json:"kept" doc:"Tokens that were left alone because too many looked so, since the start."`
	Trips    uint64     `json:"trips" doc:"How often the guard has paused the provider, since the start."`
	Tripped  *time.Time `json:"tripped,omitempty" doc:"When it last did."`
}

type pushRoute struct {
	Name     string     `json:"name,omitempty"`
	State    string     `json:"state"`
	Why      string     `json:"why,omitempty"`
	Since    *time.Time `json:"since,omitempty"`
	Probe    *time.Time `json:"probe,omitempty"`
	InFlight int        `json:"in_flight"`
	Queued   int        `json:"queued"`
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (a *API) pushStatus(_ context.Context, _ *caller, _ *none) (*pushStatusOut, error) {
	b, err := a.pushBridge()
	if err != nil {
		return nil, err
	}
	s := b.Status()
	out := &pushStatusOut{Behind: s.Behind, Unsettled: s.Unsettled, Rings: s.Rings, Rows: s.Rows, Providers: make([]pushLane, 0, len(s.Lanes))}
	for i := range s.Lanes {
		out.Providers = append(out.Providers, shownLane(&s.Lanes[i]))
	}
	return out, nil
}

func shownLane(s *lane.Status) pushLane {
	out := pushLane{
		Provider: string(s.Provider), State: string(s.State), Why: s.Why, Since: moment(s.Since), Probe: moment(s.Probe),
		InFlight: s.InFlight, Limit: s.Limit, Queued: s.Queued, OldestMS: s.Oldest.Milliseconds(),
		LastError: s.LastError, LastAt: moment(s.LastErrorAt), BulkRate: s.Quota.BulkNow, Routes: []pushRoute{},
		Guard: pushGuard{s.Guard.Reached, s.Guard.Suspects, s.Guard.Removed, s.Guard.Kept, s.Guard.Trips, moment(s.Guard.Tripped)},
	}
	for _, r := range s.Routes {
		out.Routes = append(out.Routes, pushRoute{r.Name, string(r.State), r.Why, moment(r.Since), moment(r.Probe), r.InFlight, r.Queued})
	}
	return out
}

type pushResumeIn struct {
	Provider string `json:"provider" doc:"apns, fcm or webpush."`
}

type pushResumeOut struct {
	Paused bool `json:"paused" doc:"False: there was no pause."`
}

func (a *API) pushResume(_ context.Context, _ *caller, in *pushResumeIn) (*pushResumeOut, error) {
	b, err := a.pushBridge()
	if err != nil {
		return nil, err
	}
	if in.Provider == "" {
		return nil, store.Bad("provider is missing: apns, fcm or webpush")
	}
	paused, known := b.Resume(graph.PushProvider(in.Provider))
	if !known {
		return nil, notFound("no such provider is set up here: see push.status")
	}
	return &pushResumeOut{paused}, nil
}
