package plugin

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	lineMax = 1 << 20  // a longer line is cut
	tailMax = 64 << 10 // bytes of output that are kept for a crash report

	// What a plugin may log; the rest is counted and left out.
	linesPerSecond = 1000
	linesBurst     = 5000
	bytesPerSecond = 4 << 20
	bytesBurst     = 16 << 20
)

// output takes what a process prints: it goes to the host's log, within limits,
// and the end of it is kept.
type output struct {
	log *slog.Logger
	// suppressed is told of lines that were left out; it may be nil.
	suppressed func(lines int)

	mu      sync.Mutex
	lines   *rate.Limiter
	bytes   *rate.Limiter
	leftOut int
	kept    []byte // up to twice tailMax, then cut to tailMax
}

func newOutput(log *slog.Logger, suppressed func(int)) *output {
	return &output{
		log: log, suppressed: suppressed,
		lines: rate.NewLimiter(linesPerSecond, linesBurst),
		bytes: rate.NewLimiter(bytesPerSecond, bytesBurst),
	}
}

// line takes one line, without its end. The caller may use the bytes again.
func (o *output) line(line []byte) {
	o.keep(line)
	leftOut, allowed := o.admit(len(line))
	if !allowed {
		return
	}
	if leftOut > 0 {
		o.report(leftOut)
	}
	level, message, attrs := parseLine(line)
	o.log.LogAttrs(background, level, message, attrs...)
}

// admit applies the limits, and says how many lines were left out until now.
func (o *output) admit(size int) (leftOut int, allowed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if !o.lines.AllowN(now, 1) || !o.bytes.AllowN(now, size) {
		o.leftOut++
		return 0, false
	}
	leftOut, o.leftOut = o.leftOut, 0
	return leftOut, true
}

func (o *output) report(leftOut int) {
	o.log.Warn("the plugin prints too much; lines were left out", "lines", leftOut)
	if o.suppressed != nil {
		o.suppressed(leftOut)
	}
}

// close reports what was left out last.
func (o *output) close() {
	o.mu.Lock()
	leftOut := o.leftOut
	o.leftOut = 0
	o.mu.Unlock()
	if leftOut > 0 {
		o.report(leftOut)
	}
}

func (o *output) keep(line []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if cut := len(line) - tailMax + 1; cut > 0 {
		line = line[cut:]
	}
	o.kept = append(append(o.kept, line...), '\n')
	if len(o.kept) > 2*tailMax {
		o.kept = append(o.kept[:0], o.kept[len(o.kept)-tailMax:]...)
	}
}

// tail is the end of what was printed: up to so many lines, within 64 KiB.
func (o *output) tail(lines int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := bytes.TrimRight(o.kept[max(0, len(o.kept)-tailMax):], "\n")
	start := len(kept)
	for ; lines > 0 && start > 0; lines-- {
		start = max(0, bytes.LastIndexByte(kept[:start], '\n'))
	}
	return strings.ToValidUTF8(string(bytes.TrimLeft(kept[start:], "\n")), "\uFFFD")
}

// lines splits what is written to it into lines and hands them to emit, which
// must not keep them. It may be used by several goroutines.
type lines struct {
	emit func(line []byte)

	mu   sync.Mutex
	part []byte // of a line that has not ended yet
	skip bool   // the line was cut; the rest of it is dropped
}

// Write never fails.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := p; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			l.add(rest)
			break
		}
		l.add(rest[:end])
		l.end()
		rest = rest[end+1:]
	}
	return len(p), nil
}

func (l *lines) add(p []byte) {
	if l.skip {
		return
	}
	if room := lineMax - len(l.part); len(p) > room {
		p, l.skip = p[:room], true
	}
	l.part = append(l.part, p...)
}

func (l *lines) end() {
	if l.skip {
		l.part = append(l.part, " [cut]"...)
	}
	l.emit(bytes.TrimSuffix(l.part, []byte("\r")))
	l.part, l.skip = l.part[:0], false
	if cap(l.part) > tailMax {
		l.part = nil // a long line is rare; its buffer need not stay
	}
}

// flush ends a line that did not end by itself.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.part) > 0 {
		l.end()
	}
}
