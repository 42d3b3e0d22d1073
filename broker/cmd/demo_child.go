package cmd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// child is a server process of our own program. It ends with us, because it stops with its standard input.
type child struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{} // closed when the process has ended and everything it said was passed on
	err    error         // how it ended, nil for exit code 0; set before exited is closed
}

// startChild starts the program and waits until it serves. It passes on every further line of its output.
func startChild(args []string, said, complained func(line string)) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(exe, args...), exited: make(chan struct{})}
	ownGroup(c.cmd)
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	errs, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	serves := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		ready := false
		eachLine(out, func(line string) {
			switch {
			case ready:
				said(line)
			case line == readyLine:
				ready = true
				close(serves)
			}
		})
	})
	wg.Go(func() { eachLine(errs, complained) })
	go func() { // ends with the process
		wg.Wait()
		c.err = c.cmd.Wait()
		close(c.exited)
	}()
	select {
	case <-serves:
		return c, nil
	case <-c.exited:
		return nil, fmt.Errorf("the server did not start: %w", errors.Join(c.err))
	}
}

// kill kills the process with SIGKILL, which it cannot notice, and waits until it is gone.
func (c *child) kill() error {
	err := c.cmd.Process.Kill()
	<-c.exited
	return err
}

// stop asks the process to stop, and kills it if it has not after the given time.
func (c *child) stop(patience time.Duration) error {
	_ = c.stdin.Close() // fails only if it is closed already
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-c.exited:
		return nil
	case <-t.C:
		return fmt.Errorf("the server did not stop within %v and was killed: %w", patience, errors.Join(c.kill()))
	}
}

// eachLine calls f with every line until the reader ends.
func eachLine(r io.Reader, f func(string)) {
	b := bufio.NewReader(r)
	for {
		line, err := b.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" || err == nil {
			f(line)
		}
		if err != nil {
			return
		}
	}
}
