package mainjob

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress shows how far a job is. A job calls Start once, Step for each step,
// and Stop at its end, whatever that is.
type Progress interface {
	Start(steps int)
	Step(done string)
	Stop()
}

// Bar is a progress bar on a terminal.
func Bar(w io.Writer) Progress { return &bar{w: w} }

type bar struct {
	w   io.Writer
	bar *progressbar.ProgressBar
}

func (b *bar) Start(steps int) {
	b.bar = progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(b.w),
		progressbar.OptionSetDescription("starting"),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(24),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionThrottle(50*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
}

func (b *bar) Step(done string) {
	b.bar.Describe(shorten(done, 48))
	_ = b.bar.Add(1) // only a full bar refuses
}

func (b *bar) Stop() { _ = b.bar.Clear() }

func shorten(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return fmt.Sprintf("%-*s", width, s)
}

// Lines writes a line a step, for what is no terminal.
func Lines(w io.Writer) Progress { return &lines{w: w} }

type lines struct {
	w           io.Writer
	done, steps int
}

func (l *lines) Start(steps int) { l.steps = steps }

func (l *lines) Step(done string) {
	l.done++
	fmt.Fprintf(l.w, "[%2d/%d] %s\n", l.done, l.steps, done)
}

func (l *lines) Stop() {}

// Quiet shows nothing.
func Quiet() Progress { return quiet{} }

type quiet struct{}

func (quiet) Start(int)   {}
func (quiet) Step(string) {}
func (quiet) Stop()       {}
