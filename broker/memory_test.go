package broker

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

// Five hundred devices that are away for 10,000 messages each cost nothing but their rows on disk: the heap and the
// stacks in use after are within 1 MiB of what they were.
func TestAwayDevicesCostNoMemory(t *testing.T) {
	const devices, messages = 500, 10_000
	w := newWorldConfig(t, bolt.Config{CacheBytes: 1 << 20}, "alice")
	members := []store.Member{{Account: w.users["alice"].ID, Role: store.RoleOwner}}
	names := make([]string, devices)
	for i := range devices {
		names[i] = fmt.Sprint("u", i)
		a, err := w.st.CreateAccount(t.Context(), store.Account{Name: names[i]})
		if err != nil {
			t.Fatal(err)
		}
		w.users[names[i]] = a
		members = append(members, store.Member{Account: a.ID, Role: store.RoleMember})
	}
	if _, _, err := w.st.Open(t.Context(), store.RoomKey("hall"), store.Creation{Members: members}); err != nil {
		t.Fatal(err)
	}
	alice := w.connect("alice", "a")
	for _, n := range names {
		c := w.connect(n, "phone")
		c.subscribe("room/+/text")
		c.leave()
	}
	n := 0
	write := func() {
		for i := range messages {
			n++
			alice.s.Publish(Publication{Topic: "room/hall/text", Payload: fmt.Appendf(nil, "message %d of very many", n)}, Ack{PacketID: uint16(i%65535 + 1), QoS: 1})
		}
		alice.wait(messages, outcome)
		alice.mu.Lock()
		alice.got = nil
		alice.mu.Unlock()
	}
	used := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	write() // fills the caches, which are bounded
	before := used()
	// Caches and buffers move in both directions with the size of the groups that are committed: seen were 2 MiB on a busy
	// machine. What is kept for a device or a message comes with every round.
	grown, rounds := int64(1<<62), 0
	for ; grown > 1<<20 && rounds < 3; rounds++ {
		write()
		grown = used() - before
	}
	if grown > 1<<20 {
		t.Errorf("memory in use grew by %d KiB while %d devices were away for %d messages", grown>>10, devices, rounds*messages)
	}
	c := w.connect(names[7], "phone")
	for i, p := range c.deliveries(n) {
		if !strings.HasPrefix(p, fmt.Sprintf("message %d ", i+1)) {
			t.Fatalf("delivery %d is %s", i+1, p)
		}
	}
}
