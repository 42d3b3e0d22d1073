package files

import (
	"context"
	"fmt"
	"strings"

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
	if !ok || m.State != stateReady {
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
