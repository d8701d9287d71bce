//go:build !linux

package plugin

import "syscall"

// attributes give a process its own group. It dies with the host by its lifeline.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
