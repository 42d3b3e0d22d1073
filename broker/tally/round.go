package tally

// Few is how many followers are too few to be told, of a count and of what it leaves out.
const Few = 20

// SegmentLeast is how many followers a segment must have, so that nobody is addressed alone.
const SegmentLeast = 100

// Round is a count as outsiders are told it: rounded down to 10, above 1,000 to 100, above 100,000 to 1,000. It is nil
// below 20, and within 20 of total, since the rest would be told with it. A count that is part of nothing has total 0.
func Round(n, total int) *int {
	if n < Few || total > 0 && total-n < Few {
		return nil
	}
	step := 10
	switch {
	case n >= 100_000:
		step = 1000
	case n >= 1000:
		step = 100
	}
	n -= n % step
	return &n
}
