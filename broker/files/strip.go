package files

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Photos and videos say where they were taken. What a file says about its making (place, time, device, owner, software)
// is removed before anybody else gets it; what a picture needs to be shown right stays: colour profile, orientation,
// animation.

// errFormat says that a file is not what its type says.
var errFormat = errors.New("files: the file is damaged, or not of the type that it claims")

// stripJPEG copies a JPEG (ITU-T T.81) without its metadata: of the application segments only JFIF (APP0), the colour
// profile (APP2 ICC_PROFILE) and Adobe's colour transform (APP14) stay, comments go, and what follows the end of the
// image (motion photos, depth maps with metadata of their own) goes too. An orientation is written anew, alone.
func stripJPEG(dst io.Writer, src []byte) error {
	if len(src) < 4 || src[0] != 0xff || src[1] != 0xd8 {
		return errFormat
	}
	out := &keeper{w: dst}
	out.write(src[:2])
	orientation := uint16(0)
	turned := false
	for at := 2; ; {
		for at < len(src) && src[at] == 0xff && at+1 < len(src) && src[at+1] == 0xff { // fill bytes
			at++
		}
		if at+4 > len(src) || src[at] != 0xff {
			return errFormat
		}
		marker := src[at+1]
		if marker == 0xd9 { // an end without an image
			return errFormat
		}
		n := int(binary.BigEndian.Uint16(src[at+2:]))
		if n < 2 || at+2+n > len(src) {
			return errFormat
		}
		segment, body := src[at:at+2+n], src[at+4:at+2+n]
		keep := true
		switch {
		case marker == 0xe1:
			keep = false
			if tiff, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok && orientation == 0 {
				orientation = orientationOf(tiff)
			}
		case marker == 0xe2:
			keep = bytes.HasPrefix(body, []byte("ICC_PROFILE\x00"))
		case marker == 0xe0:
			keep = bytes.HasPrefix(body, []byte("JFIF\x00"))
		case marker == 0xee:
			keep = bytes.HasPrefix(body, []byte("Adobe"))
		case marker >= 0xe3 && marker <= 0xef, marker == 0xfe:
			keep = false
		}
		if !turned && keep && marker != 0xe0 { // before the first thing that is not JFIF's header
			if turned = true; orientation > 1 {
				out.write(exifOrientation(orientation))
			}
		}
		if keep {
			out.write(segment)
		} else if marker == 0xe1 && turned && orientation > 1 {
			return errFormat // Exif must come first (Exif 2.32, 4.5.4); a later one would have been lost
		}
		at += len(segment)
		if marker == 0xda {
			return jpegScans(out, src[at:])
		}
	}
}

// jpegScans copies entropy-coded data and the segments between scans, up to the end of the image.
func jpegScans(out *keeper, src []byte) error {
	for at := 0; at+1 < len(src); {
		if src[at] != 0xff {
			at++
			continue
		}
		marker := src[at+1]
		switch {
		case marker == 0xd9:
			out.write(src[:at+2])
			return out.err
		case marker == 0x00 || marker == 0xff || marker >= 0xd0 && marker <= 0xd7:
			at++
			if marker != 0xff {
				at++
			}
		default: // a segment between two scans
			if at+4 > len(src) {
				return errFormat
			}
			n := int(binary.BigEndian.Uint16(src[at+2:]))
			if n < 2 || at+2+n > len(src) {
				return errFormat
			}
			if marker >= 0xe0 && marker <= 0xef || marker == 0xfe {
				out.write(src[:at])
				src, at = src[at+2+n:], 0
				continue
			}
			at += 2 + n
		}
	}
	return errFormat
}

// orientationOf reads tag 0x0112 of the first directory of a TIFF header (Exif 2.32, 4.6.4), 0 if there is none.
func orientationOf(tiff []byte) uint16 {
	if len(tiff) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.BigEndian
	if tiff[0] == 'I' {
		order = binary.LittleEndian
	}
	at := uint64(order.Uint32(tiff[4:]))
	if at+2 > uint64(len(tiff)) {
		return 0
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < 12 {
			return 0
		}
		if order.Uint16(entries) == 0x0112 && order.Uint16(entries[2:]) == 3 {
			if v := order.Uint16(entries[8:]); v >= 1 && v <= 8 {
				return v
			}
			return 0
		}
		entries = entries[12:]
	}
	return 0
}

