package terminal

import (
	"context"
	"fmt"
	"strings"

	"github.com/hwangso/hwangso/examples/chat/client"
)

// Commands on people and open rooms.

// contacts tells the server the numbers of an address book, and shows who is there. Numbers are divided by commas.
func (ch *chat) contacts(ctx context.Context, rest string) error {
	var numbers []string
	for n := range strings.SplitSeq(rest, ",") {
		if n = strings.TrimSpace(n); n != "" {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		return fmt.Errorf("whose? /contacts +82 10-1234-5678, 010-8765-4321")
	}
	var out struct {
		Users []struct {
			N             int
			Name, Display string
		}
		Bad     []int
		Waiting int
	}
	if err := ch.call(ctx, "contact.sync", map[string]any{"numbers": numbers}, &out); err != nil {
		return err
	}
	for _, u := range out.Users {
		where := ""
		if u.N < len(numbers) {
			where = numbers[u.N]
		}
		ch.ed.print(client.Clean(fmt.Sprintf("· %s is %s (%s), and a friend of yours now", where, u.Name, u.Display)))
	}
	for _, n := range out.Bad {
		if n < len(numbers) {
			ch.ed.print(client.Clean("· " + numbers[n] + " is no phone number"))
		}
	}
	if len(out.Users) == 0 {
		ch.ed.print("· nobody yet. Others find you once they have your number and you have theirs; a notice tells when somebody joins.")
	}
	return nil
}

func (ch *chat) friends(ctx context.Context) error {
	var out struct {
		Users []struct{ Name, Display string }
	}
	if err := ch.call(ctx, "contact.list", struct{}{}, &out); err != nil {
		return err
	}
	if len(out.Users) == 0 {
		ch.ed.print("· no friends yet: /contacts finds those whose numbers you have, /add USER adds one by identifier")
	}
	for _, u := range out.Users {
		ch.ed.print(client.Clean("· " + u.Name + " (" + u.Display + ")"))
	}
	return nil
}

// about calls an operation on one user.
func (ch *chat) about(ctx context.Context, op, user string, more map[string]any) error {
	if user == "" {
		return fmt.Errorf("whom?")
	}
	in := map[string]any{"user": user}
	for k, v := range more {
		in[k] = v
	}
	if err := ch.call(ctx, op, in, nil); err != nil {
		return err
	}
	ch.ed.print("· done")
	return nil
}

// requests shows what strangers wrote, and who invites.
func (ch *chat) requests(ctx context.Context) error {
	var box struct {
		Requests []struct {
			User string `json:"user"`
		}
	}
	if err := ch.call(ctx, "request.list", struct{}{}, &box); err != nil {
		return err
	}
	for _, r := range box.Requests {
		ch.ed.print(client.Clean("· " + r.User + " wants to write to you: /accept " + r.User + ", or /decline " + r.User))
	}
	var rooms struct {
		Invitations []struct {
			Room, Title, By string
		}
	}
	if err := ch.call(ctx, "room.invitations", struct{}{}, &rooms); err != nil {
		return err
	}
	for _, r := range rooms.Invitations {
		ch.ed.print(client.Clean(fmt.Sprintf("· %s invites you into #%s %s: /join #%s", r.By, r.Room, r.Title, r.Room)))
	}
	if len(box.Requests)+len(rooms.Invitations) == 0 {
		ch.ed.print("· nobody waits for an answer")
	}
	return nil
}

// search finds open rooms.
func (ch *chat) search(ctx context.Context, words string) error {
	var out struct {
		Rooms []struct {
			Room, Title, Join string
			Tags              []string
			Members           int
		}
	}
	if err := ch.call(ctx, "open.search", map[string]any{"query": words}, &out); err != nil {
		return err
	}
	if len(out.Rooms) == 0 {
		ch.ed.print("· no open room is like that. /open #room NICKNAME Title makes one")
	}
	for _, r := range out.Rooms {
		line := fmt.Sprintf("· #%s %s (%d members, %s) %s", r.Room, r.Title, r.Members, r.Join, strings.Join(r.Tags, " "))
		ch.ed.print(client.Clean(strings.TrimSpace(line)))
	}
	return nil
}

// open makes an open room: #room, a nickname, a title, and words with # as tags.
func (ch *chat) open(ctx context.Context, rest string) error {
	room, rest, _ := strings.Cut(strings.TrimPrefix(rest, "#"), " ")
	nick, rest, _ := strings.Cut(strings.TrimSpace(rest), " ")
	var title, tags []string
	for w := range strings.FieldsSeq(rest) {
		if tag, ok := strings.CutPrefix(w, "#"); ok {
			tags = append(tags, tag)
		} else {
			title = append(title, w)
		}
	}
	if room == "" || nick == "" || len(title) == 0 {
		return fmt.Errorf("/open #hikers Rabbit Hiking around Seoul #mountains")
	}
	in := map[string]any{"room": room, "nickname": nick, "title": strings.Join(title, " "), "tags": tags, "join": "public"}
	if err := ch.call(ctx, "open.create", in, nil); err != nil {
		return err
	}
	ch.ed.print(client.Clean("· #" + room + " is open, and you are " + nick + " in it"))
	ch.goTo("#" + room)
	return nil
}

// join comes into an open room under a nickname, or without one into a room that one was invited to.
func (ch *chat) join(ctx context.Context, rest string) error {
	words := strings.Fields(rest)
	if len(words) == 0 || len(words) > 3 {
		return fmt.Errorf("/join #hikers NICKNAME [CODE] for an open room, /join #plans for one you are invited to")
	}
	room := strings.TrimPrefix(words[0], "#")
	if len(words) == 1 {
		if err := ch.call(ctx, "room.accept", map[string]any{"room": room}, nil); err != nil {
			return err
		}
		ch.goTo("#" + room)
		return nil
	}
	in := map[string]any{"room": room, "nickname": words[1]}
	if len(words) == 3 {
		in["code"] = words[2]
	}
	var out struct{ Joined, Pending bool }
	if err := ch.call(ctx, "open.join", in, &out); err != nil {
		return err
	}
	if out.Pending {
		ch.ed.print("· the room's moderators are asked; a notice tells when they let you in")
		return nil
	}
	ch.goTo("#" + room)
	return nil
}
