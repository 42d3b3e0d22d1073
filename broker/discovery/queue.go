package discovery

import (
	"errors"
	"net/netip"

	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
)

// The queues are rows of the account that something is to be done for, so that they go with it.
const (
	tableNew    store.Table = "user.discovery.new"
	tableSlow   store.Table = "user.discovery.slow"
	tableJoined store.Table = "user.joined"
)

const queueVersion = 1

var errQueue = errors.New("discovery: a queued row is damaged")

// pack is queued numbers, behind the network they wait for (the zero Prefix: none).
func pack(n netip.Prefix, list []phone.Hash) []byte {
	from := ""
	if n.IsValid() {
		from = n.String()
	}
	b := append([]byte{queueVersion, byte(len(from))}, from...)
	for _, h := range list {
		b = append(b, h[:]...)
	}
	return b
}

func unpack(b []byte) (n netip.Prefix, list []phone.Hash, err error) {
	if len(b) < 2 || b[0] != queueVersion || len(b) < 2+int(b[1]) {
		return n, nil, errQueue
	}
	from, rest := string(b[2:2+int(b[1])]), b[2+int(b[1]):] // a sum of bytes would overflow
	if from != "" {
		if n, err = netip.ParsePrefix(from); err != nil {
			return n, nil, errQueue
		}
	}
	if len(rest)%len(phone.Hash{}) != 0 {
		return n, nil, errQueue
	}
	for ; len(rest) > 0; rest = rest[len(phone.Hash{}):] {
		list = append(list, phone.Hash(rest))
	}
	return n, list, nil
}
