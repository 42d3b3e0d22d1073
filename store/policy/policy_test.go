package policy

import (
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

var states = []store.AccountState{store.AccountOK, store.AccountLimited, store.AccountSuspended}

func TestOutcomeDenied(t *testing.T) {
	for _, o := range Outcomes {
		word, deny := strings.CutPrefix(string(o), "DENY:")
		if reason, denied := o.Denied(); denied != deny || deny && reason != word || !deny && reason != "" {
			t.Errorf("%s: %q, %v", o, reason, denied)
		}
	}
}

// told is what the sender is told of an outcome: a denial's reason, or that the message was taken.
func told(o Outcome) string {
	reason, _ := o.Denied()
	return reason
}

// A block must not be noticed: with and without it the sender is told the same in every state. That a message becomes a
// shadow must happen, or the property would hold of rules that ignore blocks.
func TestBlockCannotBeNoticedBySending(t *testing.T) {
	shadows := 0
	eachRow(t, func(table string, r row, _ string) {
		if table != "T1_send_1to1" {
			return
		}
		f := r.send()
		with := Send(f)
		f.BBlocksA = BlockNone
		without := Send(f)
		if told(with) != told(without) {
			t.Errorf("%+v: told %q, with the block of the row %q", f, told(without), told(with))
		}
		if with != without && with != Shadow {
			t.Errorf("%+v: the block turned %s into %s", f, without, with)
		}
		if with == Shadow && without != Shadow {
			shadows++
		}
	})
	if shadows != 2*(98+2+1) {
		t.Errorf("%d states are made shadows by a block", shadows)
	}
}

// A full request box must not be noticed either.
func TestFullRequestBoxCannotBeNoticed(t *testing.T) {
	eachRow(t, func(table string, r row, _ string) {
		if table != "T1_send_1to1" {
			return
		}
		f := r.send()
		f.RequestFull = false
		empty := Send(f)
		f.RequestFull = true
		if full := Send(f); told(full) != told(empty) {
			t.Errorf("%+v: told %q, with room in the box %q", f, told(full), told(empty))
		}
	})
}

// What an inviter may notice: where I lets friends or anyone bring it in at once, an invitation that waits tells
// something. Nowhere else.
func TestBlockCannotBeNoticedByInviting(t *testing.T) {
	seen := func(o Outcome) Outcome {
		if o == PendingShadow {
			return Pending
		}
		return o
	}
	noticed := make(map[InviteFacts]bool)
	eachRow(t, func(table string, r row, _ string) {
		if table != "T2_invite" {
			return
		}
		f := r.invite()
		f.IBlocksA = true
		with := seen(Invite(f))
		f.IBlocksA = false
		if without := seen(Invite(f)); with != without {
			if with != Pending || without != Join || f.IPolicy == InviteAsk || f.IPolicy == InviteNobody {
				t.Errorf("%+v: %s, with a block %s", f, without, with)
			}
			noticed[f] = true
		}
	})
	if len(noticed) != 3 {
		t.Errorf("%d states let an inviter notice a block, the rules know of 3: %v", len(noticed), noticed)
	}
}

// A stranger must not notice who exists: not by writing, as long as the budget is the only price, and under the default
// not by inviting.
func TestExistenceCannotBeNoticed(t *testing.T) {
	eachRow(t, func(table string, r row, _ string) {
		switch table {
		case "T1_send_1to1":
			f := r.send()
			f.BExists = false
			missing := Send(f)
			f.BExists = true
			there := Send(f)
			stranger := !f.BHasA && !f.BReplied
			if stranger && (!f.Budget || f.AState == store.AccountLimited || f.BPolicy == StrangersClosed) && told(missing) != told(there) {
				t.Errorf("%+v: told %q, of a missing user %q", f, told(there), told(missing))
			}
		case "T2_invite":
			f := r.invite()
			f.IPolicy = InviteAsk
			f.IExists = false
			missing := Invite(f)
			f.IExists = true
			if there := Invite(f); told(missing) != told(there) || missing == Join || there == Join {
				t.Errorf("%+v: %s, of a missing user %s", f, there, missing)
			}
		case "T4_visibility":
			f := r.visible()
			f.BHasA, f.Answered, f.SharedRoom, f.Findable = false, false, false, false
			f.BExists = false
			missing := Visible(f)
			f.BExists = true
			if there := Visible(f); there != missing {
				t.Errorf("%+v: %s, of a missing user %s", f, there, missing)
			}
		}
	})
}

// A block of messages changes nothing about the profile, a block never shows more, and to a stranger it shows nothing.
func TestBlockAndVisibility(t *testing.T) {
	eachRow(t, func(table string, r row, _ string) {
		if table != "T4_visibility" {
			return
		}
		f := r.visible()
		f.BBlocksA = BlockNone
		none := Visible(f)
		f.BBlocksA = BlockMessages
		messages := Visible(f)
		f.BBlocksA = BlockProfile
		profile := Visible(f)
		if messages.Profile != none.Profile {
			t.Errorf("%+v: profile %s, blocked %s", f, none.Profile, messages.Profile)
		}
		for _, v := range []Visibility{messages, profile} {
			if v.Presence || v.Receipts || v.Typing {
				t.Errorf("%+v: blocked, and sees %s", f, v)
			}
		}
		if !f.BHasA && !f.Answered && !f.SharedRoom && (none != messages || none != profile) {
			t.Errorf("%+v: a stranger sees the block: %s, %s, %s", f, none, messages, profile)
		}
	})
}

// Slow mode, lock and mute hold up members, never those who run the room.
func TestModeratorsAreNotStopped(t *testing.T) {
	for _, role := range []store.Role{store.RoleModerator, store.RoleOwner} {
		if got := SendOpen(OpenFacts{Role: role, Muted: true, Slow: true, Locked: true}); got != Deliver {
			t.Errorf("%v: %s", role, got)
		}
	}
}

// A value that is not listed must never open anything.
func TestUnknownWordsCloseRatherThanOpen(t *testing.T) {
	if got := Channel(ChannelFacts{State: "new", Following: true, InSegment: true, PushWanted: true}); got != DenyChannelSuspended {
		t.Errorf("a channel in an unknown state: %s", got)
	}
	if got := Invite(InviteFacts{Budget: true, AHasI: true, IExists: true, IPolicy: "new"}); got != Pending {
		t.Errorf("an unknown invitation policy: %s", got)
	}
	if got := Block(9).String(); got != "unknown" {
		t.Errorf("an unknown block is %q", got)
	}
}

// What spends is exactly what an empty budget would refuse.
func TestSpends(t *testing.T) {
	eachRow(t, func(table string, r row, _ string) {
		if table != "T1_send_1to1" {
			return
		}
		f := r.send()
		f.Budget = false
		without := Send(f)
		f.Budget = true
		with := Send(f)
		if f.Spends() != (without != with) {
			t.Errorf("%+v spends %v; with a budget %s, without %s", f, f.Spends(), with, without)
		}
	})
}

func TestWithinAConversation(t *testing.T) {
	eachRow(t, func(table string, r row, _ string) {
		if table != "T1_send_1to1" {
			return
		}
		f := r.send()
		for _, open := range []bool{false, true} {
			for _, self := range []bool{false, true} {
				act, read := ActPair(open, self, f), ReadPair(open, f.AState)
				wantAct, wantRead := Shadow, Deliver
				known := f.BHasA || f.BReplied
				switch {
				case f.AState == store.AccountSuspended:
					wantAct, wantRead = DenySuspended, DenySuspended
				case self && open:
					wantAct = Deliver
				case !self && f.ABlocksB:
					wantAct = DenyYouBlocked
				case !open, !self && !f.BExists, !self && !known && f.BPolicy == StrangersClosed:
					wantAct = DenyUnreachable
				case f.BBlocksA == BlockNone && !known && f.BPolicy == StrangersRequest:
					wantAct = Request
				case f.BBlocksA == BlockNone && !known && f.BPolicy == StrangersWarn:
					wantAct = DeliverWarn
				case f.BBlocksA == BlockNone:
					wantAct = Deliver
				}
				if !open && f.AState != store.AccountSuspended {
					wantRead = DenyUnreachable
				}
				if act != wantAct || read != wantRead {
					t.Errorf("open %v, self %v, %+v: act %s, want %s; read %s, want %s", open, self, f, act, wantAct, read, wantRead)
				}
			}
		}
	})
}

func TestWriteRoom(t *testing.T) {
	for _, state := range states {
		for _, role := range []store.Role{store.RoleNone, store.RoleMember, store.RoleModerator, store.RoleOwner} {
			want := Deliver
			if role == store.RoleNone {
				want = DenyNotMember
			}
			if state == store.AccountSuspended {
				want = DenySuspended
			}
			if got := WriteRoom(RoomFacts{state, role}); got != want {
				t.Errorf("%v, %v: %s, want %s", state, role, got, want)
			}
		}
	}
}
