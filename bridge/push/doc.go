// Package push has the words between the bridge, which decides who is to be woken, and the providers, which do it: the
// push, the answer to it, and the contract of a provider.
//
// It promises nothing by itself and starts no goroutine.
package push
