package broker

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// editTime is how long an author may edit or recall a message.
const editTime = 24 * time.Hour

// maxCorrelation is the longest MQTT 5 Correlation Data that can stand for a cid: 128 characters in base64url.
const maxCorrelation = 96

// maxRequests bounds the control requests of one session under way; a further one is refused with CodeTooMany.
const maxRequests = 16

// Publish takes a message from the device. It does not wait for the disk: the outcome is written to the link, in the
// order in which the packets arrived, when it is known. It waits only when 4,096 outcomes are unresolved.
func (s *Session) Publish(p Publication, a Ack) {
	if s.evicted.Load() {
		return
	}
	t, err := hooks.ParsePublish(p.Topic)
	if err == nil && p.ResponseTopic != "" {
		err = hooks.ParseResponse(p.ResponseTopic)
	}
	a.Quiet = err == nil && t.Act == hooks.Typing
	over := s.within(t, len(p.Payload))
	if over != nil {
		err = over
	}
	if err != nil && (over == nil || t.Place != hooks.API) {
		s.refuse(a, t, err)
		return
	}
	cid := t.CID
	if cid == "" && t.Place != hooks.API {
		cid = string(p.Correlation)
	}
	if cid != "" && !hooks.ValidCID(cid) { // any bytes can be Correlation Data; base64url is how everybody sees them
		if len(cid) > maxCorrelation {
			s.refuse(a, t, store.Bad("correlation data identifies the message and must be at most 96 bytes"))
			return
		}
		cid = base64.RawURLEncoding.EncodeToString([]byte(cid))
	}
	a.CID = cid
	if a.CID != "" {
		s.mu.Lock()
		_, a.Tell = s.live("reply/" + a.CID)
		s.mu.Unlock()
	}
	if t.Place == hooks.API {
		s.request(t, p, a, over)
		return
	}
	var packet uint16
	if a.QoS == 2 {
		if s.guest {
			s.mu.Lock()
			r, seen := s.released[a.PacketID]
			seen = seen || slices.ContainsFunc(s.results, func(o result) bool {
				return o.ack.QoS == 2 && o.ack.PacketID == a.PacketID && !o.ack.Release
			})
			s.mu.Unlock()
			if seen {
				r.Repeated = true
				s.settle(store.Resolved(r, nil), a)
				return
			}
		} else {
			packet = a.PacketID
		}
	}
	pending, err := s.b.publish(s.Identity(), t, cid, p, packet)
	if err != nil {
		s.refuse(a, t, err)
		return
	}
	s.use()
	s.settle(pending, a)
}

func (s *Session) refuse(a Ack, t hooks.Topic, err error) {
	s.b.metrics.refused(err)
	if e := s.b.cfg.Events.Refused; e != nil {
		e(s.id.Name, t, err)
	}
	s.settle(store.Resolved(store.Receipt{}, err), a)
}

// Release is a PUBREL: the packet identifier of a QoS 2 publish is free again once this is durable.
func (s *Session) Release(id uint16) {
	a := Ack{PacketID: id, QoS: 2, Release: true}
	if s.guest {
		s.mu.Lock()
		_, known := s.released[id]
		delete(s.released, id)
		known = known || slices.ContainsFunc(s.results, func(o result) bool { return o.ack.PacketID == id && o.ack.QoS == 2 })
		s.mu.Unlock()
		s.settle(store.Resolved(store.Receipt{Repeated: known}, nil), a)
		return
	}
	s.settle(s.b.store.Release(store.Release{Account: s.id.Account, Device: s.id.Device, PacketID: id}), a)
}

// Send publishes for a caller without a session, such as an HTTP request, and waits until it is durable. The
// identity's Device may be 0. cid makes repeating it safe.
func (b *Broker) Send(ctx context.Context, id hooks.Identity, topic hooks.Topic, p Publication) (store.Receipt, error) {
	err := b.withinSend(id, topic, len(p.Payload))
	var pending *store.Pending
	if err == nil {
		pending, err = b.publish(id, topic, topic.CID, p, 0)
	}
	return b.sent(ctx, id, pending, err)
}

// SendContent is Send for what the server itself makes a message of, in kinds that clients cannot publish. The same rules
// decide. The topic's Act must be Message; its CID makes repeating it safe.
func (b *Broker) SendContent(ctx context.Context, id hooks.Identity, topic hooks.Topic, c view.Content) (store.Receipt, error) {
	err := b.withinSend(id, topic, len(c.Text)+len(c.Extra))
	if err == nil && topic.Act != hooks.Message && topic.Act != hooks.Ask {
		err = nowhere(topic)
	}
	if err == nil {
		err = b.takes(len(c.Text) + len(c.Extra))
	}
	var pending *store.Pending
	if err == nil {
		pending, err = b.decide(id, topic, said{content: c}, topic.CID, 0)
	}
	return b.sent(ctx, id, pending, err)
}

