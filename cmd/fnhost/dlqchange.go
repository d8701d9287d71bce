package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/time/rate"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/deadletter"
)

// manyLetters is how many a command changes on a plain yes; for more the name of
// the queue is asked for.
const manyLetters = 100

func changeFlags(more ...cli.Flag) []cli.Flag {
	return filterFlags(append([]cli.Flag{
		&cli.BoolFlag{Name: "all", Usage: "all that the other flags leave"},
		&cli.IntFlag{Name: "limit", Aliases: []string{"n"}, Usage: "at most so many of them, the oldest"},
		&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be done"},
		&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
	}, more...)...)
}

// A change is a requeue or a discard that is under way.
type change struct {
	*dead
	verb  string // requeue
	asks  int    // from how many IDs on it asks
	plans []deadletter.Plan
	total int
}

// selected refuses what does not choose letters: either IDs do, or flags.
func (d *dead) selected() error {
	chosen := d.filtered() || d.c.Bool("all") || d.c.IsSet("limit")
	switch {
	case d.c.Int("limit") < 0:
		return usage("give -n 1 or more", "-n %d: there is no such number of dead letters", d.c.Int("limit"))
	case len(d.ids) > 0 && chosen:
		return usage("give IDs, or flags that choose", "IDs and flags that choose exclude each other")
	case len(d.ids) == 0 && !chosen:
		return usage("give IDs, or --group FINGERPRINT, or another filter, or --all", "which dead letters?")
	}
	d.filter.Limit = d.c.Int("limit")
	return nil
}

// plan finds out what is to be changed.
func (w *change) plan(ctx context.Context, options deadletter.Options) error {
	if len(w.ids) > 0 {
		w.total = len(w.ids)
		return nil
	}
	left := w.filter.Limit
	for _, q := range w.queues {
		filter := w.filter
		filter.Limit = left
		plan, err := w.letters.Plan(ctx, q.name, filter, options)
		if err != nil {
			return err
		}
		w.plans, w.total = append(w.plans, plan), w.total+plan.Letters
		if w.filter.Limit > 0 {
			if left -= plan.Letters; left == 0 {
				break
			}
		}
	}
	return nil
}

// part is the filter of a queue's plan: of what was there then.
func (w *change) part(i int) deadletter.Filter {
	filter := w.filter
	filter.Through, filter.Limit = w.plans[i].Through, w.plans[i].Letters
	return filter
}

// confirm asks before letters are changed.
func (w *change) confirm(ctx context.Context) error {
	switch {
	case w.total == 0 || w.c.Bool("yes") || w.c.Bool("dry-run"):
		return nil
	case !w.stdinTTY && len(w.ids) > 0 && w.asks > 1, w.stdinTTY && w.total < w.asks:
		return nil
	case !w.stdinTTY:
		return fail(exitConfirm, "give --yes if that is meant; --dry-run shows what would be done", "this would %s %s of %s", w.verb, countLetters(w.total), w.where())
	}
	w.explainPlan()
	ask, expected := "Go on? [y/N] ", "y"
	if w.total > manyLetters {
		ask, expected = fmt.Sprintf("Type %s to go on: ", w.where()), w.where()
	}
	fmt.Fprint(w.stderr, ask)
	answer, err := w.readLine(ctx)
	if err != nil {
		return err
	}
	if answer = strings.TrimSpace(answer); answer != expected && (expected != "y" || !strings.EqualFold(answer, "yes") && answer != "Y") {
		return fail(exitConfirm, "nothing was changed", "not confirmed")
	}
	return nil
}

