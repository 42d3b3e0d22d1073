package link

import (
	"strings"

	"github.com/hwangso/hwangso/store/graph"
)

// storeOf is a host or a scheme where apps of a system are to be had, and where its addresses name the app.
type storeOf struct {
	platform graph.Platform
	host     string // "": the scheme alone says it
	scheme   string // "": https
	id       func(rest string) string
}

// knownStores are the stores' own addresses. Others can be registered with an app's domains.
var knownStores = []storeOf{
	{graph.PlatformAndroid, "play.google.com", "", idParameter},    // Google: Linking to Google Play
	{graph.PlatformAndroid, "market.android.com", "", idParameter}, // its name until 2012
	{graph.PlatformAndroid, "", "market", idParameter},             // market://details?id=PACKAGE
	{graph.PlatformAndroid, "apps.samsung.com", "", nil},           // Galaxy Store
	{graph.PlatformAndroid, "galaxystore.samsung.com", "", nil},    //
	{graph.PlatformAndroid, "m.onestore.co.kr", "", nil},           // ONE store
	{graph.PlatformAndroid, "www.onestore.co.kr", "", nil},         //
	{graph.PlatformAndroid, "appgallery.huawei.com", "", nil},      //
	{graph.PlatformAndroid, "f-droid.org", "", nil},                //
	{graph.PlatformIOS, "apps.apple.com", "", appleNumber},         // Apple: App Store links, …/id123456789
	{graph.PlatformIOS, "itunes.apple.com", "", appleNumber},       // its name until 2017
	{graph.PlatformIOS, "", "itms-apps", appleNumber},              // the same, opened in the store
	{graph.PlatformMacOS, "apps.apple.com", "", appleNumber},       //
	{graph.PlatformMacOS, "itunes.apple.com", "", appleNumber},     //
	{graph.PlatformBlackBerry, "appworld.blackberry.com", "", nil}, // BlackBerry App World, later BlackBerry World
	{graph.PlatformBlackBerry, "", "appworld", nil},                // appworld://content/NUMBER
	{graph.PlatformWindows, "apps.microsoft.com", "", nil},         // Microsoft Store
	{graph.PlatformWindows, "www.microsoft.com", "", nil},          //
	{graph.PlatformWindows, "www.windowsphone.com", "", nil},       // the Marketplace of 2011
	{graph.PlatformWindows, "windowsphone.com", "", nil},           //
	{graph.PlatformWindows, "", "ms-windows-store", nil},           // ms-windows-store://pdp/?ProductId=…
	{graph.PlatformLinux, "flathub.org", "", nil},                  //
	{graph.PlatformLinux, "snapcraft.io", "", nil},                 //
}

// names reports whether an address in such a store says whose app it is.
func names(p graph.Platform, scheme, host string) bool {
	for _, s := range knownStores {
		if s.platform == p && s.at(scheme, host) {
			return s.id != nil
		}
	}
	return false
}

func (s *storeOf) at(scheme, host string) bool {
	if s.scheme != "" {
		return scheme == s.scheme
	}
	return scheme == "https" && host == s.host
}

// inStore reports whether an address is one of a system's stores, and of whose app, "" if the address does not say in a
// way that is known here.
func inStore(p graph.Platform, scheme, host, url string) (id string, ok bool) {
	for _, s := range knownStores {
		if s.platform != p || !s.at(scheme, host) {
			continue
		}
		if s.id != nil {
			id = s.id(url)
		}
		return id, true
	}
	return "", false
}

// idParameter is the parameter id of an address, "" if there is none or more than one.
func idParameter(url string) string {
	_, query, _ := strings.Cut(url, "?")
	query, _, _ = strings.Cut(query, "#")
	found := ""
	for part := range strings.SplitSeq(query, "&") {
		if id, ok := strings.CutPrefix(part, "id="); ok {
			if found != "" {
				return ""
			}
			found = id
		}
	}
	return found
}

// appleNumber is the number in …/id123456789, "" if there is none.
func appleNumber(url string) string {
	path, _, _ := strings.Cut(url, "?")
	path, _, _ = strings.Cut(path, "#")
	last := path[strings.LastIndexByte(path, '/')+1:]
	id, ok := strings.CutPrefix(last, "id")
	if !ok || id == "" || strings.Trim(id, "0123456789") != "" {
		return ""
	}
	return id
}
