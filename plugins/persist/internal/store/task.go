package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fnhost/fnhost/plugins/persist/internal/contract"
)

// A Task is the identity of a message that changes something.
type Task struct {
	id     string
	digest [sha256.Size]byte
}

// NewTask identifies a message. CloudEvents promises that source and id together
// are unique; the stream is part of it for messages without an id of their own,
// whose id is that of their entry, so that two producers cannot collide.
// A message requeued from the dead letters has the same three, also when its
// entry is a new one.
func NewTask(stream, source, id, messageType string, data []byte) Task {
	name, _ := json.Marshal([]string{stream, source, id}) // strings always encode
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s", len(messageType), messageType)
	h.Write(data)
	return Task{id: string(name), digest: [sha256.Size]byte(h.Sum(nil))}
}

// outcome is the answer to a task; its status is for people who look into the
// inbox.
type outcome interface{ status() string }

// effect carries a task out once, and gives the answer of its first run again
// when it comes again.
func (s *Store) effect(ctx context.Context, task Task, rows int, answer any, apply func(*session) (outcome, error)) (duplicate bool, err error) {
	j := &job{task: task, rows: rows, apply: apply}
	if err := s.writer.do(ctx, j); err != nil {
		return false, err
	}
	if err := json.Unmarshal(j.result, answer); err != nil {
		return false, fmt.Errorf("reading the answer to task %s: %w", task.id, err)
	}
	return j.duplicate, nil
}

// once finds the answer in the inbox, or else applies the job and leaves its
// answer there, in the transaction that the job's changes are in.
func (s *session) once(j *job, now time.Time) error {
	var digest []byte
	err := s.row(sqlFindTask, j.task.id).Scan(&digest, &j.result)
	if err == nil {
		j.duplicate = true
		return j.task.sameContent(digest)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("looking up task %s: %w", j.task.id, err)
	}
	answer, err := j.apply(s)
	if err != nil {
		return fmt.Errorf("task %s: %w", j.task.id, err)
	}
	if j.result, err = json.Marshal(answer); err != nil {
		return fmt.Errorf("encoding the answer to task %s: %w", j.task.id, err)
	}
	if _, err := s.exec(sqlAddTask, j.task.id, j.task.digest[:], answer.status(), string(j.result), now.UnixMilli()); err != nil {
		return fmt.Errorf("recording task %s: %w", j.task.id, err)
	}
	return nil
}

func (t Task) sameContent(digest []byte) error {
	if bytes.Equal(digest, t.digest[:]) {
		return nil
	}
	return contract.Refuse("a different message with the same stream, source and id was carried out before: %s; "+
		"give every message an id of its own", t.id)
}
