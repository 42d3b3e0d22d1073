package pushsim

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// operations are what the control port does. GET / lists them with these texts.
func (c *control) operations() []operation {
	return []operation{
		{"GET", "/{$}", "This list.", c.help},
		{"GET", "/v1/status", "Addresses, and how much there is of everything.", c.status},

		{"GET", "/v1/devices", "All devices as their providers see them, and what their phones show.", c.phones},
		{"PUT", "/v1/devices", `Sets a device or an array of them: {"provider":"apns","token":"…","state":"offline"}. States: online, offline, ` +
			`unregistered (with "since", a time), bad, wrong_sender, busy. APNs also "sandbox":true and "topic".`, c.setDevices},
		{"GET", "/v1/phones/{token...}", `What a phone shows. With "version" the answer waits (up to "timeout", 30s) until the phone's version is ` +
			`larger: the next change.`, c.phone},

		{"POST", "/v1/subscriptions", `Subscribes a browser to web push: {"token":"…"}, any name, which is the phone's token from then on. The answer is ` +
			`what the browser gives to its page: endpoint, and keys.p256dh and keys.auth. The same name has the same subscription.`, c.subscribe},

		{"GET", "/v1/attempts", `The log, oldest first: "after" a number, "limit" (1000), and of one "provider", "token", "status", "effect", "fault".`, c.attempts},
		{"DELETE", "/v1/attempts", "Empties the log. Numbers go on.", c.forget},
		{"GET", "/v1/wait", `The first attempt that fits, now or within "timeout" (30s, at most 10m): "after" and the filters of attempts. 408 if there is none.`, c.wait},
		{"GET", "/v1/events", `Attempts as they come, one JSON object a line, until you hang up: "after" (default: the newest) and the filters of attempts.`, c.events},
		{"GET", "/v1/counts", `How often each message was told to each phone, by token, thread and number. "duplicates=true": only those told more than once.`, c.counts},

		{"GET", "/v1/faults", "The faults that are set, and how often each has struck.", c.faults},
		{"POST", "/v1/faults", `Sets a fault: selection ("provider", "sandbox", "token", "topic", "push_type", "priority"; "nth", "every" or "probability"; ` +
			`"times"; "from" and "for", durations) and "do": "status", "reason", "body", "content_type", "retry_after", "retry_date", "since", "latency", ` +
			`"jitter", "deliver", "hang", "goaway" (below, covering), "reset" (an error code of HTTP/2), "close", "black_hole", "max_streams", ` +
			`"expire_tokens", "refuse".`, c.addFault},
		{"DELETE", "/v1/faults", "Ends all faults.", c.clearFaults},
		{"DELETE", "/v1/faults/{id}", "Ends one fault.", c.clearFault},
		{"GET", "/v1/presets", "Faults with a name, and what they are.", c.presets},
		{"POST", "/v1/presets/{name}", `Sets the faults of a preset: {} or "provider", "token", "for" (a duration).`, c.addPreset},
	}
}

func (c *control) help(w http.ResponseWriter, r *http.Request) error {
	return reply(w, http.StatusOK, map[string]any{"operations": c.ops})
}

func (c *control) status(w http.ResponseWriter, r *http.Request) error {
	s := c.sim
	urls := map[string]string{"control": s.ControlURL()}
	for name := range s.fronts {
		urls[name] = s.url(name)
	}
	s.phones.mu.Lock()
	phones, told := len(s.phones.all), len(s.phones.counts)
	s.phones.mu.Unlock()
	return reply(w, http.StatusOK, map[string]any{
		"urls": urls, "seed": s.cfg.Seed, "attempts": s.Last(), "devices": phones, "messages": told,
		"faults": s.faults.active.Load(), "connections": s.conns.Load(),
	})
}

func (c *control) phones(w http.ResponseWriter, r *http.Request) error {
	return reply(w, http.StatusOK, c.sim.Phones())
}

func (c *control) setDevices(w http.ResponseWriter, r *http.Request) error {
	b, err := body(r)
	if err != nil {
		return err
	}
	list := make([]Device, 1)
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("[")) {
		err = strictJSON(b, &list)
	} else {
		err = strictJSON(b, &list[0])
	}
	if err != nil {
		return badRequest("no device, or array of devices: %v", err)
	}
	for i, d := range list {
		if err := c.sim.SetDevice(d); err != nil {
			return badRequest("device %d of %d: %s", i+1, len(list), strings.TrimPrefix(err.Error(), "pushsim: "))
		}
	}
	return reply(w, http.StatusOK, map[string]int{"devices": len(list)})
}

func (c *control) phone(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r, "version", "timeout")
	if err != nil {
		return err
	}
	token := r.PathValue("token")
	if q.get("version") == "" {
		p, ok := c.sim.Phone(token)
		if !ok {
			return refusal{http.StatusNotFound, "nobody has heard of this token"}
		}
		return reply(w, http.StatusOK, p)
	}
	version, err := q.number("version", 0)
	if err != nil {
		return err
	}
	ctx, cancel, err := q.wait()
	if err != nil {
		return err
	}
	defer cancel()
	p, err := c.sim.WaitPhone(ctx, token, func(p Phone) bool { return p.Version > version })
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, p)
}

