package pushsim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Preset is a set of faults with a name: what happens in the life of a push service.
type Preset struct {
	Name string `json:"name"`
	Text string `json:"text"`

	of map[Provider][]Fault
}

// word is the same fault in each provider's words.
func word(apns, fcm, web Do) map[Provider][]Fault {
	return map[Provider][]Fault{APNs: {{Do: apns}}, FCM: {{Do: fcm}}, WebPush: {{Do: web}}}
}

// every is the same faults for each provider.
func every(f ...Fault) map[Provider][]Fault {
	return map[Provider][]Fault{APNs: f, FCM: f, WebPush: f}
}

const sorryPage = "<!DOCTYPE html><html><head><title>503 Service Unavailable</title></head>" +
	"<body><h1>Service Unavailable</h1><p>The server is temporarily unable to service your request.</p></body></html>"

var presets = []Preset{
	{"outage", "Every push is answered with 503, as the provider says it.", word(
		Do{Status: 503, Reason: "ServiceUnavailable"}, Do{Status: 503, Reason: "UNAVAILABLE"}, Do{Status: 503})},
	{"html", "Every push is answered with 503 and a page of HTML, as by a proxy in front of the provider.", every(
		Fault{Do: Do{Status: 503, Body: sorryPage}})},
	{"down", "Connections are closed before TLS. Those that are open go on.", every(Fault{Do: Do{Refuse: true}})},
	{"flood", "Every push is answered with 429; where the provider has it, with Retry-After of 30 s.", word(
		Do{Status: 429, Reason: "TooManyRequests"},
		Do{Status: 429, Reason: "QUOTA_EXCEEDED", RetryAfter: 30 * time.Second},
		Do{Status: 429, RetryAfter: 30 * time.Second, RetryDate: true})},
	{"expired-key", "Provider tokens and access tokens in use have expired; new ones are taken. Web push: 403.", word(
		Do{ExpireTokens: true}, Do{ExpireTokens: true}, Do{Status: 403})},
	{"revoked-key", "The key was revoked: every push is refused, whatever its token.", word(
		Do{Status: 403, Reason: "InvalidProviderToken"}, Do{Status: 403, Reason: "PERMISSION_DENIED"}, Do{Status: 403})},
	{"token-updates", "Every tenth push says that provider tokens are made too often. APNs alone.", map[Provider][]Fault{
		APNs: {{Every: 10, Do: Do{Reason: "TooManyProviderTokenUpdates"}}}}},
	{"wrong-environment", "Every token is one of another environment or project. Web push: nobody knows the subscription.", word(
		Do{Status: 400, Reason: "BadDeviceToken"}, Do{Status: 403, Reason: "SENDER_ID_MISMATCH"}, Do{Status: 404})},
	{"unregistered", "Every device has removed the app, an hour ago.", word(
		Do{Status: 410, Reason: "Unregistered", Since: time.Hour}, Do{Status: 404, Reason: "UNREGISTERED"}, Do{Status: 410})},
	{"black-hole", "The connection that is in use reads on and answers nothing, not even PING. The next one works.", every(
		Fault{Times: 1, Do: Do{BlackHole: true}})},
	{"hang", "No push is answered, and connections stay alive.", every(Fault{Do: Do{Hang: true}})},
	{"slow", "Answers take 2 to 5 s.", every(Fault{Do: Do{Latency: 2 * time.Second, Jitter: 3 * time.Second}})},
	{"flaky", "One push in ten gets 500, one in fifty a reset stream, one in a hundred a closed connection.", every(
		Fault{Probability: 0.1, Do: Do{Status: 500}},
		Fault{Probability: 0.02, Do: Do{Reset: "INTERNAL_ERROR"}},
		Fault{Probability: 0.01, Do: Do{Close: true}})},
	{"deliver-then-error", "One push in five reaches the phone and is answered with 500 all the same.", every(
		Fault{Probability: 0.2, Do: Do{Status: 500, Deliver: true}})},
	{"deliver-then-hang", "One push in five reaches the phone and is never answered.", every(
		Fault{Probability: 0.2, Do: Do{Hang: true, Deliver: true}})},
	{"goaway", "Every hundredth push ends its connection with a GOAWAY that covers it, and is not answered.", every(
		Fault{Every: 100, Do: Do{GoAway: GoAwayCovering}})},
	{"goaway-below", "Every hundredth push ends its connection with a GOAWAY that does not cover it: it was not looked at.", every(
		Fault{Every: 100, Do: Do{GoAway: GoAwayBelow}})},
	{"reset", "Every tenth push gets RST_STREAM with INTERNAL_ERROR.", every(Fault{Every: 10, Do: Do{Reset: "INTERNAL_ERROR"}})},
	{"stream-limit", "A connection may have one stream at a time.", every(Fault{Do: Do{MaxStreams: 1}})},
	{"too-large", "Every payload is too large.", word(
		Do{Status: 413, Reason: "PayloadTooLarge"}, Do{Status: 400, Reason: "INVALID_ARGUMENT"}, Do{Status: 413})},
}

// Presets are those that there are, by name.
func Presets() []Preset {
	return slices.SortedFunc(slices.Values(presets), func(a, b Preset) int { return cmp.Compare(a.Name, b.Name) })
}

// Choice narrows a preset.
type Choice struct {
	Provider Provider      `json:"provider,omitempty"` // "": every one that the preset knows
	Token    string        `json:"token,omitempty"`
	For      time.Duration `json:"-"` // 0: until it is cleared
}

// AddPreset sets the faults of a preset. All of them or none are set; the IDs are theirs.
func (s *Sim) AddPreset(name string, c Choice) ([]uint64, error) {
	i := slices.IndexFunc(presets, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		var names []string
		for _, p := range Presets() {
			names = append(names, p.Name)
		}
		return nil, fmt.Errorf("pushsim: preset %.40q is none of %s", name, strings.Join(names, ", "))
	}
	var list []Fault
	for _, p := range []Provider{APNs, FCM, WebPush} {
		if c.Provider != "" && c.Provider != p {
			continue
		}
		for _, f := range presets[i].of[p] {
			f.Name, f.Provider, f.Token, f.For = name, p, c.Token, c.For
			if err := f.check(); err != nil {
				return nil, fmt.Errorf("pushsim: preset %s: %w", name, err)
			}
			list = append(list, f)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("pushsim: preset %s is not for %.20q", name, c.Provider)
	}
	var ids []uint64
	for _, f := range list {
		id, err := s.Add(f)
		if err != nil {
			for _, id := range ids {
				s.Clear(id)
			}
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}
