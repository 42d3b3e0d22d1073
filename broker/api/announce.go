package api

import (
	"context"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/bulk"
	"github.com/hwangso/hwangso/store"
)

// Announcer sends the same push to everybody; *bulk.Bulk does.
type Announcer interface {
	Create(ctx context.Context, source, id string, data any, lives time.Duration) (p bulk.Progress, created bool, err error)
	List(source string, max int) ([]bulk.Progress, error)
	Set(ctx context.Context, id string, to bulk.State) (bulk.Progress, error)
}

// announceOperations are the operators' on announcements.
func announceOperations() []operation {
	return []operation{
		scoped(ScopePush, changing(op("push.announce", "Tell everybody something by push", "To every device that is woken by pushes, the user's language where it is there, without sound in quiet hours. It goes out behind chat, which it never delays. The same id again is the same announcement, whatever it says.", (*API).pushAnnounce))),
		scoped(ScopePush, op("push.announcements", "List announcements", "The newest first, and how far each has come.", (*API).pushAnnouncements)),
		scoped(ScopePush, changing(op("push.announcement.set", "Pause, resume or cancel an announcement", "What is on its way to a provider is not taken back.", (*API).pushAnnouncementSet))),
	}
}

const (
	announceHours    = 24 // an announcement lives so long if nothing else is said
	maxAnnounceHours = 28 * 24
	maxAnnouncements = 100 // listed
)

type pushAnnounceIn struct {
	ID    string            `json:"id" doc:"Names the announcement: asking again with the same one sends nothing twice."`
	Title map[string]string `json:"title,omitempty" doc:"By language (BCP 47), each at most 100 characters."`
	Text  map[string]string `json:"text" doc:"By language, each at most 1,000 characters. Of several, en must be there: it is for everybody whose language is not."`
	Hours int               `json:"hours,omitempty" doc:"How long it is worth telling; 24 if absent, at most 672."`
}

type announcement struct {
	ID      string     `json:"id"`
	State   string     `json:"state" doc:"running, paused, done, canceled or expired."`
	Created *time.Time `json:"created"`
	Ends    *time.Time `json:"ends"`
	Ended   *time.Time `json:"ended,omitempty"`
	Users   int        `json:"users" doc:"Considered so far, by the provider that is farthest."`
	Sent    int        `json:"sent" doc:"Pushes that a provider took."`
	Gone    int        `json:"gone,omitempty" doc:"Devices whose token turned out not to be valid any more."`
	Failed  int        `json:"failed,omitempty" doc:"Pushes that a provider will not take."`
	Late    int        `json:"late,omitempty" doc:"Pushes that could not be sent before the end."`
}

func announcementOf(p bulk.Progress) announcement {
	sum := p.Sum()
	return announcement{ID: p.ID, State: string(p.State), Created: at(p.Created), Ends: at(p.Ends), Ended: at(p.Ended),
		Users: sum.Users, Sent: sum.Sent, Gone: sum.Gone, Failed: sum.Failed, Late: sum.Late}
}

type announcementOut struct {
	Announcement announcement `json:"announcement"`
	New          bool         `json:"new,omitempty" doc:"It began with this request."`
}

func (a *API) announcer() (Announcer, error) {
	if a.cfg.Push == nil || a.cfg.Push.Announce == nil {
		return nil, errNoPushes
	}
	return a.cfg.Push.Announce, nil
}

func (a *API) pushAnnounce(ctx context.Context, _ *caller, in *pushAnnounceIn) (*announcementOut, error) {
	b, err := a.announcer()
	if err != nil {
		return nil, err
	}
	id, err := name("id", in.ID)
	if err != nil {
		return nil, err
	}
	hours := in.Hours
	if hours == 0 {
		hours = announceHours
	}
	if hours < 0 || hours > maxAnnounceHours {
		return nil, store.Bad(fmt.Sprintf("hours must be 1 to %d", maxAnnounceHours))
	}
	n := bridge.Announcement{Title: in.Title, Text: in.Text}
	if err := n.Validate(); err != nil {
		return nil, err
	}
	p, created, err := b.Create(ctx, bridge.SourceAnnouncements, id, n, time.Duration(hours)*time.Hour)
	if err != nil {
		return nil, fmt.Errorf("api: announce: %w", err)
	}
	return &announcementOut{announcementOf(p), created}, nil
}

type announcementsOut struct {
	Announcements []announcement `json:"announcements"`
}

func (a *API) pushAnnouncements(_ context.Context, _ *caller, _ *none) (*announcementsOut, error) {
	b, err := a.announcer()
	if err != nil {
		return nil, err
	}
	list, err := b.List(bridge.SourceAnnouncements, maxAnnouncements)
	if err != nil {
		return nil, fmt.Errorf("api: announcements: %w", err)
	}
	out := &announcementsOut{Announcements: make([]announcement, 0, len(list))}
	for _, p := range list {
		out.Announcements = append(out.Announcements, announcementOf(p))
	}
	return out, nil
}

type pushAnnouncementSetIn struct {
	ID    string `json:"id"`
	State string `json:"state" doc:"paused, running or canceled."`
}

func (a *API) pushAnnouncementSet(ctx context.Context, _ *caller, in *pushAnnouncementSetIn) (*announcementOut, error) {
	b, err := a.announcer()
	if err != nil {
		return nil, err
	}
	id, err := name("id", in.ID)
	if err != nil {
		return nil, err
	}
	p, err := b.Set(ctx, id, bulk.State(in.State))
	if store.CodeOf(err) == store.CodeNotFound {
		return nil, notFound("there is no such announcement")
	}
	if err != nil {
		return nil, fmt.Errorf("api: announcement: %w", err)
	}
	return &announcementOut{Announcement: announcementOf(p)}, nil
}
