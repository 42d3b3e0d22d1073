package hooks

// shape is one kind of topic: a line of the topic table, without the cid,
// which is never delivered and so never matched by a filter.
type shape struct {
	place     Place
	act       Act
	delivered bool   // the server publishes there; else only clients do
	pattern   string // {name} an identifier, {view} a view, {rid} a request id, {…} one level or more
}

// grammar lists every kind of topic there is. A filter that can match none of
// them is refused. Its order is the order of the bits in Filter.shapes.
var grammar = [...]shape{
	{Room, Message, true, "room/{name}/{view}"},
	{Room, Edit, true, "room/{name}/edit"},
	{Room, Read, true, "room/{name}/read"},
	{Room, Typing, true, "room/{name}/typing/{name}"},
	{Room, Typing, false, "room/{name}/typing"},
	{User, Message, true, "user/{name}/{view}"},
	{User, Edit, true, "user/{name}/edit"},
	{User, Read, true, "user/{name}/read"},
	{User, Typing, true, "user/{name}/typing/{name}"},
	{User, Typing, false, "user/{name}/typing"},
	{Channel, Message, true, "channel/{name}/{view}"},
	{Channel, Edit, true, "channel/{name}/edit"},
	{Channel, Ask, true, "channel/{name}/ask/{view}"},
	{Channel, Progress, true, "channel/{name}/progress"},
	{Thread, Message, true, "thread/{name}/{name}/{view}"},
	{Presence, Status, true, "presence/{name}"},
	{Notice, Message, true, "notice/{view}"},
	{API, Call, false, "api/{name}/{rid}"},
	{Reply, Answer, true, "reply/{…}"},
	{Sys, Metric, true, "$SYS/{…}"},
}

// Masks over Filter.shapes. Undelivered shapes are in neither.
var shapeMasks, deliveredShapes = func() (m [places][acts]uint32, delivered uint32) {
	for i, g := range grammar {
		if g.delivered {
			m[g.place][g.act] |= 1 << i
			delivered |= 1 << i
		}
	}
	return m, delivered
}()

func shapesOf(p Place, a Act) uint32 {
	if p >= places || a >= acts {
		return 0
	}
	return shapeMasks[p][a]
}

// meets reports whether a filter with valid wildcards can match a topic of
// this shape.
func (g shape) meets(filter string) bool {
	if g.pattern[0] == '$' && filter[0] != '$' {
		return false // a leading wildcard matches no $ topic
	}
	pattern := g.pattern
	for {
		if filter == "#" {
			return true
		}
		want, prest, pmore := cut(pattern)
		have, frest, fmore := cut(filter)
		if want == "{…}" {
			return have != "" || fmore
		}
		if have != "+" && !mayStand(want, have) {
			return false
		}
		switch {
		case !pmore:
			return !fmore || frest == "#"
		case !fmore:
			return false
		}
		pattern, filter = prest, frest
	}
}

// mayStand reports whether a filter's literal level fits that of a pattern.
func mayStand(want, have string) bool {
	switch want {
	case "{name}":
		return ValidName(have)
	case "{rid}":
		return ValidRequestID(have)
	case "{view}":
		_, ok := ParseView(have)
		return ok
	}
	return want == have
}
