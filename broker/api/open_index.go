package api

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hwangso/hwangso/broker/search"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// openRooms is the search over open rooms: loaded at the start, then kept up by what is committed.
type openRooms struct {
	*search.Index
	loaded atomic.Bool
}

var errLoading = &store.Error{Code: store.CodeUnavailable, Text: "the rooms are being read: try again in a moment", Retry: time.Second}

// followRooms loads the rooms, then counts what happens in them, until ctx ends.
func (a *API) followRooms(ctx context.Context) {
	_, at := a.store.Bounds() // before loading: what comes later is told
	for after := store.LogID(0); ctx.Err() == nil; {
		list, next, err := a.graph.OpenRooms(after, 0)
		for _, log := range list {
			if err == nil {
				err = a.indexRoom(log)
			}
		}
		if err != nil {
			a.log.Error("open rooms not read", keyErr, err)
			if !pause(ctx, time.Second) {
				return
			}
			continue
		}
		if after = next; next == 0 {
			break
		}
	}
	a.rooms.loaded.Store(true)
	for {
		batch, err := a.store.Follow(ctx, at)
		switch e, ok := errors.AsType[*store.Error](err); {
		case err == nil:
			a.countRooms(batch.Entries)
			at = batch.Next
		case ctx.Err() != nil:
			return
		case ok && e.Code == store.CodeTrimmed:
			_, at = a.store.Bounds()
		default:
			a.log.Error("journal not read", keyErr, err)
			if !pause(ctx, time.Second) {
				return
			}
		}
	}
}

// pause waits, and reports whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// countRooms tells the index what happened in open rooms.
func (a *API) countRooms(entries []store.Entry) {
	var news []search.News
	at := make(map[store.LogID]int)
	for i := range entries {
		e := &entries[i]
		if e.Key.Kind != store.LogRoom || e.Record == nil || !a.rooms.Knows(e.Record.Log) {
			continue
		}
		log := e.Record.Log
		if e.Record.Change.Kind == store.ChangeTitle {
			if err := a.indexRoom(log); err != nil {
				a.log.Error("open room not read", keyErr, err)
			}
		}
		n, seen := at[log]
		if !seen {
			n = len(news)
			at[log], news = n, append(news, search.News{Log: log})
		}
		news[n].Size = e.Members.Active
		if e.Record.Kind.ByUser() && e.Record.Op.Kind == store.OpNone && e.Record.Audience == store.AudienceBoth {
			news[n].Events++
		}
	}
	if len(news) > 0 {
		a.rooms.Tell(news, a.now().UnixMilli())
	}
}

// startActivity is what a room is taken to have had when the server starts, from its newest message: the messages before
// are not counted again.
func startActivity(info store.LogInfo) float64 { return float64(min(info.Head, 50)) }

// indexRoom enters what is known of an open room into the search.
func (a *API) indexRoom(log store.LogID) error {
	info, err := a.store.Info(log)
	if store.CodeOf(err) == store.CodeNotFound {
		a.rooms.Remove(log)
		return nil
	}
	if err != nil {
		return fmt.Errorf("api: info: %w", err)
	}
	r, err := a.graph.Room(log)
	if err != nil {
		return fmt.Errorf("api: room: %w", err)
	}
	a.rooms.Put(search.Entry{Log: log, Name: info.Key.Name, Title: info.Title, Description: r.Description, Tags: r.Tags, Language: r.Language,
		Country: r.Country, Size: info.Members.Active, Hidden: unlisted(r, info), Activity: startActivity(info), At: info.HeadTime})
	return nil
}

// unlisted reports whether a room is not for who looks around: nobody comes in, or nobody is in.
func unlisted(r *graph.Room, info store.LogInfo) bool {
	return !r.Open || r.Closed != 0 || r.Locked || info.Members.Active == 0
}

type openSearchIn struct {
	Query    string   `json:"query,omitempty" doc:"Words of the title, tags and description: all of them must be there. Absent: any room."`
	Tags     []string `json:"tags,omitempty" doc:"Tags that the room must have, all of them."`
	Language string   `json:"language,omitempty" doc:"BCP 47: pt finds pt-BR too."`
	Country  string   `json:"country,omitempty" doc:"ISO 3166, two letters."`
	After    string   `json:"after,omitempty" doc:"next of the page before; absent: the first page."`
	Limit    int      `json:"limit,omitempty" doc:"Rooms of a page; absent: 20."`
}

type openSearchOut struct {
	Rooms []openRoom `json:"rooms" doc:"The best first: how well the words fit, how much is going on, how many are in it."`
	Next  string     `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

// maxQuery is the longest text that is searched for, in bytes.
const maxQuery = 400

func (a *API) openSearch(_ context.Context, c *caller, in *openSearchIn) (*openSearchOut, error) {
	limit, err := a.page(in.Limit, 20)
	switch {
	case err != nil:
		return nil, err
	case len(in.Query) > maxQuery:
		return nil, tooLarge("query", maxQuery, "bytes")
	case len(in.Tags) > maxTags:
		return nil, tooLarge("tags", maxTags, "tags")
	case !a.rooms.loaded.Load():
		return nil, errLoading
	}
	q := search.Query{Text: in.Query, Tags: in.Tags, Country: in.Country, After: in.After, Max: limit}
	if q.Language, err = language(in.Language); err != nil {
		return nil, err
	}
	var failed error
	q.Skip = func(log store.LogID) bool { // what the index cannot know: the user, and settings changed a moment ago
		r, err := a.graph.Room(log)
		m, err2 := a.graph.RoomMember(log, c.account.ID)
		if err = errors.Join(err, err2); err != nil {
			failed = fmt.Errorf("api: room: %w", err)
			return true
		}
		return !r.Open || r.Closed != 0 || r.Locked || m.Banned != 0
	}
	found, err := a.rooms.Search(q, a.now().UnixMilli())
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	out := &openSearchOut{Rooms: make([]openRoom, 0, len(found.Entries)), Next: found.Next}
	for _, f := range found.Entries {
		info, err := a.store.Info(f.Log)
		if store.CodeOf(err) == store.CodeNotFound {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("api: info: %w", err)
		}
		r, err := a.shownRoom(c.account.ID, info)
		if err != nil {
			return nil, err
		}
		out.Rooms = append(out.Rooms, *r)
	}
	return out, nil
}
