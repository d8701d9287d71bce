package store

import (
	"context"
	"fmt"
	"time"

	"github.com/fnhost/fnhost/plugins/persist/internal/contract"
)

// Delete carries out a valid d once. A key given twice counts once.
func (s *Store) Delete(ctx context.Context, task Task, d contract.Delete) (contract.Deleted, error) {
	keys := unique(d.Keys)
	var answer contract.Deleted
	var err error
	answer.Duplicate, err = s.effect(ctx, task, len(keys), &answer, func(tx *session) (outcome, error) {
		return tx.delete(task, d.Collection, keys, s.writer.now())
	})
	return answer, err
}

func (s *session) delete(task Task, collection string, keys []string, now time.Time) (*deleted, error) {
	answer := &deleted{}
	for _, key := range keys {
		n, err := s.exec(sqlDelete, collection, key, task.id, now.UnixMilli())
		if err != nil {
			return nil, fmt.Errorf("deleting %s/%s: %w", collection, key, err)
		}
		answer.Deleted += int(n)
	}
	answer.Missing = len(keys) - answer.Deleted
	return answer, nil
}

// unique keeps the first of each, in order.
func unique(keys []string) []string {
	seen := make(map[string]bool, len(keys))
	kept := make([]string, 0, len(keys))
	for _, key := range keys {
		if !seen[key] {
			seen[key] = true
			kept = append(kept, key)
		}
	}
	return kept
}
