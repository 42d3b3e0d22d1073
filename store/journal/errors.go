package journal

import (
	"errors"
	"fmt"
	"syscall"
)

// The errors that callers tell apart with errors.Is. Everything else is an I/O error of the file
// system, wrapped with what was being done.
var (
	// ErrEnd: the position is at or beyond the confirmed end; nothing durable is there yet.
	ErrEnd = errors.New("journal: beyond the end")
	// ErrTrimmed: the position lies before First; retention has removed it.
	ErrTrimmed = errors.New("journal: trimmed")
	// ErrCorrupt: what lies at the position is not a frame that was written there. The error is a
	// *CorruptError, which says where.
	ErrCorrupt = errors.New("journal: corrupt")
	// ErrFull: the file system or the quota is full; it wraps the system's own error. Appends work
	// again as soon as there is space.
	ErrFull = errors.New("journal: disk full")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("journal: closed")
	// ErrTooLarge: a record is longer than Config.MaxRecord. Nothing was written.
	ErrTooLarge = errors.New("journal: record too large")
	// ErrEmpty: a record has no bytes. Nothing was written.
	ErrEmpty = errors.New("journal: empty record")
	// ErrLocked: another process has the directory open.
	ErrLocked = errors.New("journal: in use by another process")
)

// CorruptError says where bytes are not what was written. errors.Is(err, ErrCorrupt) holds.
type CorruptError struct {
	Pos    Position // of the frame that cannot be read, or the base of a segment with a bad header
	Path   string   // of the segment file
	Reason string
}

// Error names the position, the file and the reason.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal: corrupt at position %d in %s: %s", e.Pos, e.Path, e.Reason)
}

// Is makes errors.Is(err, ErrCorrupt) hold.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// ioError wraps an error of the file system with what was done to which file, and marks a full disk.
func ioError(doing, path string, err error) error {
	if err == nil {
		return nil
	}
	if (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) && !errors.Is(err, ErrFull) {
		return fmt.Errorf("journal: %s %s: %w: %w", doing, path, ErrFull, err)
	}
	return fmt.Errorf("journal: %s %s: %w", doing, path, err)
}
