// Package policy decides who may do what: pure functions from facts to an outcome. It looks nothing up, so that every
// combination of facts can be tested; gathering the facts is package hooks' part.
//
// Six questions, one function each:
//
//	Send        may A write to B?
//	Invite      what happens when A invites I into a room?
//	GroupView   what does member M see of A's message in a group?
//	Visible     which profile, presence, receipts, typing of B does A see?
//	Channel     does this channel post reach this follower?
//	JoinOpen,   may they join, may they write in an open room?
//	SendOpen
//
// testdata/policy.tsv holds every combination of the facts and its outcome; each row is a test. Two properties stand
// above the rows: nobody can tell from an answer that they are blocked, and a stranger cannot tell who exists without
// spending a budget.
//
// "Friend" always means one direction: bHasA is "A is among B's friends". All facts about the other side's edges are as
// they were before the other side blocked the asker: blocking freezes them for every answer.
package policy
