package sdk

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
	"github.com/fnhost/fnhost/sdk/internal/wire"
)

// sdkName is what this sdk calls itself in a description.
const sdkName = "go/1"

// describe checks the function and gives its description.
func (f *Function) describe() (*fnhostv1.Description, error) {
	d := &fnhostv1.Description{
		Name: cmp.Or(f.Name, f.Role), Version: cmp.Or(f.Version, "dev"), Role: f.Role,
		Emits: f.Emits, Policies: f.policies(), Sdk: sdkName,
	}
	for _, s := range f.Subscriptions {
		d.Subscriptions = append(d.Subscriptions, &fnhostv1.Subscription{Stream: s.Stream, Group: s.Group, Results: s.Results})
	}
	for _, t := range slices.Sorted(maps.Keys(f.Schemas)) {
		d.Schemas = append(d.Schemas, &fnhostv1.Schema{Type: t, JsonSchema: f.Schemas[t]})
	}
	if err := errors.Join(f.check(), wire.CheckDescription(d)); err != nil {
		return nil, fmt.Errorf("the sdk.Function is not valid: %w", err)
	}
	return d, nil
}

// check looks at what a description cannot hold.
func (f *Function) check() error {
	var errs []error
	if f.Handler == nil {
		errs = append(errs, errors.New("the Handler is nil: set it to what handles a message, as sdk.JSON(handle)"))
	}
	if _, ok := f.Handler.(BatchHandler); f.Batch > 1 && f.Handler != nil && !ok {
		errs = append(errs, fmt.Errorf("with Batch %d the Handler needs a HandleBatch: implement sdk.BatchHandler (a handler inside a Mux, a Chain or JSON does not count), or leave Batch at 0", f.Batch))
	}
	if f.Concurrency < 0 || f.Window < 0 || f.Batch < 0 || f.Timeout < 0 || (f.MaxRetries != nil && *f.MaxRetries < 0) ||
		(f.RetryBackoff != nil && *f.RetryBackoff < 0) {
		errs = append(errs, errors.New("the fields Concurrency, Window, Batch, Timeout, MaxRetries and RetryBackoff may not be negative"))
	}
	return errors.Join(errs...)
}

func (f *Function) policies() *fnhostv1.Policies {
	p := &fnhostv1.Policies{
		Concurrency: count(f.Concurrency), Window: count(f.Window), TimeoutMs: count(int(milliseconds(f.Timeout))),
		Batch: count(f.Batch),
	}
	if f.MaxRetries != nil {
		n := count(*f.MaxRetries)
		p.MaxRetries = &n
	}
	if f.RetryBackoff != nil {
		ms := count(int(milliseconds(*f.RetryBackoff)))
		p.RetryBackoffMs = &ms
	}
	return p
}

func count(n int) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }

// milliseconds rounds up: a wish of 100µs is not a wish for nothing.
func milliseconds(d time.Duration) uint64 {
	return uint64((max(d, 0) + time.Millisecond - 1) / time.Millisecond)
}
