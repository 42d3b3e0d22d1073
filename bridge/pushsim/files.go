package pushsim

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// The files of a simulator's directory, as Init makes them.
const (
	FileSettings = "pushsim.json"      // what is below
	FileConfig   = "hwangso.conf"      // for `hwangso serve -config`
	FileCA       = "ca.pem"            // whom clients have to trust
	FileCert     = "tls.pem"           // certificate of the listeners, signed by the CA
	FileKey      = "tls.key"           // and its key
	FileAPNs     = "apns.p8"           // the key that signs provider tokens, as Apple gives it
	FileFCM      = "fcm.json"          // a service account, as Google gives it
	FileWebPush  = "webpush.pem"       // the VAPID key (RFC 8292)
	FileBrowsers = "subscriptions.key" // what web push subscriptions are made of
)

// settings is FileSettings.
type settings struct {
	APNs   apnsSettings `json:"apns"`
	FCM    fcmSettings  `json:"fcm"`
	Listen Addresses    `json:"listen"`
}

// apnsSettings is one key of an Apple developer account.
type apnsSettings struct {
	KeyID string `json:"key_id"` // 10 characters
	Team  string `json:"team"`   // 10 characters
	Topic string `json:"topic"`  // the app's bundle identifier
	// More are the identifiers of further apps of the team.
	More []string `json:"more_topics,omitempty"`
}

// fcmSettings is one project of Firebase.
type fcmSettings struct {
	Project string `json:"project"`
	Email   string `json:"client_email"` // of its service account
}

// Addresses are where a simulator listens, host:port.
type Addresses struct {
	APNs        string `json:"apns"`
	APNsSandbox string `json:"apns_sandbox"`
	FCM         string `json:"fcm"` // the OAuth token endpoint, too
	WebPush     string `json:"webpush"`
	Control     string `json:"control"`
}

// Files is a simulator's directory. Paths are absolute.
type Files struct {
	Dir            string
	Config         string // for `hwangso serve -config`
	CA             string // the authority of the simulator's certificate, PEM
	APNsKey        string // .p8
	FCMCredentials string // service account, JSON
	WebPushKey     string // VAPID private key, PEM

	KeyID, Team, Topic string // of APNs
	Project            string // of FCM
	Listen             Addresses
}

// Open is what Init returned for a directory, with the addresses at which a simulator listened there last.
func Open(dir string) (Files, error) {
	s, err := readSettings(dir)
	if err != nil {
		return Files{}, fmt.Errorf("pushsim: %w", err)
	}
	return s.files(dir)
}

func (s *settings) files(dir string) (Files, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Files{}, fmt.Errorf("pushsim: %w", err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	return Files{
		Dir: dir, Config: in(FileConfig), CA: in(FileCA), APNsKey: in(FileAPNs), FCMCredentials: in(FileFCM), WebPushKey: in(FileWebPush),
		KeyID: s.APNs.KeyID, Team: s.APNs.Team, Topic: s.APNs.Topic, Project: s.FCM.Project, Listen: s.Listen,
	}, nil
}

func readSettings(dir string) (*settings, error) {
	b, err := os.ReadFile(filepath.Join(dir, FileSettings))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: hwangso pushsim init makes it", err)
	} else if err != nil {
		return nil, err
	}
	var s settings
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", FileSettings, err)
	}
	switch {
	case s.APNs.KeyID == "" || s.APNs.Team == "" || s.APNs.Topic == "":
		return nil, fmt.Errorf("%s: apns has no key_id, team or topic", FileSettings)
	case s.FCM.Project == "" || s.FCM.Email == "":
		return nil, fmt.Errorf("%s: fcm has no project or client_email", FileSettings)
	}
	for _, a := range s.Listen.all() {
		if err := onLoopback(*a); err != nil {
			return nil, fmt.Errorf("%s: listen: %w", FileSettings, err)
		}
	}
	return &s, nil
}

// all are the addresses, in the order in which people count them.
func (a *Addresses) all() []*string {
	return []*string{&a.Control, &a.APNs, &a.APNsSandbox, &a.FCM, &a.WebPush}
}

// onLoopback says why an address must not be listened on: whoever reaches the simulator can do anything with it.
func onLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is no address of the form host:port", addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%s is reachable beyond this machine; the simulator listens on loopback only", addr)
	}
	return nil
}

// account is FileFCM, as far as it is read.
type account struct {
	Type     string `json:"type"`
	Project  string `json:"project_id"`
	KeyID    string `json:"private_key_id"`
	Key      string `json:"private_key"` // PEM
	Email    string `json:"client_email"`
	ClientID string `json:"client_id"`
	AuthURI  string `json:"auth_uri"`
	TokenURI string `json:"token_uri"`
	Universe string `json:"universe_domain"`
}

