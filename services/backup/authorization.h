#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "grpcpp/security/auth_context.h"
#include "grpcpp/security/auth_metadata_processor.h"

namespace backup {

// Who may call what: for each role, which is a certificate's common name, the methods it may call
// ("/package.Service/Method", or "/package.Service/*"). What no role is given is denied.
class Policy {
 public:
  // From JSON: {"role": ["/package.Service/Method", ...], ...}. InvalidArgument if it is not that.
  static absl::StatusOr<Policy> Parse(absl::string_view json);
  bool Allows(const std::string& role, absl::string_view method) const;

 private:
  std::map<std::string, std::vector<std::string>> methods_;
};

// The role whose calls stand for those of old clients: it alone may say who they are.
inline constexpr char kBridgeRole[] = "bridge";

// The common name of the caller's certificate; empty if it has none.
std::string RoleOf(const grpc::AuthContext& caller);

// Asks a policy file before each call, and reads it again when it has changed; a changed file that
// makes no sense is not used. Our own services ask by Check(), as an error of gRPC's processor
// carries no reason; gRPC asks for every other method. Thread-safe.
class Authorization final : public grpc::AuthMetadataProcessor {
 public:
  // FailedPrecondition if the file cannot be read or makes no sense.
  static absl::StatusOr<std::shared_ptr<Authorization>> Open(const std::string& path);

  // Whether `role` may call `method` ("/package.Service/Method"). Reasons: CREDENTIALS_MISSING if
  // the role is empty, ROLE_DENIED.
  absl::Status Check(const std::string& role, absl::string_view method);

  // Reads the file again, whether it seems changed or not.
  void Reload();

  bool IsBlocking() const override { return false; }
  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* peer,
                       OutputMetadata* consumed, OutputMetadata* response) override;

 private:
  explicit Authorization(std::string path) : path_(std::move(path)) {}
  absl::Status Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Load(), which the log tells of.
  void LoadAgain() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  Mutex mutex_;
  Policy policy_ ABSL_GUARDED_BY(mutex_);
  int64_t version_ ABSL_GUARDED_BY(mutex_) = 0;  // Of the file: its time of change.
};

}  // namespace backup
