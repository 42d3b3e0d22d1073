package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hwangso/hwangso/broker/openroom"
	"github.com/hwangso/hwangso/broker/signup"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
)

// signUpOperations are those on phone numbers, and on what proves that somebody is an account's owner.
func signUpOperations() []operation {
	return []operation{
		unauthenticated(changing(op("account.start", "Ask for a code", "Sends a one-time code to a phone number, for signing up or in. The answer is the same whether the number has an account or not. Too many codes for a number, device, address, network or country are 429 with the time to wait.", (*API).accountStart))),
		unauthenticated(changing(op("account.verify", "Sign up or in with a code", "A number without an account gets a new one. A number with one: the account's devices get a notice and are asked (account.approve); until one says yes the answer is `waiting`, to be asked again with the same ticket and code. With the account's PIN nobody is asked. With `fresh` a new account is made instead, and the old one is locked and loses the number. A wrong code, one that is too old and an unknown ticket are the same answer, 403 `code`. The secret is told once; repeated while the ticket lives, the request opens the same account with another secret.", (*API).accountVerify))),
		op("account.requests", "List devices that want to sign in", "With the account's phone number, waiting for account.approve.", (*API).accountRequests),
		changing(op("account.approve", "Let a device sign in, or not", "The first answer counts.", (*API).accountApprove)),
		changing(op("account.code", "Ask for a code to the own number", "As proof for `erase` or `account.pin`. The number must be said again: the server keeps no numbers.", (*API).accountCode)),
		changing(op("account.pin", "Set the PIN", "4 to 64 characters; empty: none. It lets the owner sign in on a new phone without an old device. An account that has a PIN must show it or a code of account.code. After five wrong ones in a row there are growing pauses.", (*API).accountPIN)),
		changing(op("account.number", "Ask for a code to another number", "The first half of changing the account's phone number.", (*API).accountNumber)),
		changing(op("account.number.verify", "Change the phone number", "With the code of account.number. The account stays as it is; friends who have the new number find it there.", (*API).accountNumberVerify)),
	}
}

type accountStartIn struct {
	Phone    string `json:"phone" doc:"In any way people write it."`
	Region   string `json:"region,omitempty" doc:"Two letters such as KR, for a number without country code."`
	ClientID string `json:"client_id" doc:"The asking device's MQTT client identifier."`
	Language string `json:"language,omitempty" doc:"BCP 47, of the text message; absent: English."`
}

type accountStartOut struct {
	Ticket  string    `json:"ticket" doc:"To be shown with the code."`
	Expires time.Time `json:"expires" doc:"Of the code."`
	Again   time.Time `json:"again" doc:"When another code may be asked for at the earliest."`
}

// ask checks a request for a code.
func (a *API) ask(c *caller, in *accountStartIn) (q signup.Ask, err error) {
	if a.signup == nil {
		return q, signup.ErrClosed
	}
	if strings.TrimSpace(in.Phone) == "" {
		return q, store.Bad("phone is missing")
	}
	q = signup.Ask{Phone: in.Phone, Region: in.Region, Address: c.id.Address}
	if q.Device, err = clientID(in.ClientID); err != nil {
		return q, err
	}
	q.Language, err = language(in.Language)
	return q, err
}

func (a *API) accountStart(ctx context.Context, c *caller, in *accountStartIn) (*accountStartOut, error) {
	q, err := a.ask(c, in)
	if err != nil {
		return nil, err
	}
	out, err := a.signup.Start(ctx, q)
	return codeAsked(out, err)
}

func codeAsked(out signup.Asked, err error) (*accountStartOut, error) {
	if err != nil {
		return nil, err
	}
	return &accountStartOut{Ticket: out.Ticket, Expires: out.Expires, Again: out.Again}, nil
}

type accountVerifyIn struct {
	Ticket   string `json:"ticket" doc:"Of account.start."`
	OTP      string `json:"code" doc:"The six digits."`
	ClientID string `json:"client_id" doc:"The MQTT client identifier of the device that signs in."`
	Label    string `json:"label,omitempty" doc:"Of the device."`
	Name     string `json:"name,omitempty" doc:"Of a new account: its identifier in topics; absent: a random one."`
	Display  string `json:"display,omitempty" doc:"Of a new account: the name shown."`
	Language string `json:"language,omitempty" doc:"Of a new account; absent: that of account.start."`
	PIN      string `json:"pin,omitempty" doc:"Of the account that has the number."`
	Fresh    bool   `json:"fresh,omitempty" doc:"A new account even if the number has one."`
}

