//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd

package tty

import (
	"errors"
	"os"
)

func KeyByKey(*os.File) (undo func(), err error) {
	return nil, errors.New("terminals are read line by line on this system")
}

func IsTerminal(*os.File) bool { return false }
