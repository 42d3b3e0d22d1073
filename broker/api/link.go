package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/broker/link"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// linkOperations are those on links, the messages of apps: see links.md.
func linkOperations() []operation {
	send := unauthenticated(changing(op("link.send", "Send a link as an app", "By the app, with its key and a ticket of link.ticket, for the user and into the conversation of the ticket. Repeated with the same ticket and message it gives the first answer. The parameters of 2011 may stand in place of the message, in the object, or alone as a query string or form: msg=…&url=…&ticket=….", (*API).linkSend)))
	send.run = formed(send.run)
	return []operation{
		changing(op("link.ticket", "Let an app send one message", "By the user's own device, once the user has said yes. The ticket is good for ten minutes and one message of that app into that conversation. The answer to a repeated request does not hold it.", (*API).linkTicket)),
		send,
		changing(op("link.share", "Send a link of an app oneself", "By the user's own client, which has shown the message to the user: no ticket is needed. A link that is kept in an address of a custom scheme goes into query.", (*API).linkShare)),
		changing(op("link.forward", "Forward a link", "Into another conversation, by the same rules as a message there. The app, its words and its targets go along, and nothing of who sent it, where and when.", (*API).linkForward)),
		changing(op("link.opened", "Tell that a link was opened", "By a device, when its user touches a link of somebody else's or one of its buttons. It is counted once for each user and message; the app sees rounded numbers of whole days and never who.", (*API).linkOpened)),
	}
}

type linkTarget struct {
	OS      string `json:"os" doc:"android, ios, blackberry, windows, macos, linux, or web."`
	Class   string `json:"class,omitempty" doc:"phone, tablet or any; absent: any."`
	Execute string `json:"execute,omitempty" doc:"Starts the app: an address of one of its schemes there, or of its domains."`
	Install string `json:"install,omitempty" doc:"Where the app is to be had: in a store of the system, or on its domains."`
}

type linkActions struct {
	Targets []linkTarget `json:"targets,omitempty" doc:"At most 16, one for a system and class. A device gets those of its own alone."`
	Web     string       `json:"web,omitempty" doc:"An https address on the app's domains, for systems without a target."`
}

type linkButton struct {
	Text string `json:"text" doc:"At most 40 characters."`
	linkActions
}

// linkMessage is a message of an app, in today's words or in those of 2011.
type linkMessage struct {
	Text  string `json:"text,omitempty" doc:"At most 1,000 characters. Addresses in it must be of the app's domains."`
	Image string `json:"image,omitempty" doc:"A file that the sending user may attach, as file.slot gives it."`
	linkActions
	Buttons []linkButton `json:"buttons,omitempty" doc:"At most 5. One without targets and web does what the message does."`

	Msg      string          `json:"msg,omitempty" doc:"2011: the text. The message is read in the words of 2011 if this is there."`
	URL      string          `json:"url,omitempty" doc:"2011: the web address."`
	AppID    string          `json:"appid,omitempty" doc:"2011: the app's key; in link.share its identifier too."`
	AppVer   string          `json:"appver,omitempty" doc:"2011: looked at for its form alone."`
	Type     string          `json:"type,omitempty" doc:"2011: link (url is opened) or app (metainfo is)."`
	AppName  string          `json:"appname,omitempty" doc:"2011: not shown; an app is called what it is registered as."`
	MetaInfo json.RawMessage `json:"metainfo,omitempty" doc:"2011: a list of {os, devicetype, installurl, executeurl}."`
}

func (a linkActions) actions() link.Actions {
	out := link.Actions{Web: a.Web}
	for _, t := range a.Targets {
		out.Targets = append(out.Targets, link.Target(t))
	}
	return out
}

