package pushsim

import (
	"encoding/json"
	"fmt"
	"time"
)

// span is a duration as people write it: "1m30s".
type span time.Duration

// MarshalText implements encoding.TextMarshaler.
func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%.40q is no duration such as 1m30s", b)
	}
	*s = span(d)
	return nil
}

type plainDo Do

type doJSON struct {
	plainDo
	RetryAfter span `json:"retry_after,omitzero"`
	Since      span `json:"since,omitzero"`
	Latency    span `json:"latency,omitzero"`
	Jitter     span `json:"jitter,omitzero"`
}

// MarshalJSON implements json.Marshaler: durations are texts such as "1m30s".
func (d Do) MarshalJSON() ([]byte, error) {
	return json.Marshal(doJSON{plainDo(d), span(d.RetryAfter), span(d.Since), span(d.Latency), span(d.Jitter)})
}

// UnmarshalJSON implements json.Unmarshaler. A field that it does not know is an error.
func (d *Do) UnmarshalJSON(b []byte) error {
	var j doJSON
	if err := strictJSON(b, &j); err != nil {
		return err
	}
	*d = Do(j.plainDo)
	d.RetryAfter, d.Since = time.Duration(j.RetryAfter), time.Duration(j.Since)
	d.Latency, d.Jitter = time.Duration(j.Latency), time.Duration(j.Jitter)
	return nil
}

type plainFault Fault

type faultJSON struct {
	plainFault
	From span `json:"from,omitzero"`
	For  span `json:"for,omitzero"`
}

// MarshalJSON implements json.Marshaler: durations are texts such as "1m30s".
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(faultJSON{plainFault(f), span(f.From), span(f.For)})
}

// UnmarshalJSON implements json.Unmarshaler. A field that it does not know is an error.
func (f *Fault) UnmarshalJSON(b []byte) error {
	var j faultJSON
	if err := strictJSON(b, &j); err != nil {
		return err
	}
	*f = Fault(j.plainFault)
	f.From, f.For = time.Duration(j.From), time.Duration(j.For)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (s Set) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		faultJSON
		Selected uint64 `json:"selected"`
		Struck   int    `json:"struck"`
		Active   bool   `json:"active"`
	}{faultJSON{plainFault(s.Fault), span(s.From), span(s.For)}, s.Selected, s.Struck, s.Active})
}
