#include "services/backup/authorization.h"

#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "nlohmann/json.hpp"
#include "rpc/status.h"

namespace backup {
namespace {

int64_t FileVersion(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return 0;
  return int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
}

// RpcScope checks these.
constexpr char kOwnMethods[] = "/backup.v1.";

}  // namespace

std::string RoleOf(const grpc::AuthContext& caller) {
  const std::vector<grpc::string_ref> names = caller.FindPropertyValues("x509_common_name");
  return names.empty() ? "" : std::string(names[0].data(), names[0].size());
}

absl::StatusOr<Policy> Policy::Parse(absl::string_view json) {
  const auto parsed = nlohmann::json::parse(json.begin(), json.end(), nullptr, false);
  if (!parsed.is_object())
    return absl::InvalidArgumentError("is no JSON object of roles with lists of methods");
  Policy policy;
  for (const auto& [role, methods] : parsed.items()) {
    if (!methods.is_array())
      return absl::InvalidArgumentError(absl::StrCat("gives ", role, " no list of methods"));
    for (const nlohmann::json& method : methods) {
      if (!method.is_string() || !absl::StartsWith(method.get<std::string>(), "/")) {
        return absl::InvalidArgumentError(
            absl::StrCat("gives ", role, " a method that is not \"/package.Service/Method\""));
      }
      policy.methods_[role].push_back(method.get<std::string>());
    }
  }
  return policy;
}

bool Policy::Allows(const std::string& role, absl::string_view method) const {
  const auto found = methods_.find(role);
  if (found == methods_.end()) return false;
  for (absl::string_view allowed : found->second) {
    if (allowed == method) return true;
    if (absl::ConsumeSuffix(&allowed, "/*") &&
        absl::StartsWith(method, absl::StrCat(allowed, "/"))) {
      return true;
    }
  }
  return false;
}

absl::StatusOr<std::shared_ptr<Authorization>> Authorization::Open(const std::string& path) {
  const std::shared_ptr<Authorization> authorization(new Authorization(path));
  MutexLock lock(authorization->mutex_);
  RETURN_IF_ERROR(authorization->Load());
  return authorization;
}

absl::Status Authorization::Load() {
  version_ = FileVersion(path_);
  std::ifstream file(path_);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) return absl::FailedPreconditionError(absl::StrCat(path_, " cannot be read"));
  absl::StatusOr<Policy> policy = Policy::Parse(text);
  if (!policy.ok())
    return absl::FailedPreconditionError(absl::StrCat(path_, " ", policy.status().message()));
  policy_ = *std::move(policy);
  return absl::OkStatus();
}

void Authorization::Reload() {
  MutexLock lock(mutex_);
  LoadAgain();
}

void Authorization::LoadAgain() {
  const absl::Status loaded = Load();
  LOG_IF(INFO, loaded.ok()) << "the policy in " << path_ << " is used from now on";
  LOG_IF(ERROR, !loaded.ok()) << "the policy before it stays: " << loaded.message();
}

absl::Status Authorization::Check(const std::string& role, absl::string_view method) {
  if (role.empty()) {
    return MakeError(Reason::kCredentialsMissing,
                     "this takes a certificate whose common name is a role");
  }
  MutexLock lock(mutex_);
  if (FileVersion(path_) != version_) LoadAgain();
  if (policy_.Allows(role, method)) return absl::OkStatus();
  return MakeError(Reason::kRoleDenied, "the role of the caller's certificate may not do this");
}

grpc::Status Authorization::Process(const InputMetadata& metadata, grpc::AuthContext* peer,
                                    OutputMetadata*, OutputMetadata*) {
  const auto path = metadata.find(":path");
  const absl::string_view method =
      path == metadata.end() ? "" : absl::string_view(path->second.data(), path->second.size());
  if (absl::StartsWith(method, kOwnMethods)) return grpc::Status::OK;
  return rpc::ToGrpc(Check(RoleOf(*peer), method));
}

}  // namespace backup
