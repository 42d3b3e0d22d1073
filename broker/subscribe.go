package broker

import (
	"context"
	"errors"
	"slices"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// SubRequest is one entry of a SUBSCRIBE.
type SubRequest struct {
	Filter     string
	QoS        byte
	NoLocal    bool
	Identifier uint32
}

// SubResult is the answer to one SubRequest.
type SubResult struct {
	Granted byte   // 0 or 1
	Err     error  // an error of hooks.ParseFilter, or a *store.Error (CodeFull: too many filters)
	Hint    string // granted, but selects nothing today: a sentence for reply/
}

// Subscribe adds filters to the session, or replaces those with the same text. A filter grants nothing: it selects from
// what the user may see when a message is delivered. Logs that no filter selected before begin at their heads; logs
// that were selected keep their place, and nothing is sent again. Durable at return for a session that outlives its
// connection. Over the limits no filter is taken (CodeTooMany in each result); ErrFlood: the connection is to end.
func (s *Session) Subscribe(ctx context.Context, reqs []SubRequest) ([]SubResult, error) {
	results := make([]SubResult, len(reqs))
	if err := s.withinFilters(len(reqs)); errors.Is(err, ErrFlood) {
		return nil, err
	} else if err != nil {
		for i := range results {
			results[i].Err = err
		}
		return results, nil
	}
	s.mu.Lock()
	filters, parsed := slices.Clone(s.filters), slices.Clone(s.parsed)
	s.mu.Unlock()
	for i, r := range reqs {
		p, err := s.parseFilter(r.Filter)
		if err != nil {
			results[i].Err = err
			continue
		}
		f := store.Filter{Topic: p.String(), QoS: min(r.QoS, 1), NoLocal: r.NoLocal, Identifier: r.Identifier}
		at := slices.IndexFunc(filters, func(o store.Filter) bool { return o.Topic == f.Topic })
		switch {
		case at >= 0:
			filters[at] = f
		case len(filters) >= s.b.cfg.MaxFilters:
			results[i].Err = &store.Error{Code: store.CodeFull, Text: "too many filters on this device; one such as user/+/json is enough for everything"}
			continue
		default:
			filters, parsed = append(filters, f), append(parsed, p)
		}
		results[i].Granted = f.QoS
		results[i].Hint = s.hint(p)
	}
	if err := s.changeFilters(ctx, filters, parsed); err != nil {
		return nil, err
	}
	return results, nil
}

// Unsubscribe removes filters; the results tell which of them existed. Durable like Subscribe. It counts like
// subscribing, and is refused only as a flood (ErrFlood).
func (s *Session) Unsubscribe(ctx context.Context, topics []string) ([]bool, error) {
	found := make([]bool, len(topics))
	if err := s.withinFilters(len(topics)); errors.Is(err, ErrFlood) {
		return nil, err
	}
	s.mu.Lock()
	filters, parsed := slices.Clone(s.filters), slices.Clone(s.parsed)
	s.mu.Unlock()
	for i, t := range topics {
		if p, err := s.parseFilter(t); err == nil {
			t = p.String()
		}
		at := slices.IndexFunc(filters, func(o store.Filter) bool { return o.Topic == t })
		if found[i] = at >= 0; found[i] {
			filters, parsed = slices.Delete(filters, at, at+1), slices.Delete(parsed, at, at+1)
		}
	}
	if err := s.changeFilters(ctx, filters, parsed); err != nil {
		return nil, err
	}
	return found, nil
}

// changeFilters puts a new set of filters into force. Only the link's reading goroutine changes filters, so between the
// two locks nobody else does.
func (s *Session) changeFilters(ctx context.Context, filters []store.Filter, parsed []hooks.Filter) error {
	s.mu.Lock()
	old := s.parsed
	s.mu.Unlock()

	begun, err := s.begin(old, parsed)
	if err != nil {
		return err
	}
	var news beginning
	if news, err = s.beginPosts(old, parsed, begun); err != nil {
		return err
	}
	begun = append(begun, news.refs...)
	if !s.guest {
		s.freeze()
		defer s.thaw()
		row, err := s.b.store.LoadSession(s.id.Account, s.id.Device)
		if store.CodeOf(err) == store.CodeNotFound {
			row, err = &store.Session{Account: s.id.Account, Device: s.id.Device}, nil
		}
		if err != nil {
			return err
		}
		next := *row
		next.Present, next.Filters, next.Expiry, next.Epoch = true, filters, s.Expiry(), s.b.store.Epoch()
		next.Cursors = make(map[store.LogID]store.Cursor, len(row.Cursors)+len(begun))
		for log, c := range row.Cursors {
			next.Cursors[log] = c
		}
		for _, ref := range begun {
			next.Cursors[ref.ID] = next.Cursors[ref.ID].Skip(ref.Head)
		}
		if err := s.b.store.SaveSession(ctx, &next); err != nil {
			return err
		}
	}

	_, until := s.b.store.Bounds()
	if err := s.useFilters(filters, parsed, begun, uint64(until)); err != nil {
		return err
	}
	// What was committed since the heads were read was told to the old filters.
	for i := range begun {
		info, err := s.b.store.Info(begun[i].ID)
		if err != nil || info.Head == begun[i].Head {
			continue
		}
		s.mu.Lock()
		if f := s.feeds[info.ID]; f != nil && visibleHead(&begun[i].Me, info.Head) > f.head {
			_, until := s.b.store.Bounds()
			s.grow(f, visibleHead(&begun[i].Me, info.Head), uint64(until))
		}
		s.mu.Unlock()
	}
	return s.listen(news)
}

// beginning is what new filters begin of channels.
type beginning struct {
	channels []store.LogID  // that the user follows, whose posts are selected now
	refs     []store.LogRef // of their logs with posts
	progress bool           // publishers are to be told where broadcasts stand
}

// beginPosts lists the channels that the new filters select and the old ones did not. What is in begun is left out of the
// logs: the user publishes there.
func (s *Session) beginPosts(old, next []hooks.Filter, begun []store.LogRef) (n beginning, err error) {
	n.progress = begins(old, next, hooks.Channel, hooks.Progress)
	if !s.mayFollow(next) || sameFilters(old, next) {
		return n, nil
	}
	return n, s.followed(func(channel store.LogID) error {
		info, err := s.b.store.Info(channel)
		if store.CodeOf(err) == store.CodeNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		if t := postTopic(info.Key); !selects(next, t) || selects(old, t) {
			return nil
		}
		n.channels = append(n.channels, channel)
		settings, err := s.b.access.Relations().Channel(channel)
		if err != nil {
			return err
		}
		for _, log := range []store.LogID{channel, settings.Ads} {
			if log == 0 || slices.ContainsFunc(begun, func(r store.LogRef) bool { return r.ID == log }) {
				continue
			}
			info, err := s.b.store.Info(log)
			if err != nil {
				return err
			}
			if info.Head > 0 {
				n.refs = append(n.refs, store.LogRef{LogInfo: info})
			}
		}
		return nil
	})
}

// listen lists the session in channels whose posts begin at the heads, and tells a publisher where broadcasts stand.
func (s *Session) listen(n beginning) error {
	from := func(log store.LogID) store.Seq {
		for i := range n.refs {
			if n.refs[i].ID == log {
				return n.refs[i].Head
			}
		}
		return 0
	}
	for _, channel := range n.channels {
		if err := s.lookAt(channel, from, nil, 0); err != nil {
			return err
		}
	}
	if !n.progress {
		return nil
	}
	for after := store.LogID(0); ; {
		refs, err := s.b.store.LogsOf(s.id.Account, after, 500)
		if err != nil || len(refs) == 0 {
			return err
		}
		after = refs[len(refs)-1].ID
		s.mu.Lock()
		s.recallProgress(refs)
		if s.ephemera != nil {
			s.wake()
		}
		s.mu.Unlock()
	}
}

// useFilters is the moment at which new filters count.
func (s *Session) useFilters(filters []store.Filter, parsed []hooks.Filter, begun []store.LogRef, until uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return store.ErrClosed
	}
	if begins(s.parsed, parsed, hooks.Presence, hooks.Status) {
		s.news().seen.all()
	}
	s.filters, s.parsed = filters, parsed
	for _, f := range s.feeds { // routes and views may have changed; what is in flight stays in flight
		s.reroute(f)
	}
	for i := range begun {
		ref := &begun[i]
		t, ok := s.b.logTopic(ref.Key, s.id.Account)
		if s.feeds[ref.ID] != nil || !ok {
			continue
		}
		if f := s.newFeed(ref.ID, t); f != nil { // so that a wake from before is not new
			f.next, f.acked, f.saved, f.head = ref.Head, ref.Head, ref.Head, ref.Head
			f.until = until
			s.addFeed(f)
			s.mark()
		}
	}
	s.wake()
	return nil
}