// sent waits for the outcome of a publish without a session.
func (b *Broker) sent(ctx context.Context, id hooks.Identity, pending *store.Pending, err error) (store.Receipt, error) {
	if err != nil {
		b.metrics.refused(err)
		return store.Receipt{}, err
	}
	if s := b.registry.device(deviceKey{id.Account, id.Device}); s != nil {
		s.use()
	}
	return durable(ctx, pending)
}

// durable waits until a record is durable.
func durable(ctx context.Context, pending *store.Pending) (store.Receipt, error) {
	select {
	case <-pending.Done():
		return pending.Result()
	case <-ctx.Done():
		return store.Receipt{}, &store.Error{Code: store.CodeUnknown, Text: "not known yet; repeat it with the same cid", Err: ctx.Err()}
	}
}

// said is what a publish says, once its form has been checked.
type said struct {
	content view.Content   // hooks.Message
	op      view.Operation // hooks.Edit
	read    store.Seq      // hooks.Read
}

// publish is the one way in for clients: it checks the form, asks the rules, and appends. An error is a refusal; nothing
// was stored.
func (b *Broker) publish(id hooks.Identity, t hooks.Topic, cid string, p Publication, packet uint16) (*store.Pending, error) {
	if err := b.takes(len(p.Payload)); err != nil {
		return nil, err
	}
	if !id.Admits(t) {
		return nil, hooks.ErrKey()
	}
	what, err := parse(t, p.Payload)
	if err == nil && t.Act == hooks.Edit {
		err = b.withinOps(id.Account, what.op)
	}
	if err != nil {
		return nil, err
	}
	if p.Expiry > 0 {
		at := b.now().Add(time.Duration(p.Expiry) * time.Second).UnixMilli()
		if what.content.Expiry == 0 || at < what.content.Expiry {
			what.content.Expiry = at
		}
	}
	return b.decide(id, t, what, cid, packet)
}

// takes reports whether something of this size is taken now.
func (b *Broker) takes(bytes int) error {
	if b.closing.Load() {
		return ErrShutdown
	}
	if bytes > b.cfg.MaxMessage {
		return &store.Error{Code: store.CodeTooLarge, Text: "the message is larger than this server takes"}
	}
	return nil
}

func nowhere(t hooks.Topic) error {
	return &store.Error{Code: store.CodeNotFound, Text: "there is no such " + t.Place.String()}
}

// parse reads the payload of a publish.
func parse(t hooks.Topic, payload []byte) (what said, err error) {
	switch t.Act {
	case hooks.Message, hooks.Ask:
		switch t.View {
		case hooks.Text:
			what.content, err = view.ParseText(payload)
		case hooks.JSON:
			what.content, err = view.ParseJSON(payload)
		case hooks.CBOR:
			what.content, err = view.ParseCBOR(payload)
		default:
			err = store.Bad("publish to …/text, …/json or …/cbor")
		}
	case hooks.Edit:
		what.op, err = view.ParseOp(payload)
	case hooks.Read:
		what.read, err = view.ParseRead(payload)
	case hooks.Typing:
		err = view.ParseTyping(payload)
	default:
		err = nowhere(t)
	}
	return what, err
}

