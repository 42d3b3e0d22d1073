package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"
)

const usage = `Brand is a channel's program: it posts, sends a broadcast in three languages, gives a coupon, answers followers, and
redeems the codes that are typed into it.

Usage: brand -channel CHANNEL -user PUBLISHER -token TOKEN [flags]

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "brand:", err)
		os.Exit(1)
	}
}

// program is what run is made of.
type program struct {
	channel string
	api     *API
	brand   *Brand
	news    chan Progress // the newest, when there is room

	mu  sync.Mutex // guards out
	out io.Writer
}

func (p *program) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format+"\n", args...)
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) (err error) {
	f := flag.NewFlagSet("brand", flag.ContinueOnError)
	f.SetOutput(out)
	f.Usage = func() {
		fmt.Fprint(out, usage)
		f.PrintDefaults()
	}
	server := f.String("server", "mqtt://127.0.0.1:1883", "`URL` of the server: mqtt, mqtts, ws or wss")
	api := f.String("api", "http://127.0.0.1:8080", "`URL` of the server's control API")
	channel := f.String("channel", "", "the `channel`")
	user := f.String("user", "", "the `publisher`")
	token := f.String("token", os.Getenv("BRAND_TOKEN"), "a `key` of the channel, or the publisher's own token (default: the environment's BRAND_TOKEN, where other users' process lists do not show it)")
	id := f.String("id", "brand", "`names` this program among the publisher's devices")
	hook := f.String("webhook", "", "take webhooks at this `address`, such as 127.0.0.1:9090")
	hookURL := f.String("webhook-url", "", "have the server post webhooks to this `URL`, at which it reaches -webhook")
	secret := f.String("webhook-secret", os.Getenv("BRAND_WEBHOOK_SECRET"), "the `secret` under which they are signed (default: the environment's BRAND_WEBHOOK_SECRET; with -webhook-url the server's answer)")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("%q is too much: see brand -h", f.Arg(0))
	case *channel == "" || *user == "" || *token == "":
		return errors.New("say with -channel, -user and -token who you are: see brand -h")
	case *hook != "" && *secret == "" && *hookURL == "":
		return errors.New("without -webhook-secret nobody knows who sends webhooks, unless -webhook-url has the server tell it")
	case *hook == "" && *hookURL != "":
		return errors.New("-webhook-url needs -webhook, where they are taken")
	}
	p := &program{channel: *channel, out: out, news: make(chan Progress, 1),
		api: &API{Base: strings.TrimSuffix(*api, "/"), User: *user, Token: *token, HTTP: &http.Client{}}}
	if *hook != "" {
		end, err := p.takeWebhooks(ctx, *hook, *hookURL, *secret)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	p.brand, err = NewBrand(Config{Server: *server, User: *user, Token: *token, Channel: *channel, ClientID: *id,
		Answer: p.answer, Progress: p.progressed, State: p.connection})
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = errors.Join(err, p.brand.Close(last))
	}()
	if err := p.tour(ctx); err != nil {
		return err
	}
	p.say("Now followers are answered. Type the code of a customer's coupon to redeem it; the end of the input ends the program.")
	return p.till(ctx, in)
}

// tour shows one thing after the other.
func (p *program) tour(ctx context.Context) error {
	seq, err := p.brand.Post(ctx, "We are open until midnight today.")
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	p.say("✓ posted over MQTT: #%d, on disk", seq)
	var posted struct {
		Seq uint64 `json:"seq"`
	}
	if err := p.api.Call(ctx, "channel.post", newID(), object{"channel": p.channel, "post": object{"text": "And there is cake."}}, &posted); err != nil {
		return err
	}
	p.say("✓ posted over HTTP: #%d, on disk", posted.Seq)

	run := time.Now().UTC().Format("20060102-150405")
	err = p.broadcast(ctx, object{"key": "autumn-" + run, "at": time.Now().Add(time.Second), "post": object{
		"language": "en", "text": "The autumn menu is here.",
		"buttons": []object{{"text": "See it", "url": "https://cafe.example/menu"}},
		"variants": object{
			"ko": object{"text": "가을 메뉴가 나왔어요.", "buttons": []object{{"text": "보기", "url": "https://cafe.example/menu?l=ko"}}},
			"ja": object{"text": "秋のメニューができました。"},
		},
	}})
	if err != nil {
		return err
	}

	campaign := "cake-" + run
	coupon := object{"channel": p.channel, "campaign": campaign, "title": "A piece of cake", "note": "any cake, not to take away",
		"until": time.Now().Add(7 * 24 * time.Hour), "most": 500}
	if err := p.api.Call(ctx, "coupon.create", newID(), coupon, nil); err != nil {
		return err
	}
	p.say("✓ campaign %s: 500 pieces of cake within a week", campaign)
	return p.broadcast(ctx, object{"key": "cake-" + run, "coupon": campaign, "post": object{"text": "A piece of cake for you: show this at the counter."}})
}

// object is JSON as it is written down.
type object map[string]any

// broadcast sends one and tells how it goes until it has ended.
func (p *program) broadcast(ctx context.Context, in object) error {
	in["channel"] = p.channel
	var made struct {
		Broadcast struct {
			State string    `json:"state"`
			At    time.Time `json:"at"`
		} `json:"broadcast"`
	}
	if err := p.api.Call(ctx, "broadcast.create", newID(), in, &made); err != nil {
		return err
	}
	key := in["key"].(string)
	p.say("✓ broadcast %s: %s for %s", key, made.Broadcast.State, made.Broadcast.At.Local().Format("15:04:05"))
	last := Progress{Broadcast: key, State: made.Broadcast.State}
	// Progress comes by itself. Of two broadcasts at once it is the newest of either, so now and then this one is looked at.
	look := time.NewTicker(3 * time.Second)
	defer look.Stop()
	for {
		var now Progress
		select {
		case now = <-p.news:
			if now.Broadcast != key {
				continue
			}
		case <-look.C:
			var got struct {
				Broadcast Progress `json:"broadcast"`
			}
			if err := p.api.Call(ctx, "broadcast.get", "", object{"channel": p.channel, "key": key}, &got); err != nil {
				return err
			}
			now = got.Broadcast
			now.Broadcast = key
		case <-ctx.Done():
			return ctx.Err()
		}
		if now != last {
			p.say("  %s: %s", key, now.words())
		}
		switch last = now; now.State {
		case "done":
			return nil
		case "canceled":
			return fmt.Errorf("broadcast %s was canceled", key)
		}
	}
}

func (p Progress) words() string {
	s := p.State
	if p.Percent > 0 {
		s += fmt.Sprintf(", %d%% of the followers considered", p.Percent)
	}
	if p.Why != "" {
		s += " (" + clean(p.Why) + ")"
	}
	return s
}

// progressed keeps the newest, and waits for nobody.
func (p *program) progressed(now Progress) {
	for {
		select {
		case p.news <- now:
			return
		default:
		}
		select { // the one before was not looked at
		case <-p.news:
		default:
		}
	}
}

// answer is what a follower is told.
func (p *program) answer(q Question) string {
	p.say("? %s asks: %s", q.Follower, clean(q.Text))
	text := "Thank you! Somebody who knows will read it."
	if strings.Contains(strings.ToLower(q.Text), "open") {
		text = "We are open from eight to midnight."
	}
	p.say("! %s is answered: %s", q.Follower, text)
	return text
}

func (p *program) connection(up bool, err error) {
	switch {
	case err != nil:
		p.say("· %s", clean(err.Error()))
	case up:
		p.say("· connected")
	}
}

// till redeems the codes that are typed in, until there are no more.
func (p *program) till(ctx context.Context, in io.Reader) error {
	lines := make(chan string)
	go func() { // ends with the input, or the program
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case lines <- strings.TrimSpace(s.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case code, ok := <-lines:
			if !ok {
				return nil
			}
			if code == "" {
				continue
			}
			if err := p.redeem(ctx, code); err != nil {
				p.say("✗ %v", err)
			}
		}
	}
}

// redeem asks for a code. Each sale has an identifier of its own, under which a lost answer is asked for again.
func (p *program) redeem(ctx context.Context, code string) error {
	var out struct {
		Answer string `json:"answer"` // valid, used, expired or unknown
		Title  string `json:"title"`
		Note   string `json:"note"`
	}
	if err := p.api.Call(ctx, "coupon.redeem", newID(), object{"channel": p.channel, "coupon": code}, &out); err != nil {
		return err
	}
	words := out.Answer
	if out.Title != "" {
		words += ": " + clean(out.Title)
	}
	if out.Note != "" {
		words += " (" + clean(out.Note) + ")"
	}
	p.say("= %s", words)
	return nil
}

// takeWebhooks serves them until end is called. With a URL the server is told to post them there.
func (p *program) takeWebhooks(ctx context.Context, address, url, secret string) (end func() error, err error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("-webhook: %w", err)
	}
	if url != "" { // what comes at once waits for Serve
		if secret, err = register(ctx, p.api, p.channel, url, secret); err != nil {
			return nil, errors.Join(err, ln.Close())
		}
		p.say("✓ webhooks are posted to %s", url)
	}
	srv := &http.Server{ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
		Handler: &Receiver{Secret: secret, Took: func(e Event) { p.say("@ %s %s", clean(e.Event), clean(string(e.Data))) }}}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	p.say("webhooks are taken at http://%s", ln.Addr())
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := srv.Shutdown(ctx)
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	}, nil
}
