package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hwangso/hwangso/examples/chat/tty"
	"github.com/hwangso/hwangso/store/bolt"
)

const seedText = `For tests and measurements: users u0, u1 …, each with the K users of the nearest numbers as friends, and rooms g0, g1 …
of consecutive users. The same numbers always make the same population. Every user's token is the password, together
with the user name. The data directory must have no users yet, and no server may be running on it.

With -channels there are brand channels c0, c1 …, each followed by the first F users and published by brand0, brand1 …, whose
token is the same password.

With -push every user has a device that is woken when it is away, by default the one that the receivers of examples/swarm
are. The token of user uN is the SHA-256 of "hwangso seed uN" in hexadecimal digits. They are for the simulator ("hwangso
pushsim"), to which every token is a phone: let no server that uses the real services run on such data.`

func seed(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	var s bolt.Seed
	var pushes seedPushes
	var channels seedChannels
	f.IntVar(&s.Users, "users", 100, "how many users")
	f.IntVar(&s.Friends, "friends", 10, "friends of each user")
	f.IntVar(&s.Rooms, "rooms", 0, "how many rooms")
	f.IntVar(&s.RoomSize, "room-size", 10, "members of each room")
	f.StringVar(&s.Password, "password", "", "every user's token; required")
	f.IntVar(&s.Messages, "messages", 0, "messages of history in all")
	f.IntVar(&channels.channels, "channels", 0, "how many brand channels")
	f.IntVar(&channels.followers, "followers", 0, "followers of each channel")
	f.BoolVar(&channels.ads, "consent", false, "the followers consent to advertising")
	f.Var(&pushes, "push", "register a device of every user for pushes: `apns`, fcm, or both with a comma, in turns")
	f.StringVar(&pushes.client, "push-client", "swarm-r", "the client `identifier` of the devices that -push registers")
	p.flags(f)
	if _, err := parse(f, args, 0, 0, io); err != nil {
		return err
	}
	if err := p.fill(f); err != nil {
		return err
	}
	if pushes.client == "" {
		fmt.Fprintln(io.Err, "-push-client must not be empty")
		return ErrUsage
	}
	s.Friends = min(s.Friends, max(0, s.Users-1))
	channels.password = s.Password
	if err := errors.Join(s.Validate(), channels.validate(s.Users)); err != nil {
		fmt.Fprintln(io.Err, err)
		return ErrUsage
	}
	began := time.Now()
	bar := newProgress(io.Err)
	cfg := bolt.Config{Dir: p.data, KeyFile: p.key, MinFree: freeShare(p.minFree)}
	show := func(stage string, done, total int) { bar.show(stage, int64(done), int64(total)) }
	err := bolt.Load(ctx, cfg, s, show)
	if err == nil {
		err = channels.load(ctx, cfg, show)
	}
	if err == nil {
		err = pushes.register(ctx, cfg, s.Users, show)
	}
	bar.clear()
	switch {
	case errors.Is(err, bolt.ErrLocked):
		return fmt.Errorf("%s is in use by %s: stop the server first", p.data, lockedBy(p.data))
	case err != nil:
		return err
	}
	what := ""
	if channels.channels > 0 {
		what = fmt.Sprintf(" %d channels with %d followers,", channels.channels, channels.followers)
	}
	fmt.Fprintf(io.Out, "%d users with %d friends,%s %d rooms and %d messages in %s, in %v.\n", s.Users, s.Friends, what, s.Rooms, s.Messages, p.data, time.Since(began).Round(time.Millisecond))
	return nil
}

// progress shows how far something is: a bar on a terminal, else a line every few seconds.
type progress struct {
	w   io.Writer
	bar bool

	mu    sync.Mutex
	last  time.Time
	stage string
	drawn bool
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, bar: ok && tty.IsTerminal(f)}
}

// show is told how far a stage is; total 0 means that it is not known.
func (p *progress) show(stage string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	every := 5 * time.Second
	if p.bar {
		every = 100 * time.Millisecond
	}
	now := time.Now()
	if stage == p.stage && now.Sub(p.last) < every && (total == 0 || done < total) {
		return
	}
	p.stage, p.last = stage, now
	how := fmt.Sprintf("%d", done)
	if total > 0 {
		how = fmt.Sprintf("%d of %d", done, total)
	}
	if !p.bar {
		fmt.Fprintf(p.w, "%s: %s\n", stage, how)
		return
	}
	const width = 30
	filled := 0
	if total > 0 {
		filled = int(width * min(done, total) / total)
	}
	fmt.Fprintf(p.w, "\r\x1b[K%-12s [%s%s] %s", stage, strings.Repeat("=", filled), strings.Repeat(" ", width-filled), how)
	p.drawn = true
}

// clear takes the bar away.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}
