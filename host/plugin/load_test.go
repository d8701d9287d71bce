package plugin

import (
	"context"
	"debug/elf"
	encoding "encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestMissingDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "plugins")
	_, err := Load(t.Context(), Options{Dir: dir, StateDir: t.TempDir()})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "create it") {
		t.Errorf("%v", err)
	}
}

func TestEmptyDirectory(t *testing.T) {
	t.Parallel()
	var log logged
	set := load(t, Options{Dir: t.TempDir(), Logger: log.logger()})
	if len(set.Functions()) != 0 || len(set.Problems()) != 0 || !strings.Contains(log.String(), "directory is empty") {
		t.Errorf("%v, %v, %s", set.Functions(), set.Problems(), log.String())
	}
}

// Files that are no plugins are each told of, and hinder no others.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, data []byte, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), data, mode); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".hidden", "a~", "a.tmp", "a.part", "a.swp"} {
		write(name, []byte("ignored"), 0o755)
	}
	write("text", []byte("hello, world\n"), 0o755)
	write("plain", []byte("hello, world\n"), 0o644)
	write("empty", nil, 0o755)
	write("windows", []byte("MZ\x90\x00"), 0o755)
	write("half", self[:len(self)/2], 0o755)
	write("foreign", foreignELF(self), 0o755)
	write("interpreter", []byte("#!/no/such/interpreter\n"), 0o755)
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "dir"), 0o755), os.Symlink("nowhere", filepath.Join(dir, "dangling"))); err != nil {
		t.Fatal(err)
	}
	install(t, dir, "good", "serve")

	set := load(t, Options{Dir: dir})
	if len(set.Functions()) != 1 || !set.Functions()[0].Ready() {
		t.Errorf("the good one does not run: %v", set.Functions())
	}
	want := map[string]error{
		"text": ErrNotProgram, "plain": ErrNotExecutable, "empty": ErrEmpty, "windows": ErrForeign, "dir": ErrDirectory,
		"dangling": ErrIrregular, "half": ErrTruncated, "foreign": ErrForeign, "interpreter": ErrNotStarted,
	}
	if runtime.GOOS != "linux" {
		want["half"], want["foreign"] = ErrTruncated, ErrForeign
	}
	checkProblems(t, set.Problems(), want)
}

// foreignELF is a program for a machine that nobody has.
func foreignELF(program []byte) []byte {
	foreign := append([]byte(nil), program...)
	encoding.LittleEndian.PutUint16(foreign[18:], uint16(elf.EM_VAX))
	return foreign
}

func checkProblems(t *testing.T, problems []Problem, want map[string]error) {
	t.Helper()
	for _, p := range problems {
		name := filepath.Base(p.File)
		var problem *FileError
		if !errors.As(p.Err, &problem) || problem.Fix == "" {
			t.Errorf("%s: no FileError that says what to do: %v", name, p.Err)
		}
		if want[name] == nil || !errors.Is(p.Err, want[name]) {
			t.Errorf("%s: %v; want %v", name, p.Err, want[name])
		}
		if !strings.Contains(p.Err.Error(), p.File) {
			t.Errorf("the error does not name the file %s: %v", p.File, p.Err)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s: no problem", name)
	}
}

// Each way not to come up is explained by what was seen.
func TestBadStarts(t *testing.T) {
	t.Parallel()
	for play, want := range map[string]struct {
		err  error
		seen string
	}{
		"stray": {ErrStrayOutput, "loading the model"},
		"part":  {ErrStrayOutput, "no newline"},
		"hang":  {ErrNoHandshake, "time to start is over"},
		"exit":  {ErrExited, "exit status 3"},
		"other": {ErrIncompatible, "7"},
	} {
		t.Run(play, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			install(t, dir, "bad", play)
			timeout := patience
			if play == "hang" || play == "part" {
				timeout = 2 * time.Second
			}
			set := load(t, Options{Dir: dir, StartTimeout: timeout})
			checkProblems(t, set.Problems(), map[string]error{"bad": want.err})
			if text := set.Problems()[0].Err.Error(); !strings.Contains(text, want.seen) {
				t.Errorf("no %q in: %s", want.seen, text)
			}
		})
	}
	t.Run("stderr", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		install(t, dir, "bad", "exit")
		set := load(t, Options{Dir: dir})
		if text := set.Problems()[0].Err.Error(); !strings.Contains(text, "cannot open the model") {
			t.Error(text)
		}
	})
}

