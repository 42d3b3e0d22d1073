//go:build !unix

package wire

import "math"

func connectionLimit(configured int) int {
	if configured > 0 {
		return configured
	}
	return math.MaxInt
}

func exhausted(error) bool { return false }
