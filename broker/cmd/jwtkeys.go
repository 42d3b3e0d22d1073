package cmd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hwangso/hwangso/hooks"
)

// jwtKey is one entry of the file that -jwt-keys names:
//
//	[{"kid": "2026-a", "alg": "ES256", "aud": "chat.example.com", "iss": "https://id.example.com", "file": "2026-a.pem"}]
//
// file is a PEM public key or certificate, or for HS… the shared secret, relative to the file itself.
type jwtKey struct {
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Audience  string `json:"aud"`
	Issuer    string `json:"iss"`
	File      string `json:"file"`
}

func readJWTKeys(path string) ([]hooks.Key, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("-jwt-keys: %w", err)
	}
	var list []jwtKey
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("-jwt-keys %s: %w", path, err)
	}
	keys := make([]hooks.Key, 0, len(list))
	for _, k := range list {
		file := k.File
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(path), file)
		}
		material, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("-jwt-keys: key %s: %w", k.ID, err)
		}
		key, err := hooks.ParseKey(k.Algorithm, material)
		if err != nil {
			return nil, fmt.Errorf("-jwt-keys: key %s: %w", k.ID, err)
		}
		keys = append(keys, hooks.Key{ID: k.ID, Algorithm: k.Algorithm, Audience: k.Audience, Issuer: k.Issuer, Key: key})
	}
	return keys, nil
}
