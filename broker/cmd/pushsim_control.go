package cmd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	stdio "io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hwangso/hwangso/bridge/pushsim"
)

// simulator is the control port of a simulator that runs.
type simulator struct {
	dir, url string
}

func (s *simulator) flags(f *flag.FlagSet) {
	f.StringVar(&s.dir, "dir", simDir, "the simulator's `directory`, which says where it runs")
	f.StringVar(&s.url, "control", "", "the `URL` of its control port, if not by -dir")
}

// call sends a request to the control port and decodes the answer; in and out may be nil.
func (s *simulator) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body, err := s.open(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	if out == nil {
		return nil
	}
	if err := numbers(body).Decode(out); err != nil {
		return fmt.Errorf("pushsim: the answer: %w", err)
	}
	return nil
}

// numbers decodes JSON with its numbers as they are written.
func numbers(r stdio.Reader) *json.Decoder {
	d := json.NewDecoder(r)
	d.UseNumber()
	return d
}

// open sends a request and returns the body of a good answer.
func (s *simulator) open(ctx context.Context, method, path string, in any) (stdio.ReadCloser, error) {
	if s.url == "" {
		files, err := pushsim.Open(s.dir)
		if err != nil {
			return nil, err
		}
		s.url = "http://" + files.Listen.Control
	}
	var body stdio.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("pushsim: %w", err)
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(s.url, "/")+path, body)
	if err != nil {
		return nil, fmt.Errorf("pushsim: -control: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("no simulator runs at %s: start it with hwangso pushsim run", s.url)
	} else if err != nil {
		return nil, fmt.Errorf("pushsim: %w", err)
	}
	if res.StatusCode/100 == 2 {
		return res.Body, nil
	}
	defer res.Body.Close()
	var e struct{ Error string }
	if json.NewDecoder(stdio.LimitReader(res.Body, 64<<10)).Decode(&e) == nil && e.Error != "" {
		return nil, errors.New(e.Error)
	}
	return nil, fmt.Errorf("pushsim: the control port answered %s", res.Status)
}

func pushsimPhones(ctx context.Context, c command, args []string, io Streams) error {
	f, s := c.flags(io), new(simulator)
	s.flags(f)
	rest, err := parse(f, args, 0, 1, io)
	if err != nil {
		return err
	}
	var list []pushsim.Phone
	if len(rest) == 0 {
		err = s.call(ctx, http.MethodGet, "/v1/devices", nil, &list)
	} else {
		list = make([]pushsim.Phone, 1)
		err = s.call(ctx, http.MethodGet, "/v1/phones/"+url.PathEscape(rest[0]), nil, &list[0])
	}
	if err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(io.Out, "No phone has got anything yet.")
	}
	for i := range list {
		p := &list[i]
		state := ""
		if p.State != pushsim.Online {
			state = ", " + string(p.State)
		}
		fmt.Fprintf(io.Out, "📱 %s%s: %s, rang %d times, badge %d\n", phoneName(p.Provider, p.Token, p.Name), state,
			plural(len(p.Notifications), "notification"), p.Rang, p.Badge)
		for _, n := range p.Notifications {
			fmt.Fprintf(io.Out, "     %s (%s)\n", pushText(n), ago(n.Time))
		}
		if p.Held > 0 {
			fmt.Fprintf(io.Out, "     %s kept by %s\n", plural(p.Held, "push"), p.Provider)
		}
		if p.Lost > 0 {
			fmt.Fprintf(io.Out, "     %s lost\n", plural(p.Lost, "push"))
		}
		if len(rest) == 1 {
			fmt.Fprintf(io.Out, "     token %s\n", shown(p.Token))
		}
	}
	return nil
}

