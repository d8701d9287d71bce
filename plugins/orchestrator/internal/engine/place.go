package engine

import (
	"strconv"
	"strings"

	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
)

// list is a list of tasks that is being gone through: the workflow's, that of a
// `do`, or the body of one iteration.
type list struct {
	path  string // "", the path of the do, or that of the for and `/for/3`
	tasks []*dsl.Task
	owner *activation // whose body it is; nil: the workflow's
	index int         // of the iteration
	input lazy        // what its first task gets
}

// activation is a task that is being run.
type activation struct {
	task  *dsl.Task
	path  string
	in    *list
	pos   int
	raw   lazy // its input as it comes
	input lazy // as input.from makes it
}

func (r *Run) root() *list {
	name := rawInput
	if r.Workflow.From != nil {
		name = input
	}
	return &list{tasks: r.Workflow.Do, input: once(func() (any, error) { return r.State.Value(name) })}
}

// at gives the task at a position, with the data that it gets.
func (r *Run) at(l *list, pos int, raw lazy) *activation {
	t := l.tasks[pos]
	a := &activation{task: t, in: l, pos: pos, raw: raw, input: raw,
		path: l.path + "/do/" + strconv.Itoa(pos) + "/" + jq.Escape(t.Name)}
	if t.From != nil {
		a.input = once(func() (any, error) {
			v, err := t.From.Eval(r.ctx, scope{run: r, at: a, input: raw})
			return v, faultOf(err, a.path)
		})
	}
	return a
}

// resumed gives the task at a position of which the data has been kept.
func (r *Run) resumed(l *list, pos int) *activation {
	if !l.keeps(pos) {
		return r.at(l, pos, l.input)
	}
	name := l.value(pos)
	return r.at(l, pos, once(func() (any, error) { return r.State.Value(name) }))
}

// keeps says whether the data of a position has to be kept: what the first task
// gets can be had from the owner, but in a sequence of iterations.
func (l *list) keeps(pos int) bool {
	return pos > 0 || l.owner != nil && l.owner.task.Kind == dsl.For && l.owner.task.Loop.Parallel == 0 && l.index > 0
}

func (l *list) value(pos int) string { return l.path + "#" + strconv.Itoa(pos) }

// body gives the list of a do.
func body(a *activation) *list {
	return &list{path: a.path, tasks: a.task.Do, owner: a, input: a.input}
}

// iteration gives the list of an iteration.
func iteration(a *activation, i int, input lazy) *list {
	return &list{path: a.path + "/for/" + strconv.Itoa(i), tasks: a.task.Do, owner: a, index: i, input: input}
}

// position gives where a list stands.
func (r *Run) position(path string) (int, error) {
	data, err := r.State.Frame(listFrame(path))
	if err != nil || data == nil {
		return 0, err
	}
	return strconv.Atoi(string(data))
}

// stop keeps where a list stands, and the data that the task there got.
func (r *Run) stop(l *list, pos int, data lazy) error {
	if l.keeps(pos) {
		v, err := data()
		if err != nil {
			return err
		}
		if err := r.keep(l.value(pos), v, l.path); err != nil {
			return err
		}
	}
	if pos == 0 {
		return nil
	}
	return r.State.SetFrame(listFrame(l.path), []byte(strconv.Itoa(pos)))
}

// leave forgets the data of a position.
func (r *Run) leave(l *list, pos int) error {
	if !l.keeps(pos) {
		return nil
	}
	return r.State.RemoveValue(l.value(pos))
}

// drop forgets where a list stood.
func (r *Run) drop(l *list, pos int) error {
	if err := r.leave(l, pos); err != nil {
		return err
	}
	if pos == 0 {
		return nil
	}
	return r.State.SetFrame(listFrame(l.path), nil)
}

// resolve gives the call that the path is about if it is waited for, else nil.
func (r *Run) resolve(path string) (*activation, error) {
	l := r.root()
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return nil, nil
	}
	tokens := strings.Split(rest, "/")
	for {
		a, err := r.standing(l, tokens)
		if a == nil || err != nil {
			return nil, err
		}
		switch tokens = tokens[3:]; {
		case len(tokens) == 0 && a.task.Kind == dsl.Call:
			return a, nil
		case a.task.Kind == dsl.Do:
			l = body(a)
		case a.task.Kind == dsl.For && len(tokens) > 2 && tokens[0] == "for":
			if l, err = r.open(a, tokens[1]); l == nil || err != nil {
				return nil, err
			}
			tokens = tokens[2:]
		default:
			return nil, nil
		}
	}
}

// standing gives the task that the tokens name if the list stands there.
func (r *Run) standing(l *list, tokens []string) (*activation, error) {
	if len(tokens) < 3 || tokens[0] != "do" {
		return nil, nil
	}
	pos, err := r.position(l.path)
	if err != nil || tokens[1] != strconv.Itoa(pos) || pos >= len(l.tasks) || tokens[2] != jq.Escape(l.tasks[pos].Name) {
		return nil, err
	}
	return r.resumed(l, pos), nil
}

// open gives the iteration that the token names if it is open.
func (r *Run) open(a *activation, token string) (*list, error) {
	i, err := strconv.Atoi(token)
	if err != nil || strconv.Itoa(i) != token {
		return nil, nil
	}
	loop, err := r.loop(a.path)
	if loop == nil || err != nil || !loop.isOpen(i) {
		return nil, err
	}
	return r.resumedIteration(a, i), nil
}

func (r *Run) resumedIteration(a *activation, i int) *list { return iteration(a, i, a.input) }

// crowd gives the size of the largest loop around a task.
func (r *Run) crowd(a *activation) (n int) {
	for l := a.in; l.owner != nil; l = l.owner.in {
		if loop := r.loops[l.owner.path]; loop != nil {
			n = max(n, loop.Items)
		}
	}
	return n
}
