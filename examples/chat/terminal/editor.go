package terminal

import (
	"bufio"
	"io"
	"os"
	"strings"
	"sync"
	"unicode"

	"github.com/hwangso/hwangso/examples/chat/tty"
)

// editor reads lines while others print: what is being typed stays below what arrives. Without a terminal it reads and
// prints plain lines.
type editor struct {
	in     *bufio.Reader
	out    io.Writer
	keys   bool   // a terminal, key by key
	typing func() // called when something is typed; not with locks held

	mu     sync.Mutex
	prompt string
	buf    []rune
}

// newEditor takes the terminal over, if in is one; restore gives it back.
func newEditor(in io.Reader, out io.Writer, typing func()) (e *editor, restore func()) {
	e = &editor{in: bufio.NewReader(in), out: out, typing: typing}
	restore = func() {}
	if f, ok := in.(*os.File); ok {
		if undo, err := tty.KeyByKey(f); err == nil {
			e.keys = true
			restore = func() {
				e.mu.Lock()
				io.WriteString(e.out, "\r\x1b[K")
				e.mu.Unlock()
				undo()
			}
		}
	}
	return e, restore
}

// print prints a line above the one being typed.
func (e *editor) print(line string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.keys {
		io.WriteString(e.out, line+"\n")
		return
	}
	io.WriteString(e.out, "\r\x1b[K"+line+"\n"+e.prompt+string(e.buf))
}

// setPrompt changes what stands before the line being typed.
func (e *editor) setPrompt(p string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.prompt = p
	e.redraw()
}

func (e *editor) redraw() {
	if e.keys {
		io.WriteString(e.out, "\r\x1b[K"+e.prompt+string(e.buf))
	}
}

// line returns the next line, or io.EOF.
func (e *editor) line() (string, error) {
	if !e.keys {
		s, err := e.in.ReadString('\n')
		if s = strings.TrimRight(s, "\r\n"); s != "" {
			err = nil
		}
		return s, err
	}
	for {
		r, _, err := e.in.ReadRune()
		if err != nil {
			return "", err
		}
		if r == 0x1b {
			if err := e.skipSequence(); err != nil {
				return "", err
			}
			continue
		}
		if line, done, err := e.key(r); done || err != nil {
			return line, err
		}
		if unicode.IsPrint(r) && e.typing != nil {
			e.typing()
		}
	}
}

// key does what one key means.
func (e *editor) key(r rune) (line string, done bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case r == '\r' || r == '\n':
		line = string(e.buf)
		e.buf = nil
		done = true
	case r == 0x7f || r == '\b':
		if n := len(e.buf); n > 0 {
			e.buf = e.buf[:n-1]
		}
	case r == 0x15: // Ctrl-U
		e.buf = nil
	case r == 0x17: // Ctrl-W
		s := strings.TrimRight(string(e.buf), " ")
		e.buf = []rune(s[:strings.LastIndexByte(s, ' ')+1])
	case r == 0x04: // Ctrl-D
		if len(e.buf) == 0 {
			return "", false, io.EOF
		}
	case unicode.IsPrint(r) && len(e.buf) < 16<<10:
		e.buf = append(e.buf, r)
	}
	e.redraw()
	return line, done, nil
}

// skipSequence leaves out what arrow and function keys send.
func (e *editor) skipSequence() error {
	if e.in.Buffered() == 0 {
		return nil // the Escape key alone
	}
	r, _, err := e.in.ReadRune()
	for err == nil && (r == '[' || r == 'O' || r < 0x40) {
		r, _, err = e.in.ReadRune()
		if r >= 0x40 && r != '[' {
			break
		}
	}
	return err
}
