package api

import (
	"context"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// DeviceSignedIn tells a user's devices that a new one has signed in. It returns at once and may be called from any
// goroutine; call it for identities with New set. The notice is lost if 1,024 wait, and counted.
func (a *API) DeviceSignedIn(id hooks.Identity) {
	select {
	case a.signIns <- id:
	default:
		a.metrics.untold.Inc()
	}
}

// tellSignIns writes the notices of DeviceSignedIn until ctx ends, then those that wait.
func (a *API) tellSignIns(ctx context.Context) {
	tell := func(id hooks.Identity) {
		a.notify(context.WithoutCancel(ctx), id.Account, view.Notice{What: view.NoticeDevice, Device: id.ClientID}, "")
	}
	for {
		select {
		case id := <-a.signIns:
			tell(id)
			continue
		case <-ctx.Done():
		}
		for {
			select {
			case id := <-a.signIns:
				tell(id)
			default:
				return
			}
		}
	}
}

// tellWatch tells two users' devices what they see of each other's presence now. It follows something that has happened,
// so what fails is logged; the next connection is told.
func (a *API) tellWatch(w broker.Watch) {
	if err := a.broker.Changed(w); err != nil {
		a.log.Warn("presence not told", keyErr, err)
	}
}

// notify writes a notice to one user and waits until it is durable. It follows something that has happened and cannot
// be refused any more, so a notice that cannot be written is counted and logged, not returned.
func (a *API) notify(ctx context.Context, to store.AccountID, n view.Notice, text string) {
	a.notice(ctx, to, n, text, false)
}

// notice is notify, or with hidden writes a notice that nobody ever sees, for where it must not show, in what is written
// and how long it takes, whether the user is told.
func (a *API) notice(ctx context.Context, to store.AccountID, n view.Notice, text string, hidden bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d := store.Draft{Kind: store.KindNotice, Extra: n.Extra(), Text: []byte(text)}
	if hidden {
		d.Audience = store.AudienceSender // the server's
	}
	info, _, err := a.store.Open(ctx, store.NoticeKey(to), store.Creation{Members: []store.Member{{Account: to, Role: store.RoleMember}}})
	if err == nil {
		d.Log = info.ID
		_, err = wait(ctx, a.store.Append(d))
	}
	if err != nil {
		a.metrics.untold.Inc()
		a.log.Warn("notice not written", keyErr, err)
	}
	if !hidden {
		a.tellBridge(to, n)
	}
}
