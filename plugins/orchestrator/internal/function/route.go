package function

import (
	"fmt"
	"strings"

	"github.com/fnhost/fnhost/sdk"
)

// route hands a call on to the role that its prefix names. The answer comes back
// as a message of the run: so answers of one run run one after another, while its
// calls do not.
func (o *orchestrator) route(m *sdk.Message) (*sdk.Reply, error) {
	if m.Type != typeDispatch {
		return nil, sdk.Permanent(fmt.Errorf("%w %q: %s takes %s", sdk.ErrUnknownType, m.Type, tasks, typeDispatch))
	}
	var reply *sdk.Reply
	_, err := decoded(m, func(d dispatch, _ *sdk.Message) (any, error) {
		if d.RunID == "" || !strings.HasPrefix(d.TaskID, d.RunID+":/") || !strings.Contains(d.Call, ".") {
			return nil, sdk.Permanent(fmt.Errorf("the task %.200q of run %.200q with call %.200q is none of a workflow", d.TaskID, d.RunID, d.Call))
		}
		reply = o.sent(d, m.Attribute("correlationid"))
		return nil, nil
	})
	return reply, err
}

func (o *orchestrator) sent(d dispatch, correlation string) *sdk.Reply {
	to, ok := o.settings.route(d.Call)
	if !ok {
		return o.unrouted(d)
	}
	return &sdk.Reply{Emissions: []sdk.Emission{{To: to, Type: d.Call, Data: d.With, Attributes: []sdk.Attribute{
		attribute("id", d.TaskID), attribute("correlationid", correlation),
		attribute("replyto", commands), attribute("replykey", d.RunID),
	}}}}
}

// unrouted answers in the worker's place: the routes have changed since the run
// was started, and without an answer it would wait for ever.
func (o *orchestrator) unrouted(d dispatch) *sdk.Reply {
	message := fmt.Sprintf(`{"type":"route","message":"no role takes the calls of %s any more: set roles.orchestrator.plugin.settings.routes"}`, d.Call)
	return &sdk.Reply{Emissions: []sdk.Emission{{To: commands, Type: d.Call + ".result", Attributes: []sdk.Attribute{
		attribute("causationid", d.TaskID), attribute("partitionkey", d.RunID), attribute("status", "error"), attribute("error", message),
	}}}}
}
