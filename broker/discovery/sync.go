package discovery

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
)

// Request is an address book, or what changed of it.
type Request struct {
	Account store.AccountID
	Address netip.Addr // where it comes from; its network is counted
	Region  string     // ISO 3166: whose format numbers without a country code have; "": that of the account's own number
	Numbers []string   // in whatever format
	Removed []string   // not with an empty Token
	Token   string     // of the answer before: Numbers are new. "": Numbers are the whole address book
	Add     *bool      // whether contacts that are found become friends, now and by notices later; nil: as before, at first true
}

// Found is a contact with an account.
type Found struct {
	Number  int           // index in Request.Numbers
	Account store.Account // its chosen name is shown
	Friend  bool          // it is a friend of the asking user now
}

// Answer is what a sync found.
type Answer struct {
	Token   string
	Found   []Found       // in the order of the numbers
	Bad     []int         // indexes of what is no phone number
	Later   []int         // indexes of numbers beyond the budget of the account or its network: nothing was done with them
	Retry   time.Duration // with Later: when it makes sense to send them again
	Waiting int           // numbers that are looked up within hours; what they find comes as notices
	Friends bool          // the list of friends has changed
}

// ErrResync refuses an incremental sync whose address book the server does not have: send all of it, without a token.
var ErrResync = &store.Error{Code: store.CodeConflict, Reason: "resync", Text: "the server has another address book: send all of it, without a token"}

var errNoNumbers = &store.Error{Code: store.CodeNotFound, Text: "this server knows no phone numbers"}

// fullEvery is how long an address book may go without a full sync. Who waits for whom is written anew by it.
const fullEvery = 90 * day

// Sync takes an address book, or a change of it, and tells whose the numbers are, as far as they want to be found. It is
// one durable change, and repeating it changes nothing. Numbers beyond the account's budget are left out, see Answer.Later;
// numbers that the account has synced before cost nothing. CodeBad: a region that is none. CodeConflict: ErrResync.
// CodeTooLarge, CodeFull: too many numbers in the request or the address book.
func (d *Discovery) Sync(ctx context.Context, r Request) (*Answer, error) {
	if d.numbers == nil {
		return nil, errNoNumbers
	}
	if len(r.Numbers)+len(r.Removed) > d.limits().Numbers {
		return nil, &store.Error{Code: store.CodeTooLarge, Text: "a request may have at most " + strconv.Itoa(d.limits().Numbers) + " numbers: send the rest with the token of its answer"}
	}
	if r.Token == "" && len(r.Removed) > 0 {
		return nil, store.Bad("without a token numbers is the whole address book: there is nothing to remove")
	}
	s := &syncing{d: d, req: &r, now: d.now(), out: &Answer{}}
	mine, _, err := d.numbers.Of(r.Account)
	if err != nil {
		return nil, fmt.Errorf("discovery: number: %w", err)
	}
	if s.own = mine.Hash; r.Region == "" && phone.KnownRegion(mine.Region) {
		r.Region = mine.Region
	}
	s.country = mine.Region
	if err := s.parse(); err != nil {
		return nil, err
	}
	done, err := d.turns.take(ctx, r.Account)
	if err != nil {
		return nil, err
	}
	defer done()
	err = s.run(ctx)
	if len(s.slow) > 0 {
		d.prefixes.wrote(networkOf(r.Address), len(s.slow), err == nil)
	}
	if err != nil {
		return nil, err
	}
	if s.out.Friends {
		d.tell(ctx, r.Account, view.Notice{What: view.NoticeFriends}, "")
	}
	d.metrics.found.Add(float64(s.told))
	d.kick()
	return s.out, nil
}

// syncing is one sync under way.
type syncing struct {
	d   *Discovery
	req *Request
	now time.Time
	out *Answer

	hashes  []phone.Hash // by index; zero for bad ones
	removed []phone.Hash
	common  string // the country of most numbers
	country string // of the asking account's own number, "" if it has none

	own   phone.Hash // of the asking account
	acct  account
	book  *book
	fresh []phone.Hash // new numbers that are looked up now
	slow  []phone.Hash // new numbers that wait
	edges []store.EdgePut
	told  int
}

// parse turns the numbers into hashes. From here on they are not known in clear.
func (s *syncing) parse() error {
	countries := make(map[string]int)
	read := func(number string) (phone.Hash, error) {
		n, err := phone.Parse(number, s.req.Region)
		if err != nil {
			return phone.Hash{}, err
		}
		countries[n.Region()]++
		return s.d.numbers.Key().Hash(n), nil
	}
	if r := strings.ToUpper(strings.TrimSpace(s.req.Region)); r != "" && !phone.KnownRegion(r) {
		return phone.ErrRegion
	}
	s.hashes = make([]phone.Hash, len(s.req.Numbers))
	for i, number := range s.req.Numbers {
		h, err := read(number)
		if err != nil {
			s.out.Bad = append(s.out.Bad, i)
			continue
		}
		s.hashes[i] = h
	}
	for c, n := range countries {
		if s.common == "" || n > countries[s.common] || n == countries[s.common] && c < s.common {
			s.common = c
		}
	}
	for _, number := range s.req.Removed {
		if h, err := read(number); err == nil { // what is no number was never there
			s.removed = append(s.removed, h)
		}
	}
	s.d.metrics.numbers.WithLabelValues(outBad).Add(float64(len(s.out.Bad)))
	return nil
}

