package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A block must not be noticed. The same play runs twice, with and without bob blocking alice for a while in its middle, and
// alice's devices must receive the same bytes: deliveries, acknowledgements with their reason codes, answers of the API. What
// bob does himself towards alice while he blocks her is in neither of the two, because he cannot do it.
//
// HWANGSO_PLAYS=100 go test -run TestBlockIsNotNoticed . plays more of them.
func TestBlockIsNotNoticed(t *testing.T) {
	plays := 4
	if s := os.Getenv("HWANGSO_PLAYS"); s != "" {
		var err error
		if plays, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for seed := range uint64(plays) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel() // what takes time is waiting
			open, blocked := play(t, seed, false), play(t, seed, true)
			if len(open) != len(blocked) {
				t.Fatalf("%d scenes without a block, %d with it", len(open), len(blocked))
			}
			frames := 0
			for i := range open {
				if open[i].what != blocked[i].what {
					t.Fatalf("the plays differ: %s, %s", open[i].what, blocked[i].what)
				}
				frames += len(open[i].seen)
				if a, b := strings.Join(open[i].seen, "\n"), strings.Join(blocked[i].seen, "\n"); a != b {
					t.Errorf("scene %d (%s) tells alice of the block:\nwithout it\n%s\nwith it\n%s", i, open[i].what, a, b)
				}
			}
			if frames < 200 {
				t.Errorf("alice received %d packets: too few to say anything", frames)
			}
		})
	}
}

// scene is one thing that happens, and what alice's devices and requests have received meanwhile.
type scene struct {
	what string
	seen []string
}

// stagehand moves a play on.
type stagehand struct {
	*stage
	t       *testing.T
	random  *rand.Rand
	alice   [2]*actor
	bob     *actor
	blocked bool // bob keeps away from alice, whether he really blocks her or not
	cids    int
	mine    []int // sequences of alice's messages to bob
	since   int   // how many of them there were when the block ended
	his     []int // and of bob's
	group   []int // of messages in the room
	rooms   int
}

const (
	scenes      = 90
	blockBegins = 30
	blockEnds   = 70
)

// play runs one play and returns what alice saw of it.
func play(t *testing.T, seed uint64, block bool) []scene {
	s := newStage(t, "alice", "bob", "carol")
	s.friends([2]string{"alice", "bob"}, [2]string{"alice", "carol"}, [2]string{"bob", "carol"})
	p := &stagehand{stage: s, t: t, random: rand.New(rand.NewPCG(seed, 7))}
	p.alice = [2]*actor{s.device("alice", "phone", 4), s.device("alice", "tablet", 5)}
	p.bob = s.device("bob", "phone", 4)
	for _, d := range []*actor{p.alice[0], p.alice[1], p.bob} {
		d.connect(false)
	}
	p.alice[0].subscribe("#")
	p.alice[1].subscribe("user/+/cbor", "room/+/line", "user/+/typing/+", "user/+/read", "room/+/read", "notice/json", "reply/#", "presence/+")
	p.bob.subscribe("user/+/json", "room/+/json")
	s.does("alice", "room.create", `{"room":"g","title":"three"}`)
	for _, who := range []string{"bob", "carol"} {
		s.does(who, "settings.set", `{"invitations":"anyone"}`)
	}
	s.does("alice", "room.invite", `{"room":"g","users":["bob","carol"]}`)
	for _, who := range []string{"bob", "carol"} {
		s.does(who, "settings.set", `{"invitations":"ask"}`)
	}
	var out []scene
	for i := range scenes {
		var answers []string
		what := ""
		switch i {
		case blockBegins:
			what, p.blocked = "bob blocks alice", true
			if block {
				s.does("bob", "block.set", `{"user":"alice"}`)
			}
		case blockEnds:
			what, p.blocked, p.since = "bob unblocks alice", false, len(p.mine)
			if block {
				s.does("bob", "block.set", `{"user":"alice","on":false}`)
			}
		default:
			what, answers = p.scene()
		}
		s.settle(p.alice[0], p.alice[1])
		for _, d := range p.alice {
			for _, f := range d.take() {
				answers = append(answers, d.id+" "+f)
			}
		}
		out = append(out, scene{what, answers})
		s.pass(time.Duration(1+p.random.IntN(5000)) * time.Millisecond)
	}
	return out
}

// pick is a random element, 0 if there is none.
func (p *stagehand) pick(of []int) int {
	if len(of) == 0 {
		return 0
	}
	return of[p.random.IntN(len(of))]
}

// from is the device of alice's that acts: a random one that is connected.
func (p *stagehand) from() *actor {
	if d := p.alice[p.random.IntN(2)]; d.conn != nil {
		return d
	}
	for _, d := range p.alice {
		if d.conn != nil {
			return d
		}
	}
	p.alice[0].connect(false)
	return p.alice[0]
}

func (p *stagehand) cid() string {
	p.cids++
	return fmt.Sprint("c", p.cids)
}

// newest is the head of a conversation as the server knows it.
func (p *stagehand) newest(user, where string) int {
	p.t.Helper()
	items, _ := p.does(user, "room.history", `{`+where+`,"limit":1}`)["items"].([]any)
	if len(items) == 0 {
		return 0
	}
	return int(items[0].(map[string]any)["s"].(float64))
}

