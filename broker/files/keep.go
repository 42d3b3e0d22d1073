package files

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
)

// A file is held by the messages that name it, and by what its owner shows beside messages, such as a profile.

// Keep holds a picture of the user's own for something other than a message; what is a word that says for what.
// CodeNotFound: it has no such file. CodeBad: the file is no picture.
func (s *Files) Keep(ctx context.Context, owner store.AccountID, id, what string) error {
	m, ok, err := s.mine(owner, id)
	if err != nil {
		return fmt.Errorf("files: keep: %w", err)
	}
	if !ok || m.State != stateReady || s.isDoomed(id) {
		return errNoFile
	}
	if !strings.HasPrefix(m.Type, "image/") {
		return store.Bad("the file is no picture")
	}
	return s.put(ctx, tableRef, store.Owner(id), what, struct{}{}, 0, nil)
}

// LetGo undoes Keep. A file that nothing holds any more is removed after a moment.
func (s *Files) LetGo(ctx context.Context, id, what string) error {
	if !validID(id) {
		return nil
	}
	if err := s.due(ctx, id, s.now().Add(grace)); err != nil {
		return err
	}
	return s.remove(ctx, tableRef, store.Owner(id), what)
}

// LinkKept links a picture that its owner has kept for something that the viewer sees; what is the word of Keep.
// CodeNotFound: it is not kept for that.
func (s *Files) LinkKept(_ context.Context, id, what string) (Link, error) {
	if !validID(id) {
		return Link{}, errNoFile
	}
	row, err := s.store.Row(tableRef, store.Owner(id), what)
	if err != nil {
		return Link{}, fmt.Errorf("files: link: %w", err)
	}
	if row.Version == 0 {
		return Link{}, errNoFile
	}
	_, m, err := s.of(id)
	if err != nil {
		return Link{}, err
	}
	return s.link(id, m), nil
}

// LinkOf links a file that a message names, for a viewer of whom the caller knows that it sees the message; extra is the
// message's, as the viewer gets it.
func (s *Files) LinkOf(ctx context.Context, viewer store.AccountID, extra []byte, id string) (Link, error) {
	ids, err := view.Files(extra)
	if err != nil {
		return Link{}, fmt.Errorf("files: link: %w", err)
	}
	if !slices.Contains(ids, id) {
		return Link{}, errNoFile
	}
	return s.shown(ctx, viewer, id)
}
