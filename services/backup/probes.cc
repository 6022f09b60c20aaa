#include "services/backup/probes.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/client_context.h"
#include "services/backup/free_space.h"

namespace backup {
namespace {

constexpr int64_t kLeastFreeBytes = int64_t{64} << 20;
constexpr std::chrono::seconds kProbeDeadline(5);

absl::Status ProbeCatalog(storage::Catalog& catalog) {
  return catalog.Run([](storage::Transaction& transaction) { return transaction.ProbeWrite(); });
}

absl::Status ProbeFile(const std::string& data_dir) {
  const std::string path = absl::StrCat(data_dir, "/probe");
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const bool written =
      file.valid() && ::write(file.get(), "probe\n", 6) == 6 && ::fsync(file.get()) == 0;
  if (!written) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  ::unlink(path.c_str());
  return absl::OkStatus();
}

absl::Status ProbeSpace(const std::string& data_dir) {
  const absl::StatusOr<FreeSpace> found = LookAt(data_dir);
  if (!found.ok()) return found.status();
  if (found->free_bytes >= kLeastFreeBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("only ", found->free_bytes, " bytes are free"));
}

absl::Status ProbeSelf(const std::shared_ptr<grpc::Channel>& channel) {
  const auto stub = grpc::health::v1::Health::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kProbeDeadline);
  context.set_wait_for_ready(true);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = stub->Check(&context, {}, &response);
  if (!status.ok()) return absl::UnavailableError(status.error_message());
  return response.status() == grpc::health::v1::HealthCheckResponse::SERVING
             ? absl::OkStatus()
             : absl::UnavailableError("not serving");
}

}  // namespace

std::vector<Probe> ServiceProbes(storage::Catalog& catalog, const std::string& data_dir,
                                 std::shared_ptr<grpc::Channel> channel) {
  return {{"catalog", [&catalog] { return ProbeCatalog(catalog); }},
          {"files", [data_dir] { return ProbeFile(data_dir); }},
          {"space", [data_dir] { return ProbeSpace(data_dir); }},
          {"self", [channel = std::move(channel)] { return ProbeSelf(channel); }}};
}

}  // namespace backup
