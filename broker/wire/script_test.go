package wire

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker"
)

// parseBytes reads bytes as the scripts write them: hexadecimal digits, "text", and [ … ] for a Variable Byte Integer
// with the length of what is in the brackets; {text} is text behind its two-byte length.
func parseBytes(s string) ([]byte, error) {
	b, rest, err := parseUntil(s, 0)
	if err == nil && rest != "" {
		err = fmt.Errorf("unexpected %q", rest)
	}
	return b, err
}

func parseUntil(s string, end byte) (b []byte, rest string, err error) {
	for s != "" {
		switch c := s[0]; {
		case c == ' ':
			s = s[1:]
		case c == end:
			return b, s[1:], nil
		case c == '"':
			for s = s[1:]; ; { // "" stands for a quote
				i := strings.IndexByte(s, '"')
				if i < 0 {
					return nil, "", errors.New("text without end")
				}
				b, s = append(b, s[:i]...), s[i+1:]
				if !strings.HasPrefix(s, `"`) {
					break
				}
				b, s = append(b, '"'), s[1:]
			}
		case c == '{':
			i := strings.IndexByte(s, '}')
			if i < 0 {
				return nil, "", errors.New("{ without }")
			}
			b, s = appendString(b, s[1:i]), s[i+1:]
		case c == '[':
			var inner []byte
			if inner, s, err = parseUntil(s[1:], ']'); err != nil {
				return nil, "", err
			}
			b = append(appendVarint(b, len(inner)), inner...)
		default:
			if len(s) < 2 {
				return nil, "", fmt.Errorf("half a byte: %q", s)
			}
			n, err := strconv.ParseUint(s[:2], 16, 8)
			if err != nil {
				return nil, "", err
			}
			b, s = append(b, byte(n)), s[2:]
		}
	}
	if end != 0 {
		return nil, "", fmt.Errorf("%c is missing", end)
	}
	return b, "", nil
}

func mustBytes(t testing.TB, s string) []byte {
	t.Helper()
	b, err := parseBytes(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return b
}

// TestScripts plays conversations byte by byte: > is sent, < must arrive, "closed" must follow.
func TestScripts(t *testing.T) {
	names, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(names) < 3 {
		t.Fatalf("scripts: %v, %v", names, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for part := range strings.SplitSeq(string(text), "\n\n") {
				title := ""
				var lines []string
				for line := range strings.Lines(part) {
					line = strings.TrimSpace(line)
					if title == "" && strings.HasPrefix(line, "#") {
						title = strings.TrimSpace(line[1:])
					} else if line != "" && !strings.HasPrefix(line, "#") {
						lines = append(lines, line)
					}
				}
				if len(lines) == 0 {
					continue
				}
				t.Run(title, func(t *testing.T) { play(t, lines) })
			}
		})
	}
}

func play(t *testing.T, lines []string) {
	r := newRig(t, func(c *Config) { c.ServerReference = "mqtt.example" })
	nc := dial(t, r.addr)
	for _, line := range lines {
		switch word, rest, _ := strings.Cut(line, " "); word {
		case ">":
			if _, err := nc.Write(mustBytes(t, rest)); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		case "<":
			expect(t, nc, mustBytes(t, rest), line)
		case "closed":
			expectClosed(t, nc)
		case "shutdown":
			r.d.last(t).link.Close(broker.ErrShutdown)
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	return nc
}

func expect(t testing.TB, r io.Reader, want []byte, line string) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(r, got)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s\n got %s, %v\nwant %s\n     %q", line, hex.EncodeToString(got[:n]), err, hex.EncodeToString(want), got[:n])
	}
}

func expectClosed(t testing.TB, r io.Reader) {
	t.Helper()
	b, err := io.ReadAll(bufio.NewReader(r))
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("want the end, got %v", err)
	}
	if len(b) > 0 {
		t.Fatalf("want the end, got %s %q", hex.EncodeToString(b), b)
	}
}
