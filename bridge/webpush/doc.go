// Package webpush carries pushes to browsers and, over UnifiedPush, to phones without Google: one sender for both (RFC
// 8030), with the payload encrypted for the subscription alone (RFC 8291) and signed with the installation's key (RFC
// 8292).
//
// The address of a subscription is chosen by the browser, so by anybody: this package is where strangers make the server
// speak to a host of theirs. Therefore https only, to port 443 or one from 1024 on; no address that is private, of this
// machine or special in another way, looked at when the connection is made, after the name was resolved; no redirects, no
// proxy of the environment; an answer's headers and body are limited, and none of its words repeated. A host has a share of
// the requests under way and no more, so that one that answers slowly keeps others from nothing.
//
// Send makes one request and no second one, and answers within 10 seconds.
//
// The encryption is written here, a hundred lines over the standard library, because github.com/SherClockHolmes/webpush-go
// signs every push anew where a signature holds for half a day, pads every payload to the full 4,096 bytes, and multiplies
// on curves by calls that the standard library has deprecated.
//
// It starts no goroutine of its own; those of its connections are ended by Close.
package webpush
