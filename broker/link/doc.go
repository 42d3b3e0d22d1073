// Package link is messages from other people's apps: who such an app is, with what consent it sends for a user, what its
// messages may open, and what it learns of them.
//
// # What it promises
//
//   - An app is known before it sends: its name and icon, its domains, the schemes that start it and its place in stores.
//     Unless Config.Open says otherwise an operator approves them, at first and whenever they grow. Links of an app that is
//     suspended or removed are refused, and those that were sent show no actions.
//   - An app's key is part of a program that anybody can take apart. It is no secret and opens nothing: it only names the
//     app. What lets an app send is a ticket that the user's own device asks for: 128 random bits, kept as a hash, good for
//     ten minutes and one message into one conversation of that user. However often, in parallel and across crashes a ticket
//     is shown with the same message, the message is sent once and the answer is the first one; with another message it is
//     refused.
//   - The app learns that its message was sent and when. Not who the user is, into which conversation, or why the rules
//     refused it.
//   - Every address is checked before it is stored (see webURL), and a refusal names the target. What a device gets is for
//     its own system alone: package view chooses, at delivery.
//   - A link that is forwarded keeps its app and its targets, checked anew, and nothing of where it came from.
//   - Sent and opened links are counted per app and day. Apps see days that have ended, rounded as a brand's numbers are. The
//     counts of the last second before a crash may be lost.
//
// # Rows
//
//	service.app         the app (package graph)
//	user.app            which apps are a user's (package graph)
//	service.linkticket  by the ticket's hash: whose it is. A day
//	user.linkticket     by the ticket's hash: for what it is good, and what became of it. A day
//	user.linkopened     by log and sequence: the user has opened this link. A year
//	service.linkcount   by app and day: how many were sent and opened. 400 days
//
// # Goroutines
//
//	who     how many                                  ended by
//	counts  one per Service: writes counts that grow  Close
//
// Its queue is a map with one entry per app and day, so it cannot grow beyond the apps there are.
package link
