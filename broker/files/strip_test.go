package files

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"testing"

	_ "golang.org/x/image/webp"
)

// secret is what no stripped file may hold.
const secret = "37.5665N 126.9780E taken by Alice"

func picture() image.Image {
	m := image.NewPaletted(image.Rect(0, 0, 40, 30), color.Palette{color.Black, color.White})
	for i := range 40 {
		m.SetColorIndex(i, i%30, 1)
	}
	return m
}

func jpegWith(t testing.TB, segments ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture(), nil); err != nil {
		t.Fatal(err)
	}
	out := append([]byte{}, b.Bytes()[:2]...)
	for _, s := range segments {
		out = append(out, s...)
	}
	out = append(out, b.Bytes()[2:]...)
	return append(out, "after the end: "+secret...)
}

func segment(marker byte, body string) []byte {
	b := []byte{0xff, marker, byte((len(body) + 2) >> 8), byte(len(body) + 2)}
	return append(b, body...)
}

// exif is an Exif block with an orientation and the secret, in either byte order.
func exif(order binary.AppendByteOrder, orientation uint16) string {
	b := []byte("MM")
	if order.String() == "LittleEndian" {
		b = []byte("II")
	}
	b = order.AppendUint16(b, 42)
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 0x010f)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint32(b, uint32(len(secret)))
	b = order.AppendUint32(b, 38)
	b = order.AppendUint16(b, 0x0112)
	b = order.AppendUint16(b, 3)
	b = order.AppendUint32(b, 1)
	b = order.AppendUint16(b, orientation)
	b = order.AppendUint16(b, 0)
	b = order.AppendUint32(b, 0)
	return "Exif\x00\x00" + string(b) + secret
}

func stripped(t testing.TB, fn func(io.Writer, []byte) error, src []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := fn(&b, src); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b.Bytes(), []byte(secret)) {
		t.Error("the secret is still there")
	}
	return b.Bytes()
}

func samePicture(t testing.TB, got, src []byte) {
	t.Helper()
	a, _, err := image.Decode(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := image.Decode(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	if a.Bounds() != b.Bounds() {
		t.Fatalf("%v, want %v", a.Bounds(), b.Bounds())
	}
	for y := range b.Bounds().Dy() {
		for x := range b.Bounds().Dx() {
			if a.At(x, y) != b.At(x, y) {
				t.Fatalf("pixel %d,%d differs", x, y)
			}
		}
	}
}

func TestStripJPEG(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
		src := jpegWith(t, segment(0xe0, "JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"), segment(0xe1, exif(order, 6)),
			segment(0xe1, "http://ns.adobe.com/xap/1.0/\x00"+secret), segment(0xe2, "ICC_PROFILE\x00\x01\x01profile"),
			segment(0xe2, "MPF\x00"+secret), segment(0xed, "Photoshop 3.0\x00"+secret), segment(0xfe, secret))
		got := stripped(t, stripJPEG, src)
		samePicture(t, got, src)
		if !bytes.Contains(got, []byte("ICC_PROFILE\x00\x01\x01profile")) {
			t.Error("the colour profile is gone")
		}
		at := bytes.Index(got, []byte("Exif\x00\x00"))
		if at < 0 || orientationOf(got[at+6:]) != 6 {
			t.Error("the orientation is gone")
		}
		if again := stripped(t, stripJPEG, got); !bytes.Equal(again, got) {
			t.Error("stripping twice changes something")
		}
	}
	upright := stripped(t, stripJPEG, jpegWith(t, segment(0xe1, exif(binary.BigEndian, 1))))
	if bytes.Contains(upright, []byte("Exif")) {
		t.Error("an orientation that says nothing is kept")
	}
}

func TestStripPNG(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, picture()); err != nil {
		t.Fatal(err)
	}
	chunk := func(kind string) []byte {
		c := binary.BigEndian.AppendUint32(nil, uint32(len(secret)))
		c = append(c, kind+secret...)
		return binary.BigEndian.AppendUint32(c, crc32.ChecksumIEEE(c[4:]))
	}
	src := append([]byte{}, b.Bytes()[:33]...)
	for _, kind := range []string{"tEXt", "eXIf", "zTXt", "iTXt", "tIME", "prVt"} {
		src = append(src, chunk(kind)...)
	}
	src = append(append(src, b.Bytes()[33:]...), secret...)
	got := stripped(t, stripPNG, src)
	if !bytes.Equal(got, b.Bytes()) {
		t.Error("something else than metadata changed")
	}
	samePicture(t, got, b.Bytes())
}