func plural(n int, what string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(what, "sh"):
		what += "es"
	default:
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

const pushsimDeviceText = `States:
  online         it gets what is sent
  offline        the provider keeps what is sent, as the real one would, and delivers it when the device is online again
  unregistered   the app was removed: 410, UNREGISTERED
  bad            the provider does not know the token: BadDeviceToken, INVALID_ARGUMENT, 404
  wrong_sender   the token is another app's: DeviceTokenNotForTopic, SENDER_ID_MISMATCH, 403
  busy           the provider takes no more for this device: 429

A device that a push has reached is known with its provider; for another one say -provider.`

func pushsimDevice(ctx context.Context, c command, args []string, io Streams) error {
	f, s := c.flags(io), new(simulator)
	s.flags(f)
	provider := f.String("provider", "", "apns, fcm or webpush; needed for a device that is not known yet")
	name := f.String("name", "", "what people call it, such as \"bob's phone\"")
	sandbox := f.Bool("sandbox", false, "APNs: its token is of the development environment")
	topic := f.String("topic", "", "APNs: the bundle `identifier` that the token is for (default any)")
	rest, err := parse(f, args, 2, 2, io)
	if err != nil {
		return err
	}
	var p pushsim.Phone
	if err := s.call(ctx, http.MethodGet, "/v1/phones/"+url.PathEscape(rest[0]), nil, &p); err != nil && *provider == "" {
		return fmt.Errorf("%w; say -provider to make it known", err)
	}
	d := p.Device // what is not said stays as it is
	d.Token, d.State, d.Since = rest[0], pushsim.State(rest[1]), time.Time{}
	f.Visit(func(fl *flag.Flag) {
		switch fl.Name {
		case "provider":
			d.Provider = pushsim.Provider(*provider)
		case "name":
			d.Name = *name
		case "sandbox":
			d.Sandbox = *sandbox
		case "topic":
			d.Topic = *topic
		}
	})
	if err := s.call(ctx, http.MethodPut, "/v1/devices", d, nil); err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "%s is %s.\n", phoneName(d.Provider, d.Token, d.Name), d.State)
	return nil
}

const pushsimSubscribeText = `NAME is any; the phone is shown under it from then on. The same name has the same subscription. What is printed is what
a page gives to its server (PushSubscription.toJSON), and what device.push takes.`

func pushsimSubscribe(ctx context.Context, c command, args []string, io Streams) error {
	f, s := c.flags(io), new(simulator)
	s.flags(f)
	rest, err := parse(f, args, 1, 1, io)
	if err != nil {
		return err
	}
	var out json.RawMessage
	if err := s.call(ctx, http.MethodPost, "/v1/subscriptions", map[string]string{"token": rest[0]}, &out); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, out, "", "  "); err != nil {
		return fmt.Errorf("pushsim: the answer: %w", err)
	}
	fmt.Fprintln(io.Out, b.String())
	return nil
}

const pushsimAttemptsText = `Without -follow it tells the last ones. -json writes all that is known of each, one JSON object a line.`

