//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "swarm: needs Linux (epoll, /proc); the servers it measures do not")
	os.Exit(1)
}
