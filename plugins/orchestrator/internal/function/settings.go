package function

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fnhost/fnhost/sdk"
)

const defaultRetention = 7 * 24 * time.Hour

type settings struct {
	routes    map[string]string // role or stream by the call's prefix
	notify    []string          // streams that may be told of a run by the start's replyto
	retention time.Duration     // of an ended run
}

func defaults() settings {
	return settings{
		routes:    map[string]string{"rag": "rag", "persist": "persist", "echo": "echo", "probe": "probe"},
		notify:    []string{"cm:commands"},
		retention: defaultRetention,
	}
}

func (o *orchestrator) configure(_ context.Context, s sdk.Settings) error {
	var written struct {
		Routes    map[string]string `json:"routes"`
		Notify    []string          `json:"notify"`
		Retention *string           `json:"retention"`
	}
	if err := s.Decode(&written); err != nil {
		return err
	}
	var errs []error
	if written.Routes != nil {
		o.settings.routes = written.Routes
		errs = append(errs, checkRoutes(written.Routes))
	}
	if written.Notify != nil {
		o.settings.notify = written.Notify
	}
	if written.Retention != nil {
		d, err := time.ParseDuration(*written.Retention)
		if err != nil || d < time.Minute {
			errs = append(errs, &sdk.SettingError{Setting: "retention",
				Message: fmt.Sprintf("is %q; want a duration of at least 1m, as 168h", *written.Retention)})
		}
		o.settings.retention = d
	}
	return errors.Join(errs...)
}

func checkRoutes(routes map[string]string) error {
	var errs []error
	for _, prefix := range slices.Sorted(maps.Keys(routes)) {
		if routes[prefix] == "" || prefix == "" || strings.Contains(prefix, ".") {
			errs = append(errs, &sdk.SettingError{Setting: "routes." + prefix,
				Message: fmt.Sprintf("is %q; want the role, or the stream, that takes the calls %s.*", routes[prefix], prefix)})
		}
	}
	return errors.Join(errs...)
}

// route gives where calls of a function go.
func (s settings) route(function string) (string, bool) {
	prefix, _, _ := strings.Cut(function, ".")
	to, ok := s.routes[prefix]
	return to, ok
}
