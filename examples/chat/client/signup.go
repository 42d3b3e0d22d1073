package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Signup signs a person up, or in, by phone number: Start sends a code to the phone, Verify shows it. It speaks HTTP,
// because who has no account yet cannot connect by MQTT.
type Signup struct {
	API      string // the server's HTTP address, such as http://127.0.0.1:8080
	ClientID string // of the device that signs in
	Language string // of the text message, BCP 47; "" is English
	HTTP     *http.Client

	ticket string
}

// Account is what a sign-up gives.
type Account struct {
	User  string `json:"name"`   // the user name in MQTT
	Token string `json:"secret"` // the password in MQTT
	New   bool   `json:"new"`    // the account was made
}

// ErrWaiting says that the number has an account, whose devices are asked whether this one may come in.
var ErrWaiting = errors.New("chat: the account's other devices are asked; say yes there, or give the PIN")

// Start asks for a code to a phone number. region is two letters such as KR, for a number without its country's code.
func (s *Signup) Start(ctx context.Context, number, region string) error {
	var out struct {
		Ticket string `json:"ticket"`
	}
	err := s.call(ctx, "account.start", map[string]string{"phone": number, "region": region, "client_id": s.ClientID, "language": s.Language}, &out)
	s.ticket = out.Ticket
	return err
}

// Verify shows the code. name is what a new account is to be called, "" for a random name; pin is that of an account which
// the number has already. ErrWaiting: ask again with the same code until another device has said yes.
func (s *Signup) Verify(ctx context.Context, code, name, pin string) (Account, error) {
	var out struct {
		Account
		Waiting bool `json:"waiting"`
	}
	in := map[string]string{"ticket": s.ticket, "code": strings.TrimSpace(code), "client_id": s.ClientID, "name": name, "pin": pin}
	err := s.call(ctx, "account.verify", in, &out)
	if err == nil && out.Waiting {
		err = ErrWaiting
	}
	return out.Account, err
}

func (s *Signup) call(ctx context.Context, op string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(s.API, "/")+"/v1/"+op, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("chat: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	c := s.HTTP
	if c == nil {
		c = http.DefaultClient
	}
	res, err := c.Do(r)
	if err != nil {
		return fmt.Errorf("chat: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("chat: %w", err)
	}
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("chat: %s: the answer is not JSON: %w", op, err)
		}
		return nil
	}
	var p struct {
		Error, Text string
	}
	if json.Unmarshal(answer, &p) != nil || p.Text == "" {
		p.Text = res.Status
	}
	return errors.New(Clean(p.Text))
}