// exifOrientation is an APP1 segment that says nothing but the orientation.
func exifOrientation(v uint16) []byte {
	b := []byte{0xff, 0xe1, 0, 34}
	b = append(b, "Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01"...)
	b = append(b, 0x01, 0x12, 0, 3, 0, 0, 0, 1, byte(v>>8), byte(v), 0, 0)
	return append(b, 0, 0, 0, 0)
}

// pngKept are the chunks of a PNG (and APNG) that are needed to show it; text, time, Exif and unknown ones go.
var pngKept = map[string]bool{"IHDR": true, "PLTE": true, "IDAT": true, "IEND": true, "tRNS": true, "cHRM": true, "gAMA": true,
	"iCCP": true, "sBIT": true, "sRGB": true, "cICP": true, "mDCV": true, "cLLI": true, "bKGD": true, "hIST": true, "pHYs": true, "sPLT": true,
	"acTL": true, "fcTL": true, "fdAT": true}

// stripPNG copies a PNG (W3C PNG, third edition) without metadata and without what follows its end.
func stripPNG(dst io.Writer, src []byte) error {
	if !bytes.HasPrefix(src, []byte("\x89PNG\r\n\x1a\n")) {
		return errFormat
	}
	out := &keeper{w: dst}
	out.write(src[:8])
	for src = src[8:]; ; {
		if len(src) < 12 {
			return errFormat
		}
		n := uint64(binary.BigEndian.Uint32(src)) + 12
		if n > uint64(len(src)) {
			return errFormat
		}
		kind := string(src[4:8])
		if pngKept[kind] {
			out.write(src[:n])
		}
		if src = src[n:]; kind == "IEND" {
			return out.err
		}
	}
}

