package plugin

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"fmt"
	"io"
	"os"
	"runtime"
)

// machines are the names that the formats have for GOARCH.
var machines = map[string]struct {
	elf   elf.Machine
	macho macho.Cpu
}{
	"amd64": {elf.EM_X86_64, macho.CpuAmd64},
	"arm64": {elf.EM_AARCH64, macho.CpuArm64},
	"386":   {elf.EM_386, macho.Cpu386},
	"arm":   {elf.EM_ARM, macho.CpuArm},
}

// inspectFormat looks at what a file holds: a program for this machine, whole,
// or a script.
func inspectFormat(file string, size int64) error {
	f, err := os.Open(file)
	if err != nil {
		return &FileError{File: file, Err: ErrNotStarted, Seen: err.Error(), Fix: "let the host's user read it"}
	}
	defer f.Close()
	var magic [4]byte
	n, _ := io.ReadFull(f, magic[:])
	switch head := magic[:n]; {
	case bytes.HasPrefix(head, []byte("#!")):
		return nil
	case bytes.Equal(head, []byte(elf.ELFMAG)):
		return inspectELF(file, f, size)
	case isMachO(head):
		return inspectMachO(file, f)
	case bytes.HasPrefix(head, []byte("MZ")):
		return foreign(file, "windows")
	}
	return &FileError{File: file, Err: ErrNotProgram, Seen: fmt.Sprintf("it begins with %q", magic[:n]),
		Fix: "move it elsewhere, or build it as a program"}
}

func isMachO(head []byte) bool {
	for _, magic := range []string{"\xce\xfa\xed\xfe", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe"} {
		if string(head) == magic {
			return true
		}
	}
	return false
}

func foreign(file, kind string) error {
	return &FileError{File: file, Err: ErrForeign, Seen: "built for " + kind,
		Fix: fmt.Sprintf("build it for this host: GOOS=%s GOARCH=%s", runtime.GOOS, runtime.GOARCH)}
}

func inspectELF(file string, r io.ReaderAt, size int64) error {
	f, err := elf.NewFile(r)
	if err != nil {
		return truncated(file, err.Error())
	}
	defer f.Close()
	if runtime.GOOS == "darwin" {
		return foreign(file, "an ELF system, such as linux")
	}
	if want, known := machines[runtime.GOARCH]; known && f.Machine != want.elf {
		return foreign(file, f.Machine.String())
	}
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS && s.Offset+s.FileSize > uint64(size) {
			return truncated(file, fmt.Sprintf("it has %d bytes, and its section %s ends at %d", size, s.Name, s.Offset+s.FileSize))
		}
	}
	return nil
}

func inspectMachO(file string, r io.ReaderAt) error {
	if runtime.GOOS != "darwin" {
		return foreign(file, "darwin")
	}
	if fat, err := macho.NewFatFile(r); err == nil {
		return fat.Close() // several machines; the system picks
	}
	f, err := macho.NewFile(r)
	if err != nil {
		return truncated(file, err.Error())
	}
	defer f.Close()
	if want, known := machines[runtime.GOARCH]; known && f.Cpu != want.macho {
		return foreign(file, f.Cpu.String())
	}
	return nil
}

func truncated(file, seen string) error {
	return &FileError{File: file, Err: ErrTruncated, Seen: seen,
		Fix: "copy it again, under another name, and rename it when it is whole"}
}
