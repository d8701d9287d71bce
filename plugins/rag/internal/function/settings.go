package function

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fnhost/fnhost/plugins/rag/internal/text"
	"github.com/fnhost/fnhost/sdk"
)

// settings are what the operator may set; the README says what each does.
type settings struct {
	roots    []string      // absolute directories that file:// URIs may be below
	cacheTTL time.Duration // of a document's chunks in the cache; 0: no caching
	chunker  text.Chunker
}

func defaultSettings() settings {
	return settings{cacheTTL: 24 * time.Hour, chunker: text.Chunker{Size: 256, Overlap: 32}}
}

// parseSettings reports every setting at fault, each as a *[sdk.SettingError].
func parseSettings(data json.RawMessage) (settings, error) {
	s := defaultSettings()
	var values map[string]json.RawMessage
	if len(data) > 0 {
		if err := json.Unmarshal(data, &values); err != nil {
			return s, &sdk.SettingError{Message: "the settings are not an object: " + err.Error()}
		}
	}
	setters := s.setters()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		set, known := setters[name]
		if !known {
			set = unknown(setters)
		}
		if err := set(values[name]); err != nil {
			errs = append(errs, &sdk.SettingError{Setting: name, Message: err.Error()})
		}
	}
	if err := s.chunker.Check(); err != nil && len(errs) == 0 {
		errs = append(errs, &sdk.SettingError{Setting: "chunk_size, chunk_overlap", Message: err.Error()})
	}
	return s, errors.Join(errs...)
}

type setter func(json.RawMessage) error

func (s *settings) setters() map[string]setter {
	return map[string]setter{
		"roots":         s.setRoots,
		"cache_ttl":     s.setCacheTTL,
		"chunk_size":    func(v json.RawMessage) error { return decodeAs(v, &s.chunker.Size, "a number of tokens") },
		"chunk_overlap": func(v json.RawMessage) error { return decodeAs(v, &s.chunker.Overlap, "a number of tokens") },
	}
}

func unknown(known map[string]setter) setter {
	names := strings.Join(slices.Sorted(maps.Keys(known)), ", ")
	return func(json.RawMessage) error { return fmt.Errorf("is unknown; the settings are %s", names) }
}

func (s *settings) setRoots(v json.RawMessage) error {
	if err := decodeAs(v, &s.roots, "a list of directories"); err != nil {
		return err
	}
	for _, root := range s.roots {
		if !filepath.IsAbs(root) {
			return fmt.Errorf("%q is not an absolute path", root)
		}
		if info, err := os.Stat(root); err != nil {
			return err
		} else if !info.IsDir() {
			return fmt.Errorf("%q is not a directory", root)
		}
	}
	return nil
}

func (s *settings) setCacheTTL(v json.RawMessage) error {
	var written string
	if err := decodeAs(v, &written, `a duration as "24h"`); err != nil {
		return err
	}
	ttl, err := time.ParseDuration(written)
	if err != nil || ttl < 0 {
		return fmt.Errorf(`%q is not a duration as "24h", or "0s" for no cache`, written)
	}
	s.cacheTTL = ttl
	return nil
}

func decodeAs(v json.RawMessage, into any, want string) error {
	if err := json.Unmarshal(v, into); err != nil {
		return fmt.Errorf("%s is not %s", v, want)
	}
	return nil
}
