#include "services/backup/retention/walk.h"

#include <utility>

#include "base/status_macros.h"

namespace backup::retention {

Walk::Walk(const Conditions& conditions, storage::AgesPlace begin,
           std::optional<storage::RetentionPolicy> instead)
    : conditions_(conditions), instead_(std::move(instead)), place_(std::move(begin)) {}

absl::StatusOr<std::vector<JudgedFile>> Walk::Next(storage::Catalog& catalog, int limit) {
  std::vector<JudgedFile> judged;
  storage::AgesPage page;
  RETURN_IF_ERROR(catalog.Read([&](storage::Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(page, snapshot.ListAges(*place_, limit));
    ASSIGN_OR_RETURN(damage_epoch_, snapshot.DamageEpoch());
    policies_client_.reset();  // They may have changed.
    return JudgePage(snapshot, page, judged);
  }));
  place_ = std::move(page.next);
  if (!place_) {
    resume_place_.reset();
  } else if (place_->version_id == 0) {
    resume_place_ = place_;
  }
  return judged;
}

absl::Status Walk::JudgePage(storage::Snapshot& snapshot, const storage::AgesPage& page,
                             std::vector<JudgedFile>& judged) {
  for (const storage::FileAges& file : page.files) {
    RETURN_IF_ERROR(Enter(snapshot, file));
    JudgedFile of_file{file.client, file.file_name, current_->damage_epoch, {}};
    of_file.versions.reserve(file.versions.size());
    for (const storage::VersionAge& age : file.versions) {
      const Verdict verdict = current_->evaluation.Judge(age);
      of_file.versions.push_back({age, verdict, current_->evaluation.readable(),
                                  current_->evaluation.readable_has_own_key()});
    }
    judged.push_back(std::move(of_file));
  }
  return absl::OkStatus();
}

bool Walk::IsCurrent(const storage::FileAges& file) const {
  return current_ && current_->client == file.client && current_->file_name == file.file_name;
}

absl::Status Walk::Enter(storage::Snapshot& snapshot, const storage::FileAges& file) {
  if (IsCurrent(file)) return absl::OkStatus();
  if (current_) resume_place_ = storage::AgesPlace{current_->client, current_->file_name, 0};
  if (policies_client_ != file.client) {
    ASSIGN_OR_RETURN(policies_, ReadPolicies(snapshot, file.client, instead_));
    policies_client_ = file.client;
  }
  const storage::RetentionPolicy* const policy = policies_.ForFile(file.file_name);
  current_.emplace(Current{
      file.client, file.file_name, damage_epoch_,
      Evaluation(policy == nullptr ? std::nullopt : std::optional(policy->rules), conditions_)});
  return absl::OkStatus();
}

}  // namespace backup::retention
