package view

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"
)

// CBOR major types (RFC 8949, section 3.1).
const (
	majorUint   = 0 << 5
	majorNegint = 1 << 5
	majorBytes  = 2 << 5
	majorText   = 3 << 5
	majorArray  = 4 << 5
	majorMap    = 5 << 5
	majorSimple = 7 << 5
)

const (
	cborTrue      = majorSimple | 21
	cborNull      = majorSimple | 22
	cborUndefined = majorSimple | 23
)

// appendHead appends the initial byte and argument of a CBOR item in the shortest form.
func appendHead(dst []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= math.MaxUint8:
		return append(dst, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), n)
}

// appendCBORText appends a text, with U+FFFD for what is not UTF-8: CBOR allows nothing else in a text.
func appendCBORText(dst, s []byte) []byte {
	if !utf8.Valid(s) {
		s = bytes.ToValidUTF8(s, []byte("\ufffd"))
	}
	return append(appendHead(dst, majorText, uint64(len(s))), s...)
}

// readHead reads the initial byte and argument of a definite-length item. info is the low five bits, which tell the
// widths of floats apart.
func readHead(src []byte) (major, info byte, n uint64, rest []byte, ok bool) {
	if len(src) == 0 {
		return 0, 0, 0, nil, false
	}
	major, info, src = src[0]&0xe0, src[0]&0x1f, src[1:]
	switch {
	case info < 24:
		return major, info, uint64(info), src, true
	case info == 24 && len(src) >= 1:
		return major, info, uint64(src[0]), src[1:], true
	case info == 25 && len(src) >= 2:
		return major, info, uint64(binary.BigEndian.Uint16(src)), src[2:], true
	case info == 26 && len(src) >= 4:
		return major, info, uint64(binary.BigEndian.Uint32(src)), src[4:], true
	case info == 27 && len(src) >= 8:
		return major, info, binary.BigEndian.Uint64(src), src[8:], true
	}
	return 0, 0, 0, nil, false
}

// skip returns what follows the first item of src; false if that item is cut, tagged, of indefinite length or nested
// deeper than depth.
func skip(src []byte, depth int) ([]byte, bool) {
	major, info, n, rest, ok := readHead(src)
	if !ok {
		return nil, false
	}
	switch major {
	case majorUint, majorNegint:
		return rest, true
	case majorBytes, majorText:
		if n > uint64(len(rest)) {
			return nil, false
		}
		return rest[n:], true
	case majorArray, majorMap:
		if depth == 0 || n > uint64(len(rest)) {
			return nil, false
		}
		if major == majorMap {
			n *= 2
		}
		for ; n > 0; n-- {
			if rest, ok = skip(rest, depth-1); !ok {
				return nil, false
			}
		}
		return rest, true
	case majorSimple:
		return rest, info != 24 // no two-byte simple value is defined
	}
	return nil, false // a tag
}

// appendJSONFromCBOR appends the first item of src as JSON and returns what follows it. Byte strings become base64url
// without padding, keys of maps must be texts.
func appendJSONFromCBOR(dst, src []byte, depth int) (out, rest []byte, ok bool) {
	major, info, n, rest, ok := readHead(src)
	if !ok {
		return dst, nil, false
	}
	switch major {
	case majorUint:
		return strconv.AppendUint(dst, n, 10), rest, true
	case majorNegint:
		if n > math.MaxInt64 {
			return dst, nil, false
		}
		return strconv.AppendInt(dst, -1-int64(n), 10), rest, true
	case majorBytes, majorText:
		if n > uint64(len(rest)) {
			return dst, nil, false
		}
		if major == majorText {
			return appendJSONString(dst, rest[:n]), rest[n:], true
		}
		dst = base64.RawURLEncoding.AppendEncode(append(dst, '"'), rest[:n])
		return append(dst, '"'), rest[n:], true
	case majorArray:
		if depth == 0 {
			return dst, nil, false
		}
		dst = append(dst, '[')
		for i := uint64(0); i < n; i++ {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, rest, ok = appendJSONFromCBOR(dst, rest, depth-1); !ok {
				return dst, nil, false
			}
		}
		return append(dst, ']'), rest, true
	case majorMap:
		if depth == 0 {
			return dst, nil, false
		}
		dst = append(dst, '{')
		for i := uint64(0); i < n; i++ {
			if i > 0 {
				dst = append(dst, ',')
			}
			if len(rest) == 0 || rest[0]&0xe0 != majorText {
				return dst, nil, false
			}
			if dst, rest, ok = appendJSONFromCBOR(dst, rest, 0); !ok {
				return dst, nil, false
			}
			if dst, rest, ok = appendJSONFromCBOR(append(dst, ':'), rest, depth-1); !ok {
				return dst, nil, false
			}
		}
		return append(dst, '}'), rest, true
	case majorSimple:
		switch info {
		case 20:
			return append(dst, "false"...), rest, true
		case 21:
			return append(dst, "true"...), rest, true
		case 22:
			return append(dst, "null"...), rest, true
		case 25, 26, 27:
			return appendJSONFloat(dst, floatOf(info, n)), rest, true
		}
	}
	return dst, nil, false
}

// floatOf decodes a float of 16, 32 or 64 bits.
func floatOf(info byte, bits uint64) float64 {
	switch info {
	case 26:
		return float64(math.Float32frombits(uint32(bits)))
	case 27:
		return math.Float64frombits(bits)
	}
	exp, frac := int(bits>>10&0x1f), float64(bits&0x3ff)
	var f float64
	switch exp {
	case 0:
		f = math.Ldexp(frac, -24)
	case 31:
		if f = math.Inf(1); frac != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(frac+1024, exp-25)
	}
	if bits&0x8000 != 0 {
		f = -f
	}
	return f
}

// pairs calls f for each pair of a CBOR map with unsigned integer keys, such as a record's Extra, as long as the map is
// well-formed. value is the encoded item.
func pairs(src []byte, f func(key uint64, value []byte)) {
	major, _, n, rest, ok := readHead(src)
	if !ok || major != majorMap {
		return
	}
	for ; n > 0; n-- {
		major, _, key, after, ok := readHead(rest)
		if !ok || major != majorUint {
			return
		}
		end, ok := skip(after, maxDepth)
		if !ok {
			return
		}
		f(key, after[:len(after)-len(end)])
		rest = end
	}
}
