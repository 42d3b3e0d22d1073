package pushsim

import (
	"cmp"
	"encoding/json"
	"net/http"
)

// googleError is an error as Google's APIs answer it (google.aip.dev/193): an HTTP status, a status in words and a list
// of typed details.
type googleError struct {
	code    int    // of HTTP
	status  string // google.rpc.Code's name
	message string
	fcm     string // google.firebase.fcm.v1.FcmError's errorCode, "" without that detail
	field   string // of google.rpc.BadRequest, "" without that detail
	reason  string // of google.rpc.ErrorInfo, "" without that detail
	quota   string // of google.rpc.QuotaFailure's violation, "" without that detail
	subject string // whose quota; "": the project's
}

// fcmErrors are FCM's error codes with what the service says along with each
// (firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode), and the others that it answers.
var fcmErrors = map[string]googleError{
	"UNSPECIFIED_ERROR":      {code: 500, status: "UNKNOWN", message: "Unknown error.", fcm: "UNSPECIFIED_ERROR"},
	"INVALID_ARGUMENT":       {code: 400, status: "INVALID_ARGUMENT", message: "Request contains an invalid argument.", fcm: "INVALID_ARGUMENT"},
	reasonToken:              {code: 400, status: "INVALID_ARGUMENT", message: "The registration token is not a valid FCM registration token", fcm: "INVALID_ARGUMENT"},
	"UNREGISTERED":           {code: 404, status: "NOT_FOUND", message: "Requested entity was not found.", fcm: "UNREGISTERED"},
	"SENDER_ID_MISMATCH":     {code: 403, status: "PERMISSION_DENIED", message: "SenderId mismatch", fcm: "SENDER_ID_MISMATCH"},
	"QUOTA_EXCEEDED":         {code: 429, status: "RESOURCE_EXHAUSTED", message: "Quota exceeded for quota metric 'Message requests' of service 'fcm.googleapis.com'.", fcm: "QUOTA_EXCEEDED", quota: "Message rate exceeded."},
	reasonDevice:             {code: 429, status: "RESOURCE_EXHAUSTED", message: "Device message rate exceeded.", fcm: "QUOTA_EXCEEDED", quota: "Device message rate exceeded.", subject: "device"},
	"RESOURCE_EXHAUSTED":     {code: 429, status: "RESOURCE_EXHAUSTED", message: "Quota exceeded for quota metric 'Send requests' and limit 'Send requests per minute' of service 'fcm.googleapis.com'.", reason: "RATE_LIMIT_EXCEEDED"}, // of Google's front: FCM has not seen it
	"UNAVAILABLE":            {code: 503, status: "UNAVAILABLE", message: "The service is currently unavailable.", fcm: "UNAVAILABLE"},
	"INTERNAL":               {code: 500, status: "INTERNAL", message: "Internal error encountered.", fcm: "INTERNAL"},
	"UNAUTHENTICATED":        {code: 401, status: "UNAUTHENTICATED", message: badBearer.message, reason: badBearer.reason},
	"ExpiredProviderToken":   {code: 401, status: "UNAUTHENTICATED", message: badBearer.message, reason: badBearer.reason}, // a fault's word
	"PERMISSION_DENIED":      {code: 403, status: "PERMISSION_DENIED", message: wrongProject.message, reason: wrongProject.reason},
	"THIRD_PARTY_AUTH_ERROR": {code: 401, status: "UNAUTHENTICATED", message: "Auth error from APNS or Web Push Service", fcm: "THIRD_PARTY_AUTH_ERROR"},
}

// reasonToken is what an attempt has as its reason where FCM says INVALID_ARGUMENT about the token. The answer differs from
// other INVALID_ARGUMENTs in its message alone, as Google's own example does: there is no field violation.
const reasonToken = "INVALID_ARGUMENT/token"

// reasonDevice is the same for QUOTA_EXCEEDED where one device is sent too much, and not the project sends too much.
const reasonDevice = "QUOTA_EXCEEDED/device"

var (
	noBearer = googleError{
		code: 401, status: "UNAUTHENTICATED", reason: "CREDENTIALS_MISSING",
		message: "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid authentication credential.",
	}
	badBearer = googleError{
		code: 401, status: "UNAUTHENTICATED", reason: "ACCESS_TOKEN_EXPIRED",
		message: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.",
	}
	noScope = googleError{
		code: 403, status: "PERMISSION_DENIED", reason: "ACCESS_TOKEN_SCOPE_INSUFFICIENT", message: "Request had insufficient authentication scopes.",
	}
	wrongProject = googleError{
		code: 403, status: "PERMISSION_DENIED", reason: "IAM_PERMISSION_DENIED",
		message: "Permission 'cloudmessaging.messages.create' denied on resource (or it may not exist).",
	}
	notFound = googleError{code: 404, status: "NOT_FOUND", message: "Method not found."}
	tooLong  = googleError{code: 413, status: "INVALID_ARGUMENT", message: "Request payload size exceeds the limit."}
)

// plain is the error of a status code that none of the above is, for faults that name only the status.
func plainError(code int) googleError {
	status := map[int]string{
		400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED", 429: "RESOURCE_EXHAUSTED",
		499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
	}[code]
	if status == "" {
		status = "UNKNOWN"
	}
	return googleError{code: code, status: status, message: http.StatusText(code)}
}

// invalid is INVALID_ARGUMENT about a field, found by FCM itself.
func invalid(field, message string) *googleError {
	return &googleError{code: 400, status: "INVALID_ARGUMENT", message: message, fcm: "INVALID_ARGUMENT", field: field}
}

// malformed is INVALID_ARGUMENT about a field, found where JSON becomes a message, before FCM sees it.
func malformed(field, message string) *googleError {
	return &googleError{code: 400, status: "INVALID_ARGUMENT", message: message, field: field}
}

// body is the answer's JSON.
func (e *googleError) body() []byte {
	type violation struct {
		Field       string `json:"field,omitempty"`
		Subject     string `json:"subject,omitempty"`
		Description string `json:"description"`
	}
	type detail struct {
		Type       string      `json:"@type"`
		ErrorCode  string      `json:"errorCode,omitempty"`
		Fields     []violation `json:"fieldViolations,omitempty"`
		Violations []violation `json:"violations,omitempty"`
		Reason     string      `json:"reason,omitempty"`
		Domain     string      `json:"domain,omitempty"`
	}
	var out struct {
		Error struct {
			Code    int      `json:"code"`
			Message string   `json:"message"`
			Status  string   `json:"status"`
			Details []detail `json:"details,omitempty"`
		} `json:"error"`
	}
	out.Error.Code, out.Error.Message, out.Error.Status = e.code, e.message, e.status
	const prefix = "type.googleapis.com/google."
	add := func(d detail) { out.Error.Details = append(out.Error.Details, d) }
	if e.fcm != "" {
		add(detail{Type: prefix + "firebase.fcm.v1.FcmError", ErrorCode: e.fcm})
	}
	if e.field != "" {
		add(detail{Type: prefix + "rpc.BadRequest", Fields: []violation{{Field: e.field, Description: e.message}}})
	}
	if e.reason != "" {
		add(detail{Type: prefix + "rpc.ErrorInfo", Reason: e.reason, Domain: "googleapis.com"})
	}
	if e.quota != "" {
		add(detail{Type: prefix + "rpc.QuotaFailure", Violations: []violation{{Subject: cmp.Or(e.subject, "project"), Description: e.quota}}})
	}
	b, err := json.MarshalIndent(&out, "", "  ")
	if err != nil {
		return nil // strings and numbers: it cannot fail
	}
	return append(b, '\n')
}
