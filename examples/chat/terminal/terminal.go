package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hwangso/hwangso/examples/chat/client"
)

// Options are what a chat is made of.
type Options struct {
	Client client.Config // its handlers are the terminal's
	To     string        // the first conversation: "bob" or "#lobby"; "" for none
	In     io.Reader
	Out    io.Writer
}

const help = `  /to bob · /to #lobby     talk to somebody, or in a room; then just type
  /rooms                   your conversations, with what is unread
  /history [N]             the last N messages here
  /new #room [title]       make a room            /invite USER...   into this room
  /members                 who is in this room    /leave            this room
  /edit N text · /recall N · /react N 👍           about message number N
  /friends · /contacts +82 10-1234-5678, …         who of your address book is here
  /add USER · /block USER · /unblock USER
  /requests · /accept USER · /decline USER         strangers who write, rooms that invite you
  /search words                                    open rooms
  /join #room NICKNAME [CODE]                      an open room, under a name of its own
  /open #room NICKNAME Title #tag                  make one
  /help · /quit`

// chat is a running terminal.
type chat struct {
	user string
	c    *client.Client
	ed   *editor
	out  chan outgoing

	mu      sync.Mutex
	current string               // conversation, "" for none
	seen    map[string]uint64    // newest number by conversation
	unread  map[string]int       // since it was last looked at
	mine    map[string]uint64    // newest own number by conversation
	all     map[string]bool      // everybody has read it, and that was said
	toMark  map[string]uint64    // marks to be told
	typed   time.Time            // when typing was told last
	shown   map[string]time.Time // when somebody's typing was shown last
	up      bool
	told    string        // the newest trouble with the connection, not to be said twice
	work    chan struct{} // has a value when toMark or typing is to be told
	tell    string        // conversation in which to tell typing
}

// outgoing is something to send; with sent set it is nothing but the question whether everything before it was sent.
type outgoing struct {
	conversation, text, edit, cid string
	sent                          chan struct{}
}

// Run chats until the input ends, /quit, or the end of ctx. It returns an error if the server refuses the user.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ch := &chat{
		user: o.Client.User, out: make(chan outgoing, 256), seen: make(map[string]uint64), unread: make(map[string]int),
		mine: make(map[string]uint64), all: make(map[string]bool), toMark: make(map[string]uint64),
		shown: make(map[string]time.Time), work: make(chan struct{}, 1),
	}
	var restore func()
	ch.ed, restore = newEditor(o.In, o.Out, ch.typing)
	defer restore()
	cfg := o.Client
	cfg.Message, cfg.Event, cfg.State = ch.message, ch.event, ch.state
	var err error
	if ch.c, err = client.New(ctx, cfg); err != nil {
		return err
	}
	if o.To != "" {
		ch.goTo(o.To)
	}
	ch.ed.print("Type, or /help.")

	var wg sync.WaitGroup
	wg.Go(func() { ch.send(ctx) })
	wg.Go(func() { ch.mark(ctx) })
	refused := make(chan error, 1)
	wg.Go(func() {
		if err := ch.c.Ready(ctx); err != nil && ctx.Err() == nil {
			refused <- err
		}
	})
	lines := make(chan string)
	go func() { // ends with the input
		defer close(lines)
		for {
			line, err := ch.ed.line()
			if err != nil {
				return
			}
			select {
			case lines <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	err = ch.loop(ctx, lines, refused)
	ch.flush(ctx)
	cancel()
	wg.Wait()
	closing, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer stop()
	return errors.Join(err, ch.c.Close(closing))
}

func (ch *chat) loop(ctx context.Context, lines <-chan string, refused <-chan error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-refused:
			return err
		case line, ok := <-lines:
			if !ok || line == "/quit" || line == "/q" {
				return nil
			}
			ch.obey(ctx, line)
		}
	}
}

// flush waits until what was typed is sent, at most five seconds.
func (ch *chat) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	sent := make(chan struct{})
	select {
	case ch.out <- outgoing{sent: sent}: // behind everything else
	case <-ctx.Done():
		return
	}
	select {
	case <-sent:
	case <-ctx.Done():
	}
}

// message shows a message that arrived.
func (ch *chat) message(m client.Message) {
	ch.mu.Lock()
	if m.Seq > ch.seen[m.Conversation] {
		ch.seen[m.Conversation] = m.Seq
	}
	here := m.Conversation == ch.current
	own := m.From == ch.user
	if own {
		ch.mine[m.Conversation] = m.Seq
		ch.all[m.Conversation] = false
	}
	delete(ch.shown, m.Conversation+" "+m.From)
	if here {
		ch.toMark[m.Conversation] = m.Seq
		ch.poke()
	} else if !own && m.Conversation != "notice" {
		ch.unread[m.Conversation]++
	}
	ch.mu.Unlock()
	ch.ed.print(ch.format(m, here))
	if !here {
		ch.ed.setPrompt(ch.promptText())
	}
}

