package apns

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sideshow/apns2"

	"github.com/hwangso/hwangso/bridge/push"
)

// Reasons that Apple has added since apns2 was made.
const (
	reasonUnrelatedKey    = "UnrelatedKeyIdInToken"
	reasonKeyEnvironment  = "BadEnvironmentKeyIdInToken"
	reasonKeyEnvironment2 = "BadEnvironmentKeyInToken" // what the servers say, where the page has the other
)

// outcomes says what every reason comes to: those of Apple's page "Handling notification responses from APNs", table
// "Response error strings", in its order, and one that the servers say beside it.
var outcomes = map[string]push.Outcome{
	// 400: the request. What is wrong with it is wrong for ever, but for the two that are about the device token: a key, a
	// topic or an environment of ours that is wrong makes every token look so.
	apns2.ReasonBadCollapseID:          push.Rejected,
	apns2.ReasonBadDeviceToken:         push.Suspect,
	apns2.ReasonBadExpirationDate:      push.Rejected,
	apns2.ReasonBadMessageID:           push.Rejected,
	apns2.ReasonBadPriority:            push.Rejected,
	apns2.ReasonBadTopic:               push.Rejected,
	apns2.ReasonDeviceTokenNotForTopic: push.Suspect,
	apns2.ReasonDuplicateHeaders:       push.Rejected,
	apns2.ReasonIdleTimeout:            push.Unavailable, // of the connection, and nothing about this push
	apns2.ReasonInvalidPushType:        push.Rejected,
	apns2.ReasonMissingDeviceToken:     push.Rejected,
	apns2.ReasonMissingTopic:           push.Rejected,
	apns2.ReasonPayloadEmpty:           push.Rejected,
	apns2.ReasonTopicDisallowed:        push.Rejected,

	// 403: who we are.
	apns2.ReasonBadCertificate:            push.Denied,
	apns2.ReasonBadCertificateEnvironment: push.Denied,
	apns2.ReasonExpiredProviderToken:      push.Expired,
	apns2.ReasonForbidden:                 push.Denied,
	apns2.ReasonInvalidProviderToken:      push.Denied,
	apns2.ReasonMissingProviderToken:      push.Denied,
	reasonUnrelatedKey:                    push.Denied,
	reasonKeyEnvironment:                  push.Denied,
	reasonKeyEnvironment2:                 push.Denied,

	// 404, 405: the address and the method.
	apns2.ReasonBadPath:          push.Rejected,
	apns2.ReasonMethodNotAllowed: push.Rejected,

	// 410, with the time since when.
	apns2.ReasonExpiredToken: push.Gone,
	apns2.ReasonUnregistered: push.Gone,

	apns2.ReasonPayloadTooLarge: push.TooLarge, // 413

	// 429: the first is about our provider token, which stays as it is; the second about one device.
	apns2.ReasonTooManyProviderTokenUpdates: push.Busy,
	apns2.ReasonTooManyRequests:             push.DeviceBusy,

	// 500, 503: Apple.
	apns2.ReasonInternalServerError: push.Unavailable,
	apns2.ReasonServiceUnavailable:  push.Unavailable,
	apns2.ReasonShutdown:            push.Unavailable,
}

// outcomeOf is what a status and a reason come to. A reason that is not known, or none, says what its status does.
func outcomeOf(status int, reason string) push.Outcome {
	if status == http.StatusOK {
		return push.Delivered
	}
	if o, ok := outcomes[reason]; ok {
		return o
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return push.Denied
	case http.StatusGone:
		return push.Gone
	case http.StatusRequestEntityTooLarge:
		return push.TooLarge
	case http.StatusTooManyRequests:
		return push.Busy
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly:
		return push.Unavailable
	}
	switch {
	case status >= 500:
		return push.Unavailable
	case status >= 400:
		return push.Rejected
	case status >= 300:
		return push.Denied // the address is another one: an operator has to say so
	case status > 200:
		return push.Delivered
	}
	return push.Unknown
}

// reasonIn takes the reason, and of a 410 the time, out of an answer's body. A body that is something else, such as a
// proxy's page, has none. What is no plain word is not taken for a reason: it becomes the label of a metric.
func reasonIn(body []byte) (reason string, since time.Time) {
	var b struct {
		Reason    string          `json:"reason"`
		Timestamp json.RawMessage `json:"timestamp"`
	}
	if json.Unmarshal(body, &b) != nil {
		return "", time.Time{}
	}
	if len(b.Reason) > 64 || strings.ContainsFunc(b.Reason, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}) {
		b.Reason = ""
	}
	if b.Reason != "" && strings.Trim(b.Reason, "0123456789abcdefABCDEF") == "" && len(b.Reason) >= 32 {
		b.Reason = "" // a token
	}
	// Milliseconds since 1970; until the year 9999, which is what times can be written in.
	if ms, err := strconv.ParseInt(string(b.Timestamp), 10, 64); err == nil && ms > 0 && ms < 253402300800000 {
		since = time.UnixMilli(ms)
	}
	return b.Reason, since
}

// retryAfter is how long an answer asks to wait, 0 if it does not. A date is read by the clock of whoever sent it, if they
// say how late it is.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
		now = theirs
	}
	return push.RetryAfter(h, now)
}
