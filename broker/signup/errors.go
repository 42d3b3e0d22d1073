package signup

import "github.com/hwangso/hwangso/store"

// What requests are refused with, beside limits (CodeTooMany with the time to wait) and storage errors. Their reasons
// are part of the protocol.
var (
	ErrClosed  = &store.Error{Code: store.CodeForbidden, Reason: "signup_closed", Text: "nobody can sign up by phone number here"}
	ErrCountry = &store.Error{Code: store.CodeForbidden, Reason: "country", Text: "no codes are sent to this country"}
	ErrLine    = &store.Error{Code: store.CodeForbidden, Reason: "line", Text: "codes are sent to mobile numbers only"}
	ErrCode    = &store.Error{Code: store.CodeForbidden, Reason: store.ReasonWrongCode, Text: "the code is wrong or too old: ask for another one"}
	ErrSend    = &store.Error{Code: store.CodeUnavailable, Text: "the code could not be sent", Retry: store.ErrUnavailable.Retry}
	ErrPIN     = &store.Error{Code: store.CodeForbidden, Reason: "pin", Text: "the PIN is wrong, or the account has none"}
	ErrDenied  = &store.Error{Code: store.CodeForbidden, Reason: "denied", Text: "a device of the account said no"}
	ErrTaken   = &store.Error{Code: store.CodeConflict, Reason: "taken", Text: "the number has an account: say take to have it moved here, which locks that account"}
	ErrName    = &store.Error{Code: store.CodeConflict, Reason: "name", Text: "the name is taken"}
	ErrProof   = &store.Error{Code: store.CodeForbidden, Reason: "proof", Text: "show that it is you: a fresh code, or the PIN"}
	ErrNoProof = &store.Error{Code: store.CodeForbidden, Reason: "no_proof", Text: "the account has neither a phone number nor a PIN: ask an operator"}
	ErrNotOwn  = &store.Error{Code: store.CodeForbidden, Reason: "phone", Text: "that is not the account's phone number"}
	ErrRequest = &store.Error{Code: store.CodeNotFound, Text: "nobody waits for this, or not any more"}
	ErrDevices = &store.Error{Code: store.CodeFull, Reason: "devices", Text: "the account has all the devices it may have: sign one out on another device"}
	ErrNoErase = &store.Error{Code: store.CodeNotFound, Text: "the account is not being removed"}
)
