package crash

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/hosttest"
)

// answers are errors of a server that cannot serve now.
var answers = []string{
	"LOADING Redis is loading the dataset in memory",
	"READONLY You can't write against a read only replica.",
	"OOM command not allowed when used memory > 'maxmemory'.",
	"NOSCRIPT No matching script. Please use EVAL.",
	"NOGROUP No such key 'job:tasks' or consumer group 'job-workers'",
	"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
	"UNBLOCKED the stream key no longer exists",
	"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
	"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
	"NOREPLICAS Not enough good replicas to write.",
	"ERR max number of clients reached",
	"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
	"ERR of a kind that nobody has heard of",
}

// phases are the operations that are answered so.
var phases = []string{"read", "begin", "commit", "rerun", "renew", "scan", "takeover", "promote"}

// TestAnswers has each phase be answered with errors for a while. The host says
// that it is in trouble, goes on by itself, and loses nothing.
func TestAnswers(t *testing.T) {
	t.Parallel()
	srv := hosttest.Redis(t)
	resumed := &times{}
	resumed.logs(t, "from the last error to the outcome of a message that came after it")
	for n, message := range answers {
		kind, _, _ := strings.Cut(message, " ")
		run := func(name string, phases ...string) {
			t.Run(fmt.Sprintf("%s/%d/%s", kind, n, name), func(t *testing.T) {
				t.Parallel()
				proxy := hosttest.NewProxy(t, srv.Addr())
				w := newWorld(t, srv.Client(), proxy.URL(), fmt.Sprintf("a%d%s", n, name))
				w.answered(proxy, message, phases, resumed)
			})
		}
		phases := phases
		if kind == "NOSCRIPT" {
			phases = phases[1:] // a read is no script
		}
		run("everywhere", phases...)
		for _, phase := range phases {
			if full {
				run(phase, phase)
			}
		}
	}
}

func (w *world) answered(proxy *hosttest.Proxy, message string, phases []string, resumed *times) {
	w.Helper()
	w.publish(again(4, whole)...)
	w.deadBefore("begin")
	var rules []*hosttest.Rule
	often := 3
	if strings.HasPrefix(message, "NOSCRIPT") {
		often = 1 // the script is sent whole at once
	}
	host := w.work(func(o *options) { o.Idle = true })
	for _, phase := range phases {
		rules = append(rules, proxy.Add(&hosttest.Rule{Match: answerable(phase, message), Fault: hosttest.Answer(message), Times: often}))
	}
	host.fn.serve(true)
	w.publish(again(8, job{Fails: 1, Slow: 1000, Later: 100, State: "a"})...)
	for n, r := range rules {
		w.eventually(phases[n]+" was answered so", func() bool { return r.Done() >= often })
	}
	ended := time.Now()
	if told := host.seen.storeErrors.Load(); told == 0 && !strings.HasPrefix(message, "NOSCRIPT") && phases[0] != "promote" {
		w.Error("the host has told nobody that it was in trouble")
	}
	w.publishAndWait(whole)
	resumed.add(time.Since(ended))
	w.untilQuiet()
	w.eventually("the host says that it works", func() bool { return host.role.Trouble() == nil })
	if err := host.stop(patience); err != nil {
		w.Error(err)
	}
	w.judge()
	w.judgeCounts()
}

// answerable matches what a server could answer so: whoever sends a script
// whole is not told that it is not known.
func answerable(phase, message string) func([]string) bool {
	matches := is(phase)
	if !strings.HasPrefix(message, "NOSCRIPT") {
		return matches
	}
	return func(command []string) bool { return command[0] == "EVALSHA" && matches(command) }
}
