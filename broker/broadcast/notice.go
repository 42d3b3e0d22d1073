package broadcast

import (
	"context"
	"crypto/rand"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/policy"
)

// noticeID is the identifier of the post of a notice. No broadcast has such a key.
func noticeID(key string) string { return "notice/" + key }

// Notice posts a notice at once, for every follower, and waits until it is durable. The same key posts nothing twice, for
// as long as the store knows repeats; "" is a new one. Errors are *store.Error: what view.Post says, CodeForbidden while
// the channel may not post, and what Plans and Files say.
func (b *Broadcasts) Notice(ctx context.Context, channel store.LogID, by store.AccountID, key string, post view.Post) (store.Receipt, error) {
	if key == "" {
		key = rand.Text()
	}
	if !hooks.ValidRequestID(key) {
		return store.Receipt{}, store.Bad("key must be 1 to 64 characters of A-Z a-z 0-9 . _ ~ -")
	}
	brand, err := b.graph.Channel(channel)
	if err != nil {
		return store.Receipt{}, err
	}
	if err := mayPost(brand); err != nil {
		return store.Receipt{}, err
	}
	p, err := post.Parse(view.PostHow{Language: view.ParseLang(brand.Language)})
	if err != nil {
		return store.Receipt{}, err
	}
	if err := b.mayAttach(by, p.Files); err != nil {
		return store.Receipt{}, err
	}
	id := noticeID(key)
	end, err := b.turn(ctx, channel, id)
	if err != nil {
		return store.Receipt{}, err
	}
	defer end()
	if b.cfg.Plans != nil {
		if err := b.cfg.Plans.Spend(ctx, channel, false, id); err != nil {
			return store.Receipt{}, err
		}
	}
	if len(p.Variants) > 0 {
		err = b.graph.SetPost(ctx, channel, id, func(out *graph.Post) error {
			if out.Variants == nil { // of a repeat the first one counts
				out.Variants = p.Variants
			}
			return nil
		})
		if err != nil {
			return store.Receipt{}, err
		}
	}
	return b.cfg.Poster.Post(ctx, channel, false, id, p.Content)
}

// mayPost refuses a channel that may not post.
func mayPost(c *graph.Channel) error {
	switch {
	case !c.Exists():
		return &store.Error{Code: store.CodeNotFound, Text: "there is no such channel"}
	case c.State() == policy.ChannelSuspended:
		return store.Forbidden(store.ReasonChannelSuspended, "the channel is suspended")
	case c.State() != policy.ChannelOK:
		return store.Forbidden(store.ReasonChannelPaused, "the channel is paused, or waits for the operator")
	}
	return nil
}

// mayAttach tells whether a user may attach files.
func (b *Broadcasts) mayAttach(by store.AccountID, files []string) error {
	switch {
	case len(files) == 0:
		return nil
	case b.cfg.Files == nil:
		return store.Bad("this server keeps no files")
	}
	return b.cfg.Files.May(by, files)
}