type accountVerifyOut struct {
	Waiting bool   `json:"waiting,omitempty" doc:"The number has an account whose devices are asked; nothing was opened."`
	New     bool   `json:"new,omitempty" doc:"The account was made."`
	Name    string `json:"name,omitempty" doc:"The account's identifier in topics; the user name in MQTT."`
	Device  string `json:"device,omitempty" doc:"The device's id."`
	Secret  string `json:"secret,omitempty" doc:"The device's token: the password in MQTT, the bearer token in HTTP. Told once."`
	Token   *token `json:"token,omitempty"`
}

// withoutSecret keeps a secret from being stored, should the answer ever be.
func (o *accountVerifyOut) withoutSecret() any {
	kept := *o
	kept.Secret = ""
	return &kept
}

func (a *API) accountVerify(ctx context.Context, _ *caller, in *accountVerifyIn) (*accountVerifyOut, error) {
	if a.signup == nil {
		return nil, signup.ErrClosed
	}
	q := signup.Enter{Ticket: in.Ticket, Code: in.OTP, Name: in.Name, PIN: in.PIN, Fresh: in.Fresh}
	var err error
	if q.ClientID, err = clientID(in.ClientID); err != nil {
		return nil, err
	}
	l := a.limits()
	if q.Label, err = words("label", in.Label, l.Label, 4*l.Label); err != nil {
		return nil, err
	}
	if q.Display, err = words("display", in.Display, l.Display, 4*l.Display); err != nil {
		return nil, err
	}
	if q.Language, err = language(in.Language); err != nil {
		return nil, err
	}
	e, err := a.signup.Verify(ctx, q)
	if err != nil || e.Waiting {
		return &accountVerifyOut{Waiting: true}, err
	}
	t := shownToken(e.Token, [32]byte{})
	return &accountVerifyOut{New: e.New, Name: e.Account.Name, Device: e.Token.Device.String(), Secret: string(e.Secret), Token: &t}, nil
}

type signInRequest struct {
	Request string     `json:"request"`
	Device  string     `json:"device" doc:"As it names itself."`
	Asked   *time.Time `json:"asked"`
	Expires *time.Time `json:"expires"`
}

type accountRequestsOut struct {
	Requests []signInRequest `json:"requests"`
}

func (a *API) accountRequests(_ context.Context, c *caller, _ *none) (*accountRequestsOut, error) {
	out := &accountRequestsOut{Requests: []signInRequest{}}
	if a.signup == nil {
		return out, nil
	}
	list, err := a.signup.SignIns(c.account.ID)
	for _, r := range list {
		out.Requests = append(out.Requests, signInRequest{r.Request, r.Device, at(r.Asked), at(r.Expires)})
	}
	return out, err
}

type accountApproveIn struct {
	Request string `json:"request" doc:"As account.requests tells it."`
	Allow   bool   `json:"allow" doc:"false: the device is not let in."`
}

func (a *API) accountApprove(ctx context.Context, c *caller, in *accountApproveIn) (*none, error) {
	if a.signup == nil {
		return nil, signup.ErrRequest
	}
	return &none{}, a.signup.Approve(ctx, c.account.ID, in.Request, in.Allow)
}

type accountCodeIn struct {
	accountStartIn
	For string `json:"for" doc:"erase or pin: a code for one opens nothing else."`
}

func (a *API) accountCode(ctx context.Context, c *caller, in *accountCodeIn) (*accountStartOut, error) {
	q, err := a.askAs(c, &in.accountStartIn)
	if err != nil {
		return nil, err
	}
	if in.For != "erase" && in.For != "pin" {
		return nil, store.Bad("for must be erase or pin")
	}
	out, err := a.signup.StartProof(ctx, c.account.ID, q, in.For == "erase")
	return codeAsked(out, err)
}

// askAs is ask for a user: device and language are known.
func (a *API) askAs(c *caller, in *accountStartIn) (signup.Ask, error) {
	filled := *in
	if filled.ClientID == "" {
		filled.ClientID = c.id.Device.String()
	}
	if filled.Language == "" {
		filled.Language = c.account.Language
	}
	return a.ask(c, &filled)
}

// proofIn shows that it is the owner who asks.
type proofIn struct {
	Ticket string `json:"ticket,omitempty" doc:"Of account.code."`
	OTP    string `json:"code,omitempty" doc:"The six digits that came with it."`
	PIN    string `json:"pin,omitempty" doc:"The account's PIN, instead of ticket and code."`
}

func (p *proofIn) proof() signup.Proof {
	return signup.Proof{Ticket: p.Ticket, Code: p.OTP, PIN: p.PIN}
}

type accountPINIn struct {
	proofIn
	New string `json:"new" doc:"The new PIN; empty: none any more."`
}

