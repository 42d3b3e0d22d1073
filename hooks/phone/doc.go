// Package phone turns what people write as a phone number into one form, and keeps which account has which number.
//
// A number is known in clear only while a request is served. What is stored is its Hash: HMAC-SHA-256 under a key that
// lies in a file outside the database. Numbers are few enough to try them all, so a hash without a key would hide
// nothing, and who has the database without the key file learns no number from it. Losing the key file takes every
// number with it: accounts stay, and nobody finds them by number any more.
//
// For whoever looks numbers up (contact discovery, sign-up):
//
//   - number → hash: Parse, then Key.Hash
//   - hash → account: Book.Account
//   - account → hash and country: Book.Of
//
// An account has at most one number and a number at most one account. The two directions are rows of two owners, which
// no single change can cover. The account's row first says which number it is about to have, then the number's row says
// whose it is, which decides, under a condition; an answer is given only when both agree. So a change that a crash cut
// short has either happened or not, and the next change of the same number or account tidies up.
//
// The package starts no goroutines. Everything may be used from any goroutine.
package phone
