package files

import (
	"context"
	"fmt"
	"slices"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Hold holds files of the user's own for something that is to be said later, such as a post that waits for its time, until
// LetGo with the same word. CodeNotFound: it has no such file.
func (s *Files) Hold(ctx context.Context, owner store.AccountID, ids []string, what string) error {
	for _, id := range ids {
		m, ok, err := s.mine(owner, id)
		if err != nil {
			return fmt.Errorf("files: hold: %w", err)
		}
		if !ok || m.State != stateReady || s.isDoomed(id) {
			return errNoFile
		}
		if err := s.put(ctx, tableRef, store.Owner(id), what, struct{}{}, 0, nil); err != nil {
			return err
		}
	}
	return nil
}

// filesOf are the files that a message names, of a post in every language.
func (s *Files) filesOf(key store.Key, r *store.Record) ([]string, error) {
	if r.Op.Kind != store.OpNone || r.Recalled || !r.Kind.ByUser() {
		return nil, nil
	}
	ids, err := view.Files(r.Extra)
	post := graph.PostID(r)
	if err != nil || post == "" || !key.Posts() {
		return ids, err
	}
	channel, err := s.graph.ChannelOf(key)
	if store.CodeOf(err) == store.CodeNotFound {
		return ids, nil
	}
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	about, err := s.graph.Post(channel, post)
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	for _, v := range about.Variants {
		more, err := view.Files(v.Extra)
		if err != nil {
			return nil, err
		}
		for _, id := range more {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}