func (w *change) explainPlan() {
	fmt.Fprintf(w.stderr, "This will %s %s of %s", w.verb, countLetters(w.total), w.where())
	if len(w.ids) > 0 {
		fmt.Fprintln(w.stderr, ".")
		return
	}
	fmt.Fprintln(w.stderr, ", the oldest first.")
	for _, plan := range w.plans {
		for _, t := range plan.Targets {
			if w.verb == "requeue" {
				fmt.Fprintf(w.stderr, "  %7s  %s\n", thousands(t.Letters), destination(t))
			}
		}
	}
	fmt.Fprintln(w.stderr, "Among them:")
	for _, plan := range w.plans {
		for _, l := range plan.Samples {
			fmt.Fprintf(w.stderr, "  %-17s  %-14.14s  %s\n", l.ID, dashed(render.Printable(l.Type)), shorten(render.Printable(errorLine(l)), 43))
		}
	}
}

// destination says where letters go, or why they stay.
func destination(t deadletter.Target) string {
	if t.Problem != nil {
		return "stay: " + render.Printable(t.Problem.Error())
	}
	return "to " + t.Stream
}

// shorten cuts text to so many characters.
func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// readLine waits for the user, or for an interruption: then whoever still reads
// ends with the process.
func (a *app) readLine(ctx context.Context) (string, error) {
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.stdin).ReadString('\n') // no answer is none
		answer <- line
	}()
	select {
	case line := <-answer:
		return line, nil
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
		return "", fail(exitInterrupted, "", "interrupted: nothing was changed")
	}
}

// audit is who changes letters, as the audit has it.
func (d *dead) audit(q queue) deadletter.Audit {
	if !d.cfg.Audit.Enabled {
		return deadletter.Audit{}
	}
	name := strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return deadletter.Audit{By: "cli:" + name, Role: q.role, MaxLen: d.cfg.Audit.MaxLen}
}

// pace bounds how fast letters are changed.
func (d *dead) pace() (func(context.Context) error, error) {
	given := d.c.String("rate")
	if given == "" {
		return nil, nil
	}
	number, unit, _ := strings.Cut(given, "/")
	seconds, known := map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !known || !(n > 0) {
		return nil, usage("give a number a second, as 50 or 50/s; or 600/m", "--rate %s is no rate", given)
	}
	return rate.NewLimiter(rate.Limit(n/seconds), 1).Wait, nil
}

// progress shows on a terminal how far a change is; set is told how many letters
// are through.
func (w *change) progress(doing string) (set func(int), stop func()) {
	if !w.stderrTTY || w.c.Bool("quiet") || w.c.Bool("dry-run") || w.total < 2 {
		return func(int) {}, func() {}
	}
	bar := progressbar.NewOptions(w.total,
		progressbar.OptionSetWriter(w.stderr), progressbar.OptionSetDescription(doing), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionSetWidth(20), progressbar.OptionClearOnFinish())
	return func(n int) { _ = bar.Set(n) }, func() { _ = bar.Clear() } // only a full bar refuses
}

// ended says why a change was cut off after so many, and how to go on; a nil err
// stays nil.
func (w *change) ended(ctx context.Context, done int, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return fail(exitInterrupted, "the others are as they were: the same command again goes on with them", "interrupted: %s of %s", w.past(done), countLetters(w.total))
	}
	w.note(w.c, "%s of %s before the error; the same command again goes on", w.past(done), countLetters(w.total))
	return err
}

// past is the verb for people: 3 requeued.
func (w *change) past(n int) string {
	return thousands(n) + " " + strings.TrimSuffix(w.verb, "e") + "ed"
}

// partly is the end of a command that failed for some of what it was to do.
func partly(done string, all, failed, gone int) error {
	switch {
	case failed == 0:
		return nil
	case gone == all:
		return fail(exitNotFound, "'fnhost dlq list' prints the ids", "none of the %d dead letters is there", all)
	case failed == all:
		return fail(exitFailed, "the error of each is in the output", "none of the %d dead letters could be %s", all, done)
	}
	return fail(exitPartly, "the error of each is in the output", "%d of %d dead letters could not be %s", failed, all, done)
}

// notAllowed is the failure of what the Redis user may not do.
func notAllowed(err error) error {
	return fail(exitConfirm, "give the user of REDIS_URL every command on the keys of the namespace, or use another one", "%w", err)
}
