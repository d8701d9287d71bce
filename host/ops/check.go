package ops

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/topology"
)

// Status is how a check ended.
type Status string

// Statuses, the worst last.
const (
	OK       Status = "ok"
	Warn     Status = "warn"
	Critical Status = "critical"
)

// A Row is one check's answer.
type Row struct {
	Check   string `json:"check"`   // group, pending, lag, dlq or heartbeat
	Subject string `json:"subject"` // a group as `stream/group`, a stream, or a role
	Status  Status `json:"status"`
	Detail  string `json:"detail"`
	Hint    string `json:"hint,omitempty"` // what to do, if it is not ok
}

// Worst is the worst status of the rows; ok if there is none.
func Worst(rows []Row) Status {
	worst := OK
	for _, row := range rows {
		if row.Status == Critical || row.Status == Warn && worst == OK {
			worst = row.Status
		}
	}
	return worst
}

// A Level is where a number begins to be worth a warning, and critical; 0: never.
type Level[T int64 | time.Duration] struct{ Warn, Critical T }

func (l Level[T]) status(n T) Status {
	switch {
	case l.Critical > 0 && n >= l.Critical:
		return Critical
	case l.Warn > 0 && n >= l.Warn:
		return Warn
	}
	return OK
}

// Thresholds say when a check is not ok.
type Thresholds struct {
	Pending      Level[int64]         // entries read and not acknowledged
	PendingAge   Level[time.Duration] // of the oldest of them
	Lag          Level[int64]         // entries not read
	LagAge       Level[time.Duration] // of the oldest of them
	DLQ          Level[int64]         // dead letters
	NoHeartbeats bool                 // hosts keep none (OPS_HB_ENABLED=0): not checked
}

// DefaultThresholds are those of `fnhost check`.
var DefaultThresholds = Thresholds{
	Pending:    Level[int64]{10_000, 100_000},
	PendingAge: Level[time.Duration]{time.Minute, 10 * time.Minute},
	Lag:        Level[int64]{10_000, 100_000},
	LagAge:     Level[time.Duration]{time.Minute, 10 * time.Minute},
	DLQ:        Level[int64]{1, 1000},
}

// Check makes the quick checks: every group, pending, lag, dead letters and
// heartbeats of every role, and the groups of the host's own streams. An error
// means that Redis could not be asked.
func Check(ctx context.Context, client *redis.Client, keys topology.Keys, topo *topology.Topology, limits Thresholds) ([]Row, error) {
	survey, err := Look(ctx, client, keys, streamsOf(topo))
	if err != nil {
		return nil, err
	}
	c := checker{survey: survey, limits: limits}
	c.groups(topo)
	for _, role := range topo.Roles() {
		newest, err := peek(ctx, client, keys, role.DLQ, survey)
		if err != nil {
			return nil, err
		}
		c.deadLetters(role, newest)
	}
	if limits.NoHeartbeats {
		return c.rows, nil
	}
	beats, err := heartbeats(ctx, client, keys, topo)
	if err != nil {
		return nil, err
	}
	for _, role := range topo.Roles() {
		c.heartbeat(role, beats[role.Name])
	}
	return c.rows, nil
}

type checker struct {
	survey Survey
	limits Thresholds
	rows   []Row
}

func (c *checker) add(check, subject string, status Status, hint, format string, args ...any) {
	if status == OK {
		hint = ""
	}
	c.rows = append(c.rows, Row{Check: check, Subject: subject, Status: status, Detail: fmt.Sprintf(format, args...), Hint: hint})
}

func (c *checker) groups(topo *topology.Topology) {
	readers := readersOf(topo)
	for _, group := range topo.Groups() {
		if role := readers[group]; c.exists(group) && role != "" {
			c.pending(role, group)
			c.lag(role, group)
		}
	}
}

func (c *checker) exists(group topology.Group) bool {
	const hint = "run `fnhost topology init`, or start a host: both create it"
	stream, subject := c.survey.Streams[group.Stream], name(group)
	_, ok := stream.Groups[group.Group]
	switch {
	case ok:
		c.add("group", subject, OK, "", "exists, %d entries in the stream", stream.Length)
	case stream.Type == "none":
		c.add("group", subject, Critical, hint, "there is no stream %s", group.Stream)
	case stream.Type != "stream":
		c.add("group", subject, Critical, "rename or delete that key, then run `fnhost topology init`", "key %s is a %s, not a stream", group.Stream, stream.Type)
	default:
		c.add("group", subject, Critical, hint, "the stream has no group %s", group.Group)
	}
	return ok
}

func name(group topology.Group) string { return group.Stream + "/" + group.Group }

