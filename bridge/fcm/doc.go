// Package fcm carries pushes to Android phones through Firebase Cloud Messaging, its HTTP v1 interface:
// https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
//
// Send makes one POST and no second one, over one HTTP/2 connection, with so many in flight at most, and answers within
// 10 seconds. A proxy that HTTPS_PROXY names is used. The library underneath would repeat a POST up to four times and hides
// what the server answered: see attempt.go for how neither happens. Messages are data only and not collapsible: the app
// groups them by conversation, and drops what is not newer than what it shows.
//
// It starts no goroutine of its own; the connection's are ended by Close.
package fcm
