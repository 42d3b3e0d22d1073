// Package lane takes pushes to a provider: in order of urgency, within what the provider bears, and with one answer to
// everything that can go wrong.
//
// There is one Lane per provider and nothing is shared between them: one that is down does not slow another. A lane makes
// one attempt per job and never retries by itself. What came to nothing goes back to who submitted it, with the time at
// which to submit it again; and while the provider is not asked at all Submit refuses, again with the time. An outage of
// hours therefore costs the rows in which its owner keeps what waits, and no memory here.
//
// # Order
//
// Chat goes before clear before bulk. Clear may have half of the slots in flight and bulk a quarter, so that a quarter is
// always chat's and clear cannot keep bulk out; the same shares hold while a lane opens up again with few slots. Of a
// quota the last half is chat's, bulk has a rate of its own, and after three clears in a row bulk has its turn.
//
// # Routes
//
// Health is judged per route: the environment and app of APNs, the project of FCM, the host of a web push subscription.
// That host is chosen by the user's browser, or by the user: one that answers nothing or only errors costs its own users
// their pushes and nobody else. On such a lane a route has at most three quarters of the slots and no more of a queue than
// is left for others, and the routes over which fewer than ten devices were reached in the last half day have half of the
// slots and of the queue together.
//
//   - Warm-up: after the start, a minute of silence or a broken connection one push goes alone. Only when it is answered
//     the others follow, because a new connection does not know yet how many streams it may open.
//   - Down: after 8 failures in a row, or 2 that ran into the deadline, nothing is sent for 1, 2, 4 … 60 s. Then the
//     first push that is submitted is the probe; once it is answered the lane doubles what is in flight with every round.
//   - Busy: the provider asked for a pause (Retry-After, 60 s if it does not say, an hour at most). The same way back, and
//     bulk goes on at half its rate, which grows by a tenth every ten seconds.
//   - Denied: our credentials are refused. One probe every 60 s, or at once after Resume.
//   - Guarded: the mass-invalidation guard has tripped. One probe every 60 s, and only a push that is taken ends it.
//
// # What becomes of a token
//
// Gone takes it away, if it was registered before the provider learned of its end. Suspect takes it away only where
// successes stand beside it: at least ten devices were reached in the last half day or day, the answer before it was none
// like it, and no more than one token, and one more for every hundred devices reached, goes this way in that time. Where
// a whole fleet looks invalid the fault is ours, and no token pays for it: see guard. Blocked takes it away when it has
// come three times over at least a day, remembered in memory: a name server that lies for an hour ends no subscription.
//
// # Not promised
//
// An attempt that ended without an answer may have arrived; it is made again with the same identifier. Two pushes to one
// device may be under way at once, and arrive in either order. Health is not kept over a restart.
//
// # Goroutines
//
//	push    one per push in flight, at most Config.InFlight; ended by its answer or the deadline, waited for by Close
//	give    at most 4, hand back what was queued when a route is held or the lane closes; ended when nothing is left
//	alarm   1, wakes the queue when a quota allows the next push; ended by Close
package lane
