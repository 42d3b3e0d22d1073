package lane

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
)

// Keys of log attributes.
const (
	keyProvider = "provider"
	keyRoute    = "route"
	keyReason   = "reason"
	keyMore     = "more" // how often the same was not logged since the last time
)

// noteKind is something that operators are told.
type noteKind uint8

const (
	noteWell noteKind = iota
	noteDown
	noteBusy
	noteDenied
	noteTrip
	noteSpared
	noteRejected
	noteTooLarge
	noteExpired
	noteBlocked
)

var noteTexts = [...]struct {
	level slog.Level
	text  string
}{
	noteWell:     {slog.LevelInfo, "push provider works again"},
	noteDown:     {slog.LevelWarn, "push provider is down"},
	noteBusy:     {slog.LevelWarn, "push provider asks for a pause"},
	noteDenied:   {slog.LevelError, "push provider refuses our credentials: nothing is sent until they are mended"},
	noteTrip:     {slog.LevelError, "every push token looks invalid: is the environment, the app or the key wrong? tokens are kept, pushes held"},
	noteSpared:   {slog.LevelWarn, "push token looks invalid and is kept: too many do"},
	noteRejected: {slog.LevelWarn, "push provider will not take a push"},
	noteTooLarge: {slog.LevelWarn, "push is too large without content"},
	noteExpired:  {slog.LevelInfo, "push credentials have expired: new ones are made"},
	noteBlocked:  {slog.LevelWarn, "push address must not be spoken to"},
}

func (k noteKind) level() slog.Level { return noteTexts[k].level }
func (k noteKind) text() string      { return noteTexts[k].text }

// noteEvery is how often the same is logged at most.
const noteEvery = time.Minute

type note struct {
	kind  noteKind
	attrs []slog.Attr
}

type noteKey struct {
	kind noteKind
	word string
}

type telling struct {
	at   time.Time
	more int
}

// note is logged when the mutex is not held.
func (l *Lane) note(k noteKind, r *route, word string, args ...any) {
	now := l.cfg.Now()
	key := noteKey{k, word}
	t, ok := l.told[key]
	if ok && now.Sub(t.at) < noteEvery {
		t.more++
		l.told[key] = t
		return
	}
	l.told[key] = telling{at: now}
	attrs := []slog.Attr{slog.String(keyProvider, string(l.cfg.Name)), slog.String(keyReason, word)}
	if r != nil {
		if name := l.shown(r); name != "" {
			attrs = append(attrs, slog.String(keyRoute, name))
		}
	}
	if t.more > 0 {
		attrs = append(attrs, slog.Int(keyMore, t.more))
	}
	for i := 0; i+1 < len(args); i += 2 {
		attrs = append(attrs, slog.Any(args[i].(string), args[i+1]))
	}
	l.notes = append(l.notes, note{kind: k, attrs: attrs})
}

// shown is the name of a route for operators. The host of a web push subscription may be somebody's own: it is named
// when many devices use it.
func (l *Lane) shown(r *route) string {
	if l.small(r) {
		return ""
	}
	return r.name
}

// words are the reasons that are told apart, as providers spell them: Apple's "Handling notification responses from
// APNs", Google's ErrorCode of FCM v1 and google.rpc.Code, the errors of OAuth (RFC 6749, 5.2) of its token server, and
// what packages apns, fcm and webpush say where the provider says nothing. Others are "other", so that no provider fills a metric.
var words = func() map[string]struct{} {
	m := make(map[string]struct{})
	for _, w := range []string{
		"BadCollapseId", "BadDeviceToken", "BadExpirationDate", "BadMessageId", "BadPriority", "BadTopic",
		"DeviceTokenNotForTopic", "DuplicateHeaders", "IdleTimeout", "InvalidPushType", "MissingDeviceToken", "MissingTopic",
		"PayloadEmpty", "TopicDisallowed", "BadCertificate", "BadCertificateEnvironment", "ExpiredProviderToken", "Forbidden",
		"InvalidProviderToken", "MissingProviderToken", "UnrelatedKeyIdInToken", "BadEnvironmentKeyIdInToken",
		"BadEnvironmentKeyInToken", "BadPath", "MethodNotAllowed", "ExpiredToken", "Unregistered", "PayloadTooLarge",
		"TooManyProviderTokenUpdates", "TooManyRequests", "InternalServerError", "ServiceUnavailable", "Shutdown",

		"UNSPECIFIED_ERROR", "INVALID_ARGUMENT", "UNREGISTERED", "SENDER_ID_MISMATCH", "QUOTA_EXCEEDED", "UNAVAILABLE",
		"INTERNAL", "THIRD_PARTY_AUTH_ERROR", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "RESOURCE_EXHAUSTED",
		"DEADLINE_EXCEEDED", "FAILED_PRECONDITION", "ABORTED", "CANCELLED", "UNKNOWN",

		"token", "token_invalid_request", "token_invalid_client", "token_invalid_grant", "token_invalid_scope",
		"token_unauthorized_client", "token_unsupported_grant_type", "token_access_denied",

		"address", "canceled", "certificate", "connection", "dns", "endpoint", "gone", "host_in_flight", "in_flight", "message",
		"no_name", "payload", "rate", "redirect", "request", "server", "timeout", "too_large", "vapid",
	} {
		m[w] = struct{}{}
	}
	return m
}()

const (
	wordTimeout    = "timeout"    // no answer before the deadline
	wordConnection = "connection" // no answer, and no deadline
	wordNone       = "none"       // the provider gave none
	wordOther      = "other"
)

// word is a provider's reason in one of a bounded number of words.
func word(a *push.Answer, late bool) string {
	switch _, known := words[a.Reason]; {
	case known:
		return a.Reason
	case late:
		return wordTimeout
	case a.Reason != "":
		return wordOther
	case a.Status == 0 && a.Outcome == push.Unknown:
		return wordConnection
	case http.StatusText(a.Status) != "":
		return "http_" + strconv.Itoa(a.Status)
	}
	return wordNone
}