// message is what was said, and appid if that came with it.
func (m *linkMessage) message() (link.Message, string, error) {
	if m.Msg == "" && m.URL == "" && m.AppID == "" && m.Type == "" && len(m.MetaInfo) == 0 {
		out := link.Message{Text: m.Text, Image: m.Image, Actions: m.actions()}
		for _, b := range m.Buttons {
			out.Buttons = append(out.Buttons, link.Button{Text: b.Text, Actions: b.actions()})
		}
		return out, "", nil
	}
	if m.Text != "" || m.Image != "" || len(m.Buttons) > 0 || len(m.Targets) > 0 || m.Web != "" {
		return link.Message{}, "", store.Bad("say the message with text, targets and web, or with msg, url, type and metainfo, not both")
	}
	c := link.Classic{Msg: m.Msg, URL: m.URL, AppID: m.AppID, AppVer: m.AppVer, Type: m.Type, AppName: m.AppName}
	if raw := bytes.TrimSpace(m.MetaInfo); len(raw) > 0 && !bytes.Equal(raw, []byte("null")) {
		if raw[0] == '"' { // JSON within a string, as it stood in addresses
			var s string
			if err := json.Unmarshal(raw, &s); err != nil {
				return link.Message{}, "", &store.Error{Code: store.CodeBad, Text: "metainfo is not JSON", Err: err}
			}
			raw = []byte(s)
		}
		var err error
		if c.MetaInfo, err = link.ParseMetaInfo(raw); err != nil {
			return link.Message{}, "", err
		}
	}
	out, err := c.Message()
	return out, c.AppID, err
}

type linkTicketIn struct {
	App string `json:"app" doc:"The app's identifier, or the key that it has shown."`
	Conversation
}

type linkTicketOut struct {
	Ticket  string    `json:"ticket,omitempty" doc:"To be given to the app."`
	Expires time.Time `json:"expires"`
}

func (o *linkTicketOut) withoutSecret() any { return &linkTicketOut{Expires: o.Expires} }

func (a *API) linkTicket(ctx context.Context, c *caller, in *linkTicketIn) (*linkTicketOut, error) {
	t, err := in.topic()
	if err != nil {
		return nil, err
	}
	said, expires, err := a.links.Ticket(ctx, c.id, in.App, t)
	if err != nil {
		return nil, err
	}
	return &linkTicketOut{said, expires.UTC()}, nil
}

type linkSendIn struct {
	Key    string `json:"key,omitempty" doc:"The app's key; or appid."`
	Ticket string `json:"ticket" doc:"Of link.ticket, from the user."`
	linkMessage
}

type linkSendOut struct {
	Time time.Time `json:"time" doc:"When it was sent. Where to, the app is not told."`
}

func (a *API) linkSend(ctx context.Context, _ *caller, in *linkSendIn) (*linkSendOut, error) {
	m, appid, err := in.message()
	if err != nil {
		return nil, err
	}
	key := in.Key
	if key == "" {
		key = appid
	}
	switch {
	case key == "":
		return nil, store.Bad("key is missing: the app's key")
	case in.Ticket == "":
		return nil, store.Bad("ticket is missing: ask the user for one")
	}
	when, err := a.links.Send(ctx, key, in.Ticket, m)
	if err != nil {
		return nil, err
	}
	return &linkSendOut{when}, nil
}

// formed lets a query string stand in place of a JSON object.
func formed(run func(context.Context, *API, *caller, []byte) (any, error)) func(context.Context, *API, *caller, []byte) (any, error) {
	return func(ctx context.Context, a *API, c *caller, body []byte) (any, error) {
		if body = bytes.TrimSpace(body); len(body) > 0 && body[0] != '{' {
			classic, key, ticket, err := link.ParseQuery(string(body))
			if err != nil {
				return nil, err
			}
			in, err := inQuery(classic)
			if err != nil {
				return nil, err
			}
			if body, err = json.Marshal(linkSendIn{Key: key, Ticket: ticket, linkMessage: in}); err != nil {
				return nil, fmt.Errorf("api: link: %w", err)
			}
		}
		return run(ctx, a, c, body)
	}
}

func inQuery(c link.Classic) (m linkMessage, err error) {
	m = linkMessage{Msg: c.Msg, URL: c.URL, AppID: c.AppID, AppVer: c.AppVer, Type: c.Type, AppName: c.AppName}
	if len(c.MetaInfo) > 0 {
		if m.MetaInfo, err = json.Marshal(c.MetaInfo); err != nil {
			return m, fmt.Errorf("api: link: %w", err)
		}
	}
	return m, nil
}

type linkShareIn struct {
	App string `json:"app,omitempty" doc:"The app's identifier or a key of it; or appid."`
	Conversation
	CID   string `json:"cid,omitempty" doc:"As in message.send."`
	Query string `json:"query,omitempty" doc:"The message as a query string of the parameters of 2011, or a whole address of a custom scheme that ends in one; then nothing else of the message."`
	linkMessage
}

