package fcm

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
)

// failure is what FCM answers but 200: https://cloud.google.com/apis/design/errors, with details of its own.
type failure struct {
	Error struct {
		Message string   `json:"message"`
		Status  string   `json:"status"`
		Details []detail `json:"details"`
	} `json:"error"`
}

// detail is one of google.firebase.fcm.v1.FcmError, google.rpc.BadRequest and google.rpc.QuotaFailure.
type detail struct {
	Code   string `json:"errorCode"`
	Fields []struct {
		Field string `json:"field"`
	} `json:"fieldViolations"`
	Quotas []struct {
		Subject string `json:"subject"`
		Text    string `json:"description"`
	} `json:"violations"`
}

// code is what Google's words for an error look like; anything else is not repeated in a metric.
var code = regexp.MustCompile(`^[A-Z_]{1,40}$`)

// answer says what the attempt came to. https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
func (a *attempt) answer(now time.Time) push.Answer {
	out := push.Answer{Status: a.status}
	switch {
	case a.status == 0 && !a.wrote:
		return unsent(why(a.err), a.err)
	case a.status == 0:
		out.Outcome, out.Reason, out.Err = push.Unknown, why(a.err), a.err
		return out
	case a.status == http.StatusOK:
		return a.taken(out)
	}
	out.RetryAfter = push.RetryAfter(a.header, now)
	var f failure
	if json.Unmarshal(a.body, &f) != nil {
		f = failure{} // of a proxy, or cut off: the status has to do
	}
	word := f.word()
	if out.Reason = word; !code.MatchString(word) {
		word, out.Reason = "", "" // none, or none of Google's
	}
	out.Outcome = f.outcome(a.status, word)
	return out
}

// taken is the answer to a 200: FCM names the message it took. Who answers 200 with something else is no FCM.
func (a *attempt) taken(out push.Answer) push.Answer {
	var ok struct {
		Name string `json:"name"`
	}
	switch err := json.Unmarshal(a.body, &ok); {
	case a.err != nil:
		out.Outcome, out.Reason, out.Err = push.Unknown, why(a.err), a.err
	case err != nil || ok.Name == "":
		out.Outcome, out.Reason = push.Unknown, "no_name"
	default:
		out.Outcome = push.Delivered
	}
	return out
}

// word is FCM's own code, or the general one where it has none.
func (f *failure) word() string {
	for _, d := range f.Error.Details {
		if d.Code != "" {
			return d.Code
		}
	}
	return f.Error.Status
}

func (f *failure) outcome(status int, word string) push.Outcome {
	switch word {
	case "UNREGISTERED":
		return push.Gone
	case "SENDER_ID_MISMATCH":
		return push.Suspect // the token is of another project; or the credentials are
	case "THIRD_PARTY_AUTH_ERROR":
		return push.Denied // the project's keys for Apple or for web push; its status is 401, and no token of ours helps
	case "QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED":
		return f.quota()
	case "INVALID_ARGUMENT":
		return f.invalid()
	case "UNAVAILABLE", "INTERNAL":
		return push.Unavailable
	}
	switch {
	case status == http.StatusTooManyRequests:
		return f.quota()
	case status == http.StatusUnauthorized:
		return push.Expired
	case status == http.StatusForbidden, status == http.StatusNotFound, status == http.StatusProxyAuthRequired:
		// A 404 that is not UNREGISTERED says that there is no such project or address: the fault of a setting, and no
		// reason to drop what waits.
		return push.Denied
	case status == http.StatusRequestEntityTooLarge:
		return push.TooLarge
	case status == http.StatusRequestTimeout, status >= 500:
		return push.Unavailable
	case status >= 300 && status < 400:
		return push.Denied // FCM does not redirect: a proxy, or a wrong address
	}
	return push.Rejected
}

// quota tells a device's own rate from that of the project.
func (f *failure) quota() push.Outcome {
	for _, d := range f.Error.Details {
		for _, q := range d.Quotas {
			if strings.Contains(strings.ToLower(q.Subject+" "+q.Text), "device") {
				return push.DeviceBusy
			}
		}
	}
	return push.Busy
}

// invalid tells what is wrong with the token from what is wrong with the message. FCM says the former in one of two ways,
// in the sentence alone or as a field of the request; that a message is too large it says in the sentence, if at all.
func (f *failure) invalid() push.Outcome {
	for _, d := range f.Error.Details {
		for _, v := range d.Fields {
			if v.Field == "message.token" {
				return push.Suspect
			}
		}
	}
	says := strings.ToLower(f.Error.Message)
	switch {
	case strings.Contains(says, "registration token"):
		return push.Suspect
	case strings.Contains(says, "too big"), strings.Contains(says, "too large"), strings.Contains(says, "exceeds"):
		return push.TooLarge
	}
	return push.Rejected
}
