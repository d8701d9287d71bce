// Package client is the host's half of the wire contract: it asks a function who
// it is, configures it, and carries deliveries and outcomes over its one stream.
// It knows nothing of processes: any gRPC connection to a function will do.
package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
	"github.com/fnhost/fnhost/sdk/internal/wire"
)

// healthService is the name under which go-plugin's servers report their health.
const healthService = "plugin"

// callOptions lift gRPC's own limit of 4 MiB on what is received.
func callOptions() []grpc.CallOption {
	return []grpc.CallOption{
		grpc.MaxCallRecvMsgSize(sdk.MaxMessageBytes), grpc.MaxCallSendMsgSize(sdk.MaxMessageBytes),
	}
}

// DialOptions are those that a connection to a function needs.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithStaticStreamWindowSize(wire.FlowWindow), grpc.WithStaticConnWindowSize(wire.FlowWindow),
	}
}

// Describe asks the function who it is and checks the answer: the syntax of its
// names, its subscriptions, schemas. A description without a name has its role's.
func Describe(ctx context.Context, conn grpc.ClientConnInterface, hostVersion string) (*fnhostv1.Description, error) {
	request := &fnhostv1.DescribeRequest{HostVersion: hostVersion}
	d, err := fnhostv1.NewFunctionClient(conn).Describe(ctx, request, callOptions()...)
	if err != nil {
		return nil, fmt.Errorf("asking the function to describe itself: %w", err)
	}
	if err := wire.CheckDescription(d); err != nil {
		return nil, fmt.Errorf("the function's description is not valid: %w", err)
	}
	d.Name = cmp.Or(d.GetName(), d.GetRole())
	return d, nil
}

// A ConfigureError says which settings the function rejects, and why.
type ConfigureError struct {
	Settings []*sdk.SettingError // at least one
}

func (e *ConfigureError) Error() string {
	errs := make([]error, len(e.Settings))
	for i, s := range e.Settings {
		errs[i] = s
	}
	return "the function rejects its settings: " + errors.Join(errs...).Error()
}

// Configure hands the function its settings, once, before Work. Settings that it
// rejects are a *[ConfigureError].
func Configure(ctx context.Context, conn grpc.ClientConnInterface, request *fnhostv1.ConfigureRequest) error {
	reply, err := fnhostv1.NewFunctionClient(conn).Configure(ctx, request, callOptions()...)
	if err != nil {
		return fmt.Errorf("configuring the function: %w", err)
	}
	if len(reply.GetErrors()) == 0 {
		return nil
	}
	rejected := &ConfigureError{}
	for _, e := range reply.GetErrors() {
		rejected.Settings = append(rejected.Settings, &sdk.SettingError{Setting: e.GetSetting(), Message: e.GetMessage()})
	}
	return rejected
}

// ErrUnhealthy is wrapped when the function answers that it is not serving.
var ErrUnhealthy = errors.New("the function is not healthy")

// Health asks the function's health service; nil means that it is serving. The
// deadline is ctx's: a stopped process does not answer.
func Health(ctx context.Context, conn grpc.ClientConnInterface) error {
	request := &grpc_health_v1.HealthCheckRequest{Service: healthService}
	reply, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, request)
	if err != nil {
		return fmt.Errorf("checking the function's health: %w", err)
	}
	if reply.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("%w: it reports %s", ErrUnhealthy, reply.GetStatus())
	}
	return nil
}
