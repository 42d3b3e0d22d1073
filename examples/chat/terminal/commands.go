package terminal

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hwangso/hwangso/examples/chat/client"
)

// obey sends a line, or does what its command says.
func (ch *chat) obey(ctx context.Context, line string) {
	line = strings.TrimSpace(line)
	if line == "" {
		return
	}
	if line[0] != '/' || strings.HasPrefix(line, "//") {
		ch.put(outgoing{text: strings.TrimPrefix(line, "/")})
		return
	}
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	var err error
	switch word {
	case "/help", "/?":
		ch.ed.print(help)
	case "/to", "/t":
		if rest == "" {
			err = fmt.Errorf("to whom? /to bob, or /to #lobby")
		} else {
			ch.goTo(rest)
		}
	case "/edit", "/recall", "/react":
		ch.put(outgoing{edit: strings.TrimPrefix(word, "/") + " " + strings.TrimPrefix(rest, "#")})
	case "/rooms":
		err = ch.rooms(ctx)
	case "/history":
		err = ch.showHistory(ctx, rest)
	case "/new":
		err = ch.newRoom(ctx, rest)
	case "/invite":
		err = ch.inRoom(ctx, "room.invite", map[string]any{"users": strings.Fields(rest)})
	case "/leave":
		err = ch.inRoom(ctx, "room.leave", map[string]any{})
	case "/members":
		err = ch.members(ctx)
	case "/contacts":
		err = ch.contacts(ctx, rest)
	case "/friends":
		err = ch.friends(ctx)
	case "/add":
		err = ch.about(ctx, "contact.add", rest, nil)
	case "/block":
		err = ch.about(ctx, "block.set", rest, nil)
	case "/unblock":
		err = ch.about(ctx, "block.set", rest, map[string]any{"on": false})
	case "/requests":
		err = ch.requests(ctx)
	case "/accept":
		err = ch.about(ctx, "request.accept", rest, nil)
	case "/decline":
		err = ch.about(ctx, "request.decline", rest, nil)
	case "/search":
		err = ch.search(ctx, rest)
	case "/open":
		err = ch.open(ctx, rest)
	case "/join":
		err = ch.join(ctx, rest)
	default:
		err = fmt.Errorf("there is no command %s; /help lists them", word)
	}
	if err != nil {
		ch.ed.print("✗ " + client.Clean(err.Error()))
	}
}

// put queues something for the current conversation.
func (ch *chat) put(o outgoing) {
	ch.mu.Lock()
	o.conversation, o.cid = ch.current, client.NewCID()
	up := ch.up
	ch.mu.Unlock()
	if o.conversation == "" {
		ch.ed.print("✗ to whom? /to bob, or /to #lobby")
		return
	}
	select {
	case ch.out <- o:
		if !up {
			ch.ed.print("· waits for the connection")
		}
	default:
		ch.ed.print("✗ not taken: 256 messages wait already")
	}
}

// goTo makes a conversation the current one, and everything in it read.
func (ch *chat) goTo(name string) {
	to := long(name)
	ch.mu.Lock()
	n := ch.unread[to]
	ch.current = to
	delete(ch.unread, to)
	if seq := ch.seen[to]; seq > 0 {
		ch.toMark[to] = seq
		ch.poke()
	}
	ch.mu.Unlock()
	ch.ed.setPrompt(ch.promptText())
	if n > 0 {
		ch.ed.print(fmt.Sprintf("· %s: %d new, now read", short(to), n))
	}
}

func (ch *chat) call(ctx context.Context, op string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := ch.c.Call(ctx, op, in, out)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("the server did not answer; the request may still be carried out")
	}
	return err
}

func (ch *chat) here() (conversation, room string) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	room, ok := strings.CutPrefix(ch.current, "room/")
	if !ok {
		room = ""
	}
	return ch.current, room
}

func (ch *chat) rooms(ctx context.Context) error {
	var out struct {
		Rooms []struct {
			Room, User, Title string
			Members, Unread   int
		}
	}
	if err := ch.call(ctx, "room.list", struct{}{}, &out); err != nil {
		return err
	}
	if len(out.Rooms) == 0 {
		ch.ed.print("· no conversations yet")
	}
	for _, r := range out.Rooms {
		line := "· " + r.User
		if r.Room != "" {
			line = fmt.Sprintf("· #%s %s(%d members)", r.Room, strings.TrimPrefix(r.Title+" ", " "), r.Members)
		}
		if r.Unread > 0 {
			line += fmt.Sprintf(", %d unread", r.Unread)
		}
		ch.ed.print(client.Clean(line))
	}
	return nil
}

func (ch *chat) showHistory(ctx context.Context, count string) error {
	n := 20
	if count != "" {
		var err error
		if n, err = strconv.Atoi(count); err != nil || n < 1 {
			return fmt.Errorf("how many? /history 20")
		}
	}
	conversation, room := ch.here()
	in := map[string]any{"limit": n}
	if room != "" {
		in["room"] = room
	} else if conversation != "" {
		in["user"] = strings.TrimPrefix(conversation, "user/")
	} else {
		return fmt.Errorf("of what? /to bob, or /to #lobby")
	}
	var out struct{ Items []json.RawMessage }
	if err := ch.call(ctx, "room.history", in, &out); err != nil {
		return err
	}
	for _, item := range out.Items {
		if m, ok := client.ParseEnvelope(conversation, item); ok {
			ch.ed.print("  " + ch.format(m, true))
		}
	}
	return nil
}

func (ch *chat) newRoom(ctx context.Context, rest string) error {
	name, title, _ := strings.Cut(strings.TrimPrefix(rest, "#"), " ")
	if name == "" {
		return fmt.Errorf("which? /new #plans Plans for the summer")
	}
	if err := ch.call(ctx, "room.create", map[string]string{"room": name, "title": title}, nil); err != nil {
		return err
	}
	ch.goTo("#" + name)
	return nil
}

func (ch *chat) inRoom(ctx context.Context, op string, in map[string]any) error {
	_, room := ch.here()
	if room == "" {
		return fmt.Errorf("go to a room first: /to #lobby")
	}
	in["room"] = room
	if err := ch.call(ctx, op, in, nil); err != nil {
		return err
	}
	ch.ed.print("· done")
	return nil
}

func (ch *chat) members(ctx context.Context) error {
	_, room := ch.here()
	if room == "" {
		return fmt.Errorf("go to a room first: /to #lobby")
	}
	var out struct {
		Members []struct{ Name, Role string }
		Count   int
	}
	if err := ch.call(ctx, "room.members", map[string]any{"room": room}, &out); err != nil {
		return err
	}
	for _, m := range out.Members {
		ch.ed.print(client.Clean("· " + m.Name + " (" + m.Role + ")"))
	}
	return nil
}
