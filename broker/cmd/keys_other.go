//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd

package cmd

import (
	"errors"
	"os"
)

func keyByKey(*os.File) (undo func(), err error) {
	return nil, errors.New("terminals are read line by line on this system")
}

func isTerminal(*os.File) bool { return false }
