package bolt

import (
	"bytes"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// What is sealed opens for its account and purpose alone, also after the store was opened anew.
func TestSealRow(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	alice, err := s.CreateAccount(t.Context(), store.Account{Name: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	bob, err := s.CreateAccount(t.Context(), store.Account{Name: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	plain := []byte("what was said")
	sealed := map[store.AccountID][]byte{}
	for _, a := range []store.AccountID{0, alice.ID, bob.ID} {
		if sealed[a], err = s.Seal(a, "test", plain); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(sealed[a], plain) {
			t.Error("it is readable")
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(Config{Dir: dir, MinFree: -1}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for a, b := range sealed {
		if got, err := s.Unseal(a, "test", b); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%v: %q, %v", a, got, err)
		}
		if _, err := s.Unseal(a, "another", b); store.CodeOf(err) != store.CodeBad {
			t.Errorf("another purpose: %v", err)
		}
		if _, err := s.Unseal(bob.ID, "test", sealed[alice.ID]); store.CodeOf(err) != store.CodeBad {
			t.Errorf("another account: %v", err)
		}
		for i := range b {
			broken := bytes.Clone(b)
			broken[i] ^= 1
			if _, err := s.Unseal(a, "test", broken); store.CodeOf(err) != store.CodeBad {
				t.Fatalf("byte %d changed: %v", i, err)
			}
			if _, err := s.Unseal(a, "test", b[:i]); store.CodeOf(err) != store.CodeBad {
				t.Fatalf("cut at %d: %v", i, err)
			}
		}
	}
	if _, err := s.Seal(999, "test", plain); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("nobody's key: %v", err)
	}
}
