package plugin

import "syscall"

// attributes give a process its own group, and death with the thread that has
// started it, for plugins that do not watch their lifeline.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
