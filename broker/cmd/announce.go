package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const announceText = `Every device that is woken by pushes gets it, behind whatever people write to each other. TEXT is in English, or with
-text and -title once for each language: -text en=… -text ko=…. The same -id again sends nothing twice. It tells how far
it has come until it is done; it goes on without this command, and after a crash.`

// texts are values of a flag that stands once for each language.
type texts map[string]string

func (t texts) String() string { return "" }

func (t texts) Set(v string) error {
	lang, text, ok := strings.Cut(v, "=")
	if !ok || lang == "" || text == "" {
		return fmt.Errorf("write LANGUAGE=TEXT, such as en=hello")
	}
	if _, twice := t[lang]; twice {
		return fmt.Errorf("%s is there twice", lang)
	}
	t[lang] = text
	return nil
}

type announcementLine struct {
	ID, State                       string
	Created                         time.Time
	Users, Sent, Gone, Failed, Late int
}

func (a *announcementLine) progress() string {
	s := fmt.Sprintf("%s: %d users considered, %d pushes sent", a.State, a.Users, a.Sent)
	for _, n := range []struct {
		n    int
		what string
	}{{a.Gone, "tokens gone"}, {a.Failed, "refused"}, {a.Late, "too late"}} {
		if n.n > 0 {
			s += fmt.Sprintf(", %d %s", n.n, n.what)
		}
	}
	return s
}

func pushAnnounce(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	id := f.String("id", "", "`names` the announcement (default: from the time)")
	hours := f.Int("hours", 24, "how long it is worth telling")
	wait := f.Bool("wait", true, "tell how far it has come until it is done")
	title, text := make(texts), make(texts)
	f.Var(title, "title", "a title, as `LANGUAGE=TEXT`")
	f.Var(text, "text", "the text in one language, as `LANGUAGE=TEXT`")
	return operate(ctx, c, f, p, args, 0, 1, io, func(o *operator, rest []string) error {
		if len(rest) == 1 {
			if _, twice := text["en"]; twice {
				return fmt.Errorf("the text in English is there twice")
			}
			text["en"] = rest[0]
		}
		if len(text) == 0 {
			return fmt.Errorf("say what is to be told: hwangso push announce TEXT")
		}
		if *id == "" {
			*id = time.Now().UTC().Format("announcement-20060102-150405")
		}
		var out struct{ Announcement announcementLine }
		if err := o.call(ctx, "push.announce", map[string]any{"id": *id, "title": title, "text": text, "hours": *hours}, &out); err != nil {
			return err
		}
		if !o.running {
			fmt.Fprintf(io.Out, "%s is sent when the server runs\n", *id)
			return nil
		}
		fmt.Fprintf(io.Out, "%s is on its way\n", *id)
		if !*wait {
			return nil
		}
		return watchAnnouncement(ctx, o, *id, io)
	})
}

// watchAnnouncement tells how far an announcement has come, each time that has changed, until it has ended.
func watchAnnouncement(ctx context.Context, o *operator, id string, io Streams) error {
	last := ""
	for {
		list, err := announcementList(ctx, o)
		if err != nil {
			return err
		}
		for _, a := range list {
			if a.ID != id {
				continue
			}
			if s := a.progress(); s != last {
				fmt.Fprintln(io.Out, s)
				last = s
			}
			if a.State != "running" {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func announcementList(ctx context.Context, o *operator) ([]announcementLine, error) {
	var out struct{ Announcements []announcementLine }
	err := o.call(ctx, "push.announcements", struct{}{}, &out)
	return out.Announcements, err
}

func pushAnnouncements(ctx context.Context, c command, args []string, io Streams) error {
	f, p := c.flags(io), new(place)
	return operate(ctx, c, f, p, args, 0, 0, io, func(o *operator, _ []string) error {
		list, err := announcementList(ctx, o)
		if err != nil {
			return err
		}
		w := newTable(io.Out, "ANNOUNCEMENT", "BEGAN", "HOW FAR")
		for _, a := range list {
			w.row(a.ID, minute(a.Created), a.progress())
		}
		return w.Flush()
	})
}

// pushAnnouncementState is a command that moves an announcement into a state.
func pushAnnouncementState(state string) func(context.Context, command, []string, Streams) error {
	return func(ctx context.Context, c command, args []string, io Streams) error {
		f, p := c.flags(io), new(place)
		return operate(ctx, c, f, p, args, 1, 1, io, func(o *operator, rest []string) error {
			var out struct{ Announcement announcementLine }
			if err := o.call(ctx, "push.announcement.set", map[string]any{"id": rest[0], "state": state}, &out); err != nil {
				return err
			}
			fmt.Fprintln(io.Out, out.Announcement.progress())
			return nil
		})
	}
}
