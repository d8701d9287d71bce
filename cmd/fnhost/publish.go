package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/call"
	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/deadletter"
	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
)

func (a *app) publishCommand() *cli.Command {
	return &cli.Command{
		Name: "publish", Usage: "put a message on a role's stream", ArgsUsage: "ROLE|STREAM", Category: "messages",
		Description: "fnhost publish rag --type rag.query --data '{\"collection\":\"docs\",\"query\":\"...\"}' --wait",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "type", Aliases: []string{"t"}, Usage: "what the message is, as rag.query"},
			&cli.StringFlag{Name: "data", Aliases: []string{"d"}, Usage: "JSON, or @FILE, or - for standard input; at most 64 MiB"},
			&cli.BoolFlag{Name: "raw", Usage: "the data need not be JSON"},
			&cli.StringFlag{Name: "id", Usage: "the message's id, for its sender; a fresh one by default"},
			&cli.StringFlag{Name: "key", Usage: "partition key: messages with the same one run one after another"},
			&cli.StringSliceFlag{Name: "header", Aliases: []string{"H"}, Usage: "a further attribute, as subject=x; may be repeated"},
			&cli.StringFlag{Name: "replyto", Usage: "an input stream that the result goes to as well"},
			&cli.DurationFlag{Name: "delay", Usage: "how long from now the message appears on its stream, as 5m; a host that knows the stream puts it there"},
			&cli.BoolFlag{Name: "wait", Aliases: []string{"w"}, Usage: "wait for the result and print it; exit 1 if the message was dead-lettered"},
			&cli.DurationFlag{Name: "timeout", Usage: "of --wait", Value: 30 * time.Second},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "a role or a stream"); err != nil {
				return err
			}
			if err := checkDelay(c); err != nil {
				return err
			}
			task, err := a.task(c) // what is wrong with it does not need Redis
			if err != nil {
				return err
			}
			return a.withRedis(func(ctx context.Context, s *session) error { return s.publish(ctx, task) })(c)
		},
	}
}

func checkDelay(c *cli.Context) error {
	switch delay := c.Duration("delay"); {
	case delay < 0:
		return usage("give --delay a duration from now, as 5m", "--delay %s is before now", delay)
	case delay > 0 && c.Bool("wait"):
		return usage("give one of them; 'fnhost tail' shows the results as they come", "--wait cannot wait for a message that is put off by --delay")
	}
	return nil
}

func (a *app) task(c *cli.Context) (call.Task, error) {
	t := call.Task{ID: c.String("id"), Type: c.String("type"), PartitionKey: c.String("key"), ReplyTo: c.String("replyto")}
	for _, h := range c.StringSlice("header") {
		name, value, ok := strings.Cut(h, "=")
		if !ok {
			return t, usage("give --header name=value", "header %q has no =", h)
		}
		t.Headers = append(t.Headers, name, value)
	}
	if c.IsSet("data") {
		data, err := a.data(c.String("data"))
		if err != nil {
			return t, err
		}
		t.Data = data
		if !c.Bool("raw") {
			if err := checkJSON(data); err != nil {
				return t, err
			}
			t.ContentType = "application/json"
		}
	}
	if _, err := t.Fields(time.Now()); err != nil {
		return t, usage("see 'fnhost publish --help'", "%w", err)
	}
	return t, nil
}