// files is a simulator's directory, read. Of the keys that belong to the other side it keeps the public halves.
type files struct {
	settings
	dir    string
	ca     *x509.CertPool
	cert   tls.Certificate
	apns   *ecdsa.PublicKey
	fcm    *rsa.PublicKey
	fcmKey string // its identifier
	vapid  []byte // an uncompressed point of P-256
	seed   []byte // of web push subscriptions
}

// readFiles reads what Init has made. Its errors say which file is wrong.
func readFiles(dir string) (*files, error) {
	set, err := readSettings(dir)
	if err != nil {
		return nil, err
	}
	f := &files{settings: *set, dir: dir, ca: x509.NewCertPool()}
	in := func(name string) string { return filepath.Join(dir, name) }
	b, err := os.ReadFile(in(FileCA))
	if err != nil {
		return nil, err
	}
	if !f.ca.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s: no certificate", FileCA)
	}
	if f.cert, err = tls.LoadX509KeyPair(in(FileCert), in(FileKey)); err != nil {
		return nil, err
	}
	apns, err := readP256(in(FileAPNs))
	if err != nil {
		return nil, err
	}
	f.apns = &apns.PublicKey
	vapid, err := readP256(in(FileWebPush))
	if err != nil {
		return nil, err
	}
	if f.vapid, err = vapid.PublicKey.Bytes(); err != nil {
		return nil, fmt.Errorf("%s: %w", FileWebPush, err)
	}
	if b, err = os.ReadFile(in(FileBrowsers)); err != nil {
		return nil, err
	}
	if f.seed, err = hex.DecodeString(strings.TrimSpace(string(b))); err != nil || len(f.seed) != 32 {
		return nil, fmt.Errorf("%s: it must be 64 hexadecimal digits", FileBrowsers)
	}
	return f, f.readAccount()
}

func (f *files) readAccount() error {
	b, err := os.ReadFile(filepath.Join(f.dir, FileFCM))
	if err != nil {
		return err
	}
	var a account
	if err := json.Unmarshal(b, &a); err != nil {
		return fmt.Errorf("%s: %w", FileFCM, err)
	}
	key, err := parseKey[*rsa.PrivateKey]([]byte(a.Key))
	if err != nil {
		return fmt.Errorf("%s: private_key: %w", FileFCM, err)
	}
	f.fcm, f.fcmKey = &key.PublicKey, a.KeyID
	return nil
}

func readP256(path string) (*ecdsa.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := parseP8(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return key, nil
}

// parseP8 reads a private key on P-256 in PKCS #8, which is what Apple's .p8 files are.
func parseP8(b []byte) (*ecdsa.PrivateKey, error) {
	key, err := parseKey[*ecdsa.PrivateKey](b)
	if err == nil && key.Curve != elliptic.P256() {
		err = errors.New("not a key on the curve P-256")
	}
	return key, err
}

func parseKey[K any](b []byte) (k K, err error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return k, errors.New("no PEM block PRIVATE KEY")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return k, err
	}
	k, ok := parsed.(K)
	if !ok {
		return k, fmt.Errorf("a key of another kind, %T", parsed)
	}
	return k, nil
}

// tokenURI is where access tokens of Google's are had.
func (a *Addresses) tokenURI() string { return "https://" + a.FCM + "/token" }

// listens writes down where the simulator listens, if that is not what the files say: with port 0, or other addresses than
// Init was told. In the configuration it changes the addresses alone; what people added stays.
func (f *files) listens(now Addresses) error {
	if f.Listen == now {
		return nil
	}
	f.Listen = now
	conf := filepath.Join(f.dir, FileConfig)
	text, err := os.ReadFile(conf)
	if err != nil {
		return err
	}
	urls := now.urls()
	var out bytes.Buffer
	for line := range strings.Lines(string(text)) {
		name, _, ok := strings.Cut(line, "=")
		if url := urls[strings.TrimSpace(name)]; ok && url != "" {
			line = strings.TrimSpace(name) + " = " + url + "\n"
		}
		out.WriteString(line)
	}
	b, err := os.ReadFile(filepath.Join(f.dir, FileFCM))
	if err != nil {
		return err
	}
	var a account
	if err := json.Unmarshal(b, &a); err != nil {
		return fmt.Errorf("%s: %w", FileFCM, err)
	}
	a.TokenURI = now.tokenURI()
	for _, w := range []content{{FileConfig, out.Bytes()}, {FileFCM, indented(a)}, {FileSettings, indented(f.settings)}} {
		if err := writeFile(filepath.Join(f.dir, w.name), w.data); err != nil {
			return err
		}
	}
	return nil
}

// urls are the settings of `hwangso serve` that depend on the addresses.
func (a *Addresses) urls() map[string]string {
	return map[string]string{
		"apns-url": "https://" + a.APNs, "apns-sandbox-url": "https://" + a.APNsSandbox, "fcm-url": "https://" + a.FCM,
	}
}

func indented(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // of our own types, which have nothing that cannot be written
	}
	return append(b, '\n')
}
