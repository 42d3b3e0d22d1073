package journal

// What the tests need to know of the format and the inside.
const (
	MinSegmentBytes = minSegmentBytes
	HeaderSize      = headerSize
	HeaderUsed      = headerUsed
	FrameHead       = frameHead
	MaxOpenFiles    = maxOpenFiles
)

func SegmentName(base Position) string { return segmentName(base) }

// OpenFiles is how many descriptors of segments are open.
func (j *Journal) OpenFiles() int64 { return j.opens.Load() }
