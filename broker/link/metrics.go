package link

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what happens, without apps, users or conversations.
type metrics struct {
	sent    *prometheus.CounterVec // by how
	refused *prometheus.CounterVec // by why
	tickets prometheus.Counter
	opened  prometheus.Counter
	apps    *prometheus.CounterVec // by what happened to one
	lost    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwangso_links_sent_total",
			Help: "Links sent: with a ticket, shared by the user's own client, forwarded."}, []string{"how"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwangso_links_refused_total",
			Help: "Links refused: the app, the ticket, an address or the message's form, the rules of the conversation."}, []string{"by"}),
		tickets: prometheus.NewCounter(prometheus.CounterOpts{Name: "hwangso_link_tickets_total", Help: "Tickets given to users' devices."}),
		opened:  prometheus.NewCounter(prometheus.CounterOpts{Name: "hwangso_links_opened_total", Help: "Links opened, once per user and message."}),
		apps: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwangso_apps_total",
			Help: "Apps registered, approved, suspended, restored, removed."}, []string{"what"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{Name: "hwangso_link_count_failures_total",
			Help: "Counts of links that could not be written and are tried again."}),
	}
	for v, labels := range map[*prometheus.CounterVec][]string{
		m.sent: {bySend, byShare, byForward}, m.refused: {byApp, byTicket, byForm, byRules},
		m.apps: {"registered", "approved", "suspended", "restored", "removed"},
	} {
		for _, l := range labels {
			v.WithLabelValues(l)
		}
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.sent, m.refused, m.tickets, m.opened, m.apps, m.lost} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("link: metrics: %w", err)
		}
	}
	return m, nil
}

// How links are sent, and by what they are refused.
const (
	bySend    = "ticket"
	byShare   = "share"
	byForward = "forward"

	byApp   = "app"
	byForm  = "form"
	byRules = "rules"

	byTicket = bySend
)
