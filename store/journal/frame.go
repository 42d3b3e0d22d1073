package journal

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// A segment file is a header, alone in its block so that no later write touches it, and frames:
//
//	header  magic 8 | version u32 | zero u32 | base u64 | created i64 (Unix ns) | CRC-32C u32 | zeros
//	frame   word u32 | CRC-32C u32 | record
//
// All numbers are little endian. The word holds the record's length and two marks, see below. The
// frame's CRC covers the word, the frame's position and the record: a frame is valid in its own place
// only, so bytes that lay somewhere else in the journal, or on the disk, never pass for a frame. A word
// of zero is the end.
const (
	headerSize    = 4096
	headerUsed    = 36
	frameHead     = 8
	formatVersion = 1

	wordFirst  = 1 << 31    // the first frame of an Append
	wordLast   = 1 << 30    // the last frame of an Append
	wordLength = 1<<24 - 1  // the bits of the length; those between are zero
	maxLength  = wordLength // longest record that the format can hold, bytes
)

const magic = "hwangseg"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameCRC is the checksum of a frame whose first four bytes are head. The position is the state that
// the CRC begins with: one frame's checksums for two positions less than 4 GiB apart always differ.
func frameCRC(pos Position, head, record []byte) uint32 {
	salt := uint32(pos)*0x9e3779b1 ^ uint32(pos>>32)*0x85ebca6b
	return crc32.Update(crc32.Update(salt, castagnoli, head), castagnoli, record)
}

// appendFrame appends the frame of record at pos to buf.
func appendFrame(buf []byte, pos Position, record []byte, marks uint32) []byte {
	at := len(buf)
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(record))|marks)
	crc := frameCRC(pos, buf[at:at+4], record)
	buf = binary.LittleEndian.AppendUint32(buf, crc)
	return append(buf, record...)
}

// frameWord takes a frame's first word apart. ok is false for words that are never written, zero
// among them.
func frameWord(head []byte) (word uint32, length int, ok bool) {
	word = binary.LittleEndian.Uint32(head)
	length = int(word & wordLength)
	return word, length, length > 0 && word&^(wordFirst|wordLast|wordLength) == 0
}

// frameStatus is what decodeFrame found.
type frameStatus int

const (
	frameOK    frameStatus = iota
	frameEnd               // the word is zero
	frameShort             // data ends before the frame does; need says how much it takes
	frameBad
)

// decodeFrame looks at the frame at the beginning of data, which lies at pos. record shares data's
// memory; need is the frame's length in bytes when its head could be read.
func decodeFrame(data []byte, pos Position) (record []byte, word uint32, need int, status frameStatus) {
	if len(data) < frameHead {
		return nil, 0, frameHead, frameShort
	}
	word, length, ok := frameWord(data)
	if word == 0 {
		return nil, 0, frameHead, frameEnd
	}
	if !ok {
		return nil, word, frameHead, frameBad
	}
	need = frameHead + length
	if len(data) < need {
		return nil, word, need, frameShort
	}
	record = data[frameHead:need:need]
	if binary.LittleEndian.Uint32(data[4:]) != frameCRC(pos, data[:4], record) {
		return nil, word, need, frameBad
	}
	return record, word, need, frameOK
}

// encodeHeader fills a segment's header block.
func encodeHeader(base Position, created time.Time) []byte {
	b := make([]byte, headerSize)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint64(b[16:], uint64(base))
	binary.LittleEndian.PutUint64(b[24:], uint64(created.UnixNano()))
	binary.LittleEndian.PutUint32(b[32:], crc32.Checksum(b[:32], castagnoli))
	return b
}

// checkHeader says what is wrong with a segment's header, "" if nothing is.
func checkHeader(b []byte, base Position) string {
	switch {
	case len(b) < headerUsed:
		return "header is cut short"
	case string(b[:8]) != magic:
		return "not a segment file"
	case binary.LittleEndian.Uint32(b[32:]) != crc32.Checksum(b[:32], castagnoli):
		return "header checksum does not match"
	case binary.LittleEndian.Uint32(b[8:]) != formatVersion:
		return "format version is not one this program knows"
	case Position(binary.LittleEndian.Uint64(b[16:])) != base:
		return "header names another base than the file name"
	}
	return ""
}
