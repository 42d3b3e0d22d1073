// Package lane takes pushes to a provider: in order of urgency, within what the provider bears, and with one answer to
// everything that can go wrong.
package lane
