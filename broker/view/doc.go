// Package view turns records into the payloads that devices receive, and the payloads that devices send into contents
// and operations. Everything is a pure function: no goroutine, no clock, no input or output, no state. What is
// returned or appended belongs to the caller.
//
// # Views
//
// The last level of a topic names the encoding: text (the body only), line ("alice: hi", for terminals), json and
// cbor (the envelope), batch (one CBOR array of envelopes). line and batch exist for deliveries only.
//
// # Envelope
//
// One map per record. JSON uses the letter, CBOR the number; absent means the default; receivers ignore keys they do
// not know. CBOR is deterministic (RFC 8949, section 4.2.1): definite lengths, shortest numbers, keys in order.
//
//	s  0  sequence in this conversation. Always there.
//	f  1  sender, by identifier; absent: the server, or a user who is gone
//	t  2  server time of the commit, Unix milliseconds
//	i  3  cid, the sender's own id of the message. One that is not of the identifier alphabet (MQTT 5 Correlation
//	      Data) is shown as base64url without padding
//	b  4  body, a text
//	k  5  kind: image, video, audio, file, poll, location, link, coupon, gift, system, notice; absent: text
//	r  6  sequence of the message this one answers
//	m  7  mentions: identifiers, and "@all"
//	a  8  attachments: maps, opaque to the server. In JSON a byte string is base64url without padding
//	l  9  link, of kind link: what the receiving device opens, of its own system alone. See Link
//	x 10  what happened, see below
//	w 11  true: the sender is a stranger to this receiver, who is shown a warning
//	u 12  members who have not read this message, its sender not counted, at the moment of delivery; absent: 0
//	g 13  [from, to]: the sequences just before this one that this receiver does not get
//	e 14  expiry, Unix milliseconds; absent: none
//	h 15  epoch; absent: 1
//	d 16  true: one of a channel's advertising, which has sequences apart from the notices on the same topic
//
// w, u and g differ between receivers: see Own.
//
// # What happened: x
//
// A map with the keys op/0, s/1, who/2, role/3, title/4, at/5, room/6, device/7, channel/8, of which op is always there. s is a
// sequence of the same conversation.
//
// An operation is a message of its own, with a sequence of its own, on an earlier message s:
//
//	{"s":15,"f":"alice","t":…,"b":"new text","x":{"op":"edit","s":12}}
//	{"s":16,"f":"alice","t":…,"x":{"op":"recall","s":12}}
//	{"s":17,"f":"bob","t":…,"b":"👍","x":{"op":"react","s":12}}      likewise unreact, without b: pin, unpin
//
// A message that operations have changed before this device got it tells so by an x whose s is its own sequence.
// Whoever applies operations to the message s is right without a special case:
//
//	{"s":12,"f":"alice","t":…,"b":"new text","x":{"op":"edit","s":12,"at":15}}   the text is that of 15
//	{"s":12,"f":"alice","t":…,"x":{"op":"recall","s":12}}                         taken back: no b, k, r, m, a, l
//
// A change of the conversation has kind system. f did it and may be absent; who is whom it is about:
//
//	joined   who joined by itself, or was brought in by another f; role
//	left     who left
//	removed  who was removed by f
//	role     who has role now: member, moderator or owner
//	title    the title is now title, which may be ""
//	locked   only moderators and the owner write now; unlocked ends it
//	slow     a member writes once in at seconds now; without at: as it likes
//	muted    who may not write, until at (Unix milliseconds; absent: without end); unmuted ends it
//
// In an open room f, who and m are the room's own ids of members, "~" and 16 letters; the line and text views show their
// nicknames. i is told to the sender alone.
//
// A notice to one user's devices has kind notice, and op is one of the constants Notice…: see Notice.
//
// # Publishing a message
//
// To …/text: the payload is the text. To …/json and …/cbor: a map with the keys above, of which b, k, r, m, a and e
// are read. Everything else the server sets itself (what stands there is ignored), but x is refused: operations go to
// …/edit. See ParseJSON for the rules and limits.
//
// What a channel's publisher sends to its followers is held to more: see CheckPost. The control API takes posts as Post.
//
// # Publishing an operation
//
// To …/edit, in one of four forms, told apart by the first byte:
//
//	edit 12 new text                          for people; recall 12 · react 12 👍 · unreact 12 👍 · pin 12 · unpin 12
//	{"op":"edit","s":12,"b":"new text"}       JSON
//	{10:"edit",0:12,4:"new text"}             CBOR
//	{"x":{"op":"edit","s":12},"b":"new text"} as it is received, in JSON or CBOR
//
// # Reading and typing
//
// To …/read: the sequence read up to, as decimal digits (which is a JSON number) or as a CBOR unsigned integer. Down
// comes AppendMarks. To …/typing: anything, ignored, at most 64 bytes.
//
// # Outcomes
//
// On reply/{cid}: one JSON object, see Outcome.
package view
