package ops

import (
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/hosttest"
)

// row finds a check's answer.
func row(t *testing.T, rows []Row, check, subject string) Row {
	t.Helper()
	for _, r := range rows {
		if r.Check == check && r.Subject == subject {
			return r
		}
	}
	t.Fatalf("no row %s %s in %+v", check, subject, rows)
	return Row{}
}

func TestCheckOfAnEmptyRedis(t *testing.T) {
	t.Parallel()
	rows, err := Check(t.Context(), hosttest.Redis(t).Client(), keys, ragTopology(t), DefaultThresholds)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"rag:tasks/rag-workers", "audit:events/auditors", "audit:spans/auditors", "ops:health/ops"} {
		if r := row(t, rows, "group", subject); r.Status != Critical || !strings.Contains(r.Hint, "topology init") {
			t.Errorf("a missing group: %+v", r)
		}
	}
	if r := row(t, rows, "heartbeat", "rag"); r.Status != OK {
		t.Errorf("no host ever, and nothing waits: %+v", r)
	}
	if Worst(rows) != Critical {
		t.Errorf("worst is %s", Worst(rows))
	}
}

func TestARoleThatNobodyServesAnyMoreIsWarnedOf(t *testing.T) {
	t.Parallel()
	client, topo := hosttest.Redis(t).Client(), ragTopology(t)
	createGroups(t, client, topo)
	must(t, client, "XGROUP CREATECONSUMER "+keys.Stream("rag:tasks")+" rag-workers host:1")
	rows, err := Check(t.Context(), client, keys, topo, DefaultThresholds)
	if err != nil {
		t.Fatal(err)
	}
	if r := row(t, rows, "heartbeat", "rag"); r.Status != Warn {
		t.Errorf("a host read for it once, and is gone: %+v", r)
	}
}

func TestCheckOfAHealthyRedis(t *testing.T) {
	t.Parallel()
	for name, client := range servers(t) {
		topo := ragTopology(t)
		createGroups(t, client, topo)
		must(t, client, "SET "+keys.Heartbeat("rag", "host:1")+" 1")
		rows, err := Check(t.Context(), client, keys, topo, DefaultThresholds)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, r := range rows {
			if r.Status != OK || r.Hint != "" {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if r := row(t, rows, "heartbeat", "rag"); !strings.Contains(r.Detail, "host:1") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	client, topo := hosttest.Redis(t).Client(), ragTopology(t)
	createGroups(t, client, topo)
	must(t, client, "XADD test:rag:tasks 1000-0 data x") // long ago
	must(t, client, "XADD test:rag:tasks 2000-0 data x")
	must(t, client, "XREADGROUP GROUP rag-workers me COUNT 1 STREAMS test:rag:tasks >")
	must(t, client, "XADD test:rag:dlq * data x dlqreason permanent dlqerror boom")
	rows, err := Check(t.Context(), client, keys, topo, DefaultThresholds)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Row{
		{"pending", "rag:tasks/rag-workers", Critical, "1, the oldest added", ""},
		{"lag", "rag:tasks/rag-workers", Critical, "1, the oldest added", "concurrency"},
		{"dlq", "rag:dlq", Warn, "permanent: boom", "fnhost dlq list rag"},
		{"heartbeat", "rag", Critical, "messages wait", "start a host"},
	} {
		got := row(t, rows, want.Check, want.Subject)
		if got.Status != want.Status || !strings.Contains(got.Detail, want.Detail) || !strings.Contains(got.Hint, want.Hint) || got.Hint == "" {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	rows, err = Check(t.Context(), client, keys, topo, Thresholds{NoHeartbeats: true})
	if err != nil || Worst(rows) != OK {
		t.Errorf("without thresholds: %v, %+v", err, rows)
	}
}

func TestCheckOfKeysOfOtherTypes(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	must(t, client, "SET test:rag:tasks x")
	must(t, client, "SET test:rag:dlq x")
	rows, err := Check(t.Context(), client, keys, ragTopology(t), DefaultThresholds)
	if err != nil {
		t.Fatal(err)
	}
	if r := row(t, rows, "group", "rag:tasks/rag-workers"); r.Status != Critical || !strings.Contains(r.Detail, "string") {
		t.Errorf("%+v", r)
	}
	if r := row(t, rows, "dlq", "rag:dlq"); r.Status != Critical || !strings.Contains(r.Detail, "string") {
		t.Errorf("%+v", r)
	}
}

func TestCheckNeedsRedis(t *testing.T) {
	t.Parallel()
	if _, err := Check(t.Context(), unreachable(t), keys, ragTopology(t), DefaultThresholds); err == nil {
		t.Error("a check without Redis succeeded")
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	level := Level[time.Duration]{Warn: time.Minute, Critical: time.Hour}
	for age, want := range map[time.Duration]Status{0: OK, time.Second: OK, time.Minute: Warn, time.Hour: Critical} {
		if got := level.status(age); got != want {
			t.Errorf("%v is %s, want %s", age, got, want)
		}
	}
	if got := (Level[int64]{}).status(1 << 40); got != OK {
		t.Errorf("without levels all is ok, not %s", got)
	}
}
