package broadcast

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// Wish is what a new broadcast is to be.
type Wish struct {
	Key      string    // of the identifier alphabet, at most hooks.MaxName characters: names the broadcast in its channel
	Post     view.Post // as the API takes it
	At       time.Time // zero: now
	Segment  *graph.Segment
	Ad       bool
	Silent   bool      // no push, whatever followers wish
	Expiry   time.Time // who has not got it by then does not get it; zero: never
	Campaign string    // of a coupon
	// Offer tells whether the campaign's coupons may be offered at a time; nil: there are no coupons. Errors are *store.Error.
	Offer func(at time.Time) error
}

// lead is how old the time of a broadcast may be when it is asked for.
const lead = time.Minute

// Create makes a broadcast that goes out at its time. The same key with the same wishes is the same broadcast, which is
// returned as it stands; with other wishes it is CodeConflict. Errors are *store.Error: CodeBad, CodeTooLarge,
// CodeForbidden while the channel may not post, CodeUnprocessable for a segment with too few followers, CodeFull with too
// many open broadcasts, and what Wish.Offer, Plans and Files say.
func (b *Broadcasts) Create(ctx context.Context, channel store.LogID, by store.AccountID, w Wish) (c *Broadcast, created bool, err error) {
	key, ok := hooks.NormalName(w.Key)
	if !ok {
		return nil, false, store.Bad("key must name the broadcast: 1 to " + strconv.Itoa(hooks.MaxName) + " characters of A-Z, a-z, 0-9 and . _ ~ -")
	}
	print, err := w.print()
	if err != nil {
		return nil, false, err
	}
	end, err := b.turn(ctx, channel, key)
	if err != nil {
		return nil, false, err
	}
	defer end()
	c, version, err := b.read(channel, key)
	if err != nil {
		return nil, false, err
	}
	if version != 0 {
		if c.Print != print {
			return nil, false, &store.Error{Code: store.CodeConflict, Text: "there is another broadcast with this key: choose another one"}
		}
		return c, false, nil
	}
	if c, err = b.make(ctx, channel, by, key, w); err != nil {
		return nil, false, err
	}
	c.Print = print
	if len(c.Post.Files) > 0 {
		if err := b.cfg.Files.Hold(ctx, by, c.Post.Files, holdName(channel, key)); err != nil {
			return nil, false, err
		}
	}
	if err := b.write(ctx, channel, c, 0); err != nil {
		return nil, false, err
	}
	b.entered(channel, c)
	b.Look()
	return c, true, nil
}

