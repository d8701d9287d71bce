package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
)

//go:embed schema/*.sql
var schemaFiles embed.FS

// migrate brings the database to the newest schema: the number of the last file
// applied is its user_version. All of it is one transaction, so that two
// processes that open a new database together do not meet half a schema.
func migrate(ctx context.Context, db *sql.DB) error {
	files, err := schemaFiles.ReadDir("schema")
	if err != nil {
		return fmt.Errorf("reading the embedded schema: %w", err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("locking the database for its schema: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("reading the schema version: %w", err)
	}
	if version > len(files) {
		return fmt.Errorf("its schema is version %d and this plugin knows up to %d: run the plugin that wrote it, or a newer one", version, len(files))
	}
	for i, file := range files[version:] {
		if err := apply(ctx, tx, file.Name(), version+i+1); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func apply(ctx context.Context, tx *sql.Tx, file string, version int) error {
	script, err := schemaFiles.ReadFile("schema/" + file)
	if err != nil {
		return fmt.Errorf("reading the embedded schema: %w", err)
	}
	if _, err := tx.ExecContext(ctx, string(script)); err != nil {
		return fmt.Errorf("schema %s: %w", file, err)
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
		return fmt.Errorf("schema %s: %w", file, err)
	}
	return nil
}
