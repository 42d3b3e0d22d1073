package limit

import (
	"net/netip"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// TestCodes: wrong codes use up a key's and an address's share, asking uses up nothing.
func TestCodes(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l, err := New(Config{Rates: map[Rule]Rate{Codes: {1, time.Minute, 3}, CodesAddress: {1, time.Minute, 5}}, Now: func() time.Time { return now },
		Exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	a, free := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.1.2.3")
	may := func(key byte, from netip.Addr) store.Code {
		return store.CodeOf(l.MayTry([16]byte{key}, from))
	}
	for range 3 {
		for range 10 {
			if c := may(1, a); c != 0 {
				t.Fatalf("asking costs: %d", c)
			}
		}
		l.Wrong([16]byte{1}, a)
	}
	if may(1, a) != store.CodeTooMany || may(1, free) != store.CodeTooMany || may(2, a) != 0 {
		t.Error("three wrong codes of a key")
	}
	l.Wrong([16]byte{2}, a)
	l.Wrong([16]byte{3}, a)
	if may(4, a) != store.CodeTooMany || may(4, free) != 0 || may(4, netip.Addr{}) != 0 {
		t.Error("five wrong codes of an address")
	}
	now = now.Add(time.Minute)
	if may(1, a) != 0 || may(4, a) != 0 {
		t.Error("a minute later")
	}
	var none *Limiter
	none.Wrong([16]byte{}, a)
	if err := none.MayTry([16]byte{}, a); err != nil {
		t.Error(err)
	}
}