func (c *control) subscribe(w http.ResponseWriter, r *http.Request) error {
	b, err := body(r)
	if err != nil {
		return err
	}
	var in struct {
		Token string `json:"token"`
	}
	if err := strictJSON(b, &in); err != nil {
		return badRequest("no subscription: %v", err)
	}
	sub, err := c.sim.Subscribe(in.Token)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, sub)
}

// filter is the parameters that select attempts.
func filter(q query) (func(Attempt) bool, error) {
	status, err := q.number("status", 0)
	if err != nil {
		return nil, err
	}
	any := q.get("status") == ""
	provider, token, effect, fault := Provider(q.get("provider")), q.get("token"), Effect(q.get("effect")), q.get("fault")
	return func(a Attempt) bool {
		return (provider == "" || a.Provider == provider) && (token == "" || a.Token == token) && (any || a.Status == int(status)) &&
			(effect == "" || a.Effect == effect) && (fault == "" || a.Fault == fault)
	}, nil
}

var filterNames = []string{"provider", "token", "status", "effect", "fault"}

func (c *control) attempts(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r, append([]string{"after", "limit"}, filterNames...)...)
	if err != nil {
		return err
	}
	after, err := q.number("after", 0)
	if err != nil {
		return err
	}
	limit, err := q.number("limit", 1000)
	if err != nil {
		return err
	}
	fits, err := filter(q)
	if err != nil {
		return err
	}
	if limit == 0 || limit > uint64(c.sim.cfg.Keep) {
		limit = uint64(c.sim.cfg.Keep)
	}
	out := []Attempt{}
	for uint64(len(out)) < limit {
		list, _ := c.sim.journal.after(after, 1000)
		if len(list) == 0 {
			break
		}
		for _, a := range list {
			if after = a.N; fits(a) && uint64(len(out)) < limit {
				out = append(out, a)
			}
		}
	}
	return reply(w, http.StatusOK, out)
}

func (c *control) forget(w http.ResponseWriter, r *http.Request) error {
	c.sim.Forget()
	return reply(w, http.StatusOK, map[string]uint64{"after": c.sim.Last()})
}

func (c *control) wait(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r, append([]string{"after", "timeout"}, filterNames...)...)
	if err != nil {
		return err
	}
	after, err := q.number("after", 0)
	if err != nil {
		return err
	}
	fits, err := filter(q)
	if err != nil {
		return err
	}
	ctx, cancel, err := q.wait()
	if err != nil {
		return err
	}
	defer cancel()
	a, err := c.sim.WaitAfter(ctx, after, fits)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, a)
}

func (c *control) events(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r, append([]string{"after"}, filterNames...)...)
	if err != nil {
		return err
	}
	after, err := q.number("after", c.sim.Last())
	if err != nil {
		return err
	}
	fits, err := filter(q)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	for {
		if err := out.Flush(); err != nil {
			return nil // the client has hung up
		}
		list, err := c.sim.After(r.Context(), after)
		if err != nil {
			return nil // the end of the stream is all that it sees
		}
		out.SetWriteDeadline(time.Now().Add(writeTime))
		for _, a := range list {
			if after = a.N; !fits(a) {
				continue
			}
			if _, err := w.Write(append(jsonOf(a), '\n')); err != nil {
				return nil // the client has hung up
			}
		}
	}
}

func (c *control) counts(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r, "duplicates")
	if err != nil {
		return err
	}
	only, err := q.yes("duplicates")
	if err != nil {
		return err
	}
	out := []Count{}
	for _, n := range c.sim.Counts() {
		if !only || n.Duplicate() {
			out = append(out, n)
		}
	}
	return reply(w, http.StatusOK, out)
}

func (c *control) faults(w http.ResponseWriter, r *http.Request) error {
	return reply(w, http.StatusOK, c.sim.Faults())
}

func (c *control) addFault(w http.ResponseWriter, r *http.Request) error {
	b, err := body(r)
	if err != nil {
		return err
	}
	var f Fault
	if err := strictJSON(b, &f); err != nil {
		return badRequest("no fault: %v", err)
	}
	if f.ID != 0 {
		return badRequest("a fault's id is given to it")
	}
	id, err := c.sim.Add(f)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, map[string]uint64{"id": id})
}

func (c *control) clearFaults(w http.ResponseWriter, r *http.Request) error {
	return reply(w, http.StatusOK, map[string]int{"cleared": c.sim.Clear(0)})
}

func (c *control) clearFault(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil || id == 0 || c.sim.Clear(id) == 0 {
		return refusal{http.StatusNotFound, "there is no such fault"}
	}
	return reply(w, http.StatusOK, map[string]int{"cleared": 1})
}

func (c *control) presets(w http.ResponseWriter, r *http.Request) error {
	return reply(w, http.StatusOK, Presets())
}

func (c *control) addPreset(w http.ResponseWriter, r *http.Request) error {
	b, err := body(r)
	if err != nil {
		return err
	}
	var p struct {
		Provider Provider `json:"provider"`
		Token    string   `json:"token"`
		For      span     `json:"for"`
	}
	if len(bytes.TrimSpace(b)) > 0 {
		if err := strictJSON(b, &p); err != nil {
			return badRequest("no choice for a preset: %v", err)
		}
	}
	ids, err := c.sim.AddPreset(r.PathValue("name"), Choice{p.Provider, p.Token, time.Duration(p.For)})
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, map[string][]uint64{"ids": ids})
}
