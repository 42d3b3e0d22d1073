package hooks

// Limits of the words in a topic, in bytes.
const (
	MaxName      = 64 // user, room, channel, pseudonym, operation, request id
	MaxCID       = 36 // a sender's own id of a message
	MaxTopic     = 512
	MaxTopicDeep = 128 // levels; deeper topics are the known way to stall a topic trie
)

// identifier tells for every byte whether it may stand in an identifier:
// [A-Za-z0-9._~-], the characters that need no escaping in a URL.
var identifier = [256]bool{
	'-': true, '.': true, '_': true, '~': true,
	'0': true, '1': true, '2': true, '3': true, '4': true, '5': true, '6': true, '7': true, '8': true, '9': true,
	'A': true, 'B': true, 'C': true, 'D': true, 'E': true, 'F': true, 'G': true, 'H': true, 'I': true, 'J': true,
	'K': true, 'L': true, 'M': true, 'N': true, 'O': true, 'P': true, 'Q': true, 'R': true, 'S': true, 'T': true,
	'U': true, 'V': true, 'W': true, 'X': true, 'Y': true, 'Z': true,
	'a': true, 'b': true, 'c': true, 'd': true, 'e': true, 'f': true, 'g': true, 'h': true, 'i': true, 'j': true,
	'k': true, 'l': true, 'm': true, 'n': true, 'o': true, 'p': true, 'q': true, 'r': true, 's': true, 't': true,
	'u': true, 'v': true, 'w': true, 'x': true, 'y': true, 'z': true,
}

// ValidName reports whether s may name a user, room or channel: 1 to MaxName
// characters of [A-Za-z0-9._~-], but neither "." nor "..", which a URL path
// would swallow. Upper case is valid here and means the lower-case name; see
// NormalName.
func ValidName(s string) bool {
	return s != "." && s != ".." && inAlphabet(s, MaxName)
}

// NormalName returns the name that s means: s in lower case. It reports false
// if s is no valid name. It allocates only if s holds upper case.
func NormalName(s string) (string, bool) {
	if !ValidName(s) {
		return "", false
	}
	return lower(s), true
}

// ValidCID reports whether s may be a sender's own id of a message: 1 to
// MaxCID characters of the identifier alphabet. Case counts.
func ValidCID(s string) bool { return inAlphabet(s, MaxCID) }

// ValidRequestID reports whether s may be the request id of a control request:
// 1 to MaxName characters of the identifier alphabet. Case counts.
func ValidRequestID(s string) bool { return inAlphabet(s, MaxName) }

func inAlphabet(s string, limit int) bool {
	if len(s) == 0 || len(s) > limit {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !identifier[s[i]] {
			return false
		}
	}
	return true
}

// lower is strings.ToLower for the identifier alphabet. Bytes outside it pass
// unchanged, so that hostile UTF-8 cannot fold into an identifier (the Kelvin
// sign is no k here).
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if c := b[i]; 'A' <= c && c <= 'Z' {
					b[i] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
