package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

var (
	roleName   = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	streamName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}$`)
)

// CheckDescription says, joined, all that is wrong with a description. The sdk
// asks it before it serves, and the host of every function, whatever its language.
func CheckDescription(d *fnhostv1.Description) error {
	var errs []error
	if !roleName.MatchString(d.GetRole()) {
		errs = append(errs, fmt.Errorf("role %q: want a lower-case letter, then up to 62 of a-z, 0-9 and '-'", d.GetRole()))
	}
	if d.GetName() != "" && !roleName.MatchString(d.GetName()) {
		errs = append(errs, fmt.Errorf("name %q: want a lower-case letter, then up to 62 of a-z, 0-9 and '-'", d.GetName()))
	}
	errs = append(errs, checkSubscriptions(d.GetSubscriptions())...)
	for _, to := range d.GetEmits() {
		if err := checkStream(to); err != nil {
			errs = append(errs, fmt.Errorf("emits: %w", err))
		}
	}
	for _, s := range d.GetSchemas() {
		if s.GetType() == "" || !json.Valid(s.GetJsonSchema()) {
			errs = append(errs, fmt.Errorf("schema of type %q: want a message type and a JSON Schema", s.GetType()))
		}
	}
	return errors.Join(errs...)
}

func checkSubscriptions(subscriptions []*fnhostv1.Subscription) (errs []error) {
	seen := map[[2]string]bool{}
	for _, s := range subscriptions {
		if err := checkStream(s.GetStream()); err != nil {
			errs = append(errs, fmt.Errorf("subscription: %w", err))
		}
		for what, name := range map[string]string{"group": s.GetGroup(), "results": s.GetResults()} {
			if name != "" && checkStream(name) != nil {
				errs = append(errs, fmt.Errorf("subscription to %s: %s: %w", s.GetStream(), what, checkStream(name)))
			}
		}
		key := [2]string{s.GetStream(), s.GetGroup()}
		if seen[key] {
			errs = append(errs, fmt.Errorf("subscription to %s in group %q is there twice", s.GetStream(), s.GetGroup()))
		}
		seen[key] = true
	}
	return errs
}

func checkStream(name string) error {
	if !streamName.MatchString(name) {
		return fmt.Errorf("name %q: want a letter or digit, then up to 199 of letters, digits and '_.:-'", name)
	}
	return nil
}
