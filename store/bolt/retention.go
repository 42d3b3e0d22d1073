package bolt

import "time"

// retainEvery is how often segments that are old enough are looked for.
const retainEvery = time.Hour

func (l *logs) retain() error { return nil }