// data reads what --data means.
func (a *app) data(from string) ([]byte, error) {
	path, isFile := strings.CutPrefix(from, "@")
	if !isFile && from != "-" {
		return []byte(from), nil
	}
	in := a.stdin
	if isFile {
		if !filepath.IsAbs(path) {
			path = filepath.Join(a.workdir, path)
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, fail(exitNotFound, "give --data @FILE, --data - for standard input, or the JSON itself", "reading the data: %w", err)
		}
		defer f.Close()
		in = f
	}
	// One byte more than a message may have is enough to refuse it.
	data, err := io.ReadAll(io.LimitReader(in, delivery.MaxDataBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the data: %w", err)
	}
	return data, nil
}

// checkJSON says where data stops being JSON.
func checkJSON(data []byte) error {
	var raw json.RawMessage
	err := json.Unmarshal(data, &raw)
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return err
	}
	before := data[:min(int(syntax.Offset), len(data))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	return usage("mend it, or give --raw if the function wants no JSON", "the data is not JSON: line %d, column %d: %w", line, max(column, 1), err)
}

// A publication says where a message went.
type publication struct {
	Stream string `json:"stream"`
	Entry  string `json:"entry"`
	ID     string `json:"id"`
	Type   string `json:"type"`
	Bytes  int    `json:"bytes"` // of the data
	// Due is when a message that is put off appears on its stream, where it then
	// gets its entry id.
	Due time.Time `json:"due,omitzero"`
}

var publicationColumns = []render.Column[publication]{
	{Key: "stream", Cell: func(p publication) string { return p.Stream }},
	{Key: "entry", Cell: func(p publication) string {
		if p.Entry == "" {
			return "due " + p.Due.Format(time.RFC3339)
		}
		return p.Entry
	}},
	{Key: "id", Cell: func(p publication) string { return p.ID }},
	{Key: "type", Cell: func(p publication) string { return p.Type }},
}

func (s *session) publish(ctx context.Context, task call.Task) error {
	sub, err := s.subscription(ctx, s.c.Args().First())
	if err != nil {
		return err
	}
	if s.c.Bool("wait") {
		return s.publishAndWait(ctx, sub, task)
	}
	published := publication{Stream: sub.Stream, Type: task.Type, Bytes: len(task.Data)}
	var to call.Log = s.streams
	if delay := s.c.Duration("delay"); delay > 0 {
		published.Due = time.Now().Add(delay).UTC().Truncate(time.Millisecond)
		to = later{s.streams, published.Due}
	}
	p, err := call.Publish(ctx, to, sub.Stream, task)
	if err != nil {
		return err
	}
	published.Entry, published.ID = p.Entry, p.ID
	return render.One(s.print, publicationColumns, published)
}

// later is a log on which what is published appears when it is due.
type later struct {
	*stream.Client
	due time.Time
}

func (l later) Publish(ctx context.Context, stream string, fields []string) (string, error) {
	return "", l.PublishAt(ctx, stream, fields, l.due)
}

func (s *session) publishAndWait(ctx context.Context, sub topology.Subscription, task call.Task) error {
	dlq := s.roleOf(sub).DLQ
	if sub.Results == "" && dlq == "" {
		return usage("publish without --wait, and give --replyto, or read the stream with 'fnhost tail'", "stream %s has no results stream to wait on", sub.Stream)
	}
	start, wait := time.Now(), s.c.Duration("timeout")
	timed, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	watch, err := s.streams.WatchAnswers(timed, sub, dlq)
	if err != nil {
		return err
	}
	p, err := call.Publish(timed, s.streams, sub.Stream, task)
	if err != nil {
		return err
	}
	answer, err := watch.Await(timed, sub, dlq, p.Entry)
	if err != nil && ctx.Err() == nil && timed.Err() != nil { // whatever call the deadline has cut short
		return fail(exitTimeout, fmt.Sprintf("is a host running that serves role %s? 'fnhost check %[1]s' says; or wait longer with --timeout", sub.Role),
			"entry %s of %s has no result after %s", p.Entry, sub.Stream, wait)
	}
	if err != nil {
		return err
	}
	s.note(s.c, "entry %s of %s: answered after %s", p.Entry, sub.Stream, time.Since(start).Round(time.Millisecond))
	if answer.Dead {
		return s.dead(ctx, sub, answer)
	}
	return s.result(sub, p, answer)
}

// roleOf is the role of the subscription; by the rule if only a plugin brings it.
func (s *session) roleOf(sub topology.Subscription) topology.Role {
	if role, known := s.roles.Role(sub.Role); known || sub.Role == "" {
		return role
	}
	return topology.Default(sub.Role)
}

// dead prints the dead letter that a message became, and is its error.
func (s *session) dead(ctx context.Context, sub topology.Subscription, answer stream.Answer) error {
	l, there, err := deadletter.New(s.streams.Commands(), s.streams.Keys()).Get(ctx, answer.Stream, answer.Entry.ID)
	if err != nil {
		return err
	}
	if there { // and not requeued already
		if err := render.One(s.print, letterColumns, shown(queue{answer.Stream, sub.Role}, l)); err != nil {
			return err
		}
	}
	return fail(exitFailed, fmt.Sprintf("mend the cause, then 'fnhost dlq requeue %s %s'", sub.Role, answer.Entry.ID),
		"dead-lettered (%s): %s", l.Reason, l.Error)
}

// result prints a result.
func (s *session) result(sub topology.Subscription, p call.Published, answer stream.Answer) error {
	e, err := show(answer.Stream, answer.Entry), call.Read(answer.Entry).Err()
	if err == nil {
		return s.printResult(e)
	}
	if err := render.One(s.print, entryColumns, e); err != nil {
		return err
	}
	return fail(exitFailed, "", "entry %s of %s: %w", p.Entry, sub.Stream, err)
}

// printResult prints the whole entry as JSON, or its data for people.
func (s *session) printResult(e entry) error {
	if s.print.Format == render.JSON {
		return render.One(s.print, entryColumns, e)
	}
	if e.DataBase64 != nil {
		_, err := s.stdout.Write(e.DataBase64)
		return err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, e.Data, "", "  "); err != nil {
		pretty.Reset()
		pretty.Write(e.Data)
	}
	_, err := fmt.Fprintln(s.stdout, pretty.String())
	return err
}
