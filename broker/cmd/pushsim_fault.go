package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hwangso/hwangso/bridge/pushsim"
)

func pushsimFaultCommand() command {
	c := group("pushsim fault", "What goes wrong at the simulated services",
		command{name: "list", args: "[flags]", summary: "Show the faults that are set, and how often each has struck", run: pushsimFaultList},
		command{name: "add", args: "[flags]", summary: "Let something go wrong: which requests, and what", text: pushsimFaultText, run: pushsimFaultAdd},
		command{name: "clear", args: "[ID] [flags]", summary: "End a fault, or all of them", run: pushsimFaultClear},
	)
	c.name, c.args = "fault", "list | add | clear"
	return c
}

const pushsimFaultText = `Every flag of the first kind narrows the choice; without any, all requests are struck. Of several faults the one that was
added first strikes. Examples:
  hwangso pushsim fault add -provider apns -status 503 -retry-after 30s -for 2m
  hwangso pushsim fault add -token TOKEN -times 1 -reason BadDeviceToken
  hwangso pushsim fault add -provider fcm -probability 0.1 -reason UNAVAILABLE
  hwangso pushsim fault add -nth 3 -goaway covering
Reasons are the providers' own words: Unregistered, TooManyRequests (APNs), UNREGISTERED, QUOTA_EXCEEDED,
INVALID_ARGUMENT, INVALID_ARGUMENT/token (FCM), Gone, NotFound (web push); with -push-type oauth invalid_grant.`

func pushsimFaultAdd(ctx context.Context, c command, args []string, io Streams) error {
	f, s := c.flags(io), new(simulator)
	s.flags(f)
	var fault pushsim.Fault
	faultFlags(f, &fault)
	if _, err := parse(f, args, 0, 0, io); err != nil {
		return err
	}
	if fault.Do == (pushsim.Do{}) {
		return errors.New("say what is to happen: -status, -reason, -latency, -hang, -goaway, -reset, -close, -black-hole and others; --help tells all")
	}
	var out struct{ ID uint64 }
	if err := s.call(ctx, http.MethodPost, "/v1/faults", &fault, &out); err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "Fault %d is set: %s\n", out.ID, faultWords(&fault))
	return nil
}

// faultFlags are a fault's fields as flags: which requests, when, and what happens.
func faultFlags(f *flag.FlagSet, fault *pushsim.Fault) {
	d := &fault.Do
	f.StringVar(&fault.Name, "name", "", "what the log calls it")
	f.Func("provider", "which: requests to `apns, fcm or webpush`", func(v string) error { fault.Provider = pushsim.Provider(v); return nil })
	f.BoolFunc("sandbox", "which: those to APNs' development environment; =false: those to the other one", func(v string) error {
		b, err := strconv.ParseBool(v)
		fault.Sandbox = &b
		return err
	})
	f.StringVar(&fault.Token, "token", "", "which: those for this device's `token`")
	f.StringVar(&fault.Topic, "topic", "", "which: those for this app `identifier`")
	f.StringVar(&fault.PushType, "push-type", "", "which: of this `type`: alert, background, data, or oauth for requests of access tokens")
	f.IntVar(&fault.Priority, "priority", 0, "which: of this priority, 10 or 5")
	f.IntVar(&fault.Nth, "nth", 0, "of those, only this one")
	f.IntVar(&fault.Every, "every", 0, "of those, every so many-th")
	f.Float64Var(&fault.Probability, "probability", 0, "of those, each with this probability, 0 to 1")
	f.IntVar(&fault.Times, "times", 0, "so many at most")
	f.DurationVar(&fault.From, "from", 0, "begin after so long")
	f.DurationVar(&fault.For, "for", 0, "end after so long (default when it is cleared)")

	f.IntVar(&d.Status, "status", 0, "what: answer with this HTTP status")
	f.StringVar(&d.Reason, "reason", "", "what: answer with this reason, in the provider's form")
	f.StringVar(&d.Body, "body", "", "what: answer with this text instead of the provider's form")
	f.StringVar(&d.ContentType, "content-type", "", "the `type` of -body (default text/html)")
	f.DurationVar(&d.RetryAfter, "retry-after", 0, "what: add the header Retry-After")
	f.BoolVar(&d.RetryDate, "retry-date", false, "write Retry-After as a date")
	f.DurationVar(&d.Since, "since", 0, "with 410: the token has been void for so long")
	f.DurationVar(&d.Latency, "latency", 0, "what: answer so much later")
	f.DurationVar(&d.Jitter, "jitter", 0, "and up to so much more")
	f.BoolVar(&d.Deliver, "deliver", false, "what: the phone gets the push all the same")
	f.BoolVar(&d.Hang, "hang", false, "what: never answer; the connection lives")
	f.Func("goaway", "what: end the connection with a GOAWAY, `below or covering` this request", func(v string) error { d.GoAway = pushsim.GoAway(v); return nil })
	f.StringVar(&d.Reset, "reset", "", "what: RST_STREAM with this `code`: REFUSED_STREAM, INTERNAL_ERROR …")
	f.BoolVar(&d.Close, "close", false, "what: close the connection without a word")
	f.BoolVar(&d.BlackHole, "black-hole", false, "what: the connection answers nothing any more, not even PING")
	f.Func("max-streams", "what: allow only so many `streams` on the connection", func(v string) error {
		n, err := strconv.ParseUint(v, 10, 31)
		d.MaxStreams = uint32(n)
		return err
	})
	f.BoolVar(&d.ExpireTokens, "expire-tokens", false, "what: provider tokens and access tokens of before have expired")
	f.BoolVar(&d.Refuse, "refuse", false, "what: close new connections at once")
}

