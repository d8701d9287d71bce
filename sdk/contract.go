package sdk

import (
	"google.golang.org/grpc"

	"github.com/fnhost/fnhost/sdk/internal/wire"
)

// The handshake between host and plugin, as go-plugin's HandshakeConfig and
// VersionedPlugins want it. An author needs none of these.
const (
	ContractVersion  = 1          // the application version that both ends negotiate
	PluginName       = "function" // the one plugin of the set
	MagicCookieKey   = "FNHOST_PLUGIN"
	MagicCookieValue = "fnhost-function-1"
	// LifelineKey is the environment variable that says what the plugin's life
	// hangs on. The one value is LifelineStdin: when stdin ends, the process ends.
	LifelineKey   = "FNHOST_LIFELINE"
	LifelineStdin = "stdin"
	// LogLevelKey is the environment variable with the least level that the
	// plugin logs: debug, info (the default), warn or error.
	LogLevelKey = "FNHOST_LOG_LEVEL"
)

// Limits of the wire.
const (
	// MaxDataBytes is the limit of one message's data: a delivery's, a result's
	// or an emission's.
	MaxDataBytes = 64 << 20
	// MaxMessageBytes is the transport's limit, on both sides and in both
	// directions: the data and all that goes with it.
	MaxMessageBytes = wire.MaxMessageBytes
)

// GRPCServer makes the gRPC server of a plugin: gRPC's own limit on what it
// receives, 4 MiB, is less than one message may have; its windows are fixed; and
// its codec is faster with frames.
func GRPCServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts, grpc.ForceServerCodecV2(wire.Codec()),
		grpc.StaticStreamWindowSize(wire.FlowWindow), grpc.StaticConnWindowSize(wire.FlowWindow),
		grpc.MaxRecvMsgSize(MaxMessageBytes), grpc.MaxSendMsgSize(MaxMessageBytes))...)
}
