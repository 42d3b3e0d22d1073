package api

import (
	"context"
	"time"

	"github.com/hwangso/hwangso/broker/files"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// fileOperations are those on photos, videos and documents.
func fileOperations() []operation {
	return []operation{
		byKey(hooks.ScopeChannel, fieldChannel, changing(op("file.slot", "Ask where to upload a file", "The answer has a signed address: PUT exactly size bytes there within the hour. Then name the file in an attachment of a message, as {\"file\":\"…\"}; a file that is not attached within a day is removed. Place, time and device are removed from pictures and videos.", (*API).fileSlot))),
		byKey(hooks.ScopeChannel, fieldChannel, op("file.link", "Ask for a link to a file", "Of a message that one sees, or an own file (then without room, user and seq), of a post of a channel, of what its followers write to it and it answers, or of the picture of a profile or channel that one sees. The link works for a few minutes, for whoever has it, and does not tell whose the file is. Who was given a link may attach the file to messages of its own for a day.", (*API).fileLink)),
	}
}

type fileSlotIn struct {
	Type string `json:"type" doc:"The media type, such as image/jpeg; application/octet-stream for what has none."`
	Size int64  `json:"size" doc:"Bytes."`

	Channel string `json:"channel,omitempty" doc:"With a key of a channel: that channel. The file is of the publisher who made the key."`
}

type fileSlotOut struct {
	File    string     `json:"file" doc:"The file's identifier."`
	Upload  string     `json:"upload" doc:"PUT the bytes here."`
	Expires *time.Time `json:"expires" doc:"When the address ends."`
}

var errNoFiles = notFound("this server keeps no files")

func (a *API) fileSlot(ctx context.Context, c *caller, in *fileSlotIn) (*fileSlotOut, error) {
	if a.cfg.Files == nil {
		return nil, errNoFiles
	}
	if in.Channel != "" {
		if _, err := a.published(c, in.Channel, store.RoleMember); err != nil {
			return nil, err
		}
	}
	s, err := a.cfg.Files.Slot(ctx, c.account.ID, in.Type, in.Size)
	if err != nil {
		return nil, err
	}
	return &fileSlotOut{File: s.File, Upload: s.Upload, Expires: at(s.Expires.UnixMilli())}, nil
}

type fileLinkIn struct {
	Conversation
	Seq     store.Seq `json:"seq,omitempty" doc:"The message that holds the file."`
	Channel string    `json:"channel,omitempty" doc:"A channel: with seq and file a file of a post, alone its picture."`
	Ads     bool      `json:"ads,omitempty" doc:"The post is one of the channel's advertising."`
	Ask     bool      `json:"ask,omitempty" doc:"Not a post, but a message of the own conversation with the channel: one that came on, or went to, channel/{channel}/ask/…"`
	Thread  string    `json:"thread,omitempty" doc:"Not a post, but a message of a follower's conversation with the channel, for its publishers: the pseudonym in thread/{channel}/{pseudonym}/…"`
	Profile string    `json:"profile,omitempty" doc:"A user, for the picture of its profile; then nothing else."`
	File    string    `json:"file,omitempty" doc:"The file's identifier."`
}

type fileLinkOut struct {
	URL     string     `json:"url" doc:"GET the bytes here; ranges are served."`
	Thumb   string     `json:"thumb,omitempty" doc:"A JPEG of at most 320 pixels; of pictures."`
	Type    string     `json:"type" doc:"The media type."`
	Size    int64      `json:"size" doc:"Bytes."`
	Width   int        `json:"width,omitempty" doc:"Pixels, before the orientation of a JPEG is applied."`
	Height  int        `json:"height,omitempty" doc:"The same."`
	Expires *time.Time `json:"expires" doc:"When the addresses end."`
}

// check refuses what does not go together.
func (in *fileLinkIn) check() error {
	switch thread := in.Ask || in.Thread != ""; {
	case in.Channel != "" && (in.Profile != "" || in.Room != "" || in.User != ""):
		return store.Bad("channel stands alone, or with seq and file")
	case thread && in.Channel == "":
		return store.Bad("ask and thread need channel")
	case thread && (in.Ads || in.Ask && in.Thread != ""):
		return store.Bad("ads, ask and thread do not go together")
	case thread && (in.Seq == 0 || in.File == ""):
		return store.Bad("ask and thread need seq and file")
	case in.Profile != "" && (in.File != "" || in.Seq != 0 || in.Room != "" || in.User != ""):
		return store.Bad("profile stands alone")
	}
	return nil
}

func (a *API) fileLink(ctx context.Context, c *caller, in *fileLinkIn) (*fileLinkOut, error) {
	if a.cfg.Files == nil {
		return nil, errNoFiles
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	if in.Channel != "" && in.Seq == 0 && in.File == "" {
		return a.pictureOf(ctx, c, in.Channel)
	}
	if in.Profile != "" {
		l, err := a.profilePicture(ctx, c, in.Profile)
		return shownLink(l), err
	}
	id, err := name("file", in.File)
	if err != nil {
		return nil, err
	}
	var l files.Link
	switch {
	case in.Channel != "":
		extra, missing := a.channelExtra(c, in)
		if missing != nil {
			return nil, missing
		}
		l, err = a.cfg.Files.LinkOf(ctx, c.account.ID, extra, id)
	case in.Room == "" && in.User == "":
		l, err = a.cfg.Files.LinkOwn(ctx, c.account.ID, id)
	default:
		info, _, missing := a.find(c.account.ID, in.Conversation)
		if missing != nil {
			return nil, missing
		}
		l, err = a.cfg.Files.Link(ctx, c.account.ID, info.ID, in.Seq, id)
	}
	if err != nil {
		return nil, err
	}
	return shownLink(l), nil
}

// channelExtra has the attachments of a channel's post, or of a message between it and a follower, as the caller gets them.
func (a *API) channelExtra(c *caller, in *fileLinkIn) ([]byte, error) {
	if !in.Ask && in.Thread == "" {
		_, r, err := a.postOf(c, in.Channel, in.Ads, in.Seq)
		if err != nil {
			return nil, err
		}
		return r.Extra, nil
	}
	channel, err := name("channel", in.Channel)
	if err != nil {
		return nil, err
	}
	pseudonym := ""
	if in.Thread != "" {
		if pseudonym, err = name("thread", in.Thread); err != nil {
			return nil, err
		}
	}
	return a.broker.Access().ThreadExtra(c.account.ID, channel, pseudonym, in.Seq)
}

func shownLink(l files.Link) *fileLinkOut {
	return &fileLinkOut{URL: l.URL, Thumb: l.Thumb, Type: l.Type, Size: l.Size, Width: l.Width, Height: l.Height, Expires: at(l.Expires.UnixMilli())}
}
