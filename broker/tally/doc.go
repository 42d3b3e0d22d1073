// Package tally makes the numbers about a channel's followers. It is the one reader of store.Followers beside the push
// bridge, and what it hands out has no follower in it: only counts, rounded down, that cannot be watched moving.
//
// # What a number tells
//
// Every number comes from one snapshot a day, taken for all channels in one run at a fixed hour UTC. Between two runs no
// answer changes, whoever follows, leaves, consents, reads or opens; nor does a restart change one: a day's numbers are
// written once, and a run that a crash cut short goes on behind the last channel that it has finished. A channel that was
// opened after a run began has no numbers until the next one.
//
// A count is rounded down to 10, above 1,000 to 100, above 100,000 to 1,000, and not told at all below 20, nor within 20
// of what it is a part of: see Round.
//
// Whether a segment has enough followers is answered from the same snapshot, which keeps how many followers have each
// pair of attributes. So two questions about the same followers in different words have the same answer all day, and
// asking again tells nothing.
//
// A report about a broadcast is made once, a day after it has ended, and kept as it is; nothing about it can be read
// before.
//
// What is left: the answer of one day and that of the next may lie on two sides of a threshold because of one follower.
// Whoever can make many accounts follow can find out how near a count is to the next threshold, and then whether that day
// brought somebody; not who it was.
//
// # Goroutines
//
//	who   how many                                   ended by
//	run   one per Tally: takes the daily snapshot    Close
package tally
