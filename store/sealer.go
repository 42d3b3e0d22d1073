package store

// Sealer seals small things under an account's data key (0: the server's own), as bodies are. Erasing the account
// destroys the key, and with it everything that was sealed; a backup from before holds the key's salt and still opens.
type Sealer interface {
	// Seal returns what only Unseal of the same account and purpose opens. CodeNotFound: the account has no key (any
	// more).
	Seal(a AccountID, purpose string, plain []byte) ([]byte, error)
	// Unseal returns what was sealed. CodeNotFound: the key is gone. CodeBad: it was sealed for another account or
	// purpose, or changed since.
	Unseal(a AccountID, purpose string, sealed []byte) ([]byte, error)
}
