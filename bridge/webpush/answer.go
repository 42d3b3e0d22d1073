package webpush

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/hwangso/hwangso/bridge/egress"
	"github.com/hwangso/hwangso/bridge/push"
)

// answer says what a status means: RFC 8030, 5 and 7.3, RFC 8292, 4.2, and what push services make of them. The reason is
// a word of ours, since the server may be anybody's.
func answer(status int, h http.Header, now time.Time) push.Answer {
	a := push.Answer{Status: status, RetryAfter: push.RetryAfter(h, now)}
	switch {
	case status >= 200 && status < 300:
		a.Outcome, a.RetryAfter = push.Delivered, 0
	case status >= 300 && status < 400:
		a.Outcome, a.Reason = push.Blocked, "redirect"
	case status == http.StatusNotFound, status == http.StatusGone:
		a.Outcome, a.Reason = push.Gone, "gone"
	case status == http.StatusRequestEntityTooLarge:
		a.Outcome, a.Reason = push.TooLarge, "too_large"
	case status == http.StatusTooManyRequests:
		a.Outcome, a.Reason = push.DeviceBusy, "rate" // a subscription's: of other devices it says nothing
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		a.Outcome, a.Reason = push.Suspect, "vapid" // subscribed with another key; or the key is another one
	case status == http.StatusRequestTimeout, status >= 500:
		a.Outcome, a.Reason = push.Unavailable, "server"
	default:
		a.Outcome, a.Reason = push.Rejected, "request"
	}
	return a
}

// failed says why there is no answer. Neither the endpoint nor its address is in the error.
func failed(err error, otherwise push.Outcome) push.Answer {
	a := push.Answer{Outcome: otherwise, Reason: "connection", Err: errors.New("webpush: connection failed")}
	var (
		dns  *net.DNSError
		cert *tls.CertificateVerificationError
		no   syscall.Errno
		n    net.Error
	)
	switch {
	case errors.Is(err, egress.ErrBlocked):
		return push.Answer{Outcome: push.Blocked, Reason: "address", Err: egress.ErrBlocked}
	case errors.Is(err, context.Canceled):
		a.Reason, a.Err = "canceled", context.Canceled
	case errors.As(err, &dns):
		a.Reason, a.Err = "dns", errors.New("webpush: the name has no address")
	case errors.As(err, &cert):
		a.Reason, a.Err = "certificate", errors.New("webpush: the certificate is not believed")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &n) && n.Timeout():
		a.Reason, a.Err = "timeout", context.DeadlineExceeded
	case errors.As(err, &no):
		a.Err = no
	}
	return a
}
