package api

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// requestOperations are those on the request box.
func requestOperations() []operation {
	return []operation{
		op("request.list", "List message requests", "Users whose messages wait for the asking one's answer, with up to three messages each, the oldest conversation first. Looking tells them nothing.", (*API).requestList),
		changing(op("request.accept", "Accept a message request", "Its messages become messages of the conversation, on all devices, and the user may go on writing. Writing to the user, or adding it as a friend, accepts too.", (*API).requestAccept)),
		changing(op("request.decline", "Decline a message request", "The user is told nothing: what it sends from now on looks sent and is never shown. It is not listed by block.list; writing to the user, or adding it as a friend, takes the declining back, and so does block.set with level none.", (*API).requestDecline)),
	}
}

type request struct {
	User    string     `json:"user"`
	Display string     `json:"display"`
	Time    time.Time  `json:"time" doc:"Of the first message."`
	Items   []Envelope `json:"items" doc:"At most three, ascending."`
}

type requestListOut struct {
	Requests []request `json:"requests"`
	Next     string    `json:"next,omitempty" doc:"The after of the next page; absent: this was the last."`
}

func (a *API) requestList(_ context.Context, c *caller, in *pageIn) (*requestListOut, error) {
	limit, err := a.page(in.Limit, 50)
	if err != nil {
		return nil, err
	}
	after, err := numberAfter(in.After)
	if err != nil {
		return nil, err
	}
	logs, err := a.store.RequestsTo(c.account.ID, store.LogID(after), limit+1)
	if err != nil {
		return nil, fmt.Errorf("api: requests: %w", err)
	}
	out := &requestListOut{Requests: []request{}}
	for i := range logs {
		if i == limit {
			out.Next = strconv.FormatUint(uint64(logs[limit-1].ID), 36)
			break
		}
		r, err := a.request(c.account.ID, c.id.Device, &logs[i])
		if err != nil {
			return nil, err
		}
		if len(r.Items) > 0 {
			out.Requests = append(out.Requests, r)
		}
	}
	return out, nil
}

// request is what waits from one user. What that user has taken back is left out; one with nothing left is no request.
func (a *API) request(me store.AccountID, device store.DeviceID, info *store.LogInfo) (r request, err error) {
	u, err := a.store.Account(info.Key.Peer(me))
	if store.CodeOf(err) == store.CodeNotFound {
		return r, nil // gone
	}
	if err != nil {
		return r, fmt.Errorf("api: account: %w", err)
	}
	r.User, r.Display = u.Name, u.Shown()
	side := info.Side(u.ID)
	for from, found := side.First-1, 0; from < info.Head && found < side.Requests; {
		// As their sender sees them, who is who edits them.
		page, err := a.store.Read(store.Query{Log: info.ID, Viewer: u.ID, After: from, Max: 64})
		if store.CodeOf(err) == store.CodeTrimmed {
			break
		}
		if err != nil {
			return r, fmt.Errorf("api: read: %w", err)
		}
		for _, m := range page.Records {
			if m.Audience != store.AudienceRequest || m.Sender != u.ID || m.Op.Kind != store.OpNone {
				continue
			}
			if found++; m.Recalled || m.Expiry != 0 && m.Expiry <= a.now().UnixMilli() {
				continue
			}
			if len(r.Items) == 0 {
				r.Time = time.UnixMilli(m.Time).UTC()
			}
			r.Items = append(r.Items, a.envelope(me, device, m, store.Marks{}, noBase))
		}
		if page.Next <= from {
			break
		}
		from = page.Next
	}
	return r, nil
}

var errNoRequest = notFound("there is no message request from this user")

// asked is the user whose requests wait; who does not exist and who has not asked are the same.
func (a *API) asked(me store.AccountID, given string) (store.Account, error) {
	n, err := name("user", given)
	if err != nil {
		return store.Account{}, err
	}
	u, err := a.store.AccountByName(n)
	if store.CodeOf(err) == store.CodeNotFound {
		return u, errNoRequest
	}
	if err != nil {
		return u, fmt.Errorf("api: account: %w", err)
	}
	info, err := a.store.Find(store.PairKey(me, u.ID))
	if store.CodeOf(err) == store.CodeNotFound || err == nil && info.Side(u.ID).Requests == 0 {
		return u, errNoRequest
	}
	if err != nil {
		return u, fmt.Errorf("api: find: %w", err)
	}
	return u, nil
}

func (a *API) requestAccept(ctx context.Context, c *caller, in *userIn) (*none, error) {
	me := c.account.ID
	u, err := a.asked(me, in.User)
	if err != nil {
		return nil, err
	}
	if err := a.broker.AcceptRequests(ctx, me, u.ID); err != nil {
		return nil, fmt.Errorf("api: accept: %w", err)
	}
	a.notify(ctx, me, view.Notice{What: view.NoticeRequests}, "")
	return &none{}, nil
}

// acceptWaiting accepts what waits, if anything does.
func (a *API) acceptWaiting(ctx context.Context, me, peer store.AccountID) error {
	info, err := a.store.Find(store.PairKey(me, peer))
	if store.CodeOf(err) == store.CodeNotFound || err == nil && info.Side(peer).Requests == 0 {
		return nil
	}
	if err == nil {
		err = a.broker.AcceptRequests(ctx, me, peer)
	}
	if err != nil {
		return fmt.Errorf("api: accept: %w", err)
	}
	a.notify(ctx, me, view.Notice{What: view.NoticeRequests}, "")
	return nil
}

func (a *API) requestDecline(ctx context.Context, c *caller, in *userIn) (*none, error) {
	me, limit := c.account.ID, a.limits().Blocks
	u, err := a.asked(me, in.User)
	if err != nil {
		return nil, err
	}
	_, err = a.graph.SetBlock(ctx, me, u.ID, graph.BlockMessages, true, limit)
	switch {
	case store.CodeOf(err) == store.CodeFull:
		return nil, full("blocks", "the list of blocked users is full", limit)
	case err != nil:
		return nil, fmt.Errorf("api: decline: %w", err)
	}
	if err := a.broker.DeclineRequests(ctx, me, u.ID); err != nil {
		return nil, fmt.Errorf("api: decline: %w", err)
	}
	a.notify(ctx, me, view.Notice{What: view.NoticeRequests}, "")
	return &none{}, nil
}
