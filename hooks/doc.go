// Package hooks answers three questions about a client: who is it, what is
// this topic, and may it.
//
// # Topics
//
// ParsePublish reads a topic that a client publishes to, ParseFilter a topic
// filter, Select chooses the view in which a device receives a log, and
// AppendDelivery writes the topic of a delivery. The grammar is one table
// (grammar.go); what is not in it cannot be published to or subscribed.
// Filters select and never grant, so parsing needs no directory.
//
// Matching is linear in the topic and takes no trie: a device has few filters,
// and a trie is what deep filters stall. Parsing and matching allocate nothing
// but errors and, for upper case, a name.
//
// # Identity
//
// An Authenticator turns credentials into an Identity: the tokens of the
// directory, and the JWTs of outside identity providers. A device token opens
// its one device, an account token and a JWT any client identifier of the user.
// A client identifier names a device within its user, so two users may use the
// same one without meeting. Secrets print as stars.
//
// # Access
//
// Access gathers the facts about who wants to publish where, asks package
// policy, and returns either what an append needs to know or the refusal to
// tell. Nothing else in the server decides who may write to whom.
//
// Package mochihook offers all three to a plain mochi server.
//
// The package starts no goroutines, logs nothing and keeps no state.
package hooks
