package signup

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what happens, without numbers, codes or names.
type metrics struct {
	codes    *prometheus.CounterVec // by what became of them
	refused  *prometheus.CounterVec // by limit
	signIns  *prometheus.CounterVec // by how
	closings prometheus.Counter
	erased   prometheus.Counter
	failed   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		codes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwangso_signup_codes_total",
			Help: "One-time codes: sent, failed (the sender), used (entered rightly), wrong (entered wrongly)."}, []string{"outcome"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwangso_signup_refused_total",
			Help: "Codes that were asked for and not sent, by what refused them."}, []string{"by"}),
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwangso_signup_accounts_total",
			Help: "Accounts opened by phone number: new, taken (new, the number had another account), pin and consent (the same account)."}, []string{"how"}),
		closings: prometheus.NewCounter(prometheus.CounterOpts{Name: "hwangso_signup_closed_total",
			Help: "Countries and ranges closed for a day because their codes were not used."}),
		erased: prometheus.NewCounter(prometheus.CounterOpts{Name: "hwangso_accounts_erased_total", Help: "Accounts removed."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "hwangso_account_work_failed_total",
			Help: "Removals and releases of accounts that failed and are tried again."}),
	}
	for _, o := range []string{"sent", "failed", "used", "wrong"} {
		m.codes.WithLabelValues(o)
	}
	for _, o := range []string{"new", "taken", "pin", "consent"} {
		m.signIns.WithLabelValues(o)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.codes, m.refused, m.signIns, m.closings, m.erased, m.failed} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("signup: metrics: %w", err)
		}
	}
	return m, nil
}
