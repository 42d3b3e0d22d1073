package bridge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// pausable is a lane with a pause.
type pausable struct {
	carrier
	paused bool
}

func (p *pausable) Status() lane.Status {
	s := lane.Status{Provider: graph.FCM, State: lane.Open}
	if p.paused {
		s.State = lane.Denied
	}
	return s
}

func (p *pausable) Resume() (was bool) {
	was, p.paused = p.paused, false
	return was
}

func TestStatusAndResume(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		l := &pausable{w.lane, true}
		w.b.lanes[graph.FCM] = l
		defer delete(w.b.lanes, graph.FCM)
		synctest.Wait()
		s := w.b.Status()
		if s.Behind != 0 || s.Unsettled != 0 || s.Rings != 0 || s.Rows != 0 || len(s.Lanes) != 1 || s.Lanes[0].State != lane.Denied {
			t.Errorf("%+v", s)
		}
		for _, want := range []bool{true, false} {
			if paused, known := w.b.Resume(graph.FCM); paused != want || !known {
				t.Errorf("paused %v, known %v", paused, known)
			}
		}
		if _, known := w.b.Resume(graph.WebPush); known {
			t.Error("a provider that is not set up is known")
		}
		if s := w.b.Status(); s.Lanes[0].State != lane.Open {
			t.Errorf("%+v", s)
		}
	})
}

// Last has of each device the newest decision that came to an answer, and nothing of anybody else.
func TestLast(t *testing.T) {
	double(t, func(t *testing.T, w *world) {
		w.start()
		answer := func(o push.Outcome) *push.Answer { return &push.Answer{Outcome: o} }
		for i, n := range []remark{
			{key: key{account: 1, device: 7, log: 1}, answer: answer(push.Busy)},
			{key: key{account: 2, device: 7, log: 1}, answer: answer(push.Gone)},
			{key: key{account: 1, device: 3, log: 2}, answer: answer(push.Delivered)},
			{key: key{account: 1, device: 7, log: 9}, answer: answer(push.Delivered)},
			{key: key{account: 1, device: 7, log: 9}},
			{key: key{account: 1, device: 5, log: 9}},
		} {
			n.time = int64(i)
			w.b.audit.add(n)
		}
		got := w.b.Last(1)
		if len(got) != 2 || got[0].Device != 3 || got[1].Device != 7 || got[1].Answer.Outcome != push.Delivered || !got[1].Time.Equal(time.UnixMilli(3)) {
			t.Errorf("%+v", got)
		}
		if got := w.b.Last(store.AccountID(3)); len(got) != 0 {
			t.Errorf("%+v", got)
		}
	})
}
