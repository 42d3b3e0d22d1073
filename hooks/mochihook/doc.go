// Package mochihook serves users, topics and access of hwangso in a plain mochi-mqtt server: for those who have such a
// server and want rooms and 1:1 chat between known users on it.
//
// What holds as in hwangso: who may connect, client identifiers that belong to their user, the topic grammar, who may
// write to whom, filters that select and never grant (so that # is fine for everybody), the two names of a 1:1
// conversation (Alice writes to user/bob/text, Bob receives on user/alice/text), refusals that never disconnect and
// are told as a reason code (MQTT 5) or on reply/ (MQTT 3), no retained messages and no wills.
//
// What does not: a plain server keeps no log. Nothing is durable when it is acknowledged, there are no sequences,
// histories or read marks, a message reaches the filters that name the view it was published in, and No Local is not
// honoured. Channels and the control API do not exist. Use the broker itself for these.
//
// How: every user has a namespace of its own in the server's topic tree. Filters are put into the subscriber's
// namespace, a message is published once into that of each receiver, and the namespace is taken off again as the
// packet is written. So the server's own matching can never hand a message to somebody it is not for, and membership
// acts on the next message without a new SUBSCRIBE.
//
// The package starts no goroutines. A timer per session whose token expires ends the session; it is stopped with the
// session and with the server. Sessions are the only state, one entry per connection; nothing is queued here.
package mochihook
