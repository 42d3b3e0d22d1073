package pushsim

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "sim")
	f, err := Init(dir, InitOptions{Listen: FreePorts(), Topic: "org.example.chat", Project: "p-1"})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 9 {
		t.Fatalf("%v %v", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v", info.Mode())
	}
	if o, err := Open(dir); err != nil || o != f {
		t.Errorf("%+v, %v", o, err)
	}
	// It is not done twice unless it is said, and then every key is another.
	before := contentsOf(t, dir)
	if _, err := Init(dir, InitOptions{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("made twice: %v", err)
	}
	if after := contentsOf(t, dir); after[FileAPNs] != before[FileAPNs] || after[FileConfig] != before[FileConfig] {
		t.Error("refused, and something was replaced")
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(dir, InitOptions{Overwrite: true, Listen: FreePorts()}); err != nil {
		t.Fatal(err)
	}
	after := contentsOf(t, dir)
	for name, was := range before {
		if after[name] == was {
			t.Errorf("%s is still the same", name)
		}
	}
	if after["notes.txt"] != "mine" {
		t.Error("a file of somebody else's is gone")
	}
	// One file is enough to refuse: a key is not to be lost because another file is.
	lone := t.TempDir()
	if err := os.WriteFile(filepath.Join(lone, FileAPNs), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(lone, InitOptions{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("beside a key: %v", err)
	}
}

func contentsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

func TestInitRefuses(t *testing.T) {
	for name, o := range map[string]InitOptions{
		"beyond this machine": {Listen: Addresses{FCM: "0.0.0.0:4443"}},
		"everywhere":          {Listen: Addresses{Control: ":4440"}},
		"no port":             {Listen: Addresses{APNs: "127.0.0.1"}},
		"one address twice":   {Listen: Addresses{APNs: "127.0.0.1:9", FCM: "127.0.0.1:9"}},
		"topic":               {Topic: "a b"},
		"line in a project":   {Project: "x\nadmin = 0.0.0.0:1"},
	} {
		dir := filepath.Join(t.TempDir(), "sim")
		if _, err := Init(dir, o); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: refused, and the directory was made", name)
		}
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "pushsim init") {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := Start(Config{Dir: t.TempDir()}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("started in an empty directory: %v", err)
	}
}

// TestAddressesStay: ports that were free become the directory's own, in every file that names them, and what people
// wrote into the configuration stays.
func TestAddressesStay(t *testing.T) {
	dir := t.TempDir()
	f, err := Init(dir, InitOptions{Listen: FreePorts()})
	if err != nil {
		t.Fatal(err)
	}
	conf, err := os.ReadFile(f.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Config, append(conf, "# my own\nretention = 24h\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Start(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	f, err = s.Files()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{f.Listen.APNs, f.Listen.APNsSandbox, f.Listen.FCM, f.Listen.WebPush} {
		if _, port, err := net.SplitHostPort(a); err != nil || port == "0" {
			t.Errorf("address %q: %v", a, err)
		}
	}
	files := contentsOf(t, dir)
	for _, want := range []string{"apns-url = https://" + f.Listen.APNs + "\n", "apns-sandbox-url = https://" + f.Listen.APNsSandbox + "\n",
		"fcm-url = https://" + f.Listen.FCM + "\n", "# my own\nretention = 24h\n", "apns-key = " + f.APNsKey + "\n", "push-ca = " + f.CA + "\n"} {
		if !strings.Contains(files[FileConfig], want) {
			t.Errorf("%s has no %q:\n%s", FileConfig, want, files[FileConfig])
		}
	}
	if want := `"token_uri": "https://` + f.Listen.FCM + `/token"`; !strings.Contains(files[FileFCM], want) {
		t.Errorf("%s has no %s", FileFCM, want)
	}
	if o, err := Open(dir); err != nil || o != f {
		t.Errorf("%+v, %v", o, err)
	}
	if again, err := Start(Config{Dir: dir}); errors.Is(err, syscall.EADDRINUSE) {
		t.Log("somebody else has taken the port meanwhile")
	} else if err != nil {
		t.Errorf("again: %v", err)
	} else {
		if again.FCMURL() != "https://"+f.Listen.FCM {
			t.Errorf("now at %s", again.FCMURL())
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestReadFiles: a spoilt file is named.
func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := Init(dir, InitOptions{Listen: FreePorts()}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{FileSettings, FileCA, FileCert, FileKey, FileAPNs, FileFCM, FileWebPush, FileBrowsers} {
		path := filepath.Join(dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"", "{}", "spoilt", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
			if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			if s, err := Start(Config{Dir: dir}); err == nil {
				t.Errorf("%s is %.20q, and it started", name, bad)
				s.Close()
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
