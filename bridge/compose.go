package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

const (
	clearLasts  = 24 * time.Hour // a provider keeps a push so long that only takes something away, or tells a number
	mostText    = 2048           // bytes of one message, and of one name: providers take 4,096 in all
	mostName    = 256
	oneSummary  = "summary"  // Push.Collapse of all summaries of a device
	oneRequests = "requests" // and of all that tell of the request box
)

// compose makes the push for a verdict that rings or clears. What it shows is decided by the user's preview of the
// conversation: hidden is neither a name, a room nor a text in any field; sender is who has written, and where; full is
// what. A stranger's message is told by a fixed text without anything that the stranger has chosen.
func (b *Bridge) compose(ctx context.Context, k key, st *state, v verdict, r *graph.Registration, now time.Time) (*push.Push, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	account, err := b.store.Account(k.account)
	if err != nil {
		return nil, err
	}
	lang := view.ParseLang(account.Language)
	p := &push.Push{To: *r, Class: v.class, Expires: now.Add(b.cfg.TTL), ID: push.NewID(k.device, k.log, v.upto, v.kind)}
	n := &p.Note
	n.Kind, n.Silent, n.Count, n.Epoch = v.kind, v.silent, v.count, b.store.Epoch()
	_, n.Plain = view.PushText(lang, push.KeyNew, nil)
	if n.Badge, err = b.badge(k.account, now); err != nil {
		return nil, err
	}
	switch v.kind {
	case push.KindClear:
		p.Collapse, p.Expires, n.Seq = collapse(k, st), now.Add(clearLasts), max(st.Shown, v.upto)
		n.Thread = push.Thread(k.account, k.log)
		if k.log == 0 {
			p.Collapse, n.Thread, n.Seq = oneSummary, "", 0
		}
		return p, nil
	case push.KindSummary:
		p.Collapse, p.Expires = oneSummary, now.Add(clearLasts)
		say(n, lang, push.KeySummary, strconv.Itoa(v.count))
		if v.count == 1 {
			say(n, lang, push.KeyNew)
		}
	case push.KindRequests:
		p.Collapse = oneRequests
		say(n, lang, push.KeyRequests)
	default:
		if err := b.tell(p, k, st, v, lang, now); err != nil {
			return nil, err
		}
	}
	if st.Bare {
		p.Note = n.Bare()
	}
	return p, nil
}

// say sets a text, as a key and as words.
func say(n *push.Note, lang view.Lang, key string, args ...string) {
	n.Key, n.Args = key, args
	n.Title, n.Body = view.PushText(lang, key, args)
}

// tell fills in a push about messages of one conversation, or a notice.
func (b *Bridge) tell(p *push.Push, k key, st *state, v verdict, lang view.Lang, now time.Time) error {
	n, r := &p.Note, v.newest
	n.Thread, n.Seq = push.Thread(k.account, k.log), r.Seq
	p.ID = push.NewID(k.device, k.log, r.Seq, v.kind)
	p.Collapse = n.Thread
	switch {
	case v.begins:
		p.Collapse = single(k, r.Seq)
	case r.Recalled, r.Seq <= st.Shown:
		// It tells of nothing newer than what is shown, so it must not pass for a repeat of that.
		n.Seq, p.ID = max(v.upto, r.Seq), push.NewID(k.device, k.log, v.upto, v.kind+"/again")
		p.Collapse = collapse(k, st)
	}
	if v.kind == push.KindNotice {
		say(n, lang, push.KeyDevice)
		return nil
	}
	info, err := b.store.Info(k.log)
	if err != nil {
		return err
	}
	preview, err := b.previewOf(k.account, info)
	if err != nil {
		return err
	}
	count := strconv.Itoa(v.count)
	several := v.kind == push.KindMessages
	switch {
	case r.Recalled:
		say(n, lang, push.KeyRecalled)
	case preview == graph.PreviewHidden && several:
		say(n, lang, push.KeyNews, count)
	case preview == graph.PreviewHidden:
		say(n, lang, push.KeyNew)
	case r.Warn:
		say(n, lang, push.KeyStranger)
	default:
		t, err := b.talk(k.account, info, now)
		if err != nil {
			return err
		}
		return b.words(n, t, r, lang, preview, several, count)
	}
	if !r.Warn && preview != graph.PreviewHidden {
		n.Room, err = b.topic(k.account, info)
	}
	return err
}

