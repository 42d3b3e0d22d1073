package cmd

import (
	"context"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/broker/channel"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// openDemoChannel opens the channel, approves it, and lets somebody follow it.
func openDemoChannel(ctx context.Context, st *bolt.Store, brand, follower store.AccountID) error {
	rel := graph.New(st, time.Now)
	channels, err := channel.New(channel.Config{Store: st, Graph: rel})
	if err != nil {
		return err
	}
	title, language := "The café", "en"
	c, _, err := channels.Create(ctx, brand, demoChannel, channel.Fields{Title: &title, Language: &language})
	if err != nil {
		return err
	}
	if _, _, err := channels.Approve(ctx, c.ID, ""); err != nil {
		return err
	}
	return rel.SetFollow(ctx, follower, c.ID, func(f *graph.Follow) error {
		f.Since = time.Now().UnixMilli()
		return nil
	})
}

// channelCommands are those to paste for the channel.
func (d *demonstration) channelCommands(port string) string {
	more := ""
	if port != "" {
		more = " -server mqtt://" + d.MQTT
	}
	if d.HTTP != "127.0.0.1:8080" {
		more += " -api http://" + d.HTTP
	}
	return fmt.Sprintf(`  mosquitto_sub -V 5 -q 1%[1]s -u alice -P %[2]s -i alice-laptop -c -x 3600 -t 'channel/+/line' -t 'channel/+/ask/line'
  mosquitto_pub -V 5 -q 1%[1]s -u %[3]s -P %[4]s -t channel/%[5]s/text -m 'open until midnight'
A brand's program, from the sources: it posts, broadcasts, gives a coupon, and answers when alice asks:
  go run ./examples/brand -channel %[5]s -user %[3]s -token %[4]s%[6]s
  mosquitto_pub -V 5 -q 1%[1]s -u alice -P %[2]s -t channel/%[5]s/ask/text -m 'when do you open?'
`, port, d.Tokens["alice"], demoBrand, d.Tokens[demoBrand], demoChannel, more)
}

// broadcast sends one as the brand, over the control API. It returns what to tell.
func (d *demonstration) broadcast(ctx context.Context) (string, error) {
	d.casts++
	err := d.call(ctx, demoBrand, "broadcast.create", map[string]any{"channel": demoChannel, "key": fmt.Sprint("demo-", d.casts), "post": map[string]any{
		"language": "en", "text": "The autumn menu is here.",
		"variants": map[string]any{"ko": map[string]string{"text": "가을 메뉴가 나왔어요."}},
	}})
	if err != nil {
		return "", err
	}
	return "▪ " + demoChannel + " sends a broadcast: one record on disk, whatever the number of followers. alice gets it in her language.", nil
}
