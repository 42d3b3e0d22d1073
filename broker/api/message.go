package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

type messageSendIn struct {
	Conversation
	Text        string     `json:"text,omitempty"`
	Kind        string     `json:"kind,omitempty" doc:"text, image, video, audio, file, poll or location; absent: text."`
	CID         string     `json:"cid,omitempty" doc:"The sender's own id of the message: a repeat gets the same sequence. Absent: one made from the request identifier."`
	ReplyTo     store.Seq  `json:"reply_to,omitempty" doc:"The sequence of the message this one answers."`
	Mentions    []string   `json:"mentions,omitempty" doc:"Members' identifiers; \"@all\" by moderators."`
	Attachments []Object   `json:"attachments,omitempty" doc:"Objects, as in the envelope's key a."`
	Expires     *time.Time `json:"expires,omitempty" doc:"Not delivered any more after this."`
}

type sentOut struct {
	Seq   store.Seq   `json:"seq" doc:"The place in the conversation."`
	Time  time.Time   `json:"time"`
	Epoch store.Epoch `json:"epoch"`
	CID   string      `json:"cid,omitempty"`
}

func (a *API) messageSend(ctx context.Context, c *caller, in *messageSendIn) (*sentOut, error) {
	t, err := in.topic()
	if err != nil {
		return nil, err
	}
	t.Act, t.View = hooks.Message, hooks.JSON
	body := map[string]any{"b": in.Text}
	if in.Kind != "" {
		body["k"] = in.Kind
	}
	if in.ReplyTo != 0 {
		body["r"] = in.ReplyTo
	}
	if len(in.Mentions) > 0 {
		body["m"] = in.Mentions
	}
	if len(in.Attachments) > 0 {
		body["a"] = in.Attachments
	}
	if in.Expires != nil {
		body["e"] = in.Expires.UnixMilli()
	}
	return a.send(ctx, c, t, in.CID, body)
}

// send publishes as the caller and waits until it is durable.
func (a *API) send(ctx context.Context, c *caller, t hooks.Topic, cid string, body map[string]any) (*sentOut, error) {
	if cid != "" && !hooks.ValidCID(cid) {
		return nil, store.Bad("cid must be 1 to " + strconv.Itoa(hooks.MaxCID) + " characters of A-Z a-z 0-9 . _ ~ -")
	}
	if t.CID = cid; cid == "" {
		t.CID = ownCID(c.rid)
	}
	payload, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("api: message: %w", err)
	}
	r, err := a.broker.Send(ctx, c.id, t, broker.Publication{Topic: t.String(), Payload: payload})
	if err != nil {
		return nil, err
	}
	return &sentOut{Seq: r.Seq, Time: time.UnixMilli(r.Time).UTC(), Epoch: r.Epoch, CID: t.CID}, nil
}

// ownCID makes a message's own id from the request's, so that a request repeated after a crash sends nothing twice.
func ownCID(rid string) string {
	if rid == "" || hooks.ValidCID(rid) {
		return rid
	}
	h := sha256.Sum256([]byte(rid))
	return base64.RawURLEncoding.EncodeToString(h[:18])
}

type messageIn struct {
	Conversation
	Seq store.Seq `json:"seq" doc:"The message's sequence."`
}

type messageEditIn struct {
	Conversation
	Seq  store.Seq `json:"seq" doc:"The message's sequence."`
	Text string    `json:"text" doc:"The new text."`
}

type messageReactIn struct {
	Conversation
	Seq   store.Seq `json:"seq" doc:"The message's sequence."`
	Emoji string    `json:"emoji"`
	On    *bool     `json:"on,omitempty" doc:"False takes the emoji back; absent: true."`
}

type messagePinIn struct {
	Conversation
	Seq store.Seq `json:"seq" doc:"The message's sequence."`
	On  *bool     `json:"on,omitempty" doc:"False unpins; absent: true."`
}

func (a *API) messageEdit(ctx context.Context, c *caller, in *messageEditIn) (*sentOut, error) {
	return a.operate(ctx, c, in.Conversation, store.OpEdit, in.Seq, in.Text)
}

func (a *API) messageRecall(ctx context.Context, c *caller, in *messageIn) (*sentOut, error) {
	return a.operate(ctx, c, in.Conversation, store.OpRecall, in.Seq, "")
}

func (a *API) messageReact(ctx context.Context, c *caller, in *messageReactIn) (*sentOut, error) {
	op := store.OpReact
	if in.On != nil && !*in.On {
		op = store.OpUnreact
	}
	return a.operate(ctx, c, in.Conversation, op, in.Seq, in.Emoji)
}

func (a *API) messagePin(ctx context.Context, c *caller, in *messagePinIn) (*sentOut, error) {
	op := store.OpPin
	if in.On != nil && !*in.On {
		op = store.OpUnpin
	}
	return a.operate(ctx, c, in.Conversation, op, in.Seq, "")
}