// words fills in who has written, where and what.
func (b *Bridge) words(n *push.Note, t *talk, r *store.Record, lang view.Lang, preview graph.Preview, several bool, count string) (err error) {
	if n.Room, err = b.topic(t.me, t.info); err != nil {
		return err
	}
	who, err := b.called(t, r.Sender, lang)
	if err != nil {
		return err
	}
	if t.thread() && t.me != t.info.Key.A && preview != graph.PreviewFull {
		if several {
			say(n, lang, push.KeyAsks, count, who)
		} else {
			say(n, lang, push.KeyAsk, who)
		}
		return nil
	}
	room, named := "", false // a room without a title is told of by its members' names
	if t.info.Key.Kind == store.LogRoom {
		room = push.Cut(view.Clean([]byte(t.info.Title)), mostName)
		named = room != ""
	}
	if preview != graph.PreviewFull {
		switch {
		case several && named:
			say(n, lang, push.KeyCount, count, room)
		case several && t.info.Key.Kind != store.LogRoom:
			say(n, lang, push.KeyCount, count, who)
		case several:
			say(n, lang, push.KeyNews, count)
		case named:
			say(n, lang, push.KeyFromIn, who, room)
		default:
			say(n, lang, push.KeyFrom, who)
		}
		return nil
	}
	key, text := kinds[r.Kind], push.Cut(view.Clean(view.LinkLine(r)), mostText)
	if key == "" {
		key = push.KeyText
	}
	switch {
	case several && r.Kind != store.KindText:
		text = push.Cut(view.KindWord(lang, r), mostText)
		fallthrough
	case several:
		if named {
			say(n, lang, push.KeyLatestIn, count, who, room, text)
		} else {
			say(n, lang, push.KeyLatest, count, who, text)
		}
	case named:
		say(n, lang, push.KeyIn(key), who, room, text)
	default:
		say(n, lang, key, who, text)
	}
	return nil
}

// kinds are the keys of what was written.
var kinds = map[store.Kind]string{
	store.KindText: push.KeyText, store.KindImage: push.KeyImage, store.KindVideo: push.KeyVideo, store.KindAudio: push.KeyAudio,
	store.KindFile: push.KeyFile, store.KindPoll: push.KeyPoll, store.KindLocation: push.KeyLocation, store.KindLink: push.KeyLink,
	store.KindCoupon: push.KeyCoupon, store.KindGift: push.KeyGift,
}

// topic is the conversation's topic as its user sees it, without the view; "" of none.
func (b *Bridge) topic(a store.AccountID, info store.LogInfo) (string, error) {
	switch info.Key.Kind {
	case store.LogRoom:
		return "room/" + info.Key.Name, nil
	case store.LogPair:
		peer, err := b.store.Account(info.Key.Peer(a))
		if store.CodeOf(err) == store.CodeNotFound {
			return "", nil
		}
		return "user/" + peer.Name, err
	case store.LogThread:
		return b.threadTopic(a, info)
	}
	return "", nil
}

// called is what the user knows somebody by: in an open room the nickname, whoever it is.
func (b *Bridge) called(t *talk, who store.AccountID, lang view.Lang) (string, error) {
	if t.thread() {
		return b.threadName(t.info)
	}
	name := ""
	if t.open {
		m, err := b.graph.RoomMember(t.info.ID, who)
		if err != nil {
			return "", err
		}
		name = m.Nick
	} else if who != 0 {
		a, err := b.store.Account(who)
		if err != nil && store.CodeOf(err) != store.CodeNotFound {
			return "", err
		}
		name = a.Shown()
	}
	if name = push.Cut(view.Clean([]byte(name)), mostName); name == "" {
		name = view.Nobody(lang)
	}
	return name, nil
}

// collapse is what the push has replaced that is shown now: the first one of a run stands for itself, later ones for the
// conversation.
func collapse(k key, st *state) string {
	if st.Window <= 1 {
		return single(k, st.Shown)
	}
	return push.Thread(k.account, k.log)
}

// single is what the push of one message collapses by.
func single(k key, seq store.Seq) string {
	var b [24]byte
	binary.BigEndian.PutUint64(b[:], uint64(k.account))
	binary.BigEndian.PutUint64(b[8:], uint64(k.log))
	binary.BigEndian.PutUint64(b[16:], uint64(seq))
	sum := sha256.Sum256(b[:])
	return "m" + hex.EncodeToString(sum[:10])
}
