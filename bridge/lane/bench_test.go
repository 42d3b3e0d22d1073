package lane

import (
	"context"
	"fmt"
	"testing"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// at once is a provider that costs nothing, so that a benchmark shows the lane.
type atOnce struct{}

func (atOnce) Send(context.Context, *push.Push) push.Answer {
	return push.Answer{Outcome: push.Delivered, Status: 200}
}
func (atOnce) Refresh()     {}
func (atOnce) Close() error { return nil }

type benchJob struct {
	push *push.Push
	done chan<- struct{}
}

func (j *benchJob) Class() push.Class                { return push.Chat }
func (j *benchJob) To() *graph.Registration          { return &j.push.To }
func (j *benchJob) Build(context.Context) *push.Push { return j.push }
func (j *benchJob) Done(Result)                      { j.done <- struct{}{} }

// BenchmarkPush is what a push costs in a lane, from Submit to the end of Done, with as many under way as an owner keeps.
func BenchmarkPush(b *testing.B) {
	for _, name := range graph.PushProviders() {
		b.Run(string(name), func(b *testing.B) {
			l := newLane(b, atOnce{}, func(c *Config) { c.Name = name })
			window := l.cfg.InFlight / 2
			done := make(chan struct{}, window)
			jobs := make([]*benchJob, 1024)
			for i := range jobs {
				r := to(name, i)
				r.Token = fmt.Sprintf("https://push.example/%064d", i)
				jobs[i] = &benchJob{&push.Push{To: r}, done}
			}
			under := 0
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; {
				if under == window {
					<-done
					under--
				}
				if _, ok := l.Submit(jobs[i%len(jobs)]); !ok {
					b.Fatal("refused")
				}
				under++
				i++
			}
			for range under {
				<-done
			}
		})
	}
}

// BenchmarkRefused is what Submit costs while a provider is down.
func BenchmarkRefused(b *testing.B) {
	l := newLane(b, atOnce{}, nil)
	l.mu.Lock()
	now := l.cfg.Now()
	l.hold(l.route("", now), Down, "timeout", now, pauseMost)
	l.unlock()
	j := &benchJob{&push.Push{To: to(graph.APNs, 1)}, nil}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := l.Submit(j); ok {
			b.Fatal("taken")
		}
	}
}
