package bulk

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
)

// late is a device that could not be told along with its page, and is tried again.
type late struct {
	Account store.AccountID
	Device  store.DeviceID
	Since   int64 // Unix milliseconds
	At      int64 // not before
	Tries   int
	Bare    bool
}

// lates are packed: some thousand fit into a row.
type lates []late

// MarshalJSON implements json.Marshaler.
func (l lates) MarshalJSON() ([]byte, error) {
	var b []byte
	for i := range l {
		d := &l[i]
		b = binary.AppendUvarint(b, uint64(d.Account))
		b = binary.BigEndian.AppendUint64(b, uint64(d.Device))
		b = binary.AppendUvarint(b, uint64(max(d.Since, 0)))
		b = binary.AppendVarint(b, d.At-d.Since)
		tries := uint64(max(d.Tries, 0)) << 1
		if d.Bare {
			tries |= 1
		}
		b = binary.AppendUvarint(b, tries)
	}
	return json.Marshal(base64.RawStdEncoding.EncodeToString(b))
}

var errLates = errors.New("bulk: a list of devices is damaged")

// UnmarshalJSON implements json.Unmarshaler.
func (l *lates) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return errLates
	}
	*l = nil
	for len(b) > 0 {
		var d late
		bad := false
		number := func() uint64 {
			v, n := binary.Uvarint(b)
			if n <= 0 {
				bad = true
				return 0
			}
			b = b[n:]
			return v
		}
		d.Account = store.AccountID(number())
		if bad || len(b) < 8 {
			return errLates
		}
		d.Device, b = store.DeviceID(binary.BigEndian.Uint64(b)), b[8:]
		d.Since = int64(number())
		wait, n := binary.Varint(b)
		if n <= 0 {
			return errLates
		}
		b, d.At = b[n:], d.Since+wait
		tries := number()
		if bad {
			return errLates
		}
		d.Tries, d.Bare = int(tries>>1), tries&1 != 0
		*l = append(*l, d)
	}
	return nil
}

// later has devices told when a time comes, by another job, which is durable then: all those of the users from first to
// last (0: none) whom the source has told to wait until then, and single ones. Users are considered in the order of their
// numbers, so those of a provider who wait until the same time are neighbours, but for single ones that a provider was slow
// to take.
func (w *worker) later(ctx context.Context, j *Job, until time.Time, first, last store.AccountID, single lates) (late int, err error) {
	if j.Last != 0 && until.UnixMilli() >= j.Last {
		return len(single), nil
	}
	root := j.Root
	if root == "" {
		root = j.ID
	}
	rest := Job{ID: fmt.Sprintf("%s/%d", root, until.UnixMilli()), Source: j.Source, Data: j.Data, State: Running, Created: w.now().UnixMilli(),
		Root: root, Begins: until.UnixMilli(), Bounded: true, Lives: j.Lives, Last: j.Last, Keep: j.Keep}
	rest.Ends = rest.Begins + rest.Lives
	if rest.Last != 0 {
		rest.Ends = min(rest.Ends, rest.Last)
	}
	if len(rest.ID) > maxID {
		return 0, fmt.Errorf("bulk: the id %q leaves no place for a time", root)
	}
	if rest, _, err = w.make(ctx, rest); err != nil {
		return 0, err
	}
	part, _, err := w.part(rest.Number, w.provider)
	if err != nil {
		return 0, err
	}
	switch {
	case rest.State.Ended(): // the clock was put back
		return len(single), nil
	case last == 0:
	case part.Upto <= part.After:
		part.After, part.Upto = first-1, last
	default:
		part.Upto = max(part.Upto, last)
	}
	if room := mostLeft - len(part.Left); len(single) > room {
		late = len(single) - max(room, 0)
		single = single[:max(room, 0)]
	}
	part.Left, part.Done = append(part.Left, single...), false
	return late, w.putPart(ctx, &rest, &part)
}
