package hooks

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// directory is a store.Directory and store.Log in maps, as much as this package asks of them. It records its calls.
type directory struct {
	mu       sync.Mutex
	accounts map[string]store.Account
	tokens   map[store.AccountID]map[[32]byte]store.Token
	devices  map[store.AccountID]map[store.DeviceID]store.Device
	edges    map[edge]bool
	logs     map[store.Key]store.LogInfo
	calls    []string
	fail     error // what every call returns, if not nil
}

type edge struct {
	kind     store.Edge
	from, to store.AccountID
}

func newDirectory(names ...string) *directory {
	d := &directory{accounts: map[string]store.Account{}, tokens: map[store.AccountID]map[[32]byte]store.Token{},
		devices: map[store.AccountID]map[store.DeviceID]store.Device{}, edges: map[edge]bool{}, logs: map[store.Key]store.LogInfo{}}
	for i, name := range names {
		d.accounts[name] = store.Account{ID: store.AccountID(i + 1), Name: name}
	}
	return d
}

func (d *directory) id(name string) store.AccountID { return d.accounts[name].ID }

func (d *directory) setState(name string, s store.AccountState) {
	a := d.accounts[name]
	a.State = s
	d.accounts[name] = a
}

func (d *directory) token(t testing.TB, name string, device string, expires time.Time) Secret {
	t.Helper()
	secret := NewToken(d.id(name))
	tok := store.Token{Account: d.id(name), Hash: secret.Hash()}
	if device != "" {
		tok.Device = store.DeviceOf(tok.Account, device)
	}
	if !expires.IsZero() {
		tok.Expires = expires.UnixMilli()
	}
	d.put(tok)
	return secret
}

func (d *directory) put(tok store.Token) {
	if d.tokens[tok.Account] == nil {
		d.tokens[tok.Account] = map[[32]byte]store.Token{}
	}
	d.tokens[tok.Account][tok.Hash] = tok
}

func (d *directory) device(t testing.TB, name, client string) {
	t.Helper()
	a := d.id(name)
	if err := d.PutDevice(t.Context(), store.Device{Account: a, ID: store.DeviceOf(a, client), ClientID: client}, 0); err != nil {
		t.Fatal(err)
	}
}

func (d *directory) called(what string) error {
	d.calls = append(d.calls, what)
	return d.fail
}

func (d *directory) Account(id store.AccountID) (store.Account, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.called("account"); err != nil {
		return store.Account{}, err
	}
	for _, a := range d.accounts {
		if a.ID == id {
			return a, nil
		}
	}
	return store.Account{}, store.ErrNotFound
}

func (d *directory) AccountByName(name string) (store.Account, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.called("name"); err != nil {
		return store.Account{}, err
	}
	if a, ok := d.accounts[name]; ok {
		return a, nil
	}
	return store.Account{}, store.ErrNotFound
}

func (d *directory) TokenByHash(a store.AccountID, hash [32]byte) (store.Token, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.called("token"); err != nil {
		return store.Token{}, err
	}
	if t, ok := d.tokens[a][hash]; ok {
		return t, nil
	}
	return store.Token{}, store.ErrNotFound
}

func (d *directory) Device(a store.AccountID, id store.DeviceID) (store.Device, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.called("device"); err != nil {
		return store.Device{}, err
	}
	if dev, ok := d.devices[a][id]; ok {
		return dev, nil
	}
	return store.Device{}, store.ErrNotFound
}

func (d *directory) PutDevice(_ context.Context, dev store.Device, limit int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.called("put device"); err != nil {
		return err
	}
	all := d.devices[dev.Account]
	if _, ok := all[dev.ID]; !ok && limit > 0 && len(all) >= limit {
		return store.ErrFull
	}
	if all == nil {
		all = map[store.DeviceID]store.Device{}
		d.devices[dev.Account] = all
	}
	all[dev.ID] = dev
	return nil
}

func (d *directory) HasEdge(kind store.Edge, from, to store.AccountID) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.called("edge")
	return d.edges[edge{kind, from, to}], err
}

func (d *directory) Find(key store.Key) (store.LogInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.called("find"); err != nil {
		return store.LogInfo{}, err
	}
	if l, ok := d.logs[key]; ok {
		return l, nil
	}
	return store.LogInfo{}, store.ErrNotFound
}
