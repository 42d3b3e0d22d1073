package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/hwangso/hwangso/broker/signup"
)

// smsLog is the value of -sms that prints codes.
const smsLog = "log"

// validateSMS reports what is wrong with the flags of signing up.
func (s *settings) validateSMS() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case s.sms == smsLog:
		if s.trustedProxies != "" {
			bad("-sms log prints codes that open any account, and -trusted-proxies make this server reachable for others: use a webhook, -sms https://…")
		}
		for _, l := range []struct{ flag, addr string }{{"-mqtt", s.mqtt}, {"-mqtts", s.mqtts}, {"-http", s.http}, {"-https", s.https}} {
			if !onlyLoopback(l.addr) {
				bad("-sms log prints codes that open any account, and %s %s is reachable beyond this machine: use a webhook, -sms https://…", l.flag, l.addr)
			}
		}
	case s.sms != "" && s.smsKey == "":
		bad("-sms with a URL needs -sms-key, the secret that signs the requests")
	}
	if s.smsCountryDay <= 0 {
		bad("-sms-country-day must be above 0; -sms-deny closes a country")
	}
	if set, err := s.signUp(); err != nil {
		bad("%w", err)
	} else if err := set.Validate(); err != nil {
		bad("-sms-allow, -sms-deny, -sms-caps: %w", err)
	}
	return errs
}

// signUp are the settings of signing up.
func (s *settings) signUp() (set signup.Settings, err error) {
	set.Allow, set.Deny = list(strings.ToUpper(s.smsAllow)), list(strings.ToUpper(s.smsDeny))
	set.CountryDay = s.smsCountryDay
	for _, pair := range list(strings.ToUpper(s.smsCaps)) {
		country, number, ok := strings.Cut(pair, "=")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			return set, errors.New("-sms-caps is a list such as KR=50000,DE=2000")
		}
		if set.CountryCaps == nil {
			set.CountryCaps = make(map[string]int)
		}
		set.CountryCaps[country] = n
	}
	return set, nil
}

// codeSender is what delivers codes, nil if nobody signs up by phone number. out is the operator's terminal.
func (s *settings) codeSender(out io.Writer) (signup.Sender, error) {
	switch s.sms {
	case "":
		return nil, nil
	case smsLog:
		return signup.NewLogSender(out), nil
	}
	info, err := os.Stat(s.smsKey)
	if err != nil {
		return nil, fmt.Errorf("-sms-key: %w", err)
	}
	// Windows has no such bits; access lists protect the file there.
	if perm := info.Mode().Perm(); runtime.GOOS != "windows" && perm&0o077 != 0 {
		return nil, fmt.Errorf("-sms-key: %s can be read by others (mode %#o): run chmod 600 on it", s.smsKey, perm)
	}
	secret, err := os.ReadFile(s.smsKey)
	if err != nil {
		return nil, fmt.Errorf("-sms-key: %w", err)
	}
	hook, err := signup.NewWebhook(signup.WebhookConfig{URL: s.sms, Secret: bytes.TrimSpace(secret)})
	if err != nil {
		return nil, fmt.Errorf("-sms: %w", err)
	}
	return hook, nil
}
