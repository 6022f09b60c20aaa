#include "services/backup/server.h"

#include <memory>
#include <vector>

#include "grpc/health/v1/health.pb.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "rpc/deadline.h"
#include "services/backup/limits.h"

namespace backup {
namespace {

constexpr int kMinPingIntervalMs = 10'000;
constexpr int kMaxConnectionAgeMs = 30 * 60 * 1000;
constexpr int kMaxConnectionAgeGraceMs =
    24 * 60 * 60 * 1000;  // The largest upload may still finish.

// Linked, gRPC's reflection is in every server, whether somebody asked for it or not.
class WithoutReflection final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [](const std::unique_ptr<grpc::ServerBuilderPlugin>& plugin) {
      return dynamic_cast<grpc::reflection::ProtoServerReflectionPlugin*>(plugin.get()) != nullptr;
    });
  }
};

void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(rpc::kMaxMessageSize);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataSize);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxConcurrentStreams);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMinPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, kMaxConnectionAgeMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, kMaxConnectionAgeGraceMs);
  grpc::ResourceQuota quota;
  quota.SetMaxThreads(kMaxSynchronousCalls);
  builder.SetResourceQuota(quota);
  // As fast without the probe at 1 MiB messages, with a third of the memory.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
}

}  // namespace

Server::Server(std::unique_ptr<rpc::Acceptor> acceptor, const ServiceContext& context,
               ServiceInfo info)
    : acceptor_(std::move(acceptor)),
      gate_(context.gate),
      blobs_(context.blobs),
      ingest_(context),
      catalog_(context),
      lifecycle_(context),
      admin_(context, std::move(info)) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(std::unique_ptr<rpc::Acceptor> acceptor,
                                                      const ServiceContext& context,
                                                      ServiceInfo info,
                                                      const ServerOptions& options) {
  grpc::EnableDefaultHealthCheckService(true);
  // Links the descriptor in, so that reflection can show the health service, and reflection.
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  static_cast<void>(grpc::health::v1::HealthCheckRequest::descriptor());
  std::unique_ptr<Server> server(new Server(std::move(acceptor), context, std::move(info)));
  grpc::ServerBuilder builder;
  SetLimits(builder);
  if (!options.reflection) builder.SetOption(std::make_unique<WithoutReflection>());
  builder.RegisterService(&server->ingest_)
      .RegisterService(&server->catalog_)
      .RegisterService(&server->lifecycle_)
      .RegisterService(&server->admin_);
  rpc::PassThrough(context.gate, context.watchdog, builder);
  rpc::ConnectionSink connections = rpc::ConnectionsInto(builder, options.credentials);
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr) return absl::InternalError("gRPC cannot start its server");
  grpc::HealthCheckServiceInterface& health = *server->server_->GetHealthCheckService();
  for (const char* name :
       {v1::IngestService::service_full_name(), v1::CatalogService::service_full_name(),
        v1::LifecycleService::service_full_name(), v1::AdminService::service_full_name()}) {
    health.SetServingStatus(name, true);
  }
  server->acceptor_->Start(std::move(connections),
                           context.metrics.admission_rejected.With({"descriptors"}));
  return server;
}

Server::~Server() { Drain(absl::ZeroDuration()); }

void Server::Drain(absl::Duration timeout) {
  acceptor_->Stop();
  if (server_ == nullptr) return;
  server_->GetHealthCheckService()->SetServingStatus(false);
  gate_.Close();
  // gRPC waits for what waits for a store that does not answer.
  if (!gate_.WaitUntilEmpty(timeout)) blobs_.StopWaiting();
  // Before gRPC takes in no more calls: it would tell those that come all the same CANCELLED.
  acceptor_->HangUp();
  server_->Shutdown(rpc::DeadlineAfter(absl::ZeroDuration()));
  server_->Wait();
  server_.reset();
}

}  // namespace backup
