// Package signup lets people in by phone number, and out again: one-time codes, sign-in on a new device, change of the
// number, PINs, and the removal of accounts.
//
// # What it promises
//
//   - A code is sent before anything is looked up. What Start answers, and when, does not depend on whether the number
//     has an account.
//   - A ticket makes one account, however often and in parallel it is verified. An answer that was lost is asked for
//     again with the same ticket and code.
//   - A number that has an account opens that account only with the consent of one of its devices or with its PIN. Else
//     it becomes a new account; the old one is locked for Settings.Lock and then released without a number. Nobody
//     inherits rooms or messages with a number.
//   - Codes are six random digits, kept as an HMAC, good for Settings.CodeLife and five tries, compared in constant
//     time. Wrong, expired and unknown are one answer (ErrCode).
//   - What was counted against a limit survives a restart, but for the requests that were under way in a crash.
//   - The removal of an account is a row with a due time: it survives restarts and can be repeated at every step.
//
// Numbers and codes are in memory while a request is served. No log line, metric or row holds one, except that LogSender
// prints codes, which is what it is for.
//
// # Goroutines
//
// Run is the caller's goroutine; it looks for accounts that are due and ends with its context. Nothing else runs by
// itself.
package signup
