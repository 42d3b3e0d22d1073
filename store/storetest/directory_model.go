package storetest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// directoryModel is what the directory should hold.
type directoryModel struct {
	accounts map[store.AccountID]store.Account
	names    map[string]store.AccountID
	devices  map[store.AccountID]map[store.DeviceID]store.Device
	tokens   map[store.AccountID]map[[32]byte]store.Token
	edges    map[store.Edge]map[store.AccountID]map[store.AccountID]bool
}

// directoryModelTest runs random operations against the model, with restarts in between.
func directoryModelTest(t *testing.T, open func(t testing.TB, dir string) DirectoryCloser) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	d := open(t, dir)
	m := &directoryModel{
		accounts: map[store.AccountID]store.Account{},
		names:    map[string]store.AccountID{},
		devices:  map[store.AccountID]map[store.DeviceID]store.Device{},
		tokens:   map[store.AccountID]map[[32]byte]store.Token{0: {}},
		edges: map[store.Edge]map[store.AccountID]map[store.AccountID]bool{
			store.EdgeFriend: {}, store.EdgeBlock: {},
		},
	}
	for step := range 800 {
		if step%200 == 199 {
			noError(t, d.Close())
			d = open(t, dir)
		}
		m.step(t, rnd, d)
	}
	m.compare(t, d)
	noError(t, d.Close())
}

func (m *directoryModel) step(t testing.TB, rnd *rand.Rand, d store.Directory) {
	t.Helper()
	ctx := t.Context()
	id := store.AccountID(1 + rnd.IntN(12)) // some exist, some do not yet
	to := store.AccountID(1 + rnd.IntN(12))
	dev := store.DeviceID(1 + rnd.IntN(4))
	h := hash(byte(rnd.IntN(5)))
	_, exists := m.accounts[id]
	notFound := func(exists bool) store.Code {
		if exists {
			return 0
		}
		return store.CodeNotFound
	}
	switch rnd.IntN(10) {
	case 0:
		name := fmt.Sprintf("U%d", rnd.IntN(10))
		a, err := d.CreateAccount(ctx, store.Account{Name: name, Created: 3, Display: name})
		if _, taken := m.names[strings.ToLower(name)]; taken {
			wantCode(t, err, store.CodeConflict)
			return
		}
		noError(t, err)
		if _, reused := m.accounts[a.ID]; reused {
			t.Fatalf("number %v given twice", a.ID)
		}
		m.accounts[a.ID], m.names[a.Name] = a, a.ID
		m.devices[a.ID], m.tokens[a.ID] = map[store.DeviceID]store.Device{}, map[[32]byte]store.Token{}
		m.edges[store.EdgeFriend][a.ID], m.edges[store.EdgeBlock][a.ID] = map[store.AccountID]bool{}, map[store.AccountID]bool{}
	case 1:
		status := fmt.Sprint(rnd.IntN(5))
		wantCode(t, d.SetAccount(ctx, store.Account{ID: id, Status: status}), notFound(exists))
		if exists {
			a := m.accounts[id]
			m.accounts[id] = store.Account{ID: id, Name: a.Name, Created: a.Created, Status: status}
		}
	case 2:
		limit := rnd.IntN(4)
		v := store.Device{Account: id, ID: dev, ClientID: "c", Label: fmt.Sprint(rnd.IntN(3))}
		err := d.PutDevice(ctx, v, limit)
		_, have := m.devices[id][dev]
		switch {
		case !exists:
			wantCode(t, err, store.CodeNotFound)
		case !have && limit > 0 && len(m.devices[id]) >= limit:
			wantCode(t, err, store.CodeFull)
		default:
			noError(t, err)
			m.devices[id][dev] = v
		}
	case 3:
		found := false
		if _, ok := m.devices[id][dev]; ok {
			found = true
			delete(m.devices[id], dev)
		}
		for k, tok := range m.tokens[id] {
			if tok.Device == dev {
				found = true
				delete(m.tokens[id], k)
			}
		}
		wantCode(t, d.RemoveDevice(ctx, id, dev), notFound(found))
	case 4:
		tok := store.Token{Account: id, Hash: h, Device: dev - 1, Label: "t", Expires: int64(rnd.IntN(3))}
		if rnd.IntN(4) == 0 {
			tok.Account, tok.Device, exists = 0, 0, true
		}
		wantCode(t, d.PutToken(ctx, tok), notFound(exists))
		if exists {
			m.tokens[tok.Account][h] = tok
		}
	case 5:
		_, have := m.tokens[id][h]
		wantCode(t, d.RemoveToken(ctx, id, h), notFound(have))
		delete(m.tokens[id], h)
	case 6:
		old, have := m.tokens[id][h]
		next := store.Token{Account: id, Hash: hash(byte(100 + rnd.IntN(3)))}
		wantCode(t, d.RotateToken(ctx, store.Token{Account: id, Hash: h}, next, 2), notFound(have))
		if have {
			if old.Expires == 0 || old.Expires > 2 {
				old.Expires = 2
			}
			m.tokens[id][h], m.tokens[id][next.Hash] = old, next
		}
	default:
		m.stepEdge(t, rnd, d, store.Edge(1+rnd.IntN(2)), id, to)
	}
}

func (m *directoryModel) stepEdge(t testing.TB, rnd *rand.Rand, d store.Directory, kind store.Edge, from, to store.AccountID) {
	t.Helper()
	on, limit := rnd.IntN(3) > 0, rnd.IntN(5)
	if from == to {
		return
	}
	_, haveFrom := m.accounts[from]
	_, haveTo := m.accounts[to]
	row := m.edges[kind][from]
	changed, err := d.SetEdge(t.Context(), kind, from, to, on, limit)
	switch {
	case row[to] == on:
		noError(t, err)
		wantEqual(t, changed, false)
	case on && (!haveFrom || !haveTo):
		wantCode(t, err, store.CodeNotFound)
	case on && limit > 0 && len(row) >= limit:
		wantCode(t, err, store.CodeFull)
	default:
		noError(t, err)
		wantEqual(t, changed, true)
		if on {
			row[to] = true
		} else {
			delete(row, to)
		}
	}
	has, err := d.HasEdge(kind, from, to)
	noError(t, err)
	wantEqual(t, has, row[to])
}

// compare checks everything.
func (m *directoryModel) compare(t testing.TB, d store.Directory) {
	t.Helper()
	list, err := d.Accounts(0, 0)
	noError(t, err)
	if len(list) != len(m.accounts) {
		t.Fatalf("%d accounts, want %d", len(list), len(m.accounts))
	}
	for _, a := range list {
		wantEqual(t, a, m.accounts[a.ID])
		got, err := d.AccountByName(a.Name)
		noError(t, err)
		wantEqual(t, got, a)
		devices, err := d.Devices(a.ID)
		noError(t, err)
		wantEqual(t, len(devices), len(m.devices[a.ID]))
		for _, dev := range devices {
			wantEqual(t, dev, m.devices[a.ID][dev.ID])
		}
		for kind, rows := range m.edges {
			edges, err := d.Edges(kind, a.ID, 0, 0)
			noError(t, err)
			wantEqual(t, len(edges), len(rows[a.ID]))
			for _, to := range edges {
				wantEqual(t, rows[a.ID][to], true)
			}
		}
	}
	for id, want := range m.tokens {
		tokens, err := d.Tokens(id)
		noError(t, err)
		wantEqual(t, len(tokens), len(want))
		for _, tok := range tokens {
			wantEqual(t, tok, want[tok.Hash])
		}
	}
}