func (a *API) linkShare(ctx context.Context, c *caller, in *linkShareIn) (*sentOut, error) {
	t, err := linkTopic(c, in.Conversation, in.CID)
	if err != nil {
		return nil, err
	}
	app := in.App
	if in.Query != "" {
		classic, key, _, err := link.ParseQuery(in.Query)
		if err != nil {
			return nil, err
		}
		if in.linkMessage, err = inQuery(classic); err != nil {
			return nil, err
		}
		if app == "" {
			app = key
		}
	}
	m, appid, err := in.message()
	if err != nil {
		return nil, err
	}
	if app == "" {
		app = appid
	}
	if app == "" {
		return nil, store.Bad("app is missing: the app's identifier, or its key")
	}
	r, err := a.links.Share(ctx, c.id, app, t, m)
	if err != nil {
		return nil, err
	}
	return shownReceipt(r, t), nil
}

// linkTopic is where a link goes.
func linkTopic(c *caller, to Conversation, cid string) (hooks.Topic, error) {
	t, err := to.topic()
	if err != nil {
		return t, err
	}
	if cid != "" && !hooks.ValidCID(cid) {
		return t, store.Bad("cid must be 1 to 36 characters of A-Z a-z 0-9 . _ ~ -")
	}
	if t.CID = cid; cid == "" {
		t.CID = ownCID(c.rid)
	}
	t.Act, t.View = hooks.Message, hooks.JSON
	return t, nil
}

func shownReceipt(r store.Receipt, t hooks.Topic) *sentOut {
	return &sentOut{Seq: r.Seq, Time: time.UnixMilli(r.Time).UTC(), Epoch: r.Epoch, CID: t.CID}
}

type linkForwardIn struct {
	Conversation
	Seq store.Seq    `json:"seq" doc:"The link's sequence."`
	To  Conversation `json:"to" doc:"Where it goes: room or user."`
	CID string       `json:"cid,omitempty" doc:"As in message.send."`
}

func (a *API) linkForward(ctx context.Context, c *caller, in *linkForwardIn) (*sentOut, error) {
	t, err := linkTopic(c, in.To, in.CID)
	if err != nil {
		return nil, err
	}
	r, err := a.linkSeen(c.account.ID, in.Conversation, in.Seq)
	if err != nil {
		return nil, err
	}
	if a.cfg.Files != nil {
		attached, err := view.Files(r.Extra)
		if err != nil {
			return nil, err
		}
		for _, id := range attached { // who was given a link may attach the file to messages of its own
			if _, err := a.cfg.Files.Link(ctx, c.account.ID, r.Log, r.Seq, id); err != nil && store.CodeOf(err) != store.CodeNotFound {
				return nil, err
			}
		}
	}
	receipt, err := a.links.Forward(ctx, c.id, r, t)
	if err != nil {
		return nil, err
	}
	return shownReceipt(receipt, t), nil
}

// linkSeen is a link that a user sees.
func (a *API) linkSeen(me store.AccountID, p Conversation, seq store.Seq) (*store.Record, error) {
	info, _, err := a.find(me, p)
	if err != nil {
		return nil, err
	}
	if seq == 0 {
		return nil, link.ErrNoLink
	}
	page, err := a.read(store.Query{Log: info.ID, Viewer: me, After: seq - 1, Upto: seq, Max: 1})
	if err != nil && store.CodeOf(err) != store.CodeTrimmed {
		return nil, fmt.Errorf("api: link: %w", err)
	}
	if len(page.Records) == 0 || page.Records[0].Kind != store.KindLink || page.Records[0].Recalled {
		return nil, link.ErrNoLink
	}
	return page.Records[0], nil
}

type linkOpenedIn struct {
	Conversation
	Seq store.Seq `json:"seq" doc:"The link's sequence."`
}

type linkOpenedOut struct {
	First bool `json:"first" doc:"It was counted: the user had not opened it before."`
}

func (a *API) linkOpened(ctx context.Context, c *caller, in *linkOpenedIn) (*linkOpenedOut, error) {
	r, err := a.linkSeen(c.account.ID, in.Conversation, in.Seq)
	if err != nil {
		return nil, err
	}
	first, err := a.links.Opened(ctx, c.account.ID, r)
	if err != nil {
		return nil, err
	}
	return &linkOpenedOut{first}, nil
}
