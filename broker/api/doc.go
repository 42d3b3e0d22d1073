// Package api is the control API: one table of typed operations behind two transports.
//
//   - HTTP: POST /v1/{op} with a bearer token or basic authentication, JSON in and out, described by the OpenAPI
//     document at /openapi.json and /openapi.yaml.
//   - MQTT: a publish to api/{op}/{rid}, answered on reply/{rid}. API implements broker.Requests.
//
// Both give the body to the same function and get the same bytes back: {"code":200, …}. A refusal has the same keys
// everywhere, {"code":403,"error":"not_friend","text":"…","retry_ms":0}; over HTTP those of RFC 9457 stand beside them.
// Times are RFC 3339 over both transports; only envelopes, which are what MQTT delivers, have Unix milliseconds.
//
// # Repeating a request
//
// A changing request with a request identifier (the rid, or the Idempotency-Key header) does its work once: a repeat
// within 24 hours, by the same account and device, gets the stored answer, and a repeat that arrives while the first is
// under way waits for it and gets the same. The same identifier with another operation or body is CodeConflict. Only
// successes are kept: a refusal changed nothing, so the repeat tries again. Secrets are never kept: the repeat of a
// request that made a token tells everything but the token. Reads run again. A request that was carried out by a server
// that died before it kept the answer is carried out again; every operation ends in the same state then, but for a
// second token.
//
// # What is refused
//
// Keys that an operation does not know are ignored, so that newer clients can talk to older servers; but those that speak
// to all followers refuse them, since a misspelled "segment" would be sent to everybody. Everything else is checked, and the sentence of a refusal names what is wrong and the limit. A room that does not exist and one of which
// the user never was a member give the same answer, and so do users with whom there is no conversation.
//
// # Operators
//
// Operators have a table of their own. It is reachable through Admin, where an operator's token with the operation's
// scope is asked for, and through Socket, which trusts whoever can connect, but never through Public or MQTT.
//
// # OpenAPI
//
// huma describes the operations from their Go types and routes them. Decoding is ours, because the same bytes arrive
// over MQTT, and the documents are rendered once, when a handler is made, because huma renders them at the first
// request without a lock.
//
// # Goroutines
//
//	who      how many                                  ended by
//	notices  one per API: writes sign-in notices       Close
//	accounts one per API after Begin: what is due for  Close
//	         accounts, such as their removal
//	rooms    one per API: loads the search over open   Close
//	         rooms and follows the journal for it
//	standing one per API: restores accounts in time    Close
//
// Requests run on the goroutine of their transport.
package api
