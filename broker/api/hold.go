package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hwangso/hwangso/store"
)

// hold is the hold on an account or a log that stands, if there is one.
func (a *API) hold(on store.Hold) (store.Hold, bool, error) {
	holds, err := a.store.Holds()
	if err != nil {
		return store.Hold{}, false, fmt.Errorf("api: holds: %w", err)
	}
	i := slices.IndexFunc(holds, func(h store.Hold) bool { return h.Account == on.Account && h.Log == on.Log })
	if i < 0 {
		return store.Hold{}, false, nil
	}
	return holds[i], true, nil
}

// held reports whether an account is under legal hold.
func (a *API) held(u store.AccountID) (bool, error) {
	_, held, err := a.hold(store.Hold{Account: u})
	return held, err
}

type holdSetIn struct {
	Account string `json:"account,omitempty" doc:"A user's identifier."`
	Room    string `json:"room,omitempty" doc:"Or a room's."`
	Reason  string `json:"reason" doc:"Such as a file number of at most six digits: names nobody, holds no long numbers."`
}

type holdClearIn struct {
	Account string `json:"account,omitempty" doc:"A user's identifier."`
	Room    string `json:"room,omitempty" doc:"Or a room's."`
	Reason  string `json:"reason,omitempty" doc:"For the audit log."`
}

// holdTarget finds what a hold is about.
func (a *API) holdTarget(account, room string) (h store.Hold, err error) {
	switch {
	case (account == "") == (room == ""):
		return h, store.Bad("name an account or a room")
	case account != "":
		u, err := a.user1("account", account)
		return store.Hold{Account: u.ID}, err
	}
	n, err := name("room", room)
	if err != nil {
		return h, err
	}
	info, err := a.store.Find(store.RoomKey(n))
	if store.CodeOf(err) == store.CodeNotFound {
		return h, notFound("there is no such room")
	}
	if err != nil {
		return h, fmt.Errorf("api: room: %w", err)
	}
	return store.Hold{Log: info.ID}, nil
}

// holdSet sets a hold. The evidence of reports about the account does not end any more either.
func (a *API) holdSet(ctx context.Context, c *caller, in *holdSetIn) (*changedOut, error) {
	if in.Reason == "" {
		return nil, store.Bad("reason is missing: a hold must be explained")
	}
	h, err := a.holdTarget(in.Account, in.Room)
	if err != nil {
		return nil, err
	}
	done, err := a.turns.take(ctx, turnHolds)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, held, err := a.hold(h); err != nil {
		return nil, err
	} else if held {
		return nil, conflict("it is under legal hold already")
	}
	h.Reason, h.By, h.Since = in.Reason, c.by, a.now().UnixMilli()
	if err := a.store.Hold(ctx, h); err != nil {
		return nil, fmt.Errorf("api: hold: %w", err)
	}
	if h.Account != 0 {
		if err := a.eachEvidence(ctx, h.Account, "", func(store.Row) int64 { return 0 }); err != nil {
			return nil, fmt.Errorf("api: hold: %w", err)
		}
	}
	return &changedOut{true}, nil
}

// turnHolds is what changes of holds take turns by.
const turnHolds = 1<<64 - 2

// holdClear lets a hold go. The evidence gets as much time as if it had just been reported.
func (a *API) holdClear(ctx context.Context, _ *caller, in *holdClearIn) (*changedOut, error) {
	h, err := a.holdTarget(in.Account, in.Room)
	if err != nil {
		return nil, err
	}
	done, err := a.turns.take(ctx, turnHolds)
	if err != nil {
		return nil, err
	}
	defer done()
	err = a.store.Unhold(ctx, h)
	if store.CodeOf(err) == store.CodeNotFound {
		return &changedOut{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("api: hold: %w", err)
	}
	if h.Account != 0 {
		until := a.now().Add(keptReport).UnixMilli()
		if err := a.eachEvidence(ctx, h.Account, "", func(store.Row) int64 { return until }); err != nil {
			return nil, fmt.Errorf("api: hold: %w", err)
		}
	}
	return &changedOut{true}, nil
}

type holdLine struct {
	Account string    `json:"account,omitempty"`
	Room    string    `json:"room,omitempty"`
	Since   time.Time `json:"since"`
	Reason  string    `json:"reason"`
	By      string    `json:"by"`
}

type holdListOut struct {
	Holds []holdLine `json:"holds"`
}

func (a *API) holdList(context.Context, *caller, *none) (*holdListOut, error) {
	holds, err := a.store.Holds()
	if err != nil {
		return nil, fmt.Errorf("api: holds: %w", err)
	}
	out := &holdListOut{Holds: []holdLine{}}
	for _, h := range holds {
		line := holdLine{Since: time.UnixMilli(h.Since).UTC(), Reason: h.Reason, By: h.By}
		if h.Log != 0 {
			line.Room = a.roomName(h.Log)
		} else {
			line.Account = a.nameOf(h.Account)
		}
		out.Holds = append(out.Holds, line)
	}
	return out, nil
}