func (a *API) accountPIN(ctx context.Context, c *caller, in *accountPINIn) (*none, error) {
	if a.signup == nil {
		return nil, signup.ErrClosed
	}
	return &none{}, a.signup.SetPIN(ctx, c.account.ID, in.New, in.proof())
}

func (a *API) accountNumber(ctx context.Context, c *caller, in *accountStartIn) (*accountStartOut, error) {
	q, err := a.askAs(c, in)
	if err != nil {
		return nil, err
	}
	out, err := a.signup.StartNumber(ctx, c.account.ID, q)
	return codeAsked(out, err)
}

type accountNumberVerifyIn struct {
	Ticket string `json:"ticket" doc:"Of account.number."`
	OTP    string `json:"code" doc:"The six digits."`
	Take   bool   `json:"take,omitempty" doc:"If the number has another account: lock that one. Without it, that is 409 taken."`
}

func (a *API) accountNumberVerify(ctx context.Context, c *caller, in *accountNumberVerifyIn) (*none, error) {
	if a.signup == nil {
		return nil, signup.ErrClosed
	}
	return &none{}, a.signup.ChangeNumber(ctx, c.account.ID, in.Ticket, in.OTP, in.Take)
}

// signUpHost is what package signup asks of the API.
type signUpHost struct{ a *API }

var _ signup.Host = signUpHost{}

func (h signUpHost) Notify(ctx context.Context, to store.AccountID, n view.Notice, text string) {
	h.a.notify(ctx, to, n, text)
}

func (h signUpHost) Disconnect(ctx context.Context, u store.AccountID, d store.DeviceID, why error) error {
	return h.a.disconnect(ctx, u, d, why)
}

// Leave leaves room after room as room.leave does, and takes what open rooms say about the user out of them, also of those
// that it left before.
func (h signUpHost) Leave(ctx context.Context, u store.AccountID) error {
	if err := h.a.channels.Leave(ctx, u); err != nil {
		return err
	}
	c := &caller{id: hooks.Identity{Account: u}, account: store.Account{ID: u}}
	var after store.LogID
	for {
		refs, err := h.a.store.LogsOf(u, after, 1000)
		if err != nil {
			return fmt.Errorf("api: logs: %w", err)
		}
		if len(refs) == 0 {
			return nil
		}
		for _, ref := range refs {
			after = ref.ID
			if ref.Key.Kind != store.LogRoom {
				continue
			}
			if ref.Me.Role != store.RoleNone {
				_, err := h.a.roomLeave(ctx, c, &roomIn{Room: ref.Key.Name})
				if err != nil && store.CodeOf(err) != store.CodeForbidden { // no member any more
					return err
				}
			}
			m, err := h.a.graph.RoomMember(ref.ID, u)
			if err != nil {
				return fmt.Errorf("api: member: %w", err)
			}
			skeleton := ""
			if m.Nick != "" {
				skeleton = openroom.Skeleton(m.Nick)
			}
			if err := h.a.graph.ForgetMember(ctx, ref.ID, u, skeleton); err != nil {
				return err
			}
		}
	}
}

// Files removes the user's apps, too, whose icons are among them.
func (h signUpHost) Files(ctx context.Context, u store.AccountID) error {
	if err := h.a.links.Erase(ctx, u); err != nil {
		return err
	}
	if h.a.cfg.Files == nil {
		return nil
	}
	return h.a.cfg.Files.Erase(ctx, u)
}

func (h signUpHost) Pushes(ctx context.Context, u store.AccountID) error {
	err := h.a.graph.ForgetPushes(ctx, u)
	h.a.lookAgain(u, 0)
	return err
}

func (h signUpHost) Change(ctx context.Context, u store.AccountID, change func(*store.Account) error) (store.Account, error) {
	return h.a.changeAccount(ctx, u, change)
}

func (h signUpHost) Numbered(ctx context.Context, u store.AccountID, e phone.Entry) error {
	return h.a.finder.Joined(ctx, u, e.Hash)
}

// startSignUp makes the service of signing up.
func (a *API) startSignUp() (err error) {
	if a.cfg.Phones == nil {
		return nil
	}
	set := a.cfg.SignUp
	if set.Devices == 0 {
		set.Devices = a.limits().Devices
	}
	a.signup, err = signup.New(signup.Config{
		Store: a.store, Book: a.cfg.Phones, Host: signUpHost{a}, Sender: a.cfg.CodeSender, Settings: set,
		Logger: a.log, Registerer: a.cfg.Registerer, Now: a.cfg.Now,
	})
	return err
}

// Begin begins what is due by itself: locks that end, accounts that are to be removed. A server calls it once; a command
// that only works on the data does not.
func (a *API) Begin() {
	if a.signup != nil {
		a.wg.Go(func() { a.signup.Run(a.life) })
	}
}
