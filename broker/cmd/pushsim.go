package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hwangso/hwangso/bridge/pushsim"
)

// simDir is where the simulator's files lie if nothing else is said.
const simDir = "./pushsim"

func pushsimCommand() command {
	return group("pushsim", "Apple's, Google's and the browsers' push services on this machine, to try and test pushes without an account",
		command{name: "init", args: "[flags]", summary: "Make keys, certificates and a configuration for hwangso serve", text: pushsimInitText, run: pushsimInit},
		command{name: "run", args: "[flags]", summary: "Run the services, and tell which phone rings", text: pushsimRunText, run: pushsimRun},
		command{name: "phones", args: "[TOKEN] [flags]", summary: "Show what phones show", run: pushsimPhones},
		command{name: "device", args: "TOKEN STATE [flags]", summary: "Put a device into a state", text: pushsimDeviceText, run: pushsimDevice},
		command{name: "subscribe", args: "NAME [flags]", summary: "Subscribe a browser to web push, and print what it gives to its page", text: pushsimSubscribeText, run: pushsimSubscribe},
		command{name: "attempts", args: "[flags]", summary: "Tell the requests that came, and what became of each", text: pushsimAttemptsText, run: pushsimAttempts},
		command{name: "counts", args: "[flags]", summary: "Tell how often each message was told to each phone", run: pushsimCounts},
		pushsimFaultCommand(),
		command{name: "preset", args: "[NAME] [flags]", summary: "Let something happen that happens in the life of a push service; without a name, list what", run: pushsimPreset},
	)
}

const pushsimInitText = `It writes into a directory: a certificate authority and a certificate for this machine, an APNs key (.p8), a Firebase
service account, a web push key, and hwangso.conf, with which "hwangso serve -config" sends its pushes to the simulator.
Files that are there already are not touched unless you say -force.`

func pushsimInit(_ context.Context, c command, args []string, io Streams) error {
	f := c.flags(io)
	dir := f.String("dir", simDir, "the `directory`; it is made if it does not exist")
	force := f.Bool("force", false, "make new keys in place of those that are there")
	free := f.Bool("free-ports", false, "take ports that are free when the simulator starts first, instead of 4440 to 4444")
	topic := f.String("topic", pushsim.DefaultTopic, "the app's bundle `identifier`")
	project := f.String("project", pushsim.DefaultProject, "the `name` of the Firebase project")
	if _, err := parse(f, args, 0, 0, io); err != nil {
		return err
	}
	o := pushsim.InitOptions{Overwrite: *force, Topic: *topic, Project: *project}
	if *free {
		o.Listen = pushsim.FreePorts()
	}
	files, err := pushsim.Init(*dir, o)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%w; use it as it is, or say -force to make new keys", err)
	} else if err != nil {
		return err
	}
	fmt.Fprintf(io.Out, `The simulator's files are in %[1]s.
Next, in two terminals:
  %[3]s pushsim run -dir %[1]s
  %[3]s serve -config %[2]s
`, files.Dir, files.Config, selfName())
	return nil
}

const pushsimRunText = `It listens where init has said, on this machine only, until it is interrupted, and tells in words what each request did:
which phone rings, with which text, and what was refused. The other commands look at it and tell it what to do. What it
knows of phones and requests is in memory only.`

