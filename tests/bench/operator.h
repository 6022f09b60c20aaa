#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backup/v1/admin.grpc.pb.h"
#include "backup/v1/lifecycle.grpc.pb.h"
#include "grpcpp/channel.h"

namespace backup::bench {

// What an operator asks of a service. Each call takes ten minutes at most; errors are the
// service's. Used by one thread at a time.
class Operator {
 public:
  explicit Operator(const std::string& address);

  absl::StatusOr<v1::GetStatusResponse> Status();
  // The number of versions, without those in the trash; and of those there.
  absl::StatusOr<int64_t> VersionCount();
  absl::StatusOr<int64_t> TrashVersionCount();

  absl::StatusOr<v1::Scrub> StartScrub();
  absl::StatusOr<v1::Scrub> GetScrub();

  absl::Status SetPolicy(const v1::RetentionPolicy& policy);
  // Returns how many versions it told of.
  absl::StatusOr<int64_t> PreviewRetention();
  absl::Status EmptyTrash();

  // Returns once the snapshot is taken.
  absl::StatusOr<v1::BackUpStateResponse> BackUpState();

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::AdminService::Stub> admin_;
  const std::unique_ptr<v1::LifecycleService::Stub> lifecycle_;
};

}  // namespace backup::bench
