// Package egress is for whatever speaks to hosts that strangers have chosen: the addresses of push subscriptions and of
// webhooks. Whoever gives such an address must not make the server speak to what only the server can reach: itself, its
// neighbours, the metadata service of its cloud.
//
// A Guard looks twice: at what was given (Check, Parse), so that who gives it is told, and at every address that a name was
// resolved to, when the connection is made (Control), since a name may mean another address by then. Who uses it follows no
// redirects and no proxy of the environment, for the guard sees neither.
//
// Hosts bounds what is under way to each host, so that one that answers slowly keeps others from nothing.
//
// It starts no goroutine.
package egress
