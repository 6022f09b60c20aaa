#include "services/backup/probes.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/client_context.h"
#include "rpc/deadline.h"
#include "services/backup/free_space.h"

namespace backup {
namespace {

constexpr int64_t kLeastFreeBytes = int64_t{64} << 20;
constexpr int64_t kLeastFreeInodes = 64;
constexpr absl::Duration kProbeDeadline = absl::Seconds(5);

absl::Status ProbeCatalog(storage::Catalog& catalog) {
  return catalog.Run([](storage::Transaction& transaction) { return transaction.ProbeWrite(); });
}

absl::Status ProbeFile(const std::string& data_dir) {
  const std::string path = absl::StrCat(data_dir, "/probe");
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const bool written =
      file.valid() && ::write(file.get(), "probe\n", 6) == 6 && ::fsync(file.get()) == 0;
  absl::Status result;
  if (!written) result = absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  ::unlink(path.c_str());
  return result;
}

absl::Status ProbeSpace(const storage::SpaceReserve& reserve, const std::string& data_dir) {
  RETURN_IF_ERROR(reserve.CheckGrowth());
  const absl::StatusOr<FreeSpace> found = LookAt(data_dir);
  if (!found.ok()) return found.status();
  if (found->free_bytes >= kLeastFreeBytes && found->free_inodes >= kLeastFreeInodes)
    return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("only ", found->free_bytes, " bytes and ",
                                                   found->free_inodes, " inodes are free"));
}

absl::Status ProbeSelf(const std::shared_ptr<grpc::Channel>& channel) {
  const auto stub = grpc::health::v1::Health::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(rpc::DeadlineAfter(kProbeDeadline));
  context.set_wait_for_ready(true);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = stub->Check(&context, {}, &response);
  if (!status.ok()) return absl::UnavailableError(status.error_message());
  return response.status() == grpc::health::v1::HealthCheckResponse::SERVING
             ? absl::OkStatus()
             : absl::UnavailableError("not serving");
}

}  // namespace

std::vector<Probe> ServiceProbes(storage::Catalog& catalog, const storage::SpaceReserve& reserve,
                                 const std::string& data_dir,
                                 std::shared_ptr<grpc::Channel> channel) {
  return {{"catalog", [&catalog] { return ProbeCatalog(catalog); }},
          {"files", [data_dir] { return ProbeFile(data_dir); }},
          {"space", [&reserve, data_dir] { return ProbeSpace(reserve, data_dir); }},
          {"self", [channel = std::move(channel)] { return ProbeSelf(channel); }}};
}

}  // namespace backup
