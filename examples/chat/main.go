// Chat is a terminal chat: reconnecting, catching up after an absence, with read marks and typing. It is a small main
// around examples/chat/terminal, which `hwangso chat` uses as well.
//
//	go run ./examples/chat -server mqtt://127.0.0.1:1883 -user bob -token TOKEN -to alice
//
// The token may also stand in the environment variable CHAT_TOKEN, where other users' process lists do not show it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/hwangso/hwangso/examples/chat/client"
	"github.com/hwangso/hwangso/examples/chat/terminal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	f := flag.NewFlagSet("chat", flag.ContinueOnError)
	server := f.String("server", "mqtt://127.0.0.1:1883", "`URL` of the server: mqtt, mqtts, ws or wss")
	user := f.String("user", "", "who you are")
	token := f.String("token", os.Getenv("CHAT_TOKEN"), "your token (default: the environment's CHAT_TOKEN)")
	to := f.String("to", "", "the first conversation, a user or #room")
	id := f.String("id", "", "names this device among your others (default: chat and the host's name)")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *user == "" || *token == "" {
		return errors.New("say who you are with -user and -token")
	}
	host, _ := os.Hostname()
	return terminal.Run(ctx, terminal.Options{
		Client: client.Config{Server: *server, User: *user, Token: *token, ClientID: cmp.Or(*id, "chat-"+host)},
		To:     *to, In: in, Out: out,
	})
}
