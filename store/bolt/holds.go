package bolt

import (
	"context"
	"encoding/json"

	"github.com/hwangso/hwangso/store"
)

// holdTable has the holds, owned by nobody: those on accounts before those on logs.
const holdTable store.Table = "service.hold"

func holdKey(h store.Hold) string {
	if h.Account != 0 {
		return "a" + store.KeyOf(h.Account)
	}
	return "l" + store.KeyOf(h.Log)
}

// Hold implements store.Directory.
func (d *directory) Hold(ctx context.Context, h store.Hold) error {
	if err := checkHold(h); err != nil {
		return err
	}
	if len(h.Reason) > maxText || len(h.By) > maxText {
		return &store.Error{Code: store.CodeTooLarge, Text: "the reason of the hold is too long"}
	}
	if h.Since == 0 {
		h.Since = d.now().UnixMilli()
	}
	key, err := rowKey(holdTable, "", holdKey(h))
	if err != nil {
		return err
	}
	value, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return d.file.update(ctx, func(w *writeTx) error {
		if h.Account != 0 { // in the same change: an erasure comes before it or not at all
			if err := requireAccount(w.tx, h.Account); err != nil {
				return err
			}
		}
		return putTableRow(w, key, store.RowPut{Value: value})
	}, func(error) { d.rows.forget(string(key)) })
}

// Unhold implements store.Directory.
func (d *directory) Unhold(ctx context.Context, h store.Hold) error {
	if err := checkHold(h); err != nil {
		return err
	}
	key, err := rowKey(holdTable, "", holdKey(h))
	if err != nil {
		return err
	}
	return d.file.update(ctx, func(w *writeTx) error {
		if w.bucket(dirRows).Get(key) == nil {
			return &store.Error{Code: store.CodeNotFound, Text: "there is no such hold"}
		}
		return putTableRow(w, key, store.RowPut{})
	}, func(error) { d.rows.forget(string(key)) })
}

func checkHold(h store.Hold) error {
	if (h.Account == 0) == (h.Log == 0) {
		return store.Bad("a hold is on one account or one conversation")
	}
	return nil
}

// Holds implements store.Directory.
func (d *directory) Holds() ([]store.Hold, error) {
	var out []store.Hold
	for after := ""; ; {
		rows, err := d.Rows(holdTable, "", "", after, pageRows)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			var h store.Hold
			if err := json.Unmarshal(r.Value, &h); err != nil {
				return nil, corrupt("a hold", err)
			}
			out = append(out, h)
			after = r.Key
		}
		if len(rows) < pageRows {
			return out, nil
		}
	}
}

// held reports whether there is any hold.
func (d *directory) held() (bool, error) {
	rows, err := d.Rows(holdTable, "", "", "", 1)
	return len(rows) > 0, err
}

// Hold implements store.Store: a hold on a log that does not exist is CodeNotFound.
func (s *Store) Hold(ctx context.Context, h store.Hold) error {
	if h.Account == 0 && h.Log != 0 {
		if _, err := s.Info(h.Log); err != nil {
			return err
		}
	}
	return s.directory.Hold(ctx, h)
}