// reroute selects a log again after a change of filters; a feed that no filter selects any more ends, and what it had
// in flight with it. The caller holds mu.
func (s *Session) reroute(f *feed) {
	n := s.newFeed(f.log, f.topic)
	if n != nil {
		f.sel, f.route, f.edits = n.sel, n.route, n.edits
		return
	}
	delete(s.feeds, f.log)
	s.ready = slices.DeleteFunc(s.ready, func(o *feed) bool { return o == f })
	s.qos0 = slices.DeleteFunc(s.qos0, func(o *feed) bool { return o == f })
	s.resend = slices.DeleteFunc(s.resend, func(e sent) bool { return e.feed == f })
	s.out = slices.DeleteFunc(s.out, func(e sent) bool {
		if e.feed == f && !e.acked {
			s.outBytes -= int(e.bytes)
		}
		return e.feed == f
	})
}

// begin lists the logs with messages that the new filters select and the old ones did not.
func (s *Session) begin(old, next []hooks.Filter) ([]store.LogRef, error) {
	if sameFilters(old, next) {
		return nil, nil
	}
	var begun []store.LogRef
	var after store.LogID
	for {
		refs, err := s.b.store.LogsOf(s.id.Account, after, 500)
		if err != nil {
			return nil, err
		}
		if len(refs) == 0 {
			return begun, nil
		}
		after = refs[len(refs)-1].ID
		s.enterCrowds(refs)
		for _, ref := range refs {
			t, ok := s.b.logTopic(ref.Key, s.id.Account)
			if !ok || ref.Head == 0 || ref.Key.Posts() && ref.Me.Role == store.RoleNone {
				continue
			}
			if selects(next, t) && !selects(old, t) {
				begun = append(begun, ref)
			}
		}
	}
}