func pushsimAttempts(ctx context.Context, c command, args []string, io Streams) error {
	f, s := c.flags(io), new(simulator)
	s.flags(f)
	follow := f.Bool("follow", false, "go on with what comes, until interrupted")
	last := f.Int("last", 20, "how many of the past, at most")
	asJSON := f.Bool("json", false, "as JSON, one line each")
	forget := f.Bool("forget", false, "empty the log instead")
	q := make(url.Values)
	for name, text := range map[string]string{
		"provider": "only those to this one: `apns, fcm or webpush`", "token": "only those for this device's `token`",
		"status": "only those with this `status`; 0: without an answer", "effect": "only those with this `effect` on the phone: shown, replaced, repeated, dropped, cleared, woken, held, lost",
		"fault": "only those that the fault with this `name` struck",
	} {
		f.Func(name, text, func(v string) error { q.Set(name, v); return nil })
	}
	if _, err := parse(f, args, 0, 0, io); err != nil {
		return err
	}
	if *forget {
		if err := s.call(ctx, http.MethodDelete, "/v1/attempts", nil, nil); err != nil {
			return err
		}
		fmt.Fprintln(io.Out, "The log is empty.")
		return nil
	}
	names, err := s.names(ctx)
	if err != nil {
		return err
	}
	tell := func(raw json.RawMessage) (n uint64, err error) {
		var a pushsim.Attempt
		if err := numbers(bytes.NewReader(raw)).Decode(&a); err != nil {
			return 0, fmt.Errorf("pushsim: an attempt: %w", err)
		}
		line := string(raw)
		if !*asJSON {
			line = a.Time.Local().Format("15:04:05") + " " + attemptInWords(&a, func(token string) string { return names[token] })
		}
		_, err = fmt.Fprintln(io.Out, line)
		return a.N, err
	}
	all := cloneWith(q, "limit", "0")
	var list []json.RawMessage
	if err := s.call(ctx, http.MethodGet, "/v1/attempts?"+all.Encode(), nil, &list); err != nil {
		return err
	}
	if n := max(*last, 0); len(list) > n {
		list = list[len(list)-n:]
	}
	after := uint64(0)
	for _, raw := range list {
		if after, err = tell(raw); err != nil {
			return err
		}
	}
	if !*follow {
		if len(list) == 0 && !*asJSON {
			fmt.Fprintln(io.Out, "No request has come.")
		}
		return nil
	}
	if after > 0 {
		q.Set("after", strconv.FormatUint(after, 10))
	}
	return s.follow(ctx, q, tell)
}

func cloneWith(q url.Values, name, value string) url.Values {
	out := url.Values{name: {value}}
	for k, v := range q {
		out[k] = v
	}
	return out
}

// names are what people call devices, by token.
func (s *simulator) names(ctx context.Context) (map[string]string, error) {
	var list []pushsim.Phone
	if err := s.call(ctx, http.MethodGet, "/v1/devices", nil, &list); err != nil {
		return nil, err
	}
	out := make(map[string]string)
	for _, p := range list {
		if p.Name != "" {
			out[p.Token] = p.Name
		}
	}
	return out, nil
}

// follow tells attempts as they come, until the simulator or ctx ends.
func (s *simulator) follow(ctx context.Context, q url.Values, tell func(json.RawMessage) (uint64, error)) error {
	body, err := s.open(ctx, http.MethodGet, "/v1/events?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if _, err := tell(lines.Bytes()); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := lines.Err(); err != nil && !errors.Is(err, stdio.ErrUnexpectedEOF) {
		return fmt.Errorf("pushsim: %w", err)
	}
	return errors.New("the simulator has ended")
}

func pushsimCounts(ctx context.Context, c command, args []string, io Streams) error {
	f, s := c.flags(io), new(simulator)
	s.flags(f)
	only := f.Bool("duplicates", false, "only messages that a user was told twice; the exit status is 1 if there are any")
	if _, err := parse(f, args, 0, 0, io); err != nil {
		return err
	}
	var list []pushsim.Count
	if err := s.call(ctx, http.MethodGet, "/v1/counts?duplicates="+strconv.FormatBool(*only), nil, &list); err != nil {
		return err
	}
	names, err := s.names(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		if *only {
			fmt.Fprintln(io.Out, "Nobody was told anything twice.")
		} else {
			fmt.Fprintln(io.Out, "No message has reached a phone.")
		}
		return nil
	}
	w := newTable(io.Out, "PHONE", "CONVERSATION", "MESSAGE", "ARRIVED", "SHOWN", "RANG")
	for _, n := range list {
		name := names[n.Token]
		if name == "" {
			name = tokenEnd(n.Token)
		}
		w.row(shown(name), shown(n.Thread), fmt.Sprint(n.Seq), fmt.Sprint(n.Delivered), fmt.Sprint(n.Shown), fmt.Sprint(n.Rang))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if *only {
		return fmt.Errorf("%s told twice", plural(len(list), "message"))
	}
	return nil
}