// scene does one random thing and returns what it was, with the answers of alice's requests.
func (p *stagehand) scene() (what string, answers []string) {
	s := p.stage
	say := func(to *[]int, where string) {
		*to = append(*to, p.newest("alice", where))
	}
	ask := func(op, body string) {
		what = "alice asks " + op
		answers = append(answers, "answer "+s.ask("alice", op, body))
	}
	switch n := p.random.IntN(26); n {
	case 0, 1, 2, 3:
		d := p.from()
		what = "alice writes to bob from " + d.id
		d.publish("user/bob/text/"+p.cid(), "hello "+fmt.Sprint(p.cids))
		say(&p.mine, `"user":"bob"`)
	case 4:
		what = "alice answers a message of bob's"
		p.from().publish("user/bob/json/"+p.cid(), fmt.Sprintf(`{"b":"yes","r":%d}`, max(1, p.pick(p.his))))
		say(&p.mine, `"user":"bob"`)
	case 5, 6, 7, 8:
		verb := []string{"edit %d better", "recall %d", "react %d 👍", "pin %d"}[n-5]
		of := p.mine
		if n > 6 && len(p.his) > 0 {
			of = p.his
		}
		what = "alice: " + verb
		p.from().publish("user/bob/edit/"+p.cid(), fmt.Sprintf(verb, max(1, p.pick(of))))
	case 9:
		what = "alice types"
		p.from().publish("user/bob/typing", "")
	case 10:
		what = "alice reads"
		p.from().publish("user/bob/read", fmt.Sprint(max(1, p.pick(p.mine))))
	case 11, 12:
		what = "alice writes in the room"
		p.from().publish("room/g/text/"+p.cid(), "all "+fmt.Sprint(p.cids))
		say(&p.group, `"room":"g"`)
	case 13:
		what = "bob writes in the room"
		s.does("bob", "message.send", `{"room":"g","text":"from bob"}`)
		say(&p.group, `"room":"g"`)
	case 14:
		who := []string{"bob", "carol"}[p.random.IntN(2)]
		what = who + " reads the room"
		if head := p.newest("alice", `"room":"g"`); head > 0 {
			s.does(who, "read.set", fmt.Sprintf(`{"room":"g","seq":%d}`, head))
		}
	case 15:
		what = "alice reacts in the room"
		p.from().publish("room/g/edit/"+p.cid(), fmt.Sprintf("react %d 👍", max(1, p.pick(p.group))))
	case 16:
		d := p.alice[1]
		if d.conn != nil {
			what = "alice's tablet goes"
			d.disconnect()
		} else {
			what = "alice's tablet comes back"
			d.connect(false)
		}
	case 17:
		if p.bob.conn != nil {
			what = "bob's phone goes"
			p.bob.disconnect()
		} else {
			what = "bob's phone comes back"
			p.bob.connect(false)
		}
	case 18:
		ops := [][2]string{{"profile.get", `{"user":"bob"}`}, {"room.list", ``}, {"contact.list", ``}, {"read.list", `{"user":"bob"}`},
			{"read.list", `{"room":"g"}`}, {"room.history", `{"user":"bob","limit":50}`}, {"room.history", `{"room":"g","limit":50}`},
			{"room.members", `{"room":"g"}`}, {"block.list", ``}, {"sync", ``}, {"request.list", ``}, {"user.find", `{"user":"bob"}`}}
		o := ops[p.random.IntN(len(ops))]
		ask(o[0], o[1])
	case 19:
		p.rooms++
		what = "alice invites bob into another room"
		ask("room.create", fmt.Sprintf(`{"room":"r%d"}`, p.rooms))
		ask("room.invite", fmt.Sprintf(`{"room":"r%d","users":["bob"]}`, p.rooms))
		ask("room.members", fmt.Sprintf(`{"room":"r%d"}`, p.rooms))
	case 20:
		what = "bob changes his profile"
		s.does("bob", "profile.set", fmt.Sprintf(`{"status":"busy %d","display":"Bob %d"}`, p.cids, p.cids))
	case 21:
		what = "alice asks a poll of bob"
		ask("poll.create", fmt.Sprintf(`{"user":"bob","question":"q","options":["a","b"],"cid":%q}`, p.cid()))
	default:
		if p.blocked {
			what = "bob keeps away"
			return what, answers
		}
		switch n {
		case 22, 23:
			what = "bob writes to alice"
			s.does("bob", "message.send", `{"user":"alice","text":"from bob"}`)
			say(&p.his, `"user":"bob"`)
		case 24:
			// What she wrote while he blocked her he does not read, in neither of the two plays, until there is something
			// newer: then he has read all of it.
			what = "bob reads what alice wrote"
			if n := len(p.mine); n > p.since {
				s.does("bob", "read.set", fmt.Sprintf(`{"user":"alice","seq":%d}`, p.mine[n-1]))
			}
		case 25:
			what = "bob reacts"
			if seq := p.pick(p.his); seq > 0 {
				s.does("bob", "message.react", fmt.Sprintf(`{"user":"alice","seq":%d,"emoji":"👀"}`, seq))
			}
		}
	}
	return what, answers
}