func TestLoadCanBeCancelled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	install(t, dir, "hang", "hang")
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	timer := time.AfterFunc(300*time.Millisecond, func() { cancel(enough) })
	defer timer.Stop()
	_, err := Load(ctx, Options{Dir: dir, StateDir: t.TempDir(), StartTimeout: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
}

func TestOneFileForARole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"b", "a", "c"} {
		role := "echo"
		if name == "c" {
			role = "other"
		}
		install(t, dir, name, "serve", roleKey+"="+role)
	}
	set := load(t, Options{Dir: dir})
	var got []string
	for _, f := range set.Functions() {
		got = append(got, filepath.Base(f.File())+"="+f.Role())
	}
	if fmt.Sprint(got) != "[a=echo c=other]" {
		t.Error(got)
	}
	checkProblems(t, set.Problems(), map[string]error{"b": ErrRoleTaken})
	if text := set.Problems()[0].Err.Error(); !strings.Contains(text, filepath.Join(dir, "a")) {
		t.Errorf("it does not say who has the role: %s", text)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	file := install(t, t.TempDir(), "x", "serve")
	set := load(t, Options{Files: []string{file}})
	if len(set.Functions()) != 1 || set.Functions()[0].File() != file {
		t.Error(set.Functions(), set.Problems())
	}
}

func TestPin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sum, err := hashFile(install(t, dir, "echo", "serve"))
	if err != nil {
		t.Fatal(err)
	}
	pinned := func(pin string) Options {
		return Options{Dir: dir, Role: func(string) RoleOptions { return RoleOptions{SHA256: pin} }}
	}
	if set := load(t, pinned(strings.ToUpper(sum))); len(set.Functions()) != 1 {
		t.Error(set.Problems())
	}
	set := load(t, pinned(strings.Repeat("0", 64)))
	checkProblems(t, set.Problems(), map[string]error{"echo": ErrChecksum})
}

// The copy runs: the file may be overwritten, or removed, meanwhile.
func TestRestartRunsTheSameBytes(t *testing.T) {
	t.Parallel()
	f, s := one(t, "serve", Options{})
	if err := os.WriteFile(f.File(), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	f.Kill("a test")
	eventually(t, "the next generation", func() bool { return f.Info().Generation == 2 && f.Ready() })
	if pid := ask[int](t, f, s, 1, "pid"); pid != f.Info().PID {
		t.Error(pid)
	}
}

func TestStage(t *testing.T) {
	t.Parallel()
	gens, file := t.TempDir(), filepath.Join(t.TempDir(), "x")
	var last *binary
	for i := range 5 {
		if err := os.WriteFile(file, []byte(fmt.Sprintf("#!/bin/sh\nexit %d\n", i)), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if last, err = stage(gens, file); err != nil {
			t.Fatal(err)
		}
	}
	again, err := stage(gens, file)
	if err != nil || *again != *last {
		t.Errorf("%+v, %+v: %v", again, last, err)
	}
	if copies, _ := filepath.Glob(filepath.Join(gens, "x", "*", "x")); len(copies) != stagedKept {
		t.Errorf("kept: %v", copies)
	}
	if all, _ := os.ReadDir(filepath.Join(gens, "x")); len(all) != stagedKept {
		t.Errorf("something is left: %v", all)
	}
	info, err := os.Stat(last.path)
	if err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("%v, %v", info, err)
	}
	if err := errors.Join(os.Chmod(last.path, 0o755), os.WriteFile(last.path, []byte("torn"), 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := stage(gens, file); err != nil {
		t.Fatal(err)
	}
	if sum, err := hashFile(last.path); sum != last.sha256 {
		t.Errorf("a broken copy was used again: %v", err)
	}
}

// A process that was forked while the copy was made may hold it open for a moment.
func TestBusyCopyIsTriedAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x")
	busy, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := busy.WriteString("#!/bin/sh\nexit 0\n"); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(100*time.Millisecond, func() { _ = busy.Close() })
	defer timer.Stop()
	p := newProcess(t.Context(), file, nil, newOutput(slog.New(slog.DiscardHandler), nil))
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	if p.ending() != "exit status 0" {
		t.Error(p.ending())
	}
}

func TestSocketDirectories(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	first, err := newSocketDir(state)
	if err != nil {
		t.Fatal(err)
	}
	long, err := newSocketDir(filepath.Join(state, strings.Repeat("long/", 30)))
	if err != nil {
		t.Fatal(err)
	}
	if len(long.path)+socketBelow-len("/fnh-1234567890") > socketPathMax {
		t.Errorf("too long: %s", long.path)
	}
	hour := time.Now().Add(-time.Hour)
	stale := filepath.Join(filepath.Dir(first.path), socketPrefix+"stale")
	if err := errors.Join(os.Mkdir(stale, 0o700), os.WriteFile(filepath.Join(stale, socketLock), nil, 0o600),
		os.Chtimes(stale, hour, hour), os.Chtimes(first.path, hour, hour)); err != nil {
		t.Fatal(err)
	}
	second, err := newSocketDir(state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("a killed host's directory is left")
	}
	if info, err := os.Stat(first.path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a living host's directory: %v, %v", info, err)
	}
	if err := errors.Join(first.remove(), second.remove(), long.remove()); err != nil {
		t.Error(err)
	}
}
