package dsl

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
)

// What the specification has and the profile lacks, and what to use instead.
var (
	workflowLacks = map[string]string{
		"use":      "reusable components are not offered: write them where they are used",
		"timeout":  "timeouts are not offered: cancel the run with workflow.cancel, and give the worker's role a timeout in fnhost.yaml",
		"schedule": "schedules are not offered: start the workflow with workflow.start when it is due",
		"evaluate": "expressions are always jq in the strict mode: write them as ${ ... }",
	}
	taskLacks = map[string]string{
		"fork":   "`fork` is not offered: use `for` with metadata: {parallel: N} over a list of what differs",
		"switch": "`switch` is not offered: give each task its `if`",
		"try":    "`try` is not offered: the worker's role retries by its max_retries in fnhost.yaml, and a `for` bears failed iterations with metadata: {parallel: N, tolerate: {count: N}}",
		"catch":  "`catch` is not offered: a `for` bears failed iterations with metadata: {parallel: N, tolerate: {count: N}}",
		"wait":   "`wait` is not offered: start a further workflow later",
		"raise":  "`raise` is not offered: use `set` with ${ error(\"...\") } and an `if`",
		"emit":   "`emit` is not offered: call the function of a role, as `call: persist.write`",
		"listen": "`listen` is not offered: whoever has the event starts a workflow with it as the input",
		"run":    "`run` is not offered: put the program into a plugin of its own role and call that",
		"then":   "`then` is not offered: tasks run in their order; use `if` to leave some out",
		"timeout": "timeouts are not offered: give the worker's role a timeout in fnhost.yaml; " +
			"a call that fails by it fails its task",
	}
	schemaLacks = "schemas of data are not checked: check with jq, as `if: ${ .n > 0 or error(\"n must be positive\") }`"
	whileLacks  = "`while` is not offered: cut the list of `in` down with jq, as `in: ${ [ limit(10; .list[]) ] }`"
)

// protocols are the calls that the specification itself defines.
var protocols = map[string]bool{"http": true, "grpc": true, "openapi": true, "asyncapi": true, "a2a": true, "mcp": true}

// refused finds what the specification has and the profile lacks.
func refused(value any) (p Problems) {
	workflow, ok := value.(map[string]any)
	if !ok {
		return nil // the schema says it
	}
	lacks(&p, "", workflow, workflowLacks)
	filters(&p, "", workflow)
	refusedTasks(&p, "/do", workflow["do"])
	return p
}

func lacks(p *Problems, at string, object map[string]any, what map[string]string) {
	for name, instead := range what {
		if _, has := object[name]; has {
			p.add(at+"/"+name, "%s", instead)
		}
	}
}

func filters(p *Problems, at string, object map[string]any) {
	for _, name := range []string{"input", "output", "export"} {
		if filter, ok := object[name].(map[string]any); ok && filter["schema"] != nil {
			p.add(at+"/"+name+"/schema", "%s", schemaLacks)
		}
	}
}

func refusedTasks(p *Problems, at string, value any) {
	list, _ := value.([]any)
	for i := range list {
		item, _ := list[i].(map[string]any)
		for name, value := range item {
			if task, ok := value.(map[string]any); ok {
				refusedTask(p, at+"/"+strconv.Itoa(i)+"/"+jq.Escape(name), task)
			}
		}
	}
}

func refusedTask(p *Problems, at string, task map[string]any) {
	lacks(p, at, task, taskLacks)
	filters(p, at, task)
	if _, has := task["while"]; has {
		p.add(at+"/while", "%s", whileLacks)
	}
	if function, ok := task["call"].(string); ok {
		if wrong := wrongFunction(function); wrong != "" {
			p.add(at+"/call", "%s", wrong)
		}
	}
	refusedTasks(p, at+"/do", task["do"])
}

// wrongFunction says why a function cannot be called, "" if it can.
func wrongFunction(name string) string {
	if protocols[name] {
		return fmt.Sprintf("a call of %s is not offered: put the client into a plugin of its own role and call its function, as `call: crm.lookup`", name)
	}
	role, _, dotted := strings.Cut(name, ".")
	if !dotted {
		return fmt.Sprintf("%q names no role: want `<role>.<function>`, as rag.query", name)
	}
	if role == "" || strings.HasSuffix(name, ".") {
		return fmt.Sprintf("%q is no function: want `<role>.<function>`, as rag.query", name)
	}
	return ""
}