// operate sends an operation on an earlier message.
func (a *API) operate(ctx context.Context, c *caller, p Conversation, op store.OpKind, target store.Seq, text string) (*sentOut, error) {
	t, err := p.topic()
	if err != nil {
		return nil, err
	}
	if target == 0 {
		return nil, store.Bad("seq is missing: the sequence of the message")
	}
	t.Act = hooks.Edit
	body := map[string]any{"op": op.String(), "s": target}
	if text != "" {
		body["b"] = text
	}
	return a.send(ctx, c, t, "", body)
}

type messageDeleteIn struct {
	Conversation
	From store.Seq `json:"from" doc:"The first sequence."`
	To   store.Seq `json:"to,omitempty" doc:"The last sequence; absent: from alone."`
}

func (a *API) messageDelete(ctx context.Context, c *caller, in *messageDeleteIn) (*none, error) {
	if in.To == 0 {
		in.To = in.From
	}
	if in.From == 0 || in.To < in.From {
		return nil, store.Bad("from and to must be sequences, from not after to")
	}
	info, h, err := a.find(c.account.ID, in.Conversation)
	if err != nil {
		return nil, err
	}
	if in.From > h.seen { // nothing is there, and what comes later is not deleted beforehand
		return &none{}, nil
	}
	in.To = min(in.To, h.seen)
	done, err := a.turns.take(ctx, uint64(info.ID))
	if err != nil {
		return nil, err
	}
	defer done()
	if info, err = a.store.Info(info.ID); err != nil {
		return nil, fmt.Errorf("api: info: %w", err)
	}
	if m := info.Members.Find(c.account.ID); m != nil && len(m.Deleted) >= a.limits().Deleted {
		return nil, full("deleted", "too many separate ranges are deleted in this conversation: delete a larger one", a.limits().Deleted)
	}
	_, err = wait(ctx, a.store.Append(store.Draft{Log: info.ID, Sender: c.account.ID, Device: c.id.Device, Kind: store.KindSystem,
		Change: store.Change{Kind: store.ChangeDelete, Account: c.account.ID, From: in.From, To: in.To}}))
	if err != nil {
		return nil, fmt.Errorf("api: delete: %w", err)
	}
	return &none{}, nil
}

type readSetIn struct {
	Conversation
	Seq store.Seq `json:"seq" doc:"The sequence read up to. Marks only move forward."`
}

type readSetOut struct {
	Read store.Seq `json:"read" doc:"Where the mark stands now."`
}

func (a *API) readSet(ctx context.Context, c *caller, in *readSetIn) (*readSetOut, error) {
	t, err := in.topic()
	if err != nil {
		return nil, err
	}
	if in.Seq == 0 {
		return nil, store.Bad("seq is missing: the sequence read up to")
	}
	info, h, err := a.find(c.account.ID, in.Conversation)
	if err != nil {
		return nil, err
	}
	t.Act = hooks.Read
	p := broker.Publication{Topic: t.String(), Payload: strconv.AppendUint(nil, uint64(min(in.Seq, max(h.seen, 1))), 10)}
	if _, err := a.broker.Send(ctx, c.id, t, p); err != nil {
		return nil, err
	}
	marks, err := a.store.Standing(info.ID)
	if err != nil {
		return nil, fmt.Errorf("api: standing: %w", err)
	}
	return &readSetOut{min(marks.Of(c.account.ID), h.seen)}, nil
}

type readListOut struct {
	Read  store.Seq  `json:"read" doc:"How far this user has read."`
	Marks [][2]int64 `json:"marks" doc:"[[118,2],[130,0]]: two members stand at 118, nobody has read up to 130, the newest. Never who."`
}

func (a *API) readList(_ context.Context, c *caller, in *Conversation) (*readListOut, error) {
	info, h, err := a.find(c.account.ID, *in)
	if err != nil {
		return nil, err
	}
	if info.Members.Role(c.account.ID) == store.RoleNone {
		return nil, errNoRoom
	}
	marks, err := a.broker.MarksFor(c.account.ID, &info)
	if err != nil {
		return nil, fmt.Errorf("api: marks: %w", err)
	}
	out := &readListOut{Read: min(marks.Of(c.account.ID), h.seen), Marks: [][2]int64{}}
	for _, s := range marks.Steps() {
		seq := int64(min(s.Seq, h.seen)) // beyond it nothing exists for this user
		if n := len(out.Marks); n > 0 && out.Marks[n-1][0] == seq {
			out.Marks[n-1][1] += int64(s.Members)
		} else {
			out.Marks = append(out.Marks, [2]int64{seq, int64(s.Members)})
		}
	}
	return out, nil
}
