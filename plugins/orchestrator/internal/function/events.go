package function

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/fnhost/fnhost/plugins/orchestrator/internal/engine"
	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
	"github.com/fnhost/fnhost/sdk"
)

// progressEvery is how long nothing is said of a run that goes on, unless one
// call in a hundred has ended.
const progressEvery = time.Second

// outgoing collects the entries to emit, and the first error.
type outgoing struct {
	emissions []sdk.Emission
	err       error
}

func (o *outgoing) add(to, kind string, v any, notBefore time.Time, attributes ...sdk.Attribute) {
	data, err := json.Marshal(v)
	if err != nil && o.err == nil {
		o.err = sdk.Permanent(err)
	}
	o.emissions = append(o.emissions, sdk.Emission{To: to, Type: kind, Data: data, NotBefore: notBefore, Attributes: attributes})
}

func attribute(name, value string) sdk.Attribute { return sdk.Attribute{Name: name, Value: value} }

// dispatch sends a call to the stream of the tasks. It has no partitionkey: calls
// of one run may run at the same time.
func (o *outgoing) dispatch(r *run, leaf engine.Leaf) {
	task := r.id + ":" + leaf.Path
	o.add(tasks, typeDispatch, dispatch{RunID: r.id, TaskID: task, Call: leaf.Task.Function, With: leaf.With, Pointer: leaf.Path},
		time.Time{}, attribute("id", task), attribute("correlationid", r.head.CorrelationID))
}

// tell says something of the run on the results stream, and to who started it.
func (s *session) tell(o *outgoing, r *run, kind string, v any) {
	correlation := attribute("correlationid", r.head.CorrelationID)
	o.add(results, kind, v, time.Time{}, correlation, attribute("partitionkey", r.id))
	if !slices.Contains(s.settings.notify, r.head.ReplyTo) {
		return
	}
	attributes := []sdk.Attribute{correlation}
	if r.head.ReplyKey != "" {
		attributes = append(attributes, attribute("partitionkey", r.head.ReplyKey))
	}
	o.add(r.head.ReplyTo, kind, v, time.Time{}, attributes...)
}

// progress says how far a run is, if there is enough to say.
func (s *session) progress(o *outgoing, r *run) {
	c := r.now.Counts
	told := c.Done + c.Failed - r.now.Told
	if told <= 0 || told*100 < c.Total && s.now.Sub(r.now.ToldAt) < progressEvery {
		return
	}
	r.now.Seq++
	r.now.Told, r.now.ToldAt = c.Done+c.Failed, s.now
	s.tell(o, r, typeProgress, progress{RunID: r.id, counts: countsOf(c), Seq: r.now.Seq})
}

// end keeps and tells what the run has come to, and has its leavings removed.
func (s *session) end(o *outgoing, r *run) error {
	e, kind := r.engine, typeCompleted
	told := ended{RunID: r.id, Counts: countsOf(e.Counts), Samples: e.Samples, Duration: s.now.Sub(r.head.StartedAt).Milliseconds()}
	kept := end{Error: e.Fault, Reason: r.reason}
	switch e.Phase {
	case engine.Completed:
		output, err := jq.Encode(e.Output)
		if err != nil {
			return err
		}
		kept.Output = output
		told.Output = kept.Output
	case engine.Faulted:
		kind, told.Error = typeFaulted, e.Fault
	default:
		kind, told.Reason = typeCancelled, r.reason
	}
	r.now.EndedAt = s.now
	s.tell(o, r, kind, told)
	mine := attribute("partitionkey", r.id)
	again := runRequest{RunID: r.id, Started: r.head.StartedAt.UnixNano()}
	o.add(commands, typeSweep, again, time.Time{}, mine)
	o.add(commands, typeForget, again, s.now.Add(s.settings.retention), mine)
	return encode(r.state, "end", kept)
}
