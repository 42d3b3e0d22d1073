package graph

import (
	"context"
	"fmt"
	"strings"

	"github.com/hwangso/hwangso/store"
)

// PostState says whether a post still goes out.
type PostState string

// The states. Canceled stays.
const (
	PostOut      PostState = ""
	PostPaused   PostState = "paused"   // who does not have it waits
	PostCanceled PostState = "canceled" // who does not have it does not get it
)

// Post is what delivering has to know of a broadcast's post beside its record. It is durable before the record is
// appended, which names it by its cid: see PostCID. A post without such a row is for every follower, in one language.
type Post struct {
	State    PostState          `json:"state,omitempty"`
	Segment  *Segment           `json:"segment,omitempty"`
	Variants map[string]Variant `json:"variants,omitempty"` // by BCP 47 tag; who has none of them gets the record as it is
	Silent   bool               `json:"silent,omitempty"`   // no push, whatever a follower wishes
	Campaign string             `json:"campaign,omitempty"` // of a coupon
}

// Variant is a post in another language.
type Variant struct {
	Text  string `json:"text,omitempty"`
	Extra []byte `json:"extra,omitempty"` // as store.Record.Extra; nil: that of the record
}

// Segment says for which followers a post is. Each field that is set is one attribute, and all must hold; of each list one
// value is enough. A sample is an attribute too.
type Segment struct {
	Countries []string   `json:"countries,omitempty"` // ISO 3166-1 alpha-2
	Languages []string   `json:"languages,omitempty"` // BCP 47, primary language alone
	Platforms []Platform `json:"platforms,omitempty"` // of any device
	MinWeeks  int        `json:"min_weeks,omitempty"` // has followed for so many weeks at least
	MaxWeeks  int        `json:"max_weeks,omitempty"` // and for fewer than so many; 0: no end. Both are one attribute
	Sample    int        `json:"sample,omitempty"`    // of 1,000 followers so many, drawn with a secret of the server per post; 0: all
}

// Attributes is how many attributes a segment asks for.
func (s *Segment) Attributes() (n int) {
	if s == nil {
		return 0
	}
	for _, asked := range []bool{len(s.Countries) > 0, len(s.Languages) > 0, len(s.Platforms) > 0, s.MinWeeks > 0 || s.MaxWeeks > 0, s.Sample > 0} {
		if asked {
			n++
		}
	}
	return n
}

// postPrefix begins the cid of a record that has a Post. No client can make such a cid.
const postPrefix = "!"

// PostCID is the cid of the record of a post with this identifier.
func PostCID(id string) string { return postPrefix + id }

// PostID is the identifier of the post of a record, "" if it has none.
func PostID(r *store.Record) string {
	id, ok := strings.CutPrefix(r.CID, postPrefix)
	if !ok {
		return ""
	}
	return id
}

// Post is a channel's post by its identifier, the zero value where there is none. Cheap: it is asked per delivery.
func (g *Graph) Post(channel store.LogID, id string) (*Post, error) {
	if id == "" {
		return &Post{}, nil
	}
	return read[Post](g, tablePost, store.OwnerOfLog(channel), id)
}

// SetPost changes a post durably. fn may be called several times; its error changes nothing and is returned.
func (g *Graph) SetPost(ctx context.Context, channel store.LogID, id string, fn func(*Post) error) error {
	if id == "" {
		return fmt.Errorf("graph: %s: a post without an identifier", tablePost)
	}
	return change(ctx, g, tablePost, store.OwnerOfLog(channel), id, func(*Post) bool { return false },
		func(p *Post) ([]store.EdgePut, error) { return nil, fn(p) })
}