func pushsimRun(ctx context.Context, c command, args []string, io Streams) (err error) {
	f := c.flags(io)
	dir := f.String("dir", simDir, "the `directory` that init has made")
	make := f.Bool("init", false, "make the directory first if it is not there")
	seed := f.Uint64("seed", 1, "a `number`: with the same one, faults with a probability strike the same requests")
	keep := f.Int("keep", 100_000, "how many requests are remembered")
	quiet := f.Bool("quiet", false, "do not tell every request")
	format := f.String("log-format", "text", "text or json")
	level := f.String("log-level", "warn", "debug, info, warn or error")
	if _, err := parse(f, args, 0, 0, io); err != nil {
		return err
	}
	log, err := (&settings{logFormat: *format, logLevel: *level}).logger(io)
	if err != nil {
		return err
	}
	if _, err := pushsim.Open(*dir); errors.Is(err, os.ErrNotExist) && *make {
		if _, err := pushsim.Init(*dir, pushsim.InitOptions{}); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	sim, err := pushsim.Start(pushsim.Config{Dir: *dir, Seed: *seed, Keep: *keep, Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	files, err := sim.Files()
	if err != nil {
		return err
	}
	fmt.Fprintf(io.Out, `The push simulator runs.
  apns          %s
  apns sandbox  %s
  fcm           %s
  web push      %s
  control       %s
Let a server use it:  %s serve -config %s
%s
`, sim.APNsURL(), sim.SandboxURL(), sim.FCMURL(), sim.WebPushURL(), sim.ControlURL(), selfName(), files.Config, readyLine)
	if *quiet {
		<-ctx.Done()
		return nil
	}
	return tellAttempts(ctx, sim, io)
}

// tellAttempts tells what comes until ctx ends. What comes faster than it can be written is counted, not told.
func tellAttempts(ctx context.Context, sim *pushsim.Sim, io Streams) error {
	name := func(token string) string {
		p, _ := sim.Phone(token)
		return p.Name
	}
	last := uint64(0)
	for {
		list, err := sim.After(ctx, last)
		if err != nil {
			return nil // somebody has ended it
		}
		for _, a := range list {
			if missed := a.N - last - 1; missed > 0 {
				fmt.Fprintf(io.Out, "… %d more, which came too fast to be told\n", missed)
			}
			last = a.N
			if _, err := fmt.Fprintf(io.Out, "%s %s\n", a.Time.Local().Format("15:04:05"), attemptInWords(&a, name)); err != nil {
				return fmt.Errorf("pushsim: %w", err)
			}
		}
	}
}

// attemptInWords tells what a request did. name knows what people call a device, "" if it does not.
func attemptInWords(a *pushsim.Attempt, name func(token string) string) string {
	who := phoneName(a.Provider, a.Token, name(a.Token))
	says, _ := a.Says()
	text := pushText(says)
	var out string
	switch {
	case a.PushType == "oauth" && a.Status == 200:
		out = "🔑 fcm gave an access token"
	case a.PushType == "oauth":
		out = "✗ fcm gave no access token: " + verdictWords(a)
	case a.Effect == pushsim.NotReached && a.Status/100 == 2:
		out = "· " + who + " gets nothing: " + nothingWords(a)
	case a.Effect == pushsim.NotReached:
		out = "✗ " + who + " gets nothing: " + verdictWords(a)
	case a.Effect == pushsim.Held:
		out = "💤 " + who + " is off, " + string(a.Provider) + " keeps it: " + text
	case a.Effect == pushsim.Lost:
		out = "💤 " + who + " is off, and nobody keeps it: " + text
	case a.Effect == pushsim.Cleared:
		out = "🧹 " + who + " takes away what it showed" + badgeWords(a)
	case a.Effect == pushsim.Woken:
		out = "· " + who + " is woken, and shows nothing" + badgeWords(a)
	case a.Effect == pushsim.Dropped, a.Effect == pushsim.Repeated && !a.Rang:
		out = "· " + who + " has shown this already: " + text
	case a.Rang:
		out = "📱 " + who + " … rings: " + text
	case a.Effect == pushsim.Replaced:
		out = "📱 " + who + " … changes, without a sound: " + text
	default:
		out = "📱 " + who + " … shows, without a sound: " + text
	}
	reached := a.Effect != pushsim.NotReached
	if reached && a.Status/100 != 2 {
		out += ", and the sender hears: " + verdictWords(a)
	}
	if a.Fault != "" {
		out += " [" + shown(a.Fault) + "]"
	}
	return out
}

// phoneName is how a device is called: by people, or by the end of its token.
func phoneName(p pushsim.Provider, token, name string) string {
	kind := map[pushsim.Provider]string{pushsim.APNs: "an iPhone", pushsim.FCM: "an Android phone", pushsim.WebPush: "a browser"}[p]
	switch {
	case name != "":
		return shown(name)
	case token == "":
		return kind
	}
	return kind + " (" + tokenEnd(token) + ")"
}

func tokenEnd(token string) string {
	const long = 20
	if r := []rune(token); len(r) > long {
		token = "…" + string(r[len(r)-8:])
	}
	return shown(token)
}

// pushText is what a notification says, in one line: its texts, or those that the app would put together.
func pushText(n pushsim.Notification) string {
	var parts []string
	for _, s := range []string{n.Title, n.Body} {
		if s != "" {
			parts = append(parts, shown(s))
		}
	}
	if len(parts) == 0 {
		for _, s := range n.Args {
			if n.Count == 0 || s != strconv.Itoa(n.Count) { // which is told behind
				parts = append(parts, shown(s))
			}
		}
	}
	text := strings.Join(parts, ": ")
	if text == "" && n.Key != "" {
		text = "the app's text " + shown(n.Key)
	}
	if text == "" {
		text = "nothing to read"
	}
	if n.Count > 0 {
		text += fmt.Sprintf(" (%d unread)", n.Count)
	}
	return text
}

func badgeWords(a *pushsim.Attempt) string {
	if n, ok := a.Badge(); ok {
		return fmt.Sprintf(" (badge %d)", n)
	}
	return ""
}

// verdictWords is what the sender was answered.
func verdictWords(a *pushsim.Attempt) string {
	switch {
	case a.Status == 0:
		return "no answer"
	case a.Reason != "":
		return fmt.Sprintf("%d %s", a.Status, shown(a.Reason))
	}
	return fmt.Sprint(a.Status)
}

// nothingWords is why a request that was answered well reached nobody.
func nothingWords(a *pushsim.Attempt) string {
	switch {
	case a.Reason != "":
		return shown(a.Reason)
	case strings.HasSuffix(a.ID, "fake_message_id"):
		return "it was only to be validated"
	case a.Token == "":
		return "it went to a topic"
	}
	return "a fault took it"
}

// ago is a duration for people, from a moment to now.
func ago(t time.Time) string {
	d := time.Since(t)
	if d < 0 {
		d = 0
	}
	return d.Round(time.Second).String() + " ago"
}
