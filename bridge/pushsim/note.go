package pushsim

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
)

// note is what an app or a system reads in a payload.
type note struct {
	kind, thread, room, epoch string
	seq                       uint64
	count                     int
	badge                     *int
	sound                     bool
	alert                     bool // there is something to show
	mutable                   bool // APNs: the app's extension looks at it before it is shown
	title, body, key          string
	args                      []string
}

// noteOf reads an attempt's payload as its receiver does.
func noteOf(a *Attempt) note {
	if a.Provider == APNs {
		return apnsNote(a.Payload)
	}
	return dataNote(a.Payload)
}

// Says is what a push says to its user, as the phone would show it; without an identifier and a time. alert is false if
// there is nothing to show.
func (a *Attempt) Says() (n Notification, alert bool) {
	p := dataNote(a.Payload)
	if a.Provider == APNs {
		p = apnsNote(a.Payload)
	}
	return Notification{Kind: p.kind, Thread: p.thread, Room: p.room, Seq: p.seq, Count: p.count, Title: p.title, Body: p.body, Key: p.key,
		Args: p.args, Sounded: p.sound}, p.alert
}

// Badge is the number that a push puts at the app's icon; false if it leaves it alone.
func (a *Attempt) Badge() (int, bool) {
	p := dataNote(a.Payload)
	if a.Provider == APNs {
		p = apnsNote(a.Payload)
	}
	if p.badge == nil {
		return 0, false
	}
	return *p.badge, true
}

// apnsNote reads a payload as iOS does: the system shows what is in aps, the app knows the rest.
func apnsNote(p map[string]any) note {
	n := ownNote(p)
	aps, _ := p["aps"].(map[string]any)
	switch alert := aps["alert"].(type) {
	case string:
		n.alert, n.body = true, alert
	case map[string]any:
		n.alert = true
		n.title, n.body = text(alert["title"]), text(alert["body"])
		n.key, n.args = text(alert["loc-key"]), texts(alert["loc-args"])
	}
	if t := text(aps["thread-id"]); t != "" {
		n.thread = t
	}
	switch s := aps["sound"].(type) {
	case string:
		n.sound = s != ""
	case map[string]any: // critical alerts
		n.sound = text(s["name"]) != ""
	}
	n.badge = nil
	if v, ok := number(aps["badge"]); ok {
		n.badge = &v
	}
	v, _ := number(aps["mutable-content"])
	n.mutable = v == 1
	return n
}

// dataNote reads a payload that the app shows by itself: FCM's data, a web push message.
func dataNote(p map[string]any) note {
	n := ownNote(p)
	n.title, n.body, n.key, n.args = text(p["title"]), text(p["body"]), text(p["key"]), texts(p["args"])
	n.alert = n.kind != kindClear && n.kind != ""
	silent := text(p["silent"])
	n.sound = n.alert && silent != "true" && silent != "1"
	if v, ok := number(p["badge"]); ok {
		n.badge = &v
	}
	return n
}

// kindClear is the payload that takes notifications away.
const kindClear = "clear"

func ownNote(p map[string]any) note {
	n := note{kind: text(p["kind"]), thread: text(p["thread"]), room: text(p["room"]), epoch: text(p["epoch"])}
	n.seq, _ = strconv.ParseUint(text(p["seq"]), 10, 64)
	n.count, _ = number(p["count"])
	return n
}

// text is a JSON value as text: FCM's data has texts alone, where others have numbers.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// texts is an array of texts, or the JSON of one.
func texts(v any) []string {
	if s, ok := v.(string); ok {
		var list []string
		if json.Unmarshal([]byte(s), &list) != nil {
			return nil
		}
		return list
	}
	list, _ := v.([]any)
	var out []string
	for _, e := range list {
		out = append(out, text(e))
	}
	return slices.Clip(out)
}

func number(v any) (int, bool) {
	n, err := strconv.ParseInt(text(v), 10, 64)
	return int(min(max(n, math.MinInt32), math.MaxInt32)), err == nil
}
