package pushsim

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base32"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What Init takes if nothing else is said.
const (
	DefaultTopic   = "com.example.hwangso" // bundle identifier of the app that the simulator knows
	DefaultProject = "hwangso-simulator"   // of Firebase
)

// DefaultAddresses are where a simulator listens if nothing else is said.
func DefaultAddresses() Addresses {
	return Addresses{
		Control: "127.0.0.1:4440", APNs: "127.0.0.1:4441", APNsSandbox: "127.0.0.1:4442", FCM: "127.0.0.1:4443", WebPush: "127.0.0.1:4444",
	}
}

// FreePorts are addresses whose ports are chosen when a simulator starts; it writes them into the directory's files, and
// takes the same ones the next time.
func FreePorts() Addresses {
	var a Addresses
	for _, p := range a.all() {
		*p = "127.0.0.1:0"
	}
	return a
}

// InitOptions are what Init is told. The zero value is what one wants on one's own machine.
type InitOptions struct {
	// Overwrite replaces the files of an earlier Init: every key is a new one, and a server that runs with the old ones has
	// to read them again.
	Overwrite bool

	Listen  Addresses // on loopback; of those that are "" the default
	Topic   string    // the app's bundle identifier; "": DefaultTopic
	Project string    // of Firebase; "": DefaultProject
}

// Init makes everything that the simulator and a server that is to use it need: an authority and a certificate for
// localhost and the loopback addresses, an APNs key, a service account, a VAPID key, and a configuration for
// `hwangso serve` that names them. The files can be read by their owner alone. A directory that has one of them already is
// refused with os.ErrExist, unless o says to overwrite: keys that somebody uses are not replaced.
func Init(dir string, o InitOptions) (Files, error) {
	s, err := o.settings()
	if err != nil {
		return Files{}, fmt.Errorf("pushsim: init: %w", err)
	}
	f, err := s.files(dir)
	if err != nil {
		return Files{}, err
	}
	if !o.Overwrite {
		for _, name := range []string{FileSettings, FileConfig, FileCA, FileCert, FileKey, FileAPNs, FileFCM, FileWebPush, FileBrowsers} {
			if _, err := os.Lstat(filepath.Join(f.Dir, name)); err == nil {
				return Files{}, fmt.Errorf("pushsim: init: %s: %w", filepath.Join(f.Dir, name), os.ErrExist)
			}
		}
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return Files{}, fmt.Errorf("pushsim: init: %w", err)
	}
	list, err := s.contents(f)
	if err != nil {
		return Files{}, fmt.Errorf("pushsim: init: %w", err)
	}
	for _, c := range list {
		if err := writeFile(filepath.Join(f.Dir, c.name), c.data); err != nil {
			return Files{}, fmt.Errorf("pushsim: init: %w", err)
		}
	}
	return f, nil
}

// settings are what the options come to.
func (o *InitOptions) settings() (*settings, error) {
	s := &settings{Listen: o.Listen}
	s.APNs = apnsSettings{KeyID: tenCharacters(), Team: tenCharacters(), Topic: cmp.Or(o.Topic, DefaultTopic)}
	s.FCM.Project = cmp.Or(o.Project, DefaultProject)
	s.FCM.Email = "hwangso@" + s.FCM.Project + ".iam.gserviceaccount.com"
	for _, v := range []string{s.APNs.Topic, s.FCM.Project} {
		if len(v) > 200 || strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "" {
			return nil, fmt.Errorf("%q: a topic and a project are made of letters, digits, dots and dashes", v)
		}
	}
	def := DefaultAddresses()
	taken := make(map[string]bool)
	for i, a := range s.Listen.all() {
		*a = cmp.Or(*a, *def.all()[i])
		if err := onLoopback(*a); err != nil {
			return nil, err
		}
		if taken[*a] && !strings.HasSuffix(*a, ":0") {
			return nil, fmt.Errorf("two services cannot both listen on %s", *a)
		}
		taken[*a] = true
	}
	return s, nil
}

// content is a file to be written.
type content struct {
	name string
	data []byte
}

// contents makes new keys and everything that is written, in the order in which it is: the settings last, so that a
// directory that has them is whole.
func (s *settings) contents(f Files) ([]content, error) {
	out, err := newTLS()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{FileAPNs, FileWebPush} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		b, err := encodeKey(key)
		if err != nil {
			return nil, err
		}
		out = append(out, content{name, b})
	}
	a, err := s.newAccount()
	if err != nil {
		return nil, err
	}
	return append(out, content{FileFCM, indented(a)}, content{FileBrowsers, []byte(random(32) + "\n")},
		content{FileConfig, s.config(f)}, content{FileSettings, indented(s)}), nil
}

// newAccount is a service account as Google's console gives it.
func (s *settings) newAccount() (*account, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	b, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return &account{
		Type: "service_account", Project: s.FCM.Project, KeyID: random(20), Key: string(b), Email: s.FCM.Email, ClientID: "100000000000000000001",
		AuthURI: "https://" + s.Listen.FCM + "/auth", TokenURI: s.Listen.tokenURI(), Universe: "googleapis.com",
	}, nil
}

// config is a configuration for `hwangso serve`.
func (s *settings) config(f Files) []byte {
	urls := s.Listen.urls()
	var b strings.Builder
	b.WriteString("# Made by hwangso pushsim init: pushes go to the simulator on this machine, and nowhere else.\n")
	for _, l := range [][2]string{
		{"apns-key", f.APNsKey}, {"apns-key-id", s.APNs.KeyID}, {"apns-team", s.APNs.Team}, {"apns-topic", s.APNs.Topic},
		{"apns-url", urls["apns-url"]}, {"apns-sandbox-url", urls["apns-sandbox-url"]},
		{"fcm-credentials", f.FCMCredentials}, {"fcm-url", urls["fcm-url"]},
		{"webpush-key", f.WebPushKey}, {"webpush-contact", "mailto:operator@example.com"}, {"webpush-allow", "127.0.0.0/8,::1/128"},
		{"push-ca", f.CA},
	} {
		fmt.Fprintf(&b, "%s = %s\n", l[0], l[1])
	}
	return []byte(b.String())
}

// encodeKey is a private key in PEM.
func encodeKey(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// tenCharacters looks like Apple's identifiers of keys and teams.
func tenCharacters() string {
	var b [7]byte
	_, _ = rand.Read(b[:]) // never fails
	return base32.StdEncoding.EncodeToString(b[:])[:10]
}

// random is so many random bytes in hexadecimal.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// writeFile writes a file that its owner alone can read, whole or not at all.
func writeFile(path string, data []byte) (err error) {
	t, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // with mode 0600
	if err != nil {
		return err
	}
	_, err = t.Write(data)
	if err = errors.Join(err, t.Close()); err == nil {
		err = os.Rename(t.Name(), path)
	}
	if err != nil {
		_ = os.Remove(t.Name())
	}
	return err
}
