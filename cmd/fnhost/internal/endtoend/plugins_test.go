package endtoend

import (
	"debug/elf"
	"encoding/binary"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestPluginDirectoryMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, command := range []string{"serve", "dev"} {
		w.run(command, "--plugins", "nowhere").want(t, 1, filepath.Join(w.dir, "nowhere"), "does not exist; create it")
	}
}

func TestPluginDirectoryEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	h := w.serve()
	body := ""
	eventually(t, func() bool {
		h.mustLive()
		var code int
		code, body = h.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "no plugin gives a function")
	}, func() string { return "/readyz does not say that there is no plugin: " + body })
	if said := h.find("the plugin directory is empty: no function will run"); said == nil || said["dir"] != w.plugins {
		t.Errorf("the log does not say it: %v", said)
	}
	h.stop()
}

// foreign is the beginning of a program for another kind of machine, long enough
// to be one.
func foreign(t *testing.T) string {
	t.Helper()
	machine := elf.EM_AARCH64
	if runtime.GOARCH == "arm64" {
		machine = elf.EM_X86_64
	}
	header := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Ehsize: 64,
	}
	var b strings.Builder
	if err := binary.Write(&b, binary.LittleEndian, header); err != nil {
		t.Fatal(err)
	}
	return b.String() + strings.Repeat("\x00", 4096)
}

// TestBadFilesInThePluginDirectory: each is named, with what is wrong and what to
// do, and the good ones serve.
func TestBadFilesInThePluginDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"echo", "probe"})
	w.install("echo", "echo-again") // sorts after echo
	w.file("plugins/README.txt", "Put plugins here.\n", 0o644)
	w.file("plugins/notes", "Some notes, executable by accident.\n", 0o755)
	w.file("plugins/foreign", foreign(t), 0o755)
	w.file("plugins/chatty", "#!/bin/sh\necho Welcome to chatty\nread line\n", 0o755)
	w.file("plugins/mute", "#!/bin/sh\necho loading the model >&2\nread line\n", 0o755)
	w.file("plugins/quitter", "#!/bin/sh\necho no licence found >&2\nexit 7\n", 0o755)
	w.file("plugins/blank", "", 0o755)
	if err := os.Mkdir(filepath.Join(w.plugins, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	h := w.start(nil, "dev", "--plugins", w.plugins, "-o", "json").ready()
	wantEach(t, w.results("echo", w.send("echo", 5, `1`)), uncharged)
	wantEach(t, w.results("probe", w.send("probe", 5, `{}`)), uncharged)

	said := map[string]string{}
	for _, record := range h.lines("a file of the plugins is left out") {
		said[filepath.Base(record["file"].(string))], _ = record["error"].(string)
	}
	reasons := h.served()
	for file, texts := range map[string][]string{
		"echo-again": {"its role is taken by another file", filepath.Join(w.plugins, "echo"), `"echo"`, "remove one"},
		"README.txt": {"it is not executable", "chmod +x"},
		"notes":      {"neither a program nor a script"},
		"foreign":    {"a program for another kind of machine"},
		"chatty":     {"printed to stdout before its handshake", "Welcome to chatty"},
		"mute":       {"made no handshake in time", "10s", "loading the model"},
		"quitter":    {"exited before its handshake", "exit status 7", "no licence found"},
		"blank":      {"it is empty"},
		"folder":     {"it is a directory"},
	} {
		for _, text := range texts {
			if !strings.Contains(said[file], text) {
				t.Errorf("%s: the log does not say %q: %s", file, text, said[file])
			}
			if !strings.Contains(reasons[file], text) {
				t.Errorf("%s: fnhost dev does not say %q: %s", file, text, reasons[file])
			}
		}
	}
	if len(said) != 9 {
		t.Errorf("left out are %d files, want 9: %v", len(said), said)
	}
	h.stop()
}

// served gives what `fnhost dev -o json` prints once it serves: reasons by file.
func (h *hostProcess) served() map[string]string {
	h.t.Helper()
	type rows struct {
		Items []struct{ File, State, Reason string }
	}
	eventually(h.t, func() bool {
		return strings.HasSuffix(strings.TrimSpace(h.out.String()), "}") && strings.Contains(h.out.String(), `"items"`)
	},
		saying("fnhost dev does not print what it serves"))
	text := h.out.String()
	reasons := map[string]string{}
	for _, row := range decode[rows](h.t, text[strings.Index(text, "{\n"):]).Items {
		reasons[filepath.Base(row.File)] = row.Reason
	}
	return reasons
}

// TestPluginThatDoesNotComeUp: its role is not ready, readyz says why, and the
// other role serves.
func TestPluginThatDoesNotComeUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"echo", "probe"})
	w.config("roles:\n  echo:\n    plugin:\n      settings:\n        volume: 11\n")
	h := w.serve()
	body := ""
	eventually(t, func() bool {
		h.mustLive()
		var code int
		code, body = h.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "role echo")
	}, func() string { return "/readyz does not tell of role echo: " + body })
	if !strings.Contains(body, "volume") || !strings.Contains(body, "plugin.settings") || strings.Contains(body, "role probe") {
		t.Errorf("/readyz does not say which setting is wrong, or speaks of the other role: %s", body)
	}
	wantEach(t, w.results("probe", w.send("probe", 5, `{}`)), uncharged)
	w.send("echo", 3, `1`)
	if n := w.length("echo:dlq"); n != 0 || w.length("echo:results") != 0 {
		t.Errorf("messages of a role without a plugin must wait in the stream; %d dead letters", n)
	}
	h.stop()
	w.config("")
	w.serve().ready()
	w.until("echo:results", 3)
}
