//go:build !unix

package journal

import "os"

// syncDir has nothing to call here: the file system orders names itself.
func syncDir(string) error { return nil }

// lockFile has nothing to call here: whoever starts two servers on one directory is not stopped.
func lockFile(*os.File) error { return nil }

func unlockFile(*os.File) error { return nil }
