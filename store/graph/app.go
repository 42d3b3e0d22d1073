package graph

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hwangso/hwangso/store"
)

const (
	tableApp     store.Table = "service.app" // owner: none; key: the app's identifier
	tableAppMine store.Table = "user.app"    // key: the app's identifier; says nothing
)

// App is a third party's app that sends links for users. The zero value is an app that does not exist.
type App struct {
	AppTerms
	Owner   store.AccountID `json:"owner,omitempty"`
	Keys    []AppKey        `json:"keys,omitempty"`
	Created int64           `json:"created,omitempty"` // Unix milliseconds
	Rev     int             `json:"rev,omitempty"`     // grows with every change of what the operator looks at

	Approved  int64 `json:"approved,omitempty"`  // Unix milliseconds, 0: it waits for the operator
	Suspended int64 `json:"suspended,omitempty"` // by the operator, since
	Removed   int64 `json:"removed,omitempty"`   // by its owner, since: a tombstone, so that nobody else gets the identifier

	SuspendedReason string `json:"suspended_reason,omitempty"` // one line, for its owner

	// Asked are terms that wait for the operator while those above hold; nil: none.
	Asked *AppTerms `json:"asked,omitempty"`
}

// AppTerms are what the operator looks at before an app may send.
type AppTerms struct {
	Name    string                 `json:"name,omitempty"`    // shown with every link
	Icon    string                 `json:"icon,omitempty"`    // identifier of a file
	Domains []string               `json:"domains,omitempty"` // where its web addresses may lie: these and below; lower case, punycode
	Systems map[Platform]AppSystem `json:"systems,omitempty"`
}

// AppSystem is an app on one system.
type AppSystem struct {
	Schemes []string `json:"schemes,omitempty"` // that start it, lower case
	IDs     []string `json:"ids,omitempty"`     // its names in the system's store: package names, numbers
	Stores  []string `json:"stores,omitempty"`  // addresses where it is to be had
}

// AppKey names an app. It is part of programs that anybody can take apart, so it is no secret.
type AppKey struct {
	Key     string `json:"key"`
	Label   string `json:"label,omitempty"`
	Created int64  `json:"created,omitempty"` // Unix milliseconds
	Ends    int64  `json:"ends,omitempty"`    // Unix milliseconds, 0: never
}

// Exists reports whether there is such an app now.
func (a *App) Exists() bool { return a.Created != 0 && a.Removed == 0 }

// Opens reports whether links of the app may be opened: one that waits for the operator sends only to its owner.
func (a *App) Opens() bool { return a.Exists() && a.Suspended == 0 }

// App is an app by its identifier. Cheap: it is asked per delivery of a link.
func (g *Graph) App(id string) (*App, error) { return read[App](g, tableApp, "", id) }

// SetApp changes an app durably. fn may be called several times; its error changes nothing and is returned.
func (g *Graph) SetApp(ctx context.Context, id string, fn func(*App) error) error {
	return change(ctx, g, tableApp, "", id, func(a *App) bool { return a.Created == 0 },
		func(a *App) ([]store.EdgePut, error) { return nil, fn(a) })
}

// Apps lists the apps by identifier after the given one ("" from the start), at most max (0: 1,000). Those that were
// removed are listed too.
func (g *Graph) Apps(after string, max int) (ids []string, apps []*App, err error) {
	rows, err := g.store.Rows(tableApp, "", "", after, max)
	if err != nil {
		return nil, nil, fmt.Errorf("graph: %s: %w", tableApp, err)
	}
	for _, r := range rows {
		a, err := store.Decoded(r, func(b []byte) (a App, err error) {
			err = json.Unmarshal(b, &a)
			return a, err
		})
		if err != nil {
			return nil, nil, fmt.Errorf("graph: %s: %w", tableApp, err)
		}
		ids, apps = append(ids, r.Key), append(apps, a)
	}
	return ids, apps, nil
}

// AppsOf lists the identifiers of a user's apps. One that was being registered in a crash may be listed and be nobody's, or
// another user's.
func (g *Graph) AppsOf(a store.AccountID) (ids []string, err error) {
	rows, err := g.store.Rows(tableAppMine, store.OwnerOf(a), "", "", 0)
	if err != nil {
		return nil, fmt.Errorf("graph: %s: %w", tableAppMine, err)
	}
	for _, r := range rows {
		ids = append(ids, r.Key)
	}
	return ids, nil
}

// SetAppOf notes that an app is a user's, or is not any more.
func (g *Graph) SetAppOf(ctx context.Context, a store.AccountID, id string, on bool) error {
	put := store.RowPut{Table: tableAppMine, Key: id}
	if on {
		put.Value = []byte("{}")
	}
	if err := g.store.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{put}}); err != nil {
		return fmt.Errorf("graph: %s: %w", tableAppMine, err)
	}
	return nil
}
