package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

type previewSetIn struct {
	Conversation
	Preview *string `json:"preview,omitempty" doc:"sender, full or hidden; empty: as is set for all."`
}

type previewSetOut struct {
	Changed bool   `json:"changed" doc:"False: it was so before."`
	Preview string `json:"preview" doc:"What pushes show of the conversation now: sender, full or hidden."`
}

// previews are the words, the default first.
var previews = []string{string(graph.PreviewSender), string(graph.PreviewFull), string(graph.PreviewHidden)}

func (a *API) previewSet(ctx context.Context, c *caller, in *previewSetIn) (*previewSetOut, error) {
	if in.Preview == nil || *in.Preview != "" && !slices.Contains(previews, *in.Preview) {
		return nil, store.Bad("preview must be " + alternatives(previews) + ", or empty for what is set for all")
	}
	info, _, err := a.find(c.account.ID, in.Conversation)
	if err != nil {
		return nil, err
	}
	if *in.Preview != "" && info.Members.Role(c.account.ID) == store.RoleNone {
		return nil, errNoRoom
	}
	changed, err := a.graph.SetRoomPreview(ctx, c.account.ID, info.ID, graph.Preview(*in.Preview))
	if err != nil {
		return nil, fmt.Errorf("api: set preview: %w", err)
	}
	if changed {
		a.notify(ctx, c.account.ID, noticeOf(view.NoticeSettings, info, c.account.ID), "")
	}
	now, err := a.graph.RoomPreview(c.account.ID, info.ID)
	if err != nil {
		return nil, fmt.Errorf("api: preview: %w", err)
	}
	return &previewSetOut{changed, string(now)}, nil
}

type previewed struct {
	Conversation
	Preview string `json:"preview" doc:"sender, full or hidden."`
}

type previewListOut struct {
	Previews []previewed `json:"previews"`
}

func (a *API) previewList(_ context.Context, c *caller, _ *none) (*previewListOut, error) {
	all, err := a.graph.RoomPreviews(c.account.ID)
	if err != nil {
		return nil, fmt.Errorf("api: previews: %w", err)
	}
	out := &previewListOut{Previews: make([]previewed, 0, len(all))}
	for log, p := range all {
		c, ok, err := a.conversationOf(c.account.ID, log)
		if err != nil {
			return nil, err
		}
		if ok {
			out.Previews = append(out.Previews, previewed{c, string(p)})
		}
	}
	slices.SortFunc(out.Previews, func(x, y previewed) int {
		return strings.Compare(x.Room+"/"+x.User, y.Room+"/"+y.User)
	})
	return out, nil
}