// decide asks the rules, and appends.
func (b *Broker) decide(id hooks.Identity, t hooks.Topic, what said, cid string, packet uint16) (*store.Pending, error) {
	d := store.Draft{Sender: id.Account, Device: id.Device, CID: cid, PacketID: packet, Need: store.RoleMember}
	grant, err := b.access.Publish(id.Account, t)
	if err != nil {
		return nil, err
	}
	message := t.Act == hooks.Message || t.Act == hooks.Ask
	if message {
		if err := b.mentions(what.content, grant, id.Account); err != nil {
			return nil, err
		}
		if err := b.attach(what.content, id.Account); err != nil {
			return nil, err
		}
	}
	if message && grant.Key.Kind == store.LogPair {
		if grant.Log, err = b.admit(id.Account, grant); err != nil {
			return nil, err
		}
	}
	if message && grant.Key.OfChannel() {
		if grant.Log, err = b.admitChannel(id, grant, what.content, cid); err != nil {
			return nil, err
		}
	}
	d.Log, d.Version, d.Audience, d.Warn = grant.Log.ID, grant.Version(), grant.Audience(), grant.Warn()

	switch t.Act {
	case hooks.Typing:
		if grant.Log.ID != 0 && d.Audience == store.AudienceBoth {
			b.typing(id, grant)
		}
		return store.Resolved(store.Receipt{}, nil), nil
	case hooks.Read:
		seq := min(what.read, knownHead(&grant.Log, id.Account))
		return b.store.SetMark(store.Mark{Log: d.Log, Account: id.Account, Seq: seq}), nil
	case hooks.Edit:
		if err := b.operation(&d, what.op, grant); err != nil {
			return nil, err
		}
	case hooks.Message, hooks.Ask:
		if err := b.quote(&d, what.content.ReplyTo, grant); err != nil {
			return nil, err
		}
		say(&d, what.content)
	}
	if grant.Slow > 0 {
		if err := b.access.Pace(id.Account, grant, cid); err != nil {
			return nil, err
		}
	}
	b.metrics.published.Inc()
	b.bulk.chat.Add(1)
	return b.store.Append(d), nil
}

// say puts what is said into a draft.
func say(d *store.Draft, c view.Content) {
	d.Kind, d.Extra, d.Expiry = c.Kind, c.Extra, c.Expiry
	d.Text = bytes.Clone(c.Text) // the payload belongs to the caller
}

// mentions checks who is mentioned: members only, everybody only by those who moderate.
func (b *Broker) mentions(c view.Content, g hooks.Grant, me store.AccountID) error {
	if g.Key.OfChannel() && (c.All || len(c.Mentions) > 0) {
		return store.Bad("nobody can be mentioned in a channel: its followers and publishers are not known by name")
	}
	if c.All && g.Key.Kind == store.LogRoom && g.Log.Members.Role(me) < store.RoleModerator {
		return store.Forbidden(store.ReasonRole, "only moderators may mention everybody")
	}
	for _, name := range c.Mentions {
		if name == view.MentionAll {
			continue
		}
		a, err := b.named(g, name)
		if err != nil {
			return err
		}
		in := g.Log.Members.Role(a) != store.RoleNone
		if g.Key.Kind == store.LogPair { // whether the other side is listed yet must not show
			in = a != 0 && (a == g.Key.A || a == g.Key.B)
		}
		if !in {
			return store.Bad("only members of the conversation can be mentioned; " + name + " is none")
		}
	}
	return nil
}

// attach checks whether the sender may attach the files that a message names.
func (b *Broker) attach(c view.Content, me store.AccountID) error {
	if len(c.Files) == 0 {
		return nil
	}
	if b.cfg.Files == nil {
		return store.Bad("this server keeps no files")
	}
	return b.cfg.Files.May(me, c.Files)
}

// operation checks whether the sender may do this to that message: edit by the author for 24 hours; recall by the
// author for 24 hours, by a moderator at any time; react by whoever sees the message; pin by moderators, in a 1:1
// conversation by both.
func (b *Broker) operation(d *store.Draft, op view.Operation, g hooks.Grant) error {
	withhold, err := b.access.Withhold(d.Sender, g.Log)
	if err != nil {
		return err
	}
	viewer := d.Sender
	if g.Key.Kind == store.LogChannel { // all of its publishers answer for all its posts
		viewer = 0
	}
	page, err := b.store.Read(store.Query{Log: d.Log, Viewer: viewer, After: op.Op.Target - 1, Upto: op.Op.Target, Max: 1, Withhold: withhold})
	if err != nil && store.CodeOf(err) != store.CodeTrimmed {
		return err
	}
	if len(page.Records) == 0 {
		return &store.Error{Code: store.CodeNotFound, Text: "there is no such message in this conversation"}
	}
	r := page.Records[0]
	if !r.Kind.ByUser() || r.Op.Kind != store.OpNone {
		return store.Bad("this is no message; operations are for messages")
	}
	own := r.Sender == d.Sender
	fresh := b.now().Sub(time.UnixMilli(r.Time)) <= editTime
	moderator := g.Key.Kind == store.LogRoom && g.Log.Members.Role(d.Sender) >= store.RoleModerator
	if g.Key.Kind == store.LogChannel {
		if err := b.operatePost(d, op, g, r, fresh); err != nil {
			return err
		}
		d.Op, d.Text = op.Op, bytes.Clone(op.Text)
		return nil
	}
	switch op.Op.Kind {
	case store.OpEdit:
		switch {
		case !own:
			return store.Forbidden(store.ReasonRole, "only the author may edit a message")
		case !r.Kind.ByClient():
			return store.Bad("a " + r.Kind.String() + " cannot be edited; it can be taken back")
		case r.Recalled:
			return &store.Error{Code: store.CodeConflict, Text: "the message was taken back"}
		case !fresh:
			return &store.Error{Code: store.CodeLocked, Text: "a message can be edited for 24 hours"}
		}
	case store.OpRecall:
		switch {
		case own && fresh:
		case moderator:
			d.Need = store.RoleModerator
		case own:
			return &store.Error{Code: store.CodeLocked, Text: "a message can be taken back for 24 hours"}
		default:
			return store.Forbidden(store.ReasonRole, "only the author, or a moderator, may take a message back")
		}
	case store.OpPin, store.OpUnpin:
		if g.Key.Kind == store.LogRoom {
			if !moderator {
				return store.Forbidden(store.ReasonRole, "only moderators may pin")
			}
			d.Need = store.RoleModerator
		}
	}
	if g.Key.Kind == store.LogPair {
		d.Audience = audienceUpon(g, d.Sender, r)
	}
	d.Op, d.Text = op.Op, bytes.Clone(op.Text)
	return nil
}

