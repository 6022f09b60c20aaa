#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/idle_shutdown.h"
#include "base/metrics.h"
#include "crypto/key_ring.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/status.h"
#include "services/backup/service_context.h"

namespace backup {

// One per call: counts as activity, unless a bridge only asks for bans, takes or makes the request
// id and returns it to the caller, and writes the call's one log line and counts it when it ends.
// Used by one thread at a time.
class RpcScope {
 public:
  // `context` must outlive this.
  RpcScope(grpc::ServerContextBase& call, const ServiceContext& context, absl::string_view rpc);
  ~RpcScope();
  RpcScope(const RpcScope&) = delete;
  RpcScope& operator=(const RpcScope&) = delete;

  // Whether the caller may make this call now; ask before doing anything of it. Reasons DRAINING
  // and those of Authorization::Check().
  const absl::Status& admitted() const { return admitted_; }

  // Whom the call is about, for the log line; what is no client id is not logged, for it may be
  // anything.
  void set_client(absl::string_view client_id);
  // What a client made of a file, by its name in the API; empty if that is not to be counted.
  void set_verdict(absl::string_view verdict) { verdict_ = std::string(verdict); }
  // What is to be told of a call that went well, to those who watch its client.
  void set_remark(absl::string_view remark) { remark_ = std::string(remark); }
  // It is one of many that change nothing: no line of the log tells of it if it goes well.
  void set_routine() { is_routine_ = true; }
  void add_bytes(int64_t bytes) { bytes_ += bytes; }
  // Messages, as large as they are on the wire.
  void add_received(size_t bytes) { received_ += static_cast<int64_t>(bytes); }
  void add_sent(size_t bytes) { sent_ += static_cast<int64_t>(bytes); }
  // What the call is answered with.
  grpc::Status Finish(const absl::Status& status);

 private:
  // Hands the call, if it is an old client's, to whoever watches that client.
  void Trace(absl::Duration took) const;

  std::optional<IdleShutdown::Activity> activity_;
  std::optional<crypto::KeyRing::Use> key_use_;  // None of a call that never ends by itself.
  const grpc::ServerContextBase& call_;
  const ServiceContext& context_;
  const absl::Status admitted_;
  const GaugeScope in_flight_;
  const GaugeScope uploading_;
  const std::string rpc_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::string request_id_;
  std::string client_id_;
  std::string verdict_;
  std::string remark_;
  bool is_routine_ = false;
  int64_t bytes_ = 0;
  int64_t received_ = 0;
  int64_t sent_ = 0;
  absl::Status outcome_ = absl::UnknownError("no answer");
};

}  // namespace backup
