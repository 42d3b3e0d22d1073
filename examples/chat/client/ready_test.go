package client

import (
	"testing"
	"testing/synctest"

	"github.com/eclipse/paho.golang/autopaho"
)

// Who waits for a connection goes on waiting for the next one if it breaks before its filters are in force.
func TestReadyAcrossBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{conn: new(autopaho.ConnectionManager), ready: make(chan struct{}), ended: make(chan struct{})}
		came := make(chan error, 2)
		go func() { came <- c.Ready(t.Context()) }()
		synctest.Wait()
		c.down()
		go func() { came <- c.Ready(t.Context()) }()
		synctest.Wait()
		closeOnce(c.ready)
		for range 2 {
			if err := <-came; err != nil {
				t.Error(err)
			}
		}
		c.down()
		select {
		case <-c.ready:
			t.Error("ready without a connection")
		default:
		}
	})
}