// typing passes on that a user types, at most once per three seconds and conversation. Nothing is stored.
func (b *Broker) typing(id hooks.Identity, g hooks.Grant) {
	if !b.typists.due(typist{g.Log.ID, id.Account}, b.now()) {
		return
	}
	typist := b.NamesOf(g.Log.ID, 0).Name(id.Account)
	if typist == "" {
		return
	}
	for i := range g.Log.Members.Members {
		m := &g.Log.Members.Members[i]
		if m.Role == store.RoleNone || m.Account == id.Account {
			continue
		}
		sessions := b.registry.of(m.Account)
		if len(sessions) == 0 {
			continue
		}
		if g.Key.Kind == store.LogPair {
			if v, err := b.access.Live(m.Account, id.Account); err != nil || !v.Typing {
				continue
			}
		}
		t, ok := b.logTopic(g.Key, m.Account)
		if !ok {
			continue
		}
		t.Act, t.Sub = hooks.Typing, typist
		topic := t.String()
		for _, s := range sessions {
			s.tellTyping(topic)
		}
	}
}

// fire publishes a will; only typing can be one.
func (b *Broker) fire(s *Session, p Publication) {
	t, err := hooks.ParsePublish(p.Topic)
	if err != nil || t.Act != hooks.Typing {
		return
	}
	if _, err := b.publish(s.Identity(), t, "", p, 0); err != nil {
		b.metrics.refused(err)
	}
}

// request runs a control request and answers on its reply topic, then acknowledges the packet. One that is over the
// limits is answered there too, where its sender waits; a flood is refused like a message.
func (s *Session) request(t hooks.Topic, p Publication, a Ack, over error) {
	if errors.Is(over, ErrFlood) {
		s.refuse(a, t, over)
		return
	}
	if s.b.cfg.Requests == nil {
		s.refuse(a, t, &store.Error{Code: store.CodeNotFound, Text: "this server has no control API"})
		return
	}
	topic, correlation := p.ResponseTopic, bytes.Clone(p.Correlation)
	if topic == "" {
		topic = "reply/" + t.Sub
	}
	if over != nil {
		s.b.metrics.refused(over)
		s.Reply(topic, view.AppendOutcome(nil, view.Failure(over, "", s.lang)), correlation)
		s.settle(store.Resolved(store.Receipt{}, nil), a)
		return
	}
	s.mu.Lock()
	busy := s.requests >= maxRequests
	if !busy {
		s.requests++
	}
	s.mu.Unlock()
	if busy {
		s.refuse(a, t, &store.Error{Code: store.CodeTooMany, Text: "too many requests at once", Retry: time.Second})
		return
	}
	body := bytes.Clone(p.Payload)
	pending := store.NewPending()
	s.b.wg.Go(func() {
		answer := s.b.cfg.Requests.Request(s.b.life, s.Identity(), t.Name, t.Sub, body)
		s.mu.Lock()
		s.requests--
		s.mu.Unlock()
		s.Reply(topic, answer, correlation)
		pending.Resolve(store.Receipt{}, nil)
		s.mu.Lock()
		s.wake()
		s.mu.Unlock()
	})
	s.settle(pending, a)
}
