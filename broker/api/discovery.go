package api

import (
	"context"
	"fmt"

	"github.com/hwangso/hwangso/broker/discovery"
	"github.com/hwangso/hwangso/store"
)

// discoveryOperations are those that find users.
func discoveryOperations() []operation {
	return []operation{
		op("contact.sync", "Find contacts by phone number", "Without a token numbers are the whole address book, with one they are new and removed ones are taken out; more than fit into a request follow with the token. "+
			"Numbers are kept as keyed hashes only. Told are those who let the asking user find them: by default those who have its number too. Contacts who are found become friends, also those who join later, which a notice tells; "+
			"add says otherwise, and whom the user has removed from its friends stays removed. Numbers that were synced before cost nothing; of new ones an account has 1,000 on its first day and 2,000 in its first ten, then 200 a day and 50 a minute: "+
			"what is beyond that is listed in later, to be sent again after retry_ms. The code is 202 if some numbers wait because the network has asked for many: what they find comes as notices within hours. "+
			"409 resync: send the whole address book, without a token.", (*API).contactSync),
		op("user.find", "Find a user by its identifier", "The exact one. Users who are not tied to the asking one by friendship, a conversation, a room or a phone number count as strangers: 30 of them a minute, 200 a day, whichever operation names them. "+
			"A user who does not want to be found gives the same answer as one who does not exist.", (*API).userFind),
	}
}

type contactSyncIn struct {
	Numbers []string `json:"numbers,omitempty" doc:"Phone numbers in whatever format; at most 2,000."`
	Removed []string `json:"removed,omitempty" doc:"With a token: numbers that are no longer in the address book."`
	Region  string   `json:"region,omitempty" doc:"Two letters (ISO 3166): the country in whose format numbers without a country code are; absent: that of the own number."`
	Token   string   `json:"token,omitempty" doc:"That of the answer before; absent: numbers is the whole address book."`
	Add     *bool    `json:"add,omitempty" doc:"Whether contacts that are found become friends, now and later; absent: as before, at first true."`
}

type contactSyncOut struct {
	Token   string    `json:"token" doc:"For the next sync."`
	Users   []contact `json:"users" doc:"The contacts that were found, in the order of the numbers."`
	Bad     []int     `json:"bad,omitempty" doc:"Places in numbers of what is no phone number."`
	Later   []int     `json:"later,omitempty" doc:"Places of numbers beyond the limits. Send them again, with the token, after retry_ms."`
	Retry   int64     `json:"retry_ms,omitempty" doc:"With later: milliseconds."`
	Waiting int       `json:"waiting,omitempty" doc:"Numbers that are looked up within hours."`
}

type contact struct {
	Number  int    `json:"n" doc:"Its place in numbers, from 0."`
	Name    string `json:"name"`
	Display string `json:"display"`
	Friend  bool   `json:"friend,omitempty" doc:"It is a friend of the asking user now."`
}

func (o *contactSyncOut) unfinished() bool { return o.Waiting > 0 }

// contactSync is no changing operation for its answer would be too long to be kept, and repeating it changes nothing.
// What it has begun it finishes.
func (a *API) contactSync(ctx context.Context, c *caller, in *contactSyncIn) (*contactSyncOut, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	found, err := a.finder.Sync(ctx, discovery.Request{
		Account: c.account.ID, Address: c.id.Address, Region: in.Region, Numbers: in.Numbers, Removed: in.Removed, Token: in.Token, Add: in.Add,
	})
	if err != nil {
		return nil, err
	}
	out := &contactSyncOut{Token: found.Token, Users: make([]contact, 0, len(found.Found)), Bad: found.Bad, Later: found.Later,
		Retry: found.Retry.Milliseconds(), Waiting: found.Waiting}
	for _, f := range found.Found {
		out.Users = append(out.Users, contact{f.Number, f.Account.Name, f.Account.Shown(), f.Friend})
	}
	return out, nil
}

func (a *API) userFind(ctx context.Context, c *caller, in *userIn) (*user, error) {
	u, err := a.lookup(ctx, c, "user", in.User)
	if err != nil {
		return nil, err
	}
	return &user{Name: u.Name, Display: u.Shown()}, nil
}

// lookup finds the user a user's request names, within its budget of look-ups: see discovery.Lookup. Every operation that
// takes a user's identifier asks here, so that none of them is a way around the budget.
func (a *API) lookup(ctx context.Context, c *caller, field, s string) (store.Account, error) {
	n, err := name(field, s)
	if err != nil {
		return store.Account{}, err
	}
	if c.id.Operator {
		return a.user1(field, n)
	}
	u, err := a.finder.Lookup(ctx, c.account.ID, n)
	if store.CodeOf(err) == store.CodeNotFound {
		return store.Account{}, errNoUser
	}
	return u, err
}

// tied reports whether a user is no stranger to another one: see discovery.Config. Everything is asked whoever the other
// one is, so that the time tells nothing.
func (a *API) tied(me, peer store.AccountID) (bool, error) {
	tied := false
	for _, kind := range []store.Edge{store.EdgeFriend, store.EdgeBlock} {
		on, err := a.store.HasEdge(kind, me, peer)
		if err != nil {
			return false, fmt.Errorf("api: edge: %w", err)
		}
		tied = tied || on
	}
	theirs, err := a.graph.HasFriend(peer, me)
	if err != nil {
		return false, fmt.Errorf("api: friend: %w", err)
	}
	info, err := a.store.Find(store.PairKey(me, peer))
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return false, fmt.Errorf("api: find: %w", err)
	}
	written := err == nil && info.Side(peer).Wrote != 0 // something that this user may see
	together, err := a.together(me, peer)
	return tied || theirs || written || together, err
}

// together reports whether two users are members of one room that shows who its members are.
func (a *API) together(me, peer store.AccountID) (found bool, err error) {
	for after := store.LogID(0); ; {
		refs, err := a.store.LogsOf(me, after, 0)
		if err != nil {
			return false, fmt.Errorf("api: logs: %w", err)
		}
		for _, r := range refs {
			after = r.ID
			if r.Key.Kind != store.LogRoom || r.Me.Role == store.RoleNone || r.Members.Role(peer) == store.RoleNone {
				continue
			}
			room, err := a.graph.Room(r.ID)
			if err != nil {
				return false, fmt.Errorf("api: room: %w", err)
			}
			found = found || !room.Open
		}
		if len(refs) == 0 {
			return found, nil
		}
	}
}
