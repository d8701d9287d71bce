package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/host/deadletter"
)

func (a *app) dlqExportCommand() *cli.Command {
	return &cli.Command{
		Name: "export", Usage: "write dead letters as JSON lines, the oldest first", ArgsUsage: "ROLE|STREAM",
		Description: "One object a line, with the whole dead letter in `entry`: names and values in turn, or in `entry_base64` if one of\n" +
			"them is no UTF-8. It takes nothing away. What was interrupted goes on with --resume, or with --cursor.",
		Flags: filterFlags(
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "write to this new file, not to standard output"},
			&cli.BoolFlag{Name: "resume", Usage: "go on where the file ends"},
			&cli.StringFlag{Name: "cursor", Usage: "go on after the letter with this id"},
			allRolesFlag()),
		Action: a.dlqAction(1, dlqExport),
	}
}

// An exported is a dead letter whole: what is known of it, and the entry itself.
type exported struct {
	death
	MessageID string `json:"message"`
	Type      string `json:"type"`
	// Entry is the dead letter's names and values in turn; if one is no UTF-8,
	// they are in EntryBase64.
	Entry       []string `json:"entry"`
	EntryBase64 [][]byte `json:"entry_base64,omitempty"`
}

func exportOf(q queue, l deadletter.Letter) exported {
	text, bytes := textOrBytes(l.Entry)
	return exported{deathOf(q, l), l.MessageID, l.Type, text, bytes}
}

func dlqExport(ctx context.Context, d *dead) error {
	path, cursor := d.c.String("file"), d.c.String("cursor")
	if d.c.Bool("resume") && (path == "" || cursor != "") {
		return usage("give --file and --resume; or --cursor, to standard output or a new file", "--resume needs --file, and no --cursor")
	}
	d.filter.OldestFirst = true
	if path == "" {
		if err := d.begin(cursor); err != nil {
			return err
		}
		return d.export(ctx, d.stdout)
	}
	f, err := d.exportFile(d.path(path), cursor)
	if err != nil {
		return err
	}
	err = d.export(ctx, f)
	return errors.Join(err, f.Sync(), f.Close())
}

// exportFile opens a new file, or the one to go on with.
func (d *dead) exportFile(path, cursor string) (*os.File, error) {
	flags := os.O_RDWR | os.O_CREATE
	if !d.c.Bool("resume") {
		flags |= os.O_EXCL
	}
	f, err := os.OpenFile(path, flags, 0o600) // what messages hold may be private
	if errors.Is(err, fs.ErrExist) {
		return nil, fail(exitConflict, "give another --file, or --resume to go on where it ends", "%s is there already", path)
	}
	if err != nil {
		return nil, fail(exitFailed, "give a --file that can be written", "%w", err)
	}
	if d.c.Bool("resume") {
		if cursor, err = lastExported(f); err != nil {
			_ = f.Close() // it was only read
			return nil, fail(exitConflict, "give another --file", "%s is no export that can be gone on with: %w", path, err)
		}
	}
	return f, d.begin(cursor)
}

// export writes what matches, a line a letter.
func (d *dead) export(ctx context.Context, to io.Writer) error {
	out := bufio.NewWriterSize(to, 1<<16)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	n, last := 0, ""
	for i, q := range d.queues {
		if i > 0 {
			d.filter.Cursor = ""
		}
		var failed error
		err := d.letters.Each(ctx, q.name, d.filter, func(l deadletter.Letter) bool {
			if failed = lines.Encode(exportOf(q, l)); failed == nil {
				n, last = n+1, q.name+"/"+l.ID
			}
			return failed == nil && ctx.Err() == nil
		})
		if err = errors.Join(failed, out.Flush(), err, ctx.Err()); err != nil {
			return d.exportEnded(ctx, n, last, err)
		}
	}
	d.note(d.c, "exported %s of %s", countLetters(n), d.where())
	return nil
}

// exportEnded says how to go on with an export that was cut off.
func (d *dead) exportEnded(ctx context.Context, n int, last string, err error) error {
	again := "--resume goes on"
	if d.c.String("file") == "" {
		again = "--cursor " + last + " goes on"
	}
	if n == 0 {
		again = ""
	}
	if ctx.Err() != nil {
		return fail(exitInterrupted, again, "interrupted: %s exported", countLetters(n))
	}
	return fmt.Errorf("after %s: %w", countLetters(n), err)
}

// lastExported finds the last whole line of an export, cuts off what follows it,
// and gives the cursor to go on with.
func lastExported(f *os.File) (cursor string, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	stop, err := newlineBefore(f, end)
	if err != nil {
		return "", err
	}
	if err := f.Truncate(stop); err != nil {
		return "", err
	}
	if _, err := f.Seek(stop, io.SeekStart); err != nil || stop == 0 {
		return "", err
	}
	start, err := newlineBefore(f, stop-1)
	if err != nil {
		return "", err
	}
	var line exported
	if err := json.NewDecoder(io.NewSectionReader(f, start, stop-start)).Decode(&line); err != nil {
		return "", err
	}
	if _, ok := parseID(line.ID); !ok || line.Queue == "" {
		return "", errors.New("its last line has no queue and id")
	}
	return line.Queue + "/" + line.ID, nil
}

// newlineBefore gives where the line begins that has the byte before end: just
// after the last newline there, or 0.
func newlineBefore(f io.ReaderAt, end int64) (int64, error) {
	block := make([]byte, 64<<10)
	for end > 0 {
		n := min(end, int64(len(block)))
		if _, err := f.ReadAt(block[:n], end-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(block[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}
