// Package bridge wakes devices that are away: a reader of the journal that decides, per device and message, whether a
// phone rings, when, and with what, and gives that to the providers.
package bridge
