package link

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hwangso/hwangso/store"
)

// Classic are the parameters with which phones' apps sent links in 2011: msg, url, appid, appver, type, appname and
// metainfo.
type Classic struct {
	Msg      string
	URL      string
	AppID    string // the app's key, or where the user's own client asks, its identifier
	AppVer   string
	Type     string
	AppName  string
	MetaInfo []MetaInfo
}

// MetaInfo is what is opened on one system.
type MetaInfo struct {
	OS         string `json:"os"`
	DeviceType string `json:"devicetype"`
	InstallURL string `json:"installurl"`
	ExecuteURL string `json:"executeurl"`
}

// Limits of what the classic parameters may hold.
const (
	maxQuery   = 32 << 10 // bytes of a query string
	maxWord    = 64       // characters of appver and appname
	classicApp = "app"
)

// classicSystems are words of 2011 that are said otherwise now.
var classicSystems = map[string][2]string{
	"iphone": {"ios", "phone"}, "ipod": {"ios", "phone"}, "ipad": {"ios", "tablet"}, "bb": {"blackberry", ""}, "blackberry os": {"blackberry", ""},
	"windowsphone": {"windows", "phone"}, "winphone": {"windows", "phone"}, "wp": {"windows", "phone"},
}

// classicClasses are the words for classes of devices.
var classicClasses = map[string]string{"": "", "any": "", "all": "", "phone": "phone", "pad": "tablet", "tablet": "tablet"}

// Message is what the parameters mean: msg is the text. With type link, url is the web's address. With type app metainfo
// are the targets, and url, if there is one, the web's address for every other system. appver is looked at for its form
// only, and appname not shown: an app is called what it is registered as.
func (c *Classic) Message() (m Message, err error) {
	for _, f := range [][2]string{{"appver", c.AppVer}, {"appname", c.AppName}} {
		if _, err := line(f[0], f[1], maxWord); err != nil {
			return m, err
		}
	}
	if c.Msg == "" {
		return m, store.Bad("msg is missing: the text of the message")
	}
	m.Text, m.Web = c.Msg, c.URL
	switch c.Type {
	case "", "link":
		if c.Type == "" && len(c.MetaInfo) > 0 {
			break
		}
		if c.URL == "" {
			return m, store.Bad("url is missing: type link opens it")
		}
		if len(c.MetaInfo) > 0 {
			return m, store.Bad("metainfo goes with type app; type link has url")
		}
		return m, nil
	case classicApp:
	default:
		return m, store.Bad("type must be link or app")
	}
	if len(c.MetaInfo) == 0 {
		return m, store.Bad("metainfo is missing: type app opens what it says for each os")
	}
	if len(c.MetaInfo) > MaxTargets {
		return m, store.Bad("metainfo has too many entries")
	}
	for _, i := range c.MetaInfo {
		t := Target{OS: strings.ToLower(i.OS), Execute: i.ExecuteURL, Install: i.InstallURL}
		class, ok := classicClasses[strings.ToLower(i.DeviceType)]
		if !ok {
			return m, store.Bad("devicetype must be phone, pad, tablet or absent")
		}
		if t.Class = class; t.Class == "" {
			if now, ok := classicSystems[t.OS]; ok {
				t.Class = now[1]
			}
		}
		if now, ok := classicSystems[t.OS]; ok {
			t.OS = now[0]
		}
		m.Targets = append(m.Targets, t)
	}
	return m, nil
}

// classicKeys are the parameters, and the two that this server adds.
var classicKeys = []string{"msg", "url", "appid", "appver", "type", "appname", "metainfo", "key", "ticket"}

// ParseQuery reads the classic parameters from a query string, "msg=…&url=…", or from a whole address of a custom scheme
// that ends in one, "scheme://sendurl?msg=…". Of each parameter there is one; those it does not know are ignored. metainfo
// is JSON: a list, or an object with the key metainfo. The other two are the parameters key, instead of appid, and ticket.
// Errors are CodeBad and CodeTooLarge.
func ParseQuery(s string) (c Classic, key, ticket string, err error) {
	if len(s) > maxQuery {
		return c, "", "", &store.Error{Code: store.CodeTooLarge, Text: "the parameters have more than 32768 bytes"}
	}
	if !utf8.ValidString(s) {
		return c, "", "", store.Bad("the parameters are not UTF-8")
	}
	if before, after, ok := strings.Cut(s, "?"); ok && strings.Contains(before, "://") && !strings.ContainsAny(before, "=&") {
		s = after
	}
	s, _, _ = strings.Cut(s, "#")
	if strings.Count(s, "&") > 64 {
		return c, "", "", store.Bad("too many parameters")
	}
	values, err := url.ParseQuery(s)
	if err != nil {
		return c, "", "", &store.Error{Code: store.CodeBad, Text: "the parameters are no query string such as msg=hello&url=https%3A%2F%2F…", Err: err}
	}
	got := make(map[string]string, len(classicKeys))
	for k, list := range values {
		if !slices.Contains(classicKeys, k) {
			continue
		}
		if len(list) > 1 {
			return c, "", "", store.Bad("the parameter " + k + " is there twice")
		}
		if !utf8.ValidString(list[0]) {
			return c, "", "", store.Bad("the parameter " + k + " is not UTF-8")
		}
		got[k] = list[0]
	}
	if len(got) == 0 {
		return c, "", "", store.Bad("none of the parameters msg, url, appid, appver, type, appname and metainfo is there")
	}
	c = Classic{Msg: got["msg"], URL: got["url"], AppID: got["appid"], AppVer: got["appver"], Type: got["type"], AppName: got["appname"]}
	if got["metainfo"] != "" {
		if c.MetaInfo, err = ParseMetaInfo([]byte(got["metainfo"])); err != nil {
			return Classic{}, "", "", err
		}
	}
	return c, got["key"], got["ticket"], nil
}

// ParseMetaInfo reads metainfo: a list of objects, or an object whose key metainfo is one. Keys it does not know are
// ignored.
func ParseMetaInfo(b []byte) (out []MetaInfo, err error) {
	b = bytes.TrimSpace(b)
	if len(b) > maxQuery {
		return nil, &store.Error{Code: store.CodeTooLarge, Text: "metainfo has more than 32768 bytes"}
	}
	if len(b) > 0 && b[0] == '{' {
		var wrapped struct {
			MetaInfo []MetaInfo `json:"metainfo"`
		}
		err = whole(b, &wrapped)
		out = wrapped.MetaInfo
	} else {
		err = whole(b, &out)
	}
	if err != nil {
		return nil, &store.Error{Code: store.CodeBad, Text: `metainfo must be JSON such as [{"os":"android","installurl":"…","executeurl":"…"}]`, Err: err}
	}
	if len(out) > MaxTargets {
		return nil, store.Bad("metainfo has too many entries")
	}
	return out, nil
}

func whole(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows")
	}
	return nil
}
