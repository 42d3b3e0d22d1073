//go:build linux

package load

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/hwangso/hwangso/examples/swarm/internal/engine"
	"github.com/hwangso/hwangso/examples/swarm/internal/packet"
)

// scheme says how users log in and which topics they write to and read from.
//
//	            target mqtt          target hwangso
//	to user 8   swarm/u8             user/u8/text[/{cid}]
//	user 8 gets swarm/u8             user/+/{view}
//	to room 3   swarm/g3             room/g3/text[/{cid}]
//	member gets swarm/g3             room/+/{view}
//	to channel 0 swarm/c0            channel/c0/text[/{cid}]
//	follower gets swarm/c0           channel/+/{view}
type scheme struct {
	opt     *Options
	to      netip.AddrPort
	hwangso bool
}

func newScheme(o *Options) (*scheme, error) {
	to, err := o.address()
	if err != nil {
		return nil, err
	}
	return &scheme{opt: o, to: to, hwangso: o.Target == "hwangso"}, nil
}

// perSource is how many connections share one source address: far below the
// 28,000 ports, as those of closed connections rest for a minute.
const perSource = 5000

// login is the configuration of user number u's connection number i in the
// given role, without filters, in a clean session.
func (s *scheme) login(role string, i, u int) engine.Config {
	c := engine.Config{To: s.to}
	c.Version = s.opt.version()
	c.Clean = true
	c.KeepAlive = uint16(s.opt.KeepAlive.Seconds())
	if s.hwangso {
		c.ClientID = s.opt.Prefix + "-" + role
		c.User, c.Password = s.user(u), s.opt.Password
	} else {
		c.ClientID = s.opt.Prefix + "-" + role + strconv.Itoa(s.opt.First+i)
		c.User, c.Password = s.opt.User, s.opt.Password
	}
	if s.to.Addr().Is4() && s.to.Addr().IsLoopback() && i >= perSource {
		c.From = netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i/perSource)})
	}
	return c
}

func (s *scheme) user(u int) string { return "u" + strconv.Itoa(s.opt.First+u) }

// toUser is the topic that reaches user u, complete or up to the cid.
func (s *scheme) toUser(u int) string { return s.publish("user/", s.user(u)) }

// toRoom is the topic that reaches the members of room r.
func (s *scheme) toRoom(r int) string { return s.publish("room/", s.room(r)) }

// room is the name of the run's room r. Seeded room g has the users g·G to
// g·G+G-1, so the first user also says which room is the first.
func (s *scheme) room(r int) string {
	return "g" + strconv.Itoa(r+s.opt.First/max(1, s.opt.Members))
}

func (s *scheme) publish(kind, name string) string {
	if !s.hwangso {
		return "swarm/" + name
	}
	t := kind + name + "/text"
	if s.opt.CID {
		t += "/"
	}
	return t
}

// userFilter selects what is sent to user u.
func (s *scheme) userFilter(u int) string {
	if s.hwangso {
		return "user/+/" + s.opt.View
	}
	return "swarm/" + s.user(u)
}

// roomFilter selects what is sent to room r.
func (s *scheme) roomFilter(r int) string {
	if s.hwangso {
		return "room/+/" + s.opt.View
	}
	return "swarm/" + s.room(r)
}

// publisher is the configuration of who posts to the channel: brand0 of a
// seeded population.
func (s *scheme) publisher() engine.Config {
	c := s.login("p", 0, 0)
	if s.hwangso {
		c.User = "brand0"
	}
	return c
}

// toChannel is the topic of a post.
func (s *scheme) toChannel() string { return s.publish("channel/", "c0") }

// channelFilter selects the posts.
func (s *scheme) channelFilter() string {
	if s.hwangso {
		return "channel/+/" + s.opt.View
	}
	return "swarm/c0"
}

// cid reports whether topics end in an id of the message.
func (s *scheme) cid() bool { return s.hwangso && s.opt.CID }

// persist makes c a session that outlives its connection. fresh asks for an
// empty one, which a 3.x client cannot do in one CONNECT: see wipe.
func persist(c *engine.Config, fresh bool) {
	c.Clean = false
	if c.Version == packet.V5 {
		c.Clean = fresh
		c.Expiry = 24 * 3600
	}
}

// wipe makes c a connection that removes the session of its client id.
func wipe(c *engine.Config) {
	c.Clean = true
	c.Expiry = 0
	c.Filters = nil
}

func (s *scheme) String() string {
	return fmt.Sprintf("%s %s, MQTT %s", s.opt.Target, s.to, map[byte]string{
		packet.V31: "3.1", packet.V311: "3.1.1", packet.V5: "5"}[s.opt.version()])
}