func (c *checker) pending(role string, group topology.Group) {
	g := c.survey.Streams[group.Stream].Groups[group.Group]
	age := c.survey.Age(g.OldestPending)
	status := worse(c.limits.Pending.status(g.Pending), c.limits.PendingAge.status(age))
	hint := fmt.Sprintf("messages of role %s run long, or wait for a retry, or no host serves it", role)
	if g.Pending == 0 {
		c.add("pending", name(group), status, hint, "none")
		return
	}
	c.add("pending", name(group), status, hint, "%d, the oldest added %s ago", g.Pending, rounded(age))
}

func (c *checker) lag(role string, group topology.Group) {
	g := c.survey.Streams[group.Stream].Groups[group.Group]
	age := c.survey.Age(g.OldestUndelivered)
	status := worse(c.limits.Lag.status(g.Lag), c.limits.LagAge.status(age))
	hint := fmt.Sprintf("role %s reads slower than messages come: more concurrency, or another host", role)
	switch {
	case g.OldestUndelivered == "":
		c.add("lag", name(group), status, hint, "none")
	case g.Lag < 0:
		c.add("lag", name(group), status, hint, "unknown: redis lost count; the oldest was added %s ago", rounded(age))
	default:
		c.add("lag", name(group), status, hint, "%d, the oldest added %s ago", g.Lag, rounded(age))
	}
}

func (c *checker) deadLetters(role topology.Role, newest string) {
	if role.DLQ == "" {
		c.add("dlq", role.Name, OK, "", "the role has none: final failures are discarded")
		return
	}
	stream := c.survey.Streams[role.DLQ]
	if stream.Type != "stream" && stream.Type != "none" {
		c.add("dlq", role.DLQ, Critical, "rename or delete that key: dead letters cannot be written", "the key is a %s, not a stream", stream.Type)
		return
	}
	if stream.Length == 0 {
		c.add("dlq", role.DLQ, OK, "", "empty")
		return
	}
	c.add("dlq", role.DLQ, c.limits.DLQ.status(stream.Length), "look at them: `fnhost dlq list "+role.Name+"`",
		"%d, the newest %s ago: %s", stream.Length, rounded(c.survey.Age(stream.LastID)), newest)
}

// heartbeat is critical if messages wait for a role that nobody serves, and a
// warning if somebody once read for it. A role that nobody ever served is no
// trouble: the streams of the standard roles are there whether they are used or not.
func (c *checker) heartbeat(role topology.Role, hosts []string) {
	if len(hosts) > 0 {
		c.add("heartbeat", role.Name, OK, "", "served by %s", strings.Join(hosts, ", "))
		return
	}
	status, waits := OK, "nothing waits for it"
	for _, sub := range role.Subscriptions {
		g := c.survey.Streams[sub.Stream].Groups[sub.Group]
		switch {
		case g.Pending > 0 || g.OldestUndelivered != "":
			status, waits = Critical, "messages wait for it"
		case g.Consumers > 0 && status == OK:
			status = Warn
		}
	}
	if status == OK {
		c.add("heartbeat", role.Name, OK, "", "no host ever served it; %s", waits)
		return
	}
	c.add("heartbeat", role.Name, status, "start a host with a plugin of role "+role.Name+", or look why its plugin is not healthy", "no host serves it; %s", waits)
}

func worse(a, b Status) Status { return Worst([]Row{{Status: a}, {Status: b}}) }

func rounded(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}

// peek says in a few words what the newest dead letter is about.
func peek(ctx context.Context, client *redis.Client, keys topology.Keys, dlq string, survey Survey) (string, error) {
	if dlq == "" || survey.Streams[dlq].Length == 0 {
		return "", nil
	}
	newest, err := client.XRevRangeN(ctx, keys.Stream(dlq), "+", "-", 1).Result()
	if err != nil {
		return "", fmt.Errorf("reading the newest entry of %s: %w", dlq, err)
	}
	if len(newest) == 0 {
		return "gone", nil
	}
	reason, message := text(newest[0].Values["dlqreason"]), text(newest[0].Values["dlqerror"])
	if reason == "" {
		return newest[0].ID + ", not written by fnhost", nil
	}
	if runes := []rune(message); len(runes) > 120 {
		message = string(runes[:120]) + "…"
	}
	return reason + ": " + message, nil
}

// heartbeats gives for each role the consumer names of the hosts that serve it.
func heartbeats(ctx context.Context, client *redis.Client, keys topology.Keys, topo *topology.Topology) (map[string][]string, error) {
	const page = 5000 // keys looked at in a round trip: locks are many
	hosts := map[string][]string{}
	scan := client.Scan(ctx, 0, keys.Heartbeats("*"), page).Iterator()
	for scan.Next(ctx) {
		for _, role := range topo.Roles() {
			host, ok := strings.CutPrefix(scan.Val(), keys.Heartbeat(role.Name, ""))
			if ok && !slices.Contains(hosts[role.Name], host) { // a scan may give a key twice
				hosts[role.Name] = append(hosts[role.Name], host)
			}
		}
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("looking for heartbeats: %w", err)
	}
	for _, names := range hosts {
		slices.Sort(names)
	}
	return hosts, nil
}
