package channel

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/hwangso/hwangso/store"
)

// The tables.
const (
	tablePlan  store.Table = "service.plan"  // owner: ""; key: the plan's name
	tableQuota store.Table = "channel.quota" // owner: the channel; key: the day; expires
	tableOffer store.Table = "channel.offer" // owner: the channel; key: the name of who is asked to publish; expires
)

// DefaultPlan is the name of the plan of channels that have no other one. An operator may define it anew.
const DefaultPlan = "default"

// Plan is what a channel may do. Each field is at least 0; 0 allows nothing.
type Plan struct {
	Name       string `json:"name"`
	Posts      int    `json:"posts" doc:"Posts a day in UTC, advertising included."`
	Ads        int    `json:"ads" doc:"Of them advertising."`
	Scheduled  int    `json:"scheduled" doc:"Broadcasts that wait for their time."`
	PerMinute  int    `json:"per_minute" doc:"Posts a minute."`
	Publishers int    `json:"publishers" doc:"Publishers, at most 20."`
}

// MostPublishers is how many publishers a channel has at most, whatever its plan says.
const MostPublishers = 20

var builtIn = Plan{Name: DefaultPlan, Posts: 100, Ads: 10, Scheduled: 50, PerMinute: 30, Publishers: MostPublishers}

// mostPlans is how many plans there may be.
const mostPlans = 100

// Validate tells what is wrong with a plan, nil if nothing.
func (p *Plan) Validate() error {
	for _, n := range []int{p.Posts, p.Ads, p.Scheduled, p.PerMinute, p.Publishers} {
		if n < 0 || n > 1_000_000 {
			return store.Bad("numbers of a plan must be 0 to 1,000,000")
		}
	}
	if p.Publishers < 1 || p.Publishers > MostPublishers {
		return store.Bad("publishers must be 1 to 20")
	}
	return nil
}

// Plan is a plan by its name; "" is the default. CodeNotFound: there is none.
func (s *Service) Plan(name string) (Plan, error) {
	if name == "" {
		name = DefaultPlan
	}
	row, err := s.store.Row(tablePlan, "", name)
	if err != nil {
		return Plan{}, fmt.Errorf("channel: plan: %w", err)
	}
	if row.Version == 0 && name == DefaultPlan {
		return builtIn, nil
	}
	if row.Version == 0 {
		return Plan{}, &store.Error{Code: store.CodeNotFound, Text: "there is no such plan"}
	}
	p, err := store.Decoded(row, planOf)
	if err != nil {
		return Plan{}, fmt.Errorf("channel: plan: %w", err)
	}
	return *p, nil
}

func planOf(b []byte) (p Plan, err error) {
	err = json.Unmarshal(b, &p)
	return p, err
}

// PlanOf is the plan of a channel. One whose plan was removed has the default.
func (s *Service) PlanOf(channel store.LogID) (Plan, error) {
	c, err := s.graph.Channel(channel)
	if err != nil {
		return Plan{}, fmt.Errorf("channel: %w", err)
	}
	p, err := s.Plan(c.Plan)
	if store.CodeOf(err) == store.CodeNotFound {
		return s.Plan(DefaultPlan)
	}
	return p, err
}

// Plans lists the plans by name.
func (s *Service) Plans() ([]Plan, error) {
	rows, err := s.store.Rows(tablePlan, "", "", "", mostPlans)
	if err != nil {
		return nil, fmt.Errorf("channel: plans: %w", err)
	}
	out := []Plan{builtIn}
	for _, r := range rows {
		p, err := planOf(r.Value)
		if err != nil {
			return nil, fmt.Errorf("channel: plans: %w", err)
		}
		if p.Name == DefaultPlan {
			out[0] = p
			continue
		}
		out = append(out, p)
	}
	return out, nil
}

// SetPlan defines a plan. It counts from the next post on, for every channel that has it.
func (s *Service) SetPlan(ctx context.Context, p Plan) error {
	if err := p.Validate(); err != nil {
		return err
	}
	rows, err := s.store.Rows(tablePlan, "", "", "", mostPlans)
	if err != nil {
		return fmt.Errorf("channel: plan: %w", err)
	}
	if len(rows) == mostPlans && !slices.ContainsFunc(rows, func(r store.Row) bool { return r.Key == p.Name }) {
		return &store.Error{Code: store.CodeFull, Reason: "plans", Text: "there are too many plans"}
	}
	value, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("channel: plan: %w", err)
	}
	return s.putPlan(ctx, p.Name, value)
}

// RemovePlan removes a plan: its channels have the default then. The default itself becomes the built-in one again.
func (s *Service) RemovePlan(ctx context.Context, name string) error {
	row, err := s.store.Row(tablePlan, "", name)
	if err != nil {
		return fmt.Errorf("channel: plan: %w", err)
	}
	if row.Version == 0 {
		text := "there is no such plan"
		if name == DefaultPlan {
			text = "the default plan was never changed"
		}
		return &store.Error{Code: store.CodeNotFound, Text: text}
	}
	return s.putPlan(ctx, name, nil)
}

