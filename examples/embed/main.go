// Embed shows hwangso inside somebody's own program: a store, a broker over it, and one MQTT listener. Two users who are
// friends are made at the first start.
//
//	go run ./examples/embed
//
// and then, with the tokens it prints,
//
//	mosquitto_sub -V 5 -q 1 -p 1884 -u bob -P TOKEN -i bob-laptop -c -x 3600 -t 'user/+/line'
//	mosquitto_pub -V 5 -q 1 -p 1884 -u alice -P TOKEN -t user/bob/text -m 'hello from an embedded broker'
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/wire"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	addr := flag.String("mqtt", "127.0.0.1:1884", "the `address` to listen on")
	dir := flag.String("data", "embed-data", "the data `directory`")
	flag.Parse()
	if err := run(ctx, *addr, *dir, os.Stdout); err != nil {
		log.Fatal("embed: ", err)
	}
}

// run serves until ctx ends. It prints what to connect with.
func run(ctx context.Context, addr, dir string, out io.Writer) (err error) {
	st, err := bolt.Open(bolt.Config{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()

	b, err := broker.New(broker.Config{Store: st})
	if err != nil {
		return err
	}
	auth, err := hooks.NewAuthenticator(hooks.Config{Directory: st})
	if err != nil {
		return err
	}
	srv, err := wire.New(wire.Default(), b, auth)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	if err := friends(ctx, st, out, "alice", "bob"); err != nil {
		return err
	}
	fmt.Fprintln(out, "listening on", ln.Addr())

	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, ln) }()
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	// Backwards: connections first, then the sessions behind them; the store is closed last.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, srv.Shutdown(drain), b.Close(drain))
}

// friends makes two users who may write to each other, with a new token for each.
func friends(ctx context.Context, st store.Directory, out io.Writer, names ...string) error {
	var ids []store.AccountID
	for _, name := range names {
		a, err := st.AccountByName(name)
		if errors.Is(err, store.ErrNotFound) {
			a, err = st.CreateAccount(ctx, store.Account{Name: name})
		}
		if err != nil {
			return err
		}
		token := hooks.NewToken(a.ID)
		if err := st.PutToken(ctx, store.Token{Account: a.ID, Hash: token.Hash(), Label: "embed"}); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s %s\n", name, string(token))
		ids = append(ids, a.ID)
	}
	for i := range ids {
		if _, err := st.SetEdge(ctx, store.EdgeFriend, ids[i], ids[1-i], true, 0); err != nil {
			return err
		}
	}
	return nil
}
