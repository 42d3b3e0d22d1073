// Swarm is a load generator for MQTT brokers that checks what it measures:
// every message is numbered, and a run reports what was lost, doubled or out of
// order beside rates and latencies. See README.md and swarm --help.
package main