func (s *syncing) run(ctx context.Context) (err error) {
	d, me := s.d, s.req.Account
	if s.acct, err = d.readAccount(me); err != nil {
		return err
	}
	if s.book, err = d.readBook(me); err != nil {
		return err
	}
	if s.acct.Zone == "" {
		s.acct.Zone = cmp.Or(s.country, s.common)
	}
	if s.req.Add != nil {
		s.acct.NoAdd = !*s.req.Add
	}
	full := s.req.Token == ""
	if full && s.now.UnixMilli()-s.acct.Full > (fullEvery/2).Milliseconds() {
		s.acct.Renew = s.acct.Gen + 1
	}
	if err := s.begin(full); err != nil {
		return err
	}
	if err := s.admit(); err != nil {
		return err
	}
	if err := s.resolve(); err != nil {
		return err
	}
	return s.store(ctx)
}

// begin checks the token and takes out what was removed.
func (s *syncing) begin(full bool) error {
	if !full {
		if s.req.Token != s.d.token(s.acct.Gen) || s.book.stored == 0 || s.now.UnixMilli()-s.acct.Full > fullEvery.Milliseconds() {
			return ErrResync
		}
		for _, h := range s.removed {
			if i, ok := s.book.find(shortOf(h)); ok {
				s.book.mark(i, s.book.entries[i].tag|tagGone)
			}
		}
		return nil
	}
	s.acct.Gen++
	s.acct.Full = s.now.UnixMilli()
	if s.now.UnixMilli()-s.acct.Swept > s.d.limits().Window.Milliseconds() {
		s.book.drop()
		s.acct.Swept = s.now.UnixMilli()
	}
	for i, e := range s.book.entries {
		s.book.mark(i, e.tag|tagGone)
	}
	return nil
}

// token names an address book. A restore takes address books back too, so the store's epoch is part of it.
func (d *Discovery) token(gen uint64) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(d.store.Epoch()))
	return hex.EncodeToString(binary.BigEndian.AppendUint64(b, gen))
}

// admit takes the numbers into the book, as far as the budgets of account and network go.
func (s *syncing) admit() error {
	var fresh []phone.Hash
	index := make(map[phone.Hash][]int)
	known := 0
	for i, h := range s.hashes {
		if h == (phone.Hash{}) || h == s.own {
			continue
		}
		if k, ok := s.book.find(shortOf(h)); ok {
			s.book.mark(k, s.book.entries[k].tag&^tagGone)
			known++
			continue
		}
		if index[h] = append(index[h], i); len(index[h]) == 1 {
			fresh = append(fresh, h)
		}
	}
	s.d.metrics.numbers.WithLabelValues(outKnown).Add(float64(known))
	left, retry := s.acct.left(s.d.limits(), s.now)
	take := min(len(fresh), left)
	if len(s.book.entries)+take > s.d.limits().Book {
		s.book.drop()
	}
	if len(s.book.entries)+take > s.d.limits().Book {
		return &store.Error{Code: store.CodeFull, Reason: "contacts", Text: "the address book has all the numbers it may have: the limit is " + strconv.Itoa(s.d.limits().Book)}
	}
	now, slow, wait, err := s.d.prefixes.take(networkOf(s.req.Address), take)
	if err != nil {
		return err
	}
	s.fresh, s.slow = fresh[:now], fresh[now:now+slow]
	for _, h := range fresh[now+slow:] {
		s.out.Later = append(s.out.Later, index[h]...)
	}
	slices.Sort(s.out.Later)
	if len(s.out.Later) > 0 {
		s.out.Retry = retry
		if now+slow < take {
			s.out.Retry = min(retry, wait)
		}
	}
	s.out.Waiting = slow
	s.acct.spend(now+slow, s.d.limits(), s.now)
	added := make([]entry, 0, now+slow)
	for _, h := range s.fresh {
		added = append(added, entry{shortOf(h), 0})
	}
	for _, h := range s.slow {
		added = append(added, entry{shortOf(h), tagWaiting})
	}
	slices.SortFunc(added, compareEntries)
	s.book.addAll(slices.CompactFunc(added, func(x, y entry) bool { return x.n == y.n }))
	s.d.metrics.numbers.WithLabelValues(outNew).Add(float64(now))
	s.d.metrics.numbers.WithLabelValues(outSlow).Add(float64(slow))
	s.d.metrics.numbers.WithLabelValues(outRefused).Add(float64(len(fresh) - now - slow))
	return nil
}

