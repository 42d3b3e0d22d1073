// Package proc reads what a process uses from Linux' /proc.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ticks is USER_HZ, the unit of /proc/PID/stat: 100 a second on every Linux
// port that Go supports.
const ticks = 100

// Use is a process's use at one moment.
type Use struct {
	Anon int64         // bytes of resident anonymous memory, RssAnon
	CPU  time.Duration // user and system time of all threads since the start, in steps of 10 ms
}

// Read reads the use of process pid.
func Read(pid int) (Use, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return Use{}, fmt.Errorf("proc: no process %d to measure: %w", pid, err)
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Use{}, fmt.Errorf("proc: no process %d to measure: %w", pid, err)
	}
	var u Use
	if u.Anon, err = parseAnon(status); err != nil {
		return Use{}, fmt.Errorf("proc: %s/status: %w", dir, err)
	}
	if u.CPU, err = parseCPU(stat); err != nil {
		return Use{}, fmt.Errorf("proc: %s/stat: %w", dir, err)
	}
	return u, nil
}

func parseAnon(status []byte) (int64, error) {
	for line := range bytes.Lines(status) {
		if v, ok := bytes.CutPrefix(line, []byte("RssAnon:")); ok {
			f := bytes.Fields(v)
			if len(f) != 2 || string(f[1]) != "kB" {
				return 0, fmt.Errorf("cannot read %q", line)
			}
			kb, err := strconv.ParseInt(string(f[0]), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no RssAnon (a kernel thread, or ended)")
}

// parseCPU reads fields 14 and 15, utime and stime. The second field is the
// command's name in parentheses and may itself hold spaces and parentheses.
func parseCPU(stat []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(stat, ')')
	f := bytes.Fields(stat[end+1:])
	if end < 0 || len(f) < 13 {
		return 0, fmt.Errorf("cannot read %q", stat)
	}
	var sum int64
	for _, v := range f[11:13] {
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks, nil
}
