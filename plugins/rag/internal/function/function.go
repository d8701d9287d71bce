// Package function is the rag function: the handlers of `rag.ingest`,
// `rag.query`, `rag.delete` and `rag.stats`, and their settings. The README of
// the plugin says what each takes and gives.
package function

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode"

	"github.com/fnhost/fnhost/plugins/rag/internal/index"
	"github.com/fnhost/fnhost/sdk"
)

// rag is one running function. Its fields are set by configure, before the first
// message.
type rag struct {
	settings settings
	index    *index.Index
}

// New gives the function of role rag.
func New(version string) sdk.Function {
	r := &rag{}
	mux := sdk.NewMux()
	mux.Handle("rag.ingest", sdk.JSON(r.ingest))
	mux.Handle("rag.query", sdk.JSON(r.query))
	mux.Handle("rag.delete", sdk.JSON(r.delete))
	mux.Handle("rag.stats", sdk.JSON(r.stats))
	return sdk.Function{
		Name:      "rag",
		Role:      "rag",
		Version:   version,
		Handler:   mux.Handler(),
		Configure: r.configure,
		Close:     func(context.Context) error { return r.close() },
	}
}

func (r *rag) configure(ctx context.Context, s sdk.Settings) error {
	settings, err := parseSettings(s.JSON)
	if err != nil {
		return err
	}
	if s.StateDir == "" {
		return errors.New("the host gave no state directory, and the index needs one")
	}
	r.settings = settings
	r.index, err = index.Open(ctx, filepath.Join(s.StateDir, "rag.db"), max(4, runtime.GOMAXPROCS(0)))
	return err
}

func (r *rag) close() error {
	if r.index == nil {
		return nil // never configured
	}
	return r.index.Close()
}

const (
	defaultCollection = "default"
	maxCollection     = 128  // bytes
	maxDocID          = 512  // bytes
	maxTitle          = 1024 // bytes
)

// collectionName checks a collection's name and fills in the default.
func collectionName(name string) (string, error) {
	if name == "" {
		return defaultCollection, nil
	}
	return name, checkName("collection", name, maxCollection)
}

func checkName(field, value string, limit int) error {
	if len(value) > limit {
		return permanent("%s is %d bytes long; at most %d are allowed", field, len(value), limit)
	}
	if strings.ContainsFunc(value, unicode.IsControl) {
		return permanent("%s %q holds a control character", field, value)
	}
	return nil
}

// permanent is for what no further attempt can mend: the message itself is wrong.
func permanent(format string, args ...any) error { return sdk.Permanent(fmt.Errorf(format, args...)) }

func millisecondsSince(t time.Time) int64 { return time.Since(t).Milliseconds() }
