package plugin

import (
	"context"
	"io"
	"os"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// raw is a function that does not keep to the contract: the stream's last message
// type says how.
type raw struct {
	fnhostv1.UnimplementedFunctionServer
}

func serveRaw() {
	go func() { // it keeps its lifeline, though
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: sdk.MagicCookieKey, MagicCookieValue: sdk.MagicCookieValue},
		VersionedPlugins: map[int]goplugin.PluginSet{sdk.ContractVersion: {sdk.PluginName: rawPlugin{}}},
		GRPCServer:       sdk.GRPCServer,
	})
}

type rawPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (rawPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	fnhostv1.RegisterFunctionServer(s, raw{})
	return nil
}

func (rawPlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func (raw) Describe(context.Context, *fnhostv1.DescribeRequest) (*fnhostv1.Description, error) {
	return &fnhostv1.Description{Role: "echo", Name: "raw", Version: "0"}, nil
}

func (raw) Configure(context.Context, *fnhostv1.ConfigureRequest) (*fnhostv1.ConfigureReply, error) {
	return &fnhostv1.ConfigureReply{}, nil
}

func (raw) Work(stream grpc.BidiStreamingServer[fnhostv1.HostFrame, fnhostv1.FunctionFrame]) error {
	done := func(n uint64) *fnhostv1.Outcome {
		return &fnhostv1.Outcome{Delivery: n, Verdict: &fnhostv1.Outcome_Done{Done: &fnhostv1.Done{}}}
	}
	for {
		frame, err := stream.Recv()
		if err != nil {
			return nil
		}
		for _, d := range frame.GetDeliver() {
			var outcomes []*fnhostv1.Outcome
			switch string(d.GetData()) {
			case "no verdict":
				outcomes = append(outcomes, &fnhostv1.Outcome{Delivery: d.GetNumber()})
			case "done and no verdict":
				outcomes = append(outcomes, done(d.GetNumber()-1), &fnhostv1.Outcome{Delivery: d.GetNumber()})
			case "twice and unknown":
				outcomes = append(outcomes, done(d.GetNumber()), done(d.GetNumber()), done(1<<40))
			case "end the stream":
				return nil
			}
			if err := stream.Send(&fnhostv1.FunctionFrame{Outcome: outcomes}); err != nil {
				return err
			}
		}
	}
}
