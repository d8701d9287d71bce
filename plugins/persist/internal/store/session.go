package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A session is the writer's connection with its prepared statements. Its methods
// are called by the writer's goroutine only, inside its transaction.
//
// Statements run without a deadline on purpose: they touch single rows by key,
// and a context that can end would cost a goroutine for each of them.
type session struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt
}

const (
	sqlSavepoint = `SAVEPOINT job`
	sqlRelease   = `RELEASE job`
	sqlRollback  = `ROLLBACK TO job`
	sqlFindTask  = `SELECT digest, result FROM inbox WHERE task_id = ?`
	sqlAddTask   = `INSERT INTO inbox (task_id, digest, status, result, at) VALUES (?, ?, ?, ?, ?)`
	sqlPrune     = `DELETE FROM inbox WHERE at < ?
		AND rowid IN (SELECT rowid FROM inbox ORDER BY rowid LIMIT ?)`
	sqlFind = `SELECT version, deleted, doc FROM records WHERE collection = ? AND key = ?`
	sqlPut  = `INSERT INTO records (collection, key, doc, version, source_task, created_at, updated_at)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
		ON CONFLICT (collection, key) DO UPDATE SET doc = excluded.doc, version = excluded.version, deleted = 0,
			source_task = excluded.source_task, updated_at = excluded.updated_at,
			created_at = iif(deleted, excluded.created_at, created_at)`
	sqlDelete = `UPDATE records SET deleted = 1, doc = 'null', version = version + 1, source_task = ?3, updated_at = ?4
		WHERE collection = ?1 AND key = ?2 AND deleted = 0`
)

func newSession(ctx context.Context, db *sql.DB) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, statements: map[string]*sql.Stmt{}}
	for _, text := range []string{
		sqlSavepoint, sqlRelease, sqlRollback, sqlFindTask, sqlAddTask, sqlPrune, sqlFind, sqlPut, sqlDelete,
	} {
		if s.statements[text], err = conn.PrepareContext(ctx, text); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *session) close() error {
	var errs []error
	for _, statement := range s.statements {
		if statement != nil {
			errs = append(errs, statement.Close())
		}
	}
	return errors.Join(append(errs, s.conn.Close())...)
}

// exec gives the number of rows that were changed.
func (s *session) exec(statement string, args ...any) (int64, error) {
	result, err := s.statements[statement].Exec(args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (s *session) row(statement string, args ...any) *sql.Row {
	return s.statements[statement].QueryRow(args...)
}

func (s *session) savepoint() error {
	_, err := s.exec(sqlSavepoint)
	return err
}

func (s *session) release() error {
	_, err := s.exec(sqlRelease)
	return err
}

func (s *session) rollback() error {
	if _, err := s.exec(sqlRollback); err != nil {
		return err
	}
	return s.release()
}

func (s *session) pruneInbox(before time.Time) (int64, error) {
	n, err := s.exec(sqlPrune, before.UnixMilli(), maxPruned)
	if err != nil {
		return 0, fmt.Errorf("pruning the inbox: %w", err)
	}
	return n, nil
}
