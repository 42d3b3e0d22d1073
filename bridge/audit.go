package bridge

import (
	"sync"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
)

// auditSize is how many decisions are kept in memory: some 12 MB.
const auditSize = 100_000

// auditPosts is how many of posts are.
const auditPosts = 20_000

// audit keeps the newest decisions, each in place of the oldest. What a connected device acknowledged, and who has nothing
// registered, is not among them: there are far more of those, and both can still be seen when somebody asks.
type audit struct {
	mu   sync.Mutex
	max  int
	list []remark // a ring once it is full
	next int      // where the next one goes
}

// remark is a Decision in less room.
type remark struct {
	key
	time, until int64 // Unix milliseconds
	from, upto  store.Seq
	reason      Reason
	answer      *push.Answer
	push        push.ID
}

func (n *remark) decision() Decision {
	d := Decision{Time: time.UnixMilli(n.time), Account: n.account, Device: n.device, Log: n.log, From: n.from, Upto: n.upto,
		Reason: n.reason, Answer: n.answer, Push: n.push}
	if n.until != 0 {
		d.Until = time.UnixMilli(n.until)
	}
	return d
}

func (a *audit) add(n remark) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.list) < a.max {
		a.list = append(a.list, n)
		return
	}
	a.list[a.next] = n
	if a.next++; a.next == len(a.list) {
		a.next = 0
	}
}

// slice is how many decisions are looked at without letting others in between.
const auditSlice = 2048

// about returns the decisions of a user that fit, oldest first. What is decided meanwhile may be missing.
func (a *audit) about(account store.AccountID, fits func(*remark) bool) []remark {
	a.mu.Lock()
	n, first := len(a.list), a.next
	a.mu.Unlock()
	var out []remark
	for done := 0; done < n; {
		a.mu.Lock()
		for end := min(n, done+auditSlice); done < end; done++ {
			d := &a.list[(first+done)%n]
			if d.account == account && fits(d) {
				out = append(out, *d)
			}
		}
		a.mu.Unlock()
	}
	return out
}
