package cmd

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/broker/api"
	"github.com/hwangso/hwangso/hooks"
)

// control is the control API as the server sees it: handlers for its listeners, and its end.
type control struct {
	public http.Handler // users
	admin  http.Handler // operators, by token
	socket http.Handler // operators, by being able to connect
	drain  func()
	close  func() error
}

// control makes the control API of the server's broker.
func (srv *server) control(auth *hooks.Authenticator, reg *prometheus.Registry) error {
	set := &srv.set
	a, err := api.New(api.Config{
		Broker: srv.broker, Auth: auth,
		Limits:  api.Limits{Group: set.maxGroup, Devices: set.maxDevices},
		Version: Version(), Gatherer: reg,
		PublicMetrics: set.admin == "" && set.https == "" && onlyLoopback(set.http),
		Logger:        srv.log, Registerer: reg,
	})
	if err != nil {
		return err
	}
	srv.broker.SetRequests(a)
	srv.ctl = control{public: a.Public(), admin: a.Admin(), socket: a.Socket(), drain: a.Drain, close: a.Close}
	return nil
}