// stripWebP copies a WebP (RFC 9649) without its EXIF and XMP chunks and what follows its end.
func stripWebP(dst io.Writer, src []byte) error {
	if len(src) < 12 || string(src[:4]) != "RIFF" || string(src[8:12]) != "WEBP" {
		return errFormat
	}
	size := uint64(binary.LittleEndian.Uint32(src[4:])) + 8
	if size < 12 || size > uint64(len(src)) {
		return errFormat
	}
	var body []byte
	for rest := src[12:size]; len(rest) > 0; {
		if len(rest) < 8 {
			return errFormat
		}
		n := uint64(binary.LittleEndian.Uint32(rest[4:])) + 8
		n += n & 1
		if n > uint64(len(rest)) {
			return errFormat
		}
		chunk := rest[:n]
		switch string(chunk[:4]) {
		case "VP8X":
			if n < 18 {
				return errFormat
			}
			start := len(body)
			body = append(body, chunk...)
			body[start+8] &^= 0x08 | 0x04 // no Exif, no XMP
		case "VP8 ", "VP8L", "ALPH", "ANIM", "ANMF", "ICCP":
			body = append(body, chunk...)
		}
		rest = rest[n:]
	}
	head := append([]byte("RIFF"), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(head[4:], uint32(len(body)+4))
	out := &keeper{w: dst}
	out.write(append(head, "WEBP"...))
	out.write(body)
	return out.err
}

// stripGIF copies a GIF (89a) without comments and application data other than the loop count, and what follows its
// trailer.
func stripGIF(dst io.Writer, src []byte) error {
	if len(src) < 13 || string(src[:6]) != "GIF89a" && string(src[:6]) != "GIF87a" {
		return errFormat
	}
	out := &keeper{w: dst}
	at := 13 + colours(src[10])
	if at > len(src) {
		return errFormat
	}
	out.write(src[:at])
	for at < len(src) {
		begin, keep := at, true
		switch src[at] {
		case 0x3b:
			out.write(src[at : at+1])
			return out.err
		case 0x21:
			if at+2 >= len(src) {
				return errFormat
			}
			keep = src[at+1] == 0xf9 || src[at+1] == 0xff && (bytes.HasPrefix(src[at+2:], []byte("\x0bNETSCAPE2.0")) ||
				bytes.HasPrefix(src[at+2:], []byte("\x0bANIMEXTS1.0")))
			at += 2
		case 0x2c:
			if at+10 >= len(src) {
				return errFormat
			}
			at += 10 + colours(src[at+9]) + 1
		default:
			return errFormat
		}
		for { // sub-blocks
			if at >= len(src) {
				return errFormat
			}
			n := int(src[at])
			if at += n + 1; n == 0 {
				break
			}
		}
		if at > len(src) {
			return errFormat
		}
		if keep {
			out.write(src[begin:at])
		}
	}
	return errFormat
}

// colours is the size of the colour table that a packed field of a GIF announces.
func colours(packed byte) int {
	if packed&0x80 == 0 {
		return 0
	}
	return 3 << (packed&7 + 1)
}

// mp4Containers are the boxes of an ISO base media file (ISO/IEC 14496-12) and QuickTime in which metadata may lie.
var mp4Containers = map[string]bool{"moov": true, "trak": true, "mdia": true, "minf": true, "moof": true, "traf": true, "edts": true, "stbl": true}

// mp4Metadata are the boxes that say things about the making. They become free space of the same size, because other
// boxes hold offsets into the file.
var mp4Metadata = map[string]bool{"udta": true, "meta": true, "uuid": true, "ilst": true, "keys": true, "XMP_": true}

// maxDepth of nested boxes; real files have five.
const maxDepth = 8

// stripMP4 overwrites the metadata of a file in place. Times in the headers of the movie and its tracks are set to 0.
func stripMP4(f readWriterAt, size int64) error {
	found := false
	if err := stripBoxes(f, 0, size, 0, &found); err != nil {
		return err
	}
	if !found {
		return errFormat
	}
	return nil
}

type readWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

func stripBoxes(f readWriterAt, at, end int64, depth int, movie *bool) error {
	if depth > maxDepth {
		return errFormat
	}
	for at < end {
		var head [16]byte
		if end-at < 8 {
			if depth > 0 { // QuickTime ends some lists with four zero bytes
				return nil
			}
			return errFormat
		}
		if _, err := f.ReadAt(head[:8], at); err != nil {
			return errFormat
		}
		n, body := int64(binary.BigEndian.Uint32(head[:])), at+8
		switch n {
		case 0:
			n = end - at
		case 1:
			if _, err := f.ReadAt(head[8:], at+8); err != nil {
				return errFormat
			}
			big := binary.BigEndian.Uint64(head[8:])
			if big > uint64(end-at) {
				return errFormat
			}
			n, body = int64(big), at+16
		}
		if n < body-at || n > end-at {
			return errFormat
		}
		kind := string(head[4:8])
		var err error
		switch {
		case kind == "moov":
			*movie = true
			err = stripBoxes(f, body, at+n, depth+1, movie)
		case mp4Containers[kind]:
			err = stripBoxes(f, body, at+n, depth+1, movie)
		case mp4Metadata[kind]:
			err = blank(f, at, body, at+n)
		case kind == "mvhd" || kind == "tkhd" || kind == "mdhd":
			err = blankTimes(f, body, at+n)
		}
		if err != nil {
			return err
		}
		at += n
	}
	return nil
}

// blank turns a box into free space: its type and its content.
func blank(f io.WriterAt, at, body, end int64) error {
	if _, err := f.WriteAt([]byte("free"), at+4); err != nil {
		return fmt.Errorf("files: strip: %w", err)
	}
	zeros := make([]byte, min(end-body, 32<<10))
	for body < end {
		n := min(end-body, int64(len(zeros)))
		if _, err := f.WriteAt(zeros[:n], body); err != nil {
			return fmt.Errorf("files: strip: %w", err)
		}
		body += n
	}
	return nil
}

// blankTimes zeroes creation and modification time of a header box: 4 bytes each in version 0, 8 in version 1.
func blankTimes(f readWriterAt, body, end int64) error {
	var version [1]byte
	if _, err := f.ReadAt(version[:], body); err != nil {
		return errFormat
	}
	n := int64(8)
	if version[0] == 1 {
		n = 16
	}
	if body+4+n > end {
		return errFormat
	}
	if _, err := f.WriteAt(make([]byte, n), body+4); err != nil {
		return fmt.Errorf("files: strip: %w", err)
	}
	return nil
}

// keeper writes until the first error.
type keeper struct {
	w   io.Writer
	err error
}

func (k *keeper) write(b []byte) {
	if k.err == nil {
		_, k.err = k.w.Write(b)
	}
}
