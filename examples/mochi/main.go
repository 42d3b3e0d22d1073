// Mochi shows the users, topics and access of hwangso in a plain mochi-mqtt server: a store with two friends and a room,
// a mochi server, and one hook between them.
//
//	go run ./examples/mochi
//
// It prints the commands to chat with. Nothing is kept but the users: a plain server has no log. The users lie in a
// temporary directory unless -data names one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/mochihook"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mochi:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("mochi", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("mqtt", "127.0.0.1:1885", "the `address` to listen on")
	data := flags.String("data", "", "the data `directory`; empty: a temporary one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *data == "" {
		dir, err := os.MkdirTemp("", "hwangso-mochi-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		*data = dir
	}
	st, err := bolt.Open(bolt.Config{Dir: *data})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()

	server := newServer(stderr)
	defer func() { err = errors.Join(err, server.Close()) }()
	auth, err := hooks.NewAuthenticator(hooks.Config{Directory: st})
	if err != nil {
		return err
	}
	if err := server.AddHook(new(mochihook.Hook), &mochihook.Options{
		Server:        server,
		Authenticator: auth,
		Access:        hooks.NewAccess(st, hooks.AccessConfig{}),
		Accounts:      st,
	}); err != nil {
		return err
	}
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: *addr})
	if err := server.AddListener(tcp); err != nil {
		return err
	}
	tokens, err := populate(ctx, st)
	if err != nil {
		return err
	}
	if err := server.Serve(); err != nil {
		return err
	}
	instruct(stdout, tcp.Address(), tokens)
	<-ctx.Done()
	return nil
}

// newServer is a mochi server with what the hook needs and what a plain one should not do without.
func newServer(stderr io.Writer) *mqtt.Server {
	capabilities := mqtt.NewDefaultServerCapabilities()
	capabilities.MaximumPacketSize = 64 << 10 // without a limit, five bytes before login allocate 256 MiB
	capabilities.SharedSubAvailable = 0
	capabilities.Compatibilities.NoInheritedPropertiesOnAck = true
	return mqtt.New(&mqtt.Options{
		InlineClient: true, // the hook publishes through it
		Capabilities: capabilities,
		Logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn,
			// mochi logs whole packets, with passwords and payloads.
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == "pk" || a.Key == "packet" {
					return slog.Attr{}
				}
				return a
			}})),
	})
}

// populate makes alice and bob, who are friends, and a room with both, as far as they are not there yet, and returns a
// new token for each.
func populate(ctx context.Context, st store.Store) (map[string]hooks.Secret, error) {
	tokens := make(map[string]hooks.Secret)
	var ids []store.AccountID
	for _, name := range []string{"alice", "bob"} {
		account, err := st.CreateAccount(ctx, store.Account{Name: name})
		if store.CodeOf(err) == store.CodeConflict {
			account, err = st.AccountByName(name)
		}
		if err != nil {
			return nil, err
		}
		tokens[name] = hooks.NewToken(account.ID)
		if err := st.PutToken(ctx, store.Token{Account: account.ID, Hash: tokens[name].Hash(), Label: "example"}); err != nil {
			return nil, err
		}
		ids = append(ids, account.ID)
	}
	for i := range ids {
		if _, err := st.SetEdge(ctx, store.EdgeFriend, ids[i], ids[1-i], true, 0); err != nil {
			return nil, err
		}
	}
	_, _, err := st.Open(ctx, store.RoomKey("lobby"), store.Creation{By: ids[0], Title: "Lobby", Members: []store.Member{
		{Account: ids[0], Role: store.RoleOwner},
		{Account: ids[1], Role: store.RoleMember},
	}})
	return tokens, err
}
