package host

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fnhost/fnhost/host/ops"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/telemetry"
	"github.com/fnhost/fnhost/host/topology"
)

// floorWarnEvery is how often at most it is warned of one subscription's floor.
const floorWarnEvery = 10 * time.Minute

// logObserver tells metrics, audit and log what a role's logs see.
type logObserver struct {
	log      *slog.Logger
	metrics  *telemetry.Role
	audit    *ops.RoleAudit // nil: off
	idempTTL time.Duration

	mu     sync.Mutex
	warned map[topology.Subscription]time.Time
}

func (h *Host) logObserver(role string) *logObserver {
	o := &logObserver{
		log: h.log.With("role", role), metrics: h.metrics.Role(role), idempTTL: h.cfg.IdempTTL,
		warned: map[topology.Subscription]time.Time{},
	}
	if h.audit != nil {
		o.audit = h.audit.Role(role, h.consumer)
	}
	return o
}

var _ stream.Observer = (*logObserver)(nil)

// Recreated is an error in the log: somebody has removed a group.
func (o *logObserver) Recreated(c stream.Created) {
	o.metrics.GroupRecreated()
	o.log.Error("a consumer group was lost", "stream", c.Stream, "group", c.Group.Group, "what", fmt.Sprint(c))
}

// Replayed counts and audits messages that run again though they may be decided.
func (o *logObserver) Replayed(sub topology.Subscription, ids []string) {
	o.metrics.Replayed(len(ids))
	if o.audit != nil {
		o.audit.Replayed(sub, ids)
	}
	o.log.Warn("messages run again that the lost group had handed out before", "stream", sub.Stream, "group", sub.Group, "messages", len(ids), "first", ids[0])
}

// Floor warns when a loss of the group would run decided messages again.
func (o *logObserver) Floor(sub topology.Subscription, age time.Duration) {
	o.metrics.FloorAge(sub, age)
	if age <= o.idempTTL {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.warned[sub]) < floorWarnEvery {
		return
	}
	o.warned[sub] = time.Now()
	o.log.Warn("a message has been undecided for longer than OPS_IDEMP_TTL while later ones were decided: if the group were lost now, some of those would run again",
		"stream", sub.Stream, "group", sub.Group, "age", age.Round(time.Second), "ttl", o.idempTTL)
}

// DeadLettersTrimmed counts and audits dead letters that REDIS_STREAM_MAXLEN has
// dropped.
func (o *logObserver) DeadLettersTrimmed(dlq string, n int64, oldest string) {
	o.metrics.DeadLettersTrimmed(n)
	if o.audit != nil {
		o.audit.Trimmed(dlq, n, oldest)
	}
	o.log.Warn("dead letters were dropped: there are more than REDIS_STREAM_MAXLEN", "stream", dlq, "dropped", n, "oldest_left", oldest)
}
