package main

import (
	"fmt"
	"io"
	"net"

	"github.com/hwangso/hwangso/hooks"
)

// instruct prints commands to paste. They hold the tokens, which are for nothing else.
func instruct(out io.Writer, addr string, tokens map[string]hooks.Secret) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port = addr, "1883"
	}
	as := func(user string) string {
		return fmt.Sprintf("-V 5 -q 1 -h %s -p %s -u %s -P %s", host, port, user, string(tokens[user]))
	}
	fmt.Fprintf(out, `A plain mochi server with hwangso's users listens on %s. In one terminal:

  mosquitto_sub %s -v -t '#'

and in another:

  mosquitto_pub %s -t user/bob/text -m 'hello, bob'
  mosquitto_pub %s -t room/lobby/text -m 'hello, all'
  mosquitto_pub %s -t user/carol/text -m 'refused: no friend'

Ctrl-C ends it.
`, addr, as("bob"), as("alice"), as("alice"), as("alice"))
}
