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
// The package starts no goroutines.
package hooks