func sameFilters(a, b []hooks.Filter) bool {
	return slices.EqualFunc(a, b, func(a, b hooks.Filter) bool { return a.String() == b.String() })
}

// begins reports whether there is a new filter that could select this.
func begins(old, next []hooks.Filter, place hooks.Place, act hooks.Act) bool {
	return slices.ContainsFunc(next, func(f hooks.Filter) bool {
		return f.Could(place, act) &&
			!slices.ContainsFunc(old, func(o hooks.Filter) bool { return o.String() == f.String() })
	})
}

func selects(filters []hooks.Filter, t hooks.Topic) bool {
	sel := hooks.Select(filters, t)
	return sel.OK() || sel.Edits
}

// hint tells a filter for one conversation that the user is not in. The text is the same whether the room or the user
// exists or not.
func (s *Session) hint(f hooks.Filter) string {
	place, name, ok := f.Single()
	if !ok || s.id.key != nil { // a key learns nothing of the account
		return ""
	}
	switch place {
	case hooks.Room:
		info, err := s.b.store.Find(store.RoomKey(name))
		if err != nil || info.Members.Role(s.id.Account) == store.RoleNone {
			return "you are not in the room " + name + "; its messages arrive as soon as you are"
		}
	case hooks.User:
		var info store.LogInfo
		peer, err := s.b.store.AccountByName(name)
		if err == nil {
			info, err = s.b.store.Find(store.PairKey(s.id.Account, peer.ID))
		}
		if err != nil || knownHead(&info, s.id.Account) == 0 {
			return "there are no messages with " + name + " yet; they arrive as soon as there are"
		}
	case hooks.Channel:
		return s.channelHint(f, name)
	}
	return ""
}

// channelHint is hint for a channel, the same whether it exists or not.
func (s *Session) channelHint(f hooks.Filter, name string) string {
	info, err := s.b.store.Find(store.ChannelKey(name))
	publishes := err == nil && info.Members.Role(s.id.Account) != store.RoleNone
	switch {
	case publishes:
		return ""
	case !f.Could(hooks.Channel, hooks.Message) && f.Could(hooks.Channel, hooks.Progress):
		return "you do not publish in the channel " + name + "; the progress of broadcasts is for those who do"
	case !f.Could(hooks.Channel, hooks.Message): // answers to what was asked there
		if err == nil {
			_, err = s.b.store.Find(store.ThreadKey(s.id.Account, info.Key.Name))
		}
		if err != nil {
			return "you have asked nothing in the channel " + name + "; answers arrive as soon as there are any"
		}
		return ""
	}
	if err == nil {
		follow, err := s.b.access.Relations().Follow(s.id.Account, info.ID)
		if err == nil && follow.Follows() {
			return ""
		}
	}
	return "you do not follow the channel " + name + "; its posts arrive as soon as you do"
}
