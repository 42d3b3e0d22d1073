package cmd

import (
	"bufio"
	"io"
	"os"
	"strings"

	"github.com/hwangso/hwangso/examples/chat/tty"
)

// readKeys reads single letters: key by key from a terminal, else the first letter of every line. The chan is closed
// at the end of the input. restore gives the terminal back as it was.
//
// The goroutine that reads ends with the input or with the program: a read from a terminal cannot be taken back.
func readKeys(in io.Reader) (keys <-chan rune, restore func()) {
	ch := make(chan rune)
	restore = func() {}
	single := false
	if f, ok := in.(*os.File); ok {
		if undo, err := tty.KeyByKey(f); err == nil {
			restore, single = undo, true
		}
	}
	go func() {
		defer close(ch)
		b := bufio.NewReader(in)
		for {
			if single {
				r, _, err := b.ReadRune()
				if err != nil {
					return
				}
				ch <- r
				continue
			}
			line, err := b.ReadString('\n')
			if line = strings.TrimSpace(line); line != "" {
				ch <- []rune(line)[0]
			}
			if err != nil {
				return
			}
		}
	}()
	return ch, restore
}
