package api

import (
	"context"
	"time"

	"github.com/hwangso/hwangso/broker/files"
	"github.com/hwangso/hwangso/store"
)

// fileOperations are those on photos, videos and documents.
func fileOperations() []operation {
	return []operation{
		changing(op("file.slot", "Ask where to upload a file", "The answer has a signed address: PUT exactly size bytes there within the hour. Then name the file in an attachment of a message, as {\"file\":\"…\"}; a file that is not attached within a day is removed. Place, time and device are removed from pictures and videos.", (*API).fileSlot)),
		op("file.link", "Ask for a link to a file", "Of a message that one sees, or an own file (then without room, user and seq), of a post of a channel, or of the picture of a profile or channel that one sees. The link works for a few minutes, for whoever has it. Who was given a link may attach the file to messages of its own for a day.", (*API).fileLink),
	}
}

type fileSlotIn struct {
	Type string `json:"type" doc:"The media type, such as image/jpeg; application/octet-stream for what has none."`
	Size int64  `json:"size" doc:"Bytes."`
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

func (a *API) fileLink(ctx context.Context, c *caller, in *fileLinkIn) (*fileLinkOut, error) {
	if a.cfg.Files == nil {
		return nil, errNoFiles
	}
	if in.Channel != "" && (in.Profile != "" || in.Room != "" || in.User != "") {
		return nil, store.Bad("channel stands alone, or with seq and file")
	}
	if in.Channel != "" && in.Seq == 0 && in.File == "" {
		return a.pictureOf(ctx, c, in.Channel)
	}
	if in.Profile != "" {
		if in.File != "" || in.Seq != 0 || in.Room != "" || in.User != "" {
			return nil, store.Bad("profile stands alone")
		}
		l, err := a.profilePicture(ctx, c, in.Profile)
		return shownLink(l), err
	}
	id, err := name("file", in.File)
	if err != nil {
		return nil, err
	}
	var l files.Link
	if in.Channel != "" {
		_, r, err := a.postOf(c, in.Channel, in.Ads, in.Seq)
		if err != nil {
			return nil, err
		}
		if l, err = a.cfg.Files.LinkOf(ctx, c.account.ID, r.Extra, id); err != nil {
			return nil, err
		}
		return shownLink(l), nil
	}
	if in.Room == "" && in.User == "" {
		l, err = a.cfg.Files.LinkOwn(ctx, c.account.ID, id)
	} else {
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

func shownLink(l files.Link) *fileLinkOut {
	return &fileLinkOut{URL: l.URL, Thumb: l.Thumb, Type: l.Type, Size: l.Size, Width: l.Width, Height: l.Height, Expires: at(l.Expires.UnixMilli())}
}
