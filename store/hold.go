package store

// Hold is an order to keep what there is about one account or one log (legal hold): the account cannot be erased, and
// while there is any hold, retention removes nothing at all: it removes whole segments of the journal, and each may
// hold what has to be kept.
type Hold struct {
	Account AccountID `json:"account,omitempty"` // or Log: exactly one of the two
	Log     LogID     `json:"log,omitempty"`
	Reason  string    `json:"reason,omitempty"` // of the operator, at most 1,024 bytes
	By      string    `json:"by,omitempty"`     // who ordered it, in the operator's words, at most 1,024 bytes
	Since   int64     `json:"since,omitempty"`  // Unix milliseconds; 0 when it is put is now
}