// resolve looks the numbers up.
func (s *syncing) resolve() error {
	d, me := s.d, s.req.Account
	owners := make(map[phone.Hash]store.AccountID, len(s.hashes))
	for _, h := range s.hashes {
		if _, seen := owners[h]; seen || h == (phone.Hash{}) || h == s.own {
			continue
		}
		if k, ok := s.book.find(shortOf(h)); !ok || s.book.entries[k].tag&tagWaiting != 0 {
			continue
		}
		who, err := d.numbers.Account(h)
		if err != nil {
			return fmt.Errorf("discovery: number: %w", err)
		}
		owners[h] = who
	}
	for _, h := range s.fresh {
		s.acct.Tried++
		if owners[h] != 0 {
			s.acct.Hits++
		}
	}
	if len(s.fresh) > 0 {
		var err error
		if s.acct.Silent, err = d.ratios.judge(&s.acct); err != nil {
			return err
		}
	}
	if s.acct.Silent {
		d.metrics.silent.Inc()
	}
	for i, h := range s.hashes {
		who := owners[h]
		if who == 0 || who == me {
			continue
		}
		k, _ := s.book.find(shortOf(h))
		if err := s.found(i, k, who); err != nil {
			return err
		}
	}
	return nil
}

// found tells one contact, if it wants to be found by the asking user.
func (s *syncing) found(i, k int, who store.AccountID) error {
	d, me := s.d, s.req.Account
	told := s.book.entries[k].tag.told(who)
	shows, err := d.visible(who, me, s.own, told)
	if err != nil {
		return err
	}
	mine, err := d.store.HasEdge(store.EdgeBlock, me, who)
	if err != nil {
		return fmt.Errorf("discovery: edge: %w", err)
	}
	friend, err := d.store.HasEdge(store.EdgeFriend, me, who)
	if err != nil {
		return fmt.Errorf("discovery: edge: %w", err)
	}
	friend = friend || slices.ContainsFunc(s.edges, func(e store.EdgePut) bool { return e.To == who }) // the number stands there twice
	u, err := d.store.Account(who)
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return fmt.Errorf("discovery: account: %w", err)
	}
	if err != nil || !shows || s.acct.Silent && !told {
		return nil
	}
	if !told {
		s.book.mark(k, tagOf(who))
		s.told++
		if !friend && !mine && !s.acct.NoAdd {
			s.edges = append(s.edges, store.EdgePut{Kind: store.EdgeFriend, To: who, On: true, Limit: d.limits().Friends})
			friend = true
		}
	}
	s.out.Found = append(s.out.Found, Found{Number: i, Account: u, Friend: friend})
	return nil
}

// store makes the sync durable: one change of the account's own rows. Those who wait for the account are told by the
// worker, from what is queued here.
func (s *syncing) store(ctx context.Context) error {
	d, me := s.d, s.req.Account
	queue := s.fresh
	if s.acct.Renew == s.acct.Gen {
		queue = nil
		seen := make(map[phone.Hash]bool)
		for _, h := range s.hashes {
			if k, ok := s.book.find(shortOf(h)); ok && !seen[h] && s.book.entries[k].tag&tagWaiting == 0 {
				seen[h] = true
				queue = append(queue, h)
			}
		}
	}
	s.acct.Syncs++
	s.out.Token = d.token(s.acct.Gen)
	put, err := s.acct.put()
	if err != nil {
		return err
	}
	u := store.Update{Owner: store.OwnerOf(me), Rows: []store.RowPut{put}, Edges: s.edges}
	expires := s.now.Add(d.limits().Keep)
	if s.book.changed || s.book.stored == 0 || s.book.expires < expires.Add(-day).UnixMilli() {
		u.Rows = append(u.Rows, s.book.puts(expires.UnixMilli())...)
	}
	if len(queue) > 0 {
		u.Rows = append(u.Rows, store.RowPut{Table: tableNew, Key: store.KeyOf(s.acct.Syncs), Value: pack(netip.Prefix{}, queue)})
	}
	if len(s.slow) > 0 {
		u.Rows = append(u.Rows, store.RowPut{Table: tableSlow, Key: store.KeyOf(s.acct.Syncs), Value: pack(networkOf(s.req.Address), s.slow)})
	}
	err = d.store.Update(ctx, u)
	if store.CodeOf(err) == store.CodeFull && len(u.Edges) > 0 { // the list of friends is full: the contacts are told all the same
		u.Edges = nil
		for i := range s.out.Found {
			f := &s.out.Found[i]
			if f.Friend, err = d.store.HasEdge(store.EdgeFriend, me, f.Account.ID); err != nil {
				return fmt.Errorf("discovery: edge: %w", err)
			}
		}
		err = d.store.Update(ctx, u)
	}
	if err != nil {
		return fmt.Errorf("discovery: sync: %w", err)
	}
	s.out.Friends = len(u.Edges) > 0
	return nil
}
