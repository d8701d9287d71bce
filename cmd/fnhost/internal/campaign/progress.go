package campaign

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// A Snapshot is how far a campaign is.
type Snapshot struct {
	Counts
	Percent float64  `json:"percent"`
	Rate    float64  `json:"rate_per_s"`
	ETA     *float64 `json:"eta_s"` // seconds; null: nobody can say
}

// pace says how fast it is and how long it will take.
func (s Snapshot) pace() string {
	text := fmt.Sprintf("%.1f/s", s.Rate)
	if s.Failed > 0 {
		text = fmt.Sprintf("%d failed, %s", s.Failed, text)
	}
	if s.ETA != nil {
		text += ", " + seconds(*s.ETA) + " to go"
	}
	return text
}

// seconds shows a duration no finer than anybody can know it.
func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// Progress shows how far a campaign is. Update is called from one goroutine, and
// Stop at the campaign's end, whatever that is.
type Progress interface {
	Update(s Snapshot)
	Stop()
}

// Bar is a progress bar on a terminal.
func Bar(w io.Writer) Progress { return &bar{w: w} }

type bar struct {
	w   io.Writer
	bar *progressbar.ProgressBar
}

func (b *bar) Update(s Snapshot) {
	if b.bar == nil {
		b.bar = progressbar.NewOptions(max(s.Total, 1),
			progressbar.OptionSetWriter(b.w),
			progressbar.OptionShowCount(),
			progressbar.OptionSetWidth(24),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionClearOnFinish(),
		)
	}
	if s.Total > b.bar.GetMax() {
		b.bar.ChangeMax(s.Total)
	}
	b.bar.Describe(fmt.Sprintf("%-32s", s.pace()))
	_ = b.bar.Set(s.Ended()) // only a full bar refuses
}

func (b *bar) Stop() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}

// Lines writes a line a second, and the last one, for what is no terminal.
func Lines(w io.Writer) Progress { return &lines{w: w} }

type lines struct {
	w        io.Writer
	wrote    time.Time
	withheld *Snapshot
}

func (l *lines) Update(s Snapshot) {
	if l.withheld = &s; time.Since(l.wrote) >= time.Second {
		l.write()
	}
}

func (l *lines) write() {
	s := *l.withheld
	fmt.Fprintf(l.w, "[%3.0f%%] %d of %d, %s\n", s.Percent, s.Ended(), s.Total, s.pace())
	l.wrote, l.withheld = time.Now(), nil
}

func (l *lines) Stop() {
	if l.withheld != nil {
		l.write()
	}
}

// Quiet shows nothing.
func Quiet() Progress { return quiet{} }

type quiet struct{}

func (quiet) Update(Snapshot) {}
func (quiet) Stop()           {}
