package broker

import (
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
)

// allowance is the session's meter. A phone that only listens has none.
func (s *Session) allowance() *limit.Meter {
	if s.meter == nil {
		s.meter = s.b.limits.Meter(s.id.Account, s.id.Device)
	}
	return s.meter
}

// within takes a publish, well-formed or not, from what the device and its user have left. What is over it is refused,
// and with ErrFlood if that has been told far too often: then the connection is to end.
func (s *Session) within(t hooks.Topic, bytes int) error {
	m := s.allowance()
	var err error
	switch {
	case t.Place == hooks.API:
		err = m.Take(limit.Requests, 1)
	case t.Act == hooks.Typing:
		err = m.Take(limit.Typing, 1)
	case t.Act == hooks.Read:
		err = m.Take(limit.Reads, 1)
	default:
		err = m.Publish(bytes)
	}
	if err != nil && m.Flood() {
		return ErrFlood
	}
	return err
}

// withinSend is within for a caller without a session.
func (b *Broker) withinSend(id hooks.Identity, t hooks.Topic, bytes int) error {
	if t.Act == hooks.Read {
		return b.limits.User(limit.Reads, id.Account, 1)
	}
	return b.limits.Meter(id.Account, id.Device).Publish(bytes)
}

// withinOps takes an operation from what the user has left.
func (b *Broker) withinOps(a store.AccountID, op view.Operation) error {
	switch op.Op.Kind {
	case store.OpReact, store.OpUnreact:
		return b.limits.User(limit.Reactions, a, 1)
	}
	return b.limits.User(limit.Edits, a, 1)
}

// withinFilters takes filters that are subscribed from what the device has left.
func (s *Session) withinFilters(n int) error {
	m := s.allowance()
	err := m.Take(limit.Subscribe, n)
	if err != nil && m.Flood() {
		return ErrFlood
	}
	return err
}
