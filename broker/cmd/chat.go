package cmd

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hwangso/hwangso/examples/chat/client"
	"github.com/hwangso/hwangso/examples/chat/terminal"
)

const chatText = `With a running "hwangso demo" it needs nothing but -as alice or -as bob. For another server say -server, -user and the
token, which is better given in the environment (HWANGSO_TOKEN) than on the command line, where others can see it.
Inside, /help lists what can be done.`

func chat(ctx context.Context, c command, args []string, io Streams) error {
	f := c.flags(io)
	as := f.String("as", "", "the `user` of the running demo, alice or bob")
	server := f.String("server", "mqtt://127.0.0.1:1883", "`URL` of the server: mqtt://, mqtts://, ws://…/mqtt or wss://…/mqtt")
	user := f.String("user", "", "who you are")
	token := f.String("token", "", "your token (default: the environment's HWANGSO_TOKEN)")
	to := f.String("to", "", "the first conversation, a `user or #room`")
	id := f.String("id", "", "names this device among your others (default: chat- and the host's name)")
	ca := f.String("ca", "", "a PEM `file` with the authority that signed the server's certificate")
	phone := f.String("phone", "", "sign up, or in, with this phone `number`; see docs/signup.md")
	region := f.String("region", "", "the number's `country`, such as KR, if it is written without a country code")
	name := f.String("name", "", "what a new account is to be called (default: a random identifier)")
	apiAt := f.String("api", "http://127.0.0.1:8080", "`URL` of the server's control API, to sign up")
	kept := f.String("keep", "", "the `file` in which what signing up gave is kept (default: in the user's configuration directory)")
	if _, err := parse(f, args, 0, 0, io); err != nil {
		return err
	}
	host, _ := os.Hostname()
	cfg := client.Config{Server: *server, User: *user, Token: cmp.Or(*token, os.Getenv(envName("token"))), ClientID: cmp.Or(*id, "chat-"+host)}
	if *phone != "" && *as != "" {
		return fmt.Errorf("-as is for the demo's people; -phone signs up")
	}
	if *phone != "" {
		named := false
		f.Visit(func(f *flag.Flag) { named = named || f.Name == "server" || f.Name == "api" })
		if d, err := findDemo(); err == nil && !named { // a demo that runs is meant
			cfg.Server, *apiAt = "mqtt://"+d.MQTT, "http://"+d.HTTP
		}
		file := *kept
		if file == "" {
			dir, err := os.UserConfigDir()
			if err != nil {
				return fmt.Errorf("say with -keep in which file the identity is kept: %w", err)
			}
			file = filepath.Join(dir, "hwangso", cfg.ClientID+".json")
		}
		s := &client.Signup{API: *apiAt, ClientID: cfg.ClientID}
		who, err := terminal.SignUp(ctx, s, *phone, *region, *name, file, io.In, io.Out)
		if err != nil {
			return err
		}
		cfg.User, cfg.Token, cfg.ClientID = who.User, who.Token, who.ClientID
	}
	if *as != "" {
		d, err := findDemo()
		if err != nil {
			return err
		}
		cfg.Server, cfg.User, cfg.Token = "mqtt://"+d.MQTT, strings.ToLower(*as), d.Tokens[strings.ToLower(*as)]
		if cfg.Token == "" || cfg.User == demoRobot {
			return fmt.Errorf("the demo has the users alice and bob, not %s", *as)
		}
		if *to == "" {
			*to = map[string]string{"alice": "bob", "bob": "alice"}[cfg.User]
		}
	}
	if cfg.User == "" || cfg.Token == "" {
		fmt.Fprintf(io.Err, "%s: say who you are, with -as in the demo, or with -user and a token\n\n", f.Name())
		f.Usage()
		return ErrUsage
	}
	if *ca != "" {
		pem, err := os.ReadFile(*ca)
		if err != nil {
			return fmt.Errorf("-ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("-ca %s: there is no certificate in it", *ca)
		}
		cfg.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return terminal.Run(ctx, terminal.Options{Client: cfg, To: *to, In: io.In, Out: io.Out})
}
