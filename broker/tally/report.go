package tally

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// ReportAfter is how long after the end of a broadcast its report is made.
const ReportAfter = 24 * time.Hour

// OpenedLife is how long it is kept that somebody has opened a post: long enough for a report of any post.
const OpenedLife = 30 * 24 * time.Hour

// Report is what a brand is told of a broadcast, a day after its end. All counts are rounded: see Round.
type Report struct {
	Made    int64 `json:"made"`    // Unix milliseconds
	Reached *int  `json:"reached"` // followers of whom a device has confirmed the post
	Pushed  *int  `json:"pushed"`  // devices that were woken for it
	Opened  *int  `json:"opened"`  // followers who have opened it
}

// Opened notes that a user has opened a post. It is counted in the post's report and told to nobody before.
func (t *Tally) Opened(ctx context.Context, a store.AccountID, log store.LogID, seq store.Seq) error {
	row, err := t.store.Row(tableOpened, store.OwnerOf(a), postKey(log, seq))
	if err != nil {
		return fmt.Errorf("tally: opened: %w", err)
	}
	if row.Version != 0 {
		return nil
	}
	err = t.store.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{
		{Table: tableOpened, Key: postKey(log, seq), Value: []byte{1}, Expires: t.now().Add(OpenedLife).UnixMilli()}}})
	if err != nil {
		return fmt.Errorf("tally: opened: %w", err)
	}
	return nil
}

func postKey(log store.LogID, seq store.Seq) string { return store.KeyOf(log) + store.KeyOf(seq) }

// ReportOf is a report that was made, CodeNotFound if it was not yet.
func (t *Tally) ReportOf(channel, log store.LogID, seq store.Seq) (*Report, error) {
	row, err := t.store.Row(tableReport, store.OwnerOfLog(channel), postKey(log, seq))
	if err != nil {
		return nil, fmt.Errorf("tally: report: %w", err)
	}
	if row.Version == 0 {
		return nil, &store.Error{Code: store.CodeNotFound, Text: "the report is made 24 hours after the end of the broadcast"}
	}
	r := new(Report)
	if err := json.Unmarshal(row.Value, r); err != nil {
		return nil, fmt.Errorf("tally: report: %w", err)
	}
	return r, nil
}

// Report makes the report of a post in one of a channel's two logs, or returns the one that was made before: it is
// counted once, over those who follow at that moment. ended is when the broadcast has ended (Unix milliseconds);
// CodeLocked less than ReportAfter later. One at a time is made.
func (t *Tally) Report(ctx context.Context, channel, log store.LogID, seq store.Seq, ended int64) (*Report, error) {
	r, err := t.ReportOf(channel, log, seq)
	if store.CodeOf(err) != store.CodeNotFound {
		return r, err
	}
	if t.now().Sub(time.UnixMilli(ended)) < ReportAfter {
		return nil, &store.Error{Code: store.CodeLocked, Text: "the report is made 24 hours after the end of the broadcast"}
	}
	select {
	case <-t.reports:
		defer func() { t.reports <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if r, err = t.ReportOf(channel, log, seq); store.CodeOf(err) != store.CodeNotFound {
		return r, err
	}
	if r, err = t.report(ctx, channel, log, seq); err != nil {
		return nil, err
	}
	value, err := json.Marshal(r)
	if err == nil {
		err = t.store.Update(ctx, store.Update{Owner: store.OwnerOfLog(channel), Rows: []store.RowPut{
			{Table: tableReport, Key: postKey(log, seq), Value: value, If: store.IfVersion(0)}}})
	}
	if store.CodeOf(err) == store.CodeConflict { // somebody else was faster; there is one report
		return t.ReportOf(channel, log, seq)
	}
	if err != nil {
		return nil, fmt.Errorf("tally: report: %w", err)
	}
	return r, nil
}

func (t *Tally) report(ctx context.Context, channel, log store.LogID, seq store.Seq) (*Report, error) {
	out := &Report{Made: t.now().UnixMilli()}
	info, err := t.store.Info(log)
	if err != nil {
		return nil, fmt.Errorf("tally: log: %w", err)
	}
	p, err := t.store.Read(store.Query{Log: log, After: seq - 1, Upto: seq, Max: 1})
	if store.CodeOf(err) == store.CodeTrimmed || err == nil && len(p.Records) == 0 {
		return out, nil // retention was faster: there is nothing to tell
	}
	if err != nil {
		return nil, fmt.Errorf("tally: post: %w", err)
	}
	post := p.Records[0]
	meant, reached, opened := 0, 0, 0
	err = t.each(ctx, channel, func(a store.AccountID, f *graph.Follow) error {
		if seq <= f.Before(info.Key.Kind) { // it was before the follower's time
			return nil
		}
		its, err := t.cfg.Meant(a, info, post)
		if err != nil || !its {
			return err
		}
		meant++
		got, err := t.confirmed(a, log, seq)
		if err != nil {
			return err
		}
		if got {
			reached++
		}
		row, err := t.store.Row(tableOpened, store.OwnerOf(a), postKey(log, seq))
		if err != nil {
			return fmt.Errorf("tally: opened: %w", err)
		}
		if row.Version != 0 {
			opened++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	pushed, err := t.cfg.Pushed(ctx, log, seq)
	if err != nil {
		return nil, fmt.Errorf("tally: pushes: %w", err)
	}
	out.Reached, out.Opened, out.Pushed = Round(reached, meant), Round(opened, meant), Round(pushed, meant)
	if pushed-meant >= Few { // devices, of which there may be more than followers: then there is no rest that would be told
		out.Pushed = Round(pushed, 0)
	}
	t.metrics.reports.Inc()
	return out, nil
}

// confirmed reports whether any device of a user has confirmed a post.
func (t *Tally) confirmed(a store.AccountID, log store.LogID, seq store.Seq) (bool, error) {
	devices, err := t.store.Devices(a)
	if err != nil {
		return false, fmt.Errorf("tally: devices: %w", err)
	}
	for _, d := range devices {
		c, err := t.store.CursorOf(a, d.ID, log)
		if err != nil {
			return false, fmt.Errorf("tally: cursor: %w", err)
		}
		if c.Confirmed(seq) {
			return true, nil
		}
	}
	return false, nil
}