func (ch *chat) format(m client.Message, here bool) string {
	if m.From == ch.user && m.Change.Op == "" {
		m.From = "me"
	}
	line := m.Line()
	if m.Conversation == "notice" {
		return m.Time.Format("15:04 ") + line
	}
	line = fmt.Sprintf("%s #%d", line, m.Seq)
	if !here {
		line = "[" + short(m.Conversation) + "] " + line
	}
	return m.Time.Format("15:04 ") + line
}

// event shows that somebody types, and that everybody has read what was written here.
func (ch *chat) event(e client.Event) {
	say := ""
	ch.mu.Lock()
	switch {
	case e.Typing != "" && e.Typing != ch.user:
		key := e.Conversation + " " + e.Typing
		if time.Since(ch.shown[key]) > 30*time.Second {
			ch.shown[key] = time.Now()
			say = fmt.Sprintf("· %s is typing in %s", client.Clean(e.Typing), short(e.Conversation))
		}
	case e.Marks != nil:
		mine := ch.mine[e.Conversation]
		if mine > 0 && !ch.all[e.Conversation] && e.UnreadBy(mine) == 0 {
			ch.all[e.Conversation] = true
			who := "everybody in " + short(e.Conversation)
			if peer, pair := strings.CutPrefix(e.Conversation, "user/"); pair {
				who = peer
			}
			say = fmt.Sprintf("· %s has read #%d", who, mine)
		}
	}
	ch.mu.Unlock()
	if say != "" {
		ch.ed.print(say)
	}
}

func (ch *chat) state(up bool, err error) {
	ch.mu.Lock()
	was, before := ch.up, ch.told
	ch.up = up
	ch.told = ""
	if err != nil {
		ch.told = trouble(err)
	}
	said := ch.told == before
	ch.mu.Unlock()
	switch {
	case up && !was:
		ch.ed.print("· connected as " + ch.user)
	case was && !up:
		ch.ed.print("· the connection is lost; what you type is sent when it is back")
	case err != nil && !said:
		ch.ed.print("· " + trouble(err))
	}
}

// trouble is why there is no connection, in words.
func trouble(err error) string {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return "the server does not answer; trying again and again"
	}
	return client.Clean(err.Error())
}

// typing says, at most every three seconds, that the user types a message.
func (ch *chat) typing() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.current == "" || time.Since(ch.typed) < 3*time.Second {
		return
	}
	ch.typed, ch.tell = time.Now(), ch.current
	ch.poke()
}

// poke wakes mark; ch.mu is held.
func (ch *chat) poke() {
	select {
	case ch.work <- struct{}{}:
	default:
	}
}

// mark tells the server what was read and that the user types. Only the newest counts, so there is nothing to queue.
func (ch *chat) mark(ctx context.Context) {
	for {
		select {
		case <-ch.work:
		case <-ctx.Done():
			return
		}
		ch.mu.Lock()
		marks, tell := ch.toMark, ch.tell
		ch.toMark, ch.tell = make(map[string]uint64), ""
		ch.mu.Unlock()
		for conversation, seq := range marks {
			ch.c.Read(ctx, conversation, seq)
		}
		if tell != "" {
			ch.c.Typing(ctx, tell)
		}
	}
}

// send sends what was typed, one after the other.
func (ch *chat) send(ctx context.Context) {
	for {
		var o outgoing
		select {
		case o = <-ch.out:
		case <-ctx.Done():
			return
		}
		if o.sent != nil {
			close(o.sent)
			continue
		}
		var err error
		if o.edit != "" {
			_, err = ch.c.Edit(ctx, o.conversation, o.edit, o.cid)
		} else {
			_, err = ch.c.Send(ctx, o.conversation, o.text, o.cid)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			ch.ed.print("✗ not sent to " + short(o.conversation) + ": " + client.Clean(err.Error()))
		}
	}
}

func (ch *chat) promptText() string {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	p := short(ch.current)
	n := 0
	for _, u := range ch.unread {
		n += u
	}
	if n > 0 {
		p += fmt.Sprintf(" (%d elsewhere)", n)
	}
	return p + "> "
}

// short is a conversation as people write it: bob, #lobby.
func short(conversation string) string {
	if name, ok := strings.CutPrefix(conversation, "room/"); ok {
		return "#" + name
	}
	return strings.TrimPrefix(conversation, "user/")
}

// long is the inverse of short.
func long(name string) string {
	name = strings.ToLower(name)
	if room, ok := strings.CutPrefix(name, "#"); ok {
		return "room/" + room
	}
	if strings.HasPrefix(name, "room/") || strings.HasPrefix(name, "user/") {
		return name
	}
	return "user/" + name
}
