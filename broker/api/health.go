package api

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serveHealth adds what a supervisor, a load balancer and Prometheus ask. They say nothing about anybody.
func (a *API) serveHealth(mux *http.ServeMux, metrics bool) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "alive\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case a.draining.Load():
			plain(w, http.StatusServiceUnavailable, "going down\n")
		case a.store.Healthy() != nil:
			plain(w, http.StatusServiceUnavailable, "storage takes no messages\n")
		default:
			plain(w, http.StatusOK, "ready\n")
		}
	})
	if metrics && a.cfg.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(a.cfg.Gatherer, promhttp.HandlerOpts{}))
	}
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write([]byte(text))
}
