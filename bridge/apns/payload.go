package apns

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/payload"

	"github.com/hwangso/hwangso/bridge/push"
)

// maxPayload is what Apple takes ("Generating a remote notification").
const maxPayload = 4096

// maxCollapse is how long an apns-collapse-id may be ("Sending notification requests to APNs").
const maxCollapse = 64

// notification is a push as apns2 takes it, without the headers that apns2 cannot send: see exchange.
func (c *Client) notification(p *push.Push, topic string) (*apns2.Notification, error) {
	body, err := push.Fit(p, maxPayload, func(n *push.Note) ([]byte, error) { return c.payload(n, p.Class).MarshalJSON() })
	if err != nil {
		return nil, err
	}
	out := &apns2.Notification{
		ApnsID:      p.ID.String(),
		CollapseID:  collapseID(p.Collapse),
		DeviceToken: p.To.Token,
		Topic:       topic,
		Priority:    apns2.PriorityLow,
		PushType:    apns2.PushTypeAlert,
		Payload:     body,
	}
	if p.Note.Kind == push.KindClear {
		out.PushType = apns2.PushTypeBackground // with which any other priority is an error
	} else if p.Class == push.Chat {
		out.Priority = apns2.PriorityHigh
	}
	return out, nil
}

// payload is what the phone gets. A notice carries what its system shows in "aps", and beside it the same keys as with
// every provider, for the app. One that only clears wakes the app in the background, which takes away what it shows; the
// badge is there twice, since the system may leave that of a background push alone.
func (c *Client) payload(n *push.Note, class push.Class) *payload.Payload {
	p := payload.NewPayload()
	custom(p, n)
	if n.Badge >= 0 {
		p.Badge(n.Badge)
	}
	if n.Kind == push.KindClear {
		if n.Badge >= 0 {
			p.Custom("badge", n.Badge)
		}
		return p.ContentAvailable()
	}
	p.MutableContent()
	if n.Thread != "" {
		p.ThreadID(n.Thread)
	}
	if n.Silent {
		p.InterruptionLevel(payload.InterruptionLevelPassive).Custom("silent", 1)
	} else {
		p.Sound("default")
	}
	if class == push.Chat {
		p.RelevanceScore(1) // above announcements and posts in the system's summary
	}
	if server := c.cfg.Texts == TextsServer; n.Key == "" || server && (n.Title != "" || n.Body != "") {
		p.AlertBody(n.Body)
		if n.Title != "" {
			p.AlertTitle(n.Title)
		}
		return p
	}
	p.AlertLocKey(n.Key)
	if len(n.Args) > 0 {
		p.AlertLocArgs(n.Args)
	}
	return p
}

func custom(p *payload.Payload, n *push.Note) {
	p.Custom("kind", n.Kind)
	if n.Thread != "" {
		p.Custom("thread", n.Thread)
	}
	if n.Room != "" {
		p.Custom("room", n.Room)
	}
	if n.Seq != 0 {
		p.Custom("seq", n.Seq)
	}
	if n.Epoch != 0 {
		p.Custom("epoch", n.Epoch)
	}
	if n.Count != 0 {
		p.Custom("count", n.Count)
	}
}

// collapseID is a name that Apple takes: one that is too long, or holds what a header cannot, is replaced by its hash.
func collapseID(s string) string {
	fits := len(s) <= maxCollapse
	for i := range len(s) {
		fits = fits && s[i] > ' ' && s[i] < 0x7f
	}
	if fits {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