func TestStripGIF(t *testing.T) {
	var b bytes.Buffer
	frame := picture().(*image.Paletted)
	if err := gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{frame, frame}, Delay: []int{1, 1}, LoopCount: 3}); err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b.Bytes(), []byte("\x21\xf9"))
	src := append([]byte{}, b.Bytes()[:at]...)
	src = append(src, 0x21, 0xfe, byte(len(secret)))
	src = append(src, secret+"\x00"...)
	src = append(src, "\x21\xff\x0bXMP DataXMP"...)
	src = append(src, byte(len(secret)))
	src = append(src, secret+"\x00"...)
	src = append(append(src, b.Bytes()[at:]...), secret...)
	got := stripped(t, stripGIF, src)
	if !bytes.Equal(got, b.Bytes()) {
		t.Error("something else than metadata changed")
	}
	all, err := gif.DecodeAll(bytes.NewReader(got))
	if err != nil || len(all.Image) != 2 || all.LoopCount != 3 {
		t.Errorf("%v", err)
	}
}

// webp1x1 is a lossless WebP of one pixel, made by hand after RFC 9649, sections 3 to 5.
var webp1x1 = []byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00")

func riff(chunks ...string) []byte {
	body := "WEBP"
	for _, c := range chunks {
		body += c
	}
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

func riffChunk(kind, body string) string {
	c := kind + string(binary.LittleEndian.AppendUint32(nil, uint32(len(body)))) + body
	if len(body)%2 == 1 {
		c += "\x00"
	}
	return c
}

func TestStripWebP(t *testing.T) {
	pixel := string(webp1x1[12:])
	src := riff(riffChunk("VP8X", "\x0c\x00\x00\x00\x00\x00\x00\x00\x00\x00"), pixel, riffChunk("EXIF", secret), riffChunk("XMP ", secret),
		riffChunk("WHAT", secret))
	got := stripped(t, stripWebP, append(src, secret...))
	want := riff(riffChunk("VP8X", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), pixel)
	if !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	samePicture(t, got, webp1x1)
}

func box(kind string, body ...string) string {
	all := ""
	for _, b := range body {
		all += b
	}
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(all)+8))) + kind + all
}

func TestStripMP4(t *testing.T) {
	times := "\x00\x00\x00\x00\xe1\x02\x03\x04\xe5\x06\x07\x08"
	long := "\x01\x00\x00\x00\xe1\x02\x03\x04\xe5\x06\x07\x08\xe1\x02\x03\x04\xe5\x06\x07\x08"
	big := "\x00\x00\x00\x01uuid" + string(binary.BigEndian.AppendUint64(nil, uint64(16+len(secret)))) + secret
	media := box("mdat", "the media itself")
	src := box("ftyp", "isom") + big + box("moov", box("mvhd", times, "rest"), box("udta", box("\xa9xyz", secret)),
		box("trak", box("tkhd", long, "rest"), box("meta", secret), box("mdia", box("mdhd", times, "rest")))) + media
	path := filepath.Join(t.TempDir(), "movie")
	if err := os.WriteFile(path, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := stripMP4(f, int64(len(src))); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case len(got) != len(src):
		t.Errorf("%d bytes, want %d: offsets into the file are wrong now", len(got), len(src))
	case bytes.Contains(got, []byte(secret)) || bytes.Contains(got, []byte("\xe1\x02")) || bytes.Contains(got, []byte("\xe5\x06")):
		t.Errorf("something is still there: %q", got)
	case !bytes.HasSuffix(got, []byte(media)) || bytes.Count(got, []byte("rest")) != 3:
		t.Errorf("the media is damaged: %q", got)
	}
}

// memory is a file in memory that refuses to grow.
type memory []byte

func (m memory) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || at > int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m memory) WriteAt(p []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(p)) > int64(len(m)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[at:], p), nil
}

// FuzzStrip sees that no file, however damaged, makes a stripper fail otherwise than with an error, grow the file, or
// write outside it; and that what was stripped can be stripped again.
func FuzzStrip(f *testing.F) {
	f.Add(jpegWith(f, segment(0xe1, exif(binary.LittleEndian, 3))))
	f.Add(webp1x1)
	f.Add([]byte(box("ftyp", "isom") + box("moov", box("mvhd", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), box("udta", "x"))))
	var b bytes.Buffer
	if err := png.Encode(&b, picture()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	b.Reset()
	if err := gif.Encode(&b, picture(), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, src []byte) {
		for name, fn := range map[string]func(io.Writer, []byte) error{"jpeg": stripJPEG, "png": stripPNG, "gif": stripGIF, "webp": stripWebP} {
			var out, again bytes.Buffer
			if fn(&out, src) != nil {
				continue
			}
			if out.Len() > len(src)+36 {
				t.Errorf("%s: %d bytes became %d", name, len(src), out.Len())
			}
			if err := fn(&again, out.Bytes()); err != nil || !bytes.Equal(again.Bytes(), out.Bytes()) {
				t.Errorf("%s: again: %v, %d bytes after %d", name, err, again.Len(), out.Len())
			}
		}
		m := memory(bytes.Clone(src))
		_ = stripMP4(m, int64(len(m)))
	})
}
