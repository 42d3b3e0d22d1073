// Chat is a terminal chat: reconnecting, catching up after an absence, with read marks and typing. It is a small main
// around examples/chat/terminal, which `hwangso chat` uses as well.
//
//	go run ./examples/chat -server mqtt://127.0.0.1:1883 -user bob -token TOKEN -to alice
//	go run ./examples/chat -phone "+82 10-1234-5678" -name carol
//
// The second one signs up with a phone number over -api, or is signed in already: what it got is kept in a file.
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
	"path/filepath"

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
	phone := f.String("phone", "", "sign up, or in, with this phone `number`")
	region := f.String("region", "", "the number's `country`, such as KR, if it is written without a country code")
	name := f.String("name", "", "what a new account is to be called (default: a random identifier)")
	api := f.String("api", "http://127.0.0.1:8080", "`URL` of the server's control API, to sign up")
	keep := f.String("keep", "", "the `file` in which the identity is kept (default: in the user's configuration directory)")
	if err := f.Parse(args); err != nil {
		return err
	}
	host, _ := os.Hostname()
	if *id = cmp.Or(*id, "chat-"+host); *phone != "" {
		s := &client.Signup{API: *api, ClientID: *id}
		file := *keep
		if file == "" {
			dir, err := os.UserConfigDir()
			if err != nil {
				return fmt.Errorf("say with -keep in which file the identity is kept: %w", err)
			}
			file = filepath.Join(dir, "hwangso-chat", *id+".json")
		}
		who, err := terminal.SignUp(ctx, s, *phone, *region, *name, file, in, out)
		if err != nil {
			return err
		}
		*user, *token, *id = who.User, who.Token, who.ClientID
	}
	if *user == "" || *token == "" {
		return errors.New("say who you are with -user and -token, or sign up with -phone")
	}
	return terminal.Run(ctx, terminal.Options{
		Client: client.Config{Server: *server, User: *user, Token: *token, ClientID: *id},
		To:     *to, In: in, Out: out,
	})
}