// print tells one wish from another.
func (w *Wish) print() (string, error) {
	of := struct {
		Post       view.Post
		At, Expiry int64
		Segment    *graph.Segment
		Ad, Silent bool
		Campaign   string
	}{Post: w.Post, Segment: w.Segment, Ad: w.Ad, Silent: w.Silent, Campaign: w.Campaign}
	if !w.At.IsZero() {
		of.At = w.At.UnixMilli()
	}
	if !w.Expiry.IsZero() {
		of.Expiry = w.Expiry.UnixMilli()
	}
	text, err := json.Marshal(of)
	if err != nil {
		return "", store.Bad("the post cannot be stored")
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// make checks a wish, the cheapest and the most private first: what a channel may do before what its followers are.
func (b *Broadcasts) make(ctx context.Context, channel store.LogID, by store.AccountID, key string, w Wish) (*Broadcast, error) {
	brand, err := b.graph.Channel(channel)
	if err != nil {
		return nil, err
	}
	if err := mayPost(brand); err != nil {
		return nil, err
	}
	switch {
	case w.Ad && brand.Ads == 0:
		return nil, &store.Error{Code: store.CodeNotFound, Text: "the channel has no advertising"}
	case w.Campaign != "" && w.Offer == nil:
		return nil, &store.Error{Code: store.CodeNotFound, Text: "there is no such campaign"}
	}
	now := b.now()
	c := &Broadcast{Key: key, By: by, Created: now.UnixMilli(), Due: now.UnixMilli(), Ad: w.Ad, Silent: w.Silent, Campaign: w.Campaign,
		Log: channel}
	if w.Ad {
		c.Log = brand.Ads
	}
	if err := c.times(w, now); err != nil {
		return nil, err
	}
	if c.Segment, err = segment(w.Segment); err != nil {
		return nil, err
	}
	p, err := w.Post.Parse(view.PostHow{Language: view.ParseLang(brand.Language), Ad: w.Ad, Campaign: w.Campaign})
	if err != nil {
		return nil, err
	}
	c.Language, c.Kind, c.Opening = p.Language.String(), p.Content.Kind, opening(string(p.Content.Text))
	c.Post = &said{Text: string(p.Content.Text), Extra: p.Content.Extra, Variants: p.Variants, Files: p.Files}
	if err := b.mayAttach(by, p.Files); err != nil {
		return nil, err
	}
	if w.Campaign != "" {
		if err := w.Offer(time.UnixMilli(c.Due)); err != nil {
			return nil, err
		}
	}
	if err := b.room(channel); err != nil {
		return nil, err
	}
	if c.Segment != nil {
		if b.cfg.Tally == nil {
			return nil, store.Bad("this server knows no segments")
		}
		enough, err := b.cfg.Tally.Segment(ctx, channel, c.Segment)
		if err != nil {
			return nil, fmt.Errorf("broadcast: segment: %w", err)
		}
		if !enough {
			return nil, &store.Error{Code: store.CodeUnprocessable, Reason: store.ReasonSegment, Text: "too few followers are in this segment, or they are not counted yet: there must be 100"}
		}
	}
	if b.cfg.Plans != nil {
		if err := b.cfg.Plans.Broadcast(ctx, channel, key, w.Ad, time.UnixMilli(c.Due)); err != nil {
			return nil, err
		}
	}
	c.enter(Scheduled, by, "", c.Created)
	return c, nil
}

func (c *Broadcast) times(w Wish, now time.Time) error {
	if !w.At.IsZero() {
		switch {
		case now.Sub(w.At) > lead:
			return store.Bad("the time of the broadcast is in the past")
		case w.At.Sub(now) > MaxAhead:
			return store.Bad("the time of a broadcast may be at most 90 days ahead")
		}
		c.Due = w.At.UnixMilli()
	}
	if !w.Expiry.IsZero() {
		c.Expiry = w.Expiry.UnixMilli()
		switch {
		case c.Expiry <= c.Due || c.Expiry <= now.UnixMilli():
			return store.Bad("the broadcast would be over before it goes out")
		case c.Expiry-c.Due > MaxLife.Milliseconds():
			return store.Bad("a broadcast ends at most 90 days after its time")
		}
	}
	return nil
}

// room tells whether a channel may have one more open broadcast.
func (b *Broadcasts) room(channel store.LogID) error {
	most := b.cfg.Open
	if b.cfg.Plans != nil {
		var err error
		if most, err = b.cfg.Plans.Scheduled(channel); err != nil {
			return fmt.Errorf("broadcast: plan: %w", err)
		}
	}
	rows, err := b.store.Rows(tableOpen, store.OwnerOfLog(channel), "", "", most+1)
	if err != nil {
		return fmt.Errorf("broadcast: open: %w", err)
	}
	if len(rows) >= most {
		return &store.Error{Code: store.CodeFull, Reason: "broadcasts", Text: "the channel has as many broadcasts that have not ended as it may: " + strconv.Itoa(most)}
	}
	return nil
}

// opening is the beginning of a text, for lists.
func opening(text string) string {
	r := []rune(view.Clean([]byte(text)))
	return string(r[:min(len(r), 80)])
}

// holdName is for what a broadcast's files are held.
func holdName(channel store.LogID, key string) string {
	return "broadcast/" + strconv.FormatUint(uint64(channel), 10) + "/" + key
}
