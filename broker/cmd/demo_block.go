package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// block lets bob block alice, or ends it, as his phone would: over the control API. It returns what to tell.
func (d *demonstration) block(ctx context.Context) (string, error) {
	on := !d.blocked
	if err := d.call(ctx, "bob", "block.set", map[string]any{"user": "alice", "on": on}); err != nil {
		return "", err
	}
	d.blocked = on
	if on {
		return `▪ bob blocks alice. Write to bob as alice: she gets the number and the acknowledgement as before, and bob gets nothing.
  Press b again to end it: what she wrote meanwhile stays unseen, and nothing ever tells her.`, nil
	}
	return "▫ bob blocks alice no more. What she writes from now on arrives; what she wrote meanwhile does not come after all.", nil
}

// call asks the server for an operation as one of the demo's people.
func (d *demonstration) call(ctx context.Context, user, op string, in any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.HTTP+"/v1/"+op, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	r.SetBasicAuth(user, d.Tokens[user])
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %s", res.StatusCode, answer)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}