// faultWords is a fault in one line: its JSON without the braces says it in the words of the flags.
func faultWords(f *pushsim.Fault) string {
	c := *f
	c.ID, c.Name = 0, ""
	b, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	return strings.NewReplacer(`"id":0,`, "", `"do":{`, "", `"`, "", "{", "", "}", "", ",", ", ", ":", " ").Replace(string(b))
}

func pushsimFaultList(ctx context.Context, c command, args []string, io Streams) error {
	f, s := c.flags(io), new(simulator)
	s.flags(f)
	if _, err := parse(f, args, 0, 0, io); err != nil {
		return err
	}
	var raw []json.RawMessage
	if err := s.call(ctx, http.MethodGet, "/v1/faults", nil, &raw); err != nil {
		return err
	}
	if len(raw) == 0 {
		fmt.Fprintln(io.Out, "Nothing goes wrong.")
		return nil
	}
	w := newTable(io.Out, "ID", "NAME", "STRUCK", "OF", "NOW", "WHAT")
	for _, r := range raw {
		var set struct {
			Name             string
			Selected, Struck uint64
			Active           bool
		}
		if err := json.Unmarshal(r, &set); err != nil {
			return fmt.Errorf("pushsim: a fault: %w", err)
		}
		fault, err := faultOf(r)
		if err != nil {
			return err
		}
		now := "over"
		if set.Active {
			now = "active"
		}
		w.row(fmt.Sprint(fault.ID), shown(set.Name), fmt.Sprint(set.Struck), fmt.Sprint(set.Selected), now, shown(faultWords(fault)))
	}
	return w.Flush()
}

// faultOf is the fault of a row of the list, without what the list adds to it.
func faultOf(row json.RawMessage) (*pushsim.Fault, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(row, &fields); err != nil {
		return nil, fmt.Errorf("pushsim: a fault: %w", err)
	}
	for _, name := range []string{"selected", "struck", "active"} {
		delete(fields, name)
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("pushsim: a fault: %w", err)
	}
	var f pushsim.Fault
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("pushsim: a fault: %w", err)
	}
	return &f, nil
}

func pushsimFaultClear(ctx context.Context, c command, args []string, io Streams) error {
	f, s := c.flags(io), new(simulator)
	s.flags(f)
	rest, err := parse(f, args, 0, 1, io)
	if err != nil {
		return err
	}
	path := "/v1/faults"
	if len(rest) == 1 {
		id, err := strconv.ParseUint(rest[0], 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no fault's number; hwangso pushsim fault list shows them", rest[0])
		}
		path += "/" + strconv.FormatUint(id, 10)
	}
	var out struct{ Cleared int }
	if err := s.call(ctx, http.MethodDelete, path, nil, &out); err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "%s ended.\n", plural(out.Cleared, "fault"))
	return nil
}

func pushsimPreset(ctx context.Context, c command, args []string, io Streams) error {
	f, s := c.flags(io), new(simulator)
	s.flags(f)
	provider := f.String("provider", "", "only at `apns, fcm or webpush`")
	token := f.String("token", "", "only for this device's `token`")
	long := f.Duration("for", 0, "end after so long (default when it is cleared)")
	rest, err := parse(f, args, 0, 1, io)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		w := newTable(io.Out, "PRESET", "WHAT HAPPENS")
		for _, p := range pushsim.Presets() {
			w.row(p.Name, p.Text)
		}
		return w.Flush()
	}
	in := map[string]string{"provider": *provider, "token": *token}
	if *long != 0 {
		in["for"] = long.String()
	}
	var out struct{ IDs []uint64 }
	if err := s.call(ctx, http.MethodPost, "/v1/presets/"+url.PathEscape(rest[0]), in, &out); err != nil {
		return err
	}
	until := "until hwangso pushsim fault clear"
	if *long != 0 {
		until = "for " + long.Round(time.Millisecond).String()
	}
	fmt.Fprintf(io.Out, "%s: %s, %s.\n", rest[0], plural(len(out.IDs), "fault"), until)
	return nil
}