func (s *Service) putPlan(ctx context.Context, name string, value []byte) error {
	if err := s.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: tablePlan, Key: name, Value: value}}}); err != nil {
		return fmt.Errorf("channel: plan: %w", err)
	}
	return nil
}

// quota is what a channel has used of a day.
type quota struct {
	Posts  int      `json:"posts"`
	Ads    int      `json:"ads"`
	Minute int64    `json:"minute,omitempty"` // since 1970
	Fresh  int      `json:"fresh,omitempty"`  // posts of that minute
	IDs    []uint64 `json:"ids,omitempty"`    // of what was counted last
}

const (
	keptIDs   = 256
	quotaLife = 60 * 24 * time.Hour
	tries     = 64
)

// Spend takes one post of now from what a channel's plan allows, durably. id says which post it is: a repeat costs
// nothing. CodeTooMany with the reason "quota" or "rate", and when to come back.
func (s *Service) Spend(ctx context.Context, channel store.LogID, ads bool, id string) error {
	return s.spend(ctx, channel, ads, id, s.now(), true)
}

// Broadcast takes one broadcast from what the plan allows on the day of a time, durably. key says which one it is.
func (s *Service) Broadcast(ctx context.Context, channel store.LogID, key string, ads bool, at time.Time) error {
	now := s.now()
	if at.Before(now) {
		at = now
	}
	return s.spend(ctx, channel, ads, "broadcast "+key, at, at.Sub(now) < time.Minute)
}

func (s *Service) spend(ctx context.Context, channel store.LogID, ads bool, id string, at time.Time, paced bool) error {
	plan, err := s.PlanOf(channel)
	if err != nil {
		return err
	}
	h := fnv.New64a()
	h.Write([]byte(id))
	hash := h.Sum64()
	for try := 0; ; try++ {
		row, q, err := s.used(channel, at)
		if err != nil {
			return err
		}
		if slices.Contains(q.IDs, hash) {
			return nil
		}
		minute := at.Unix() / 60
		if paced && q.Minute != minute {
			q.Minute, q.Fresh = minute, 0
		}
		midnight := at.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(s.now())
		switch {
		case q.Posts >= plan.Posts:
			return &store.Error{Code: store.CodeTooMany, Reason: "quota", Retry: midnight,
				Text: "the channel has posted as often as its plan allows in a day: " + strconv.Itoa(plan.Posts)}
		case ads && q.Ads >= plan.Ads:
			return &store.Error{Code: store.CodeTooMany, Reason: "quota", Retry: midnight,
				Text: "the channel has had as much advertising as its plan allows in a day: " + strconv.Itoa(plan.Ads)}
		case paced && q.Fresh >= plan.PerMinute:
			return &store.Error{Code: store.CodeTooMany, Reason: store.ReasonRate, Retry: time.Unix((minute+1)*60, 0).Sub(s.now()),
				Text: "the channel posts too fast: its plan allows " + strconv.Itoa(plan.PerMinute) + " a minute"}
		}
		q.Posts++
		if ads {
			q.Ads++
		}
		if paced {
			q.Fresh++
		}
		if q.IDs = append(slices.Clone(q.IDs), hash); len(q.IDs) > keptIDs {
			q.IDs = q.IDs[len(q.IDs)-keptIDs:]
		}
		value, err := json.Marshal(q)
		if err != nil {
			return fmt.Errorf("channel: quota: %w", err)
		}
		err = s.store.Update(ctx, store.Update{Owner: store.OwnerOfLog(channel), Rows: []store.RowPut{
			{Table: tableQuota, Key: dayKey(at), Value: value, Expires: at.Add(quotaLife).UnixMilli(), If: &row.Version}}})
		if store.CodeOf(err) == store.CodeConflict && try < tries {
			continue
		}
		if err != nil {
			return fmt.Errorf("channel: quota: %w", err)
		}
		return nil
	}
}

func dayKey(at time.Time) string { return at.UTC().Format(time.DateOnly) }

func (s *Service) used(channel store.LogID, at time.Time) (row store.Row, q quota, err error) {
	row, err = s.store.Row(tableQuota, store.OwnerOfLog(channel), dayKey(at))
	if err == nil && row.Version != 0 {
		err = json.Unmarshal(row.Value, &q)
	}
	if err != nil {
		return row, q, fmt.Errorf("channel: quota: %w", err)
	}
	return row, q, nil
}

// Used is how many posts, and how much advertising of them, a channel has had today in UTC.
func (s *Service) Used(channel store.LogID) (posts, ads int, err error) {
	_, q, err := s.used(channel, s.now())
	return q.Posts, q.Ads, err
}
