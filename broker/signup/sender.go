package signup

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// Message is a code on its way.
type Message struct {
	ID       string // of this message; the same in every attempt
	Number   string // E.164
	Code     string // six digits
	Text     string // the sentence with the code, in Language
	Language string // as view.Lang names it
}

// Sender hands codes to whoever delivers them. Send returns nil when the message was taken over; it tries again by
// itself where that makes sense, and its errors hold neither number nor code.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// LogSender prints codes for a developer's eyes. Whoever sees its output can sign in as anybody: it is for servers that
// nobody else can reach.
type LogSender struct {
	mu  sync.Mutex
	out io.Writer
}

// NewLogSender returns a sender that prints to out, one line per code.
func NewLogSender(out io.Writer) *LogSender { return &LogSender{out: out} }

// Send prints the code.
func (l *LogSender) Send(_ context.Context, m Message) error {
	l.mu.Lock() // lines of different requests do not mix; a terminal that stands still is its owner's
	defer l.mu.Unlock()
	if _, err := fmt.Fprintf(l.out, "code %s for %s\n", m.Code, m.Number); err != nil {
		return fmt.Errorf("signup: print: %w", err)
	}
	return nil
}
