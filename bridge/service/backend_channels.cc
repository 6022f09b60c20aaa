#include "bridge/service/backend_channels.h"

#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"

namespace backup::bridge {
namespace {

// A backend that drains is left alone at once; the others behind a dns:/// target are used in turn.
constexpr char kServiceConfig[] = R"({
  "loadBalancingConfig": [{"round_robin": {}}],
  "healthCheckConfig": {"serviceName": "backup.v1.IngestService"}
})";

}  // namespace

BackendChannels MakeBackendChannels(const std::string& target,
                                    const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                    const std::string& server_name) {
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // Connections of its own for each channel.
  args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // It costs memory and gains nothing with large pieces.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  // A service that was made anew may have another address; unset, it is asked for after 30 s only.
  args.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1'000);
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // RideThrough does it, uploads included.
  args.SetServiceConfigJSON(kServiceConfig);
  if (!server_name.empty()) args.SetSslTargetNameOverride(server_name);
  return {grpc::CreateCustomChannel(target, credentials, args),
          grpc::CreateCustomChannel(target, credentials, args),
          std::make_shared<rpc::CompletionQueue>()};
}

}  // namespace backup::bridge
