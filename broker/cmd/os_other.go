//go:build !unix

package cmd

import "os/exec"

func ownGroup(*exec.Cmd) {}

// ownedByMe trusts the user's own temporary directory.
func ownedByMe(string) error { return nil }
