//go:build unix

package wire

import (
	"errors"
	"math"
	"syscall"
)

// connectionLimit is how many connections there may be: as configured, but so that descriptors are left for files.
func connectionLimit(configured int) int {
	limit := math.MaxInt
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err == nil && uint64(r.Cur) < math.MaxInt32 {
		limit = max(int(r.Cur)-reservedDescriptors, int(r.Cur)/2)
	}
	if configured > 0 {
		limit = min(limit, configured)
	}
	return limit
}

// exhausted reports whether the process or the system has no descriptors left.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
