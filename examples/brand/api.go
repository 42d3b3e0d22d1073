package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// API is the control API over HTTP: POST /v1/{operation} with JSON both ways.
type API struct {
	Base  string // http://host:port
	User  string // the publisher
	Token string // a key of the channel, or a publisher's own token
	HTTP  *http.Client
}

// Problem is the API's refusal.
type Problem struct {
	Op     string
	Status int    // HTTP's, which is the API's code too
	Word   string // for programs, such as not_found
	Text   string // for people
}

func (p *Problem) Error() string {
	if p.Text == "" {
		return fmt.Sprintf("%s: %d %s", p.Op, p.Status, http.StatusText(p.Status))
	}
	return p.Op + ": " + clean(p.Text)
}

// Call asks for an operation and reads its answer into out. id names the request: where the answer was lost, or the server
// cannot now, it is sent again under the same one and carried out once. A *Problem is final.
func (a *API) Call(ctx context.Context, op, id string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	for {
		retry, err := a.once(ctx, op, id, body, out)
		if err == nil || retry < 0 || ctx.Err() != nil {
			return err
		}
		if err := wait(ctx, retry); err != nil {
			return err
		}
	}
}

// once makes one request. retry is after which time another one makes sense, negative if none does.
func (a *API) once(ctx context.Context, op, id string, body []byte, out any) (retry time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.Base+"/v1/"+op, bytes.NewReader(body))
	if err != nil {
		return -1, fmt.Errorf("%s: %w", op, err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth(a.User, a.Token) // as MQTT's user name and password
	if id != "" {
		r.Header.Set("Idempotency-Key", id)
	}
	res, err := a.HTTP.Do(r)
	if err != nil {
		return time.Second, fmt.Errorf("%s: %w", op, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return time.Second, fmt.Errorf("%s: %w", op, err)
	}
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusAccepted {
		if out == nil {
			return 0, nil
		}
		if err := json.Unmarshal(answer, out); err != nil {
			return -1, fmt.Errorf("%s: the answer is not JSON: %w", op, err)
		}
		return 0, nil
	}
	var p struct {
		Error string `json:"error"`
		Text  string `json:"text"`
		Retry int64  `json:"retry_ms"`
	}
	_ = json.Unmarshal(answer, &p) // a proxy's answer is no JSON: the status says enough
	err = &Problem{op, res.StatusCode, p.Error, p.Text}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return max(time.Duration(p.Retry)*time.Millisecond, time.Second), err
	}
	return -1, err
}
