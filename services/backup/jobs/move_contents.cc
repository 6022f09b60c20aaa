#include "services/backup/jobs/move_contents.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/low_priority_thread.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::jobs {
namespace {

using storage::Transaction;

// Versions that are looked at in one step; small ones come with their content.
constexpr int64_t kMaxPage = 64;
// What one transaction adds to the catalog at most, so that others need not wait for it for long.
constexpr int64_t kMaxBatchBytes = 512 << 10;
constexpr int64_t kMaxBatchSteps = 256;
constexpr size_t kMaxUnreadable = 65'536;

int64_t InlineBytes(const storage::NewChunks& content) {
  int64_t bytes = 0;
  for (const storage::InlineChunk& chunk : content.inlined) bytes += std::ssize(chunk.payload);
  return bytes;
}

}  // namespace

absl::StatusOr<Job::Progress> MoveContents::Step(const std::string& cursor, int64_t budget,
                                                 const std::stop_token& token) {
  BecomeLowPriority();
  const crypto::KeyRing::Use use(resources_.master_key);
  int64_t after = 0;
  if (!absl::SimpleAtoi(cursor, &after)) after = 0;
  const int64_t limit = std::min(budget, kMaxPage);
  ASSIGN_OR_RETURN(const std::vector<storage::StoredVersion> page,
                   resources_.catalog.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ListUnmovedVersions(after, static_cast<int>(limit));
                   }));
  Progress progress{cursor, std::ssize(page) < limit, 0};
  // As uploads need it that look for chunks.
  if (!page.empty()) RETURN_IF_ERROR(resources_.ledger.PublishNow());
  std::vector<Moving> batch;
  int64_t batch_bytes = 0;
  int64_t batch_steps = 0;
  const auto replace = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const int64_t moved, Replace(std::exchange(batch, {})));
    progress.count += moved;
    progress.cursor = absl::StrCat(after);
    batch_bytes = 0;
    batch_steps = 0;
    return absl::OkStatus();
  };
  for (const storage::StoredVersion& stored : page) {
    absl::StatusOr<std::optional<StoredAnew>> moving = TryStore(stored, token);
    if (token.stop_requested()) break;
    RETURN_IF_ERROR(moving.status());
    after = stored.version.version_id;
    if (!*moving) continue;
    batch_bytes += InlineBytes((*moving)->content);
    batch_steps += std::ssize((*moving)->content.recipe);
    // Large ones should not wait for others.
    const bool is_large = (*moving)->chunks.is_large();
    batch.push_back({stored.content, **std::move(moving)});
    if (is_large || batch_bytes >= kMaxBatchBytes || batch_steps >= kMaxBatchSteps)
      RETURN_IF_ERROR(replace());
  }
  RETURN_IF_ERROR(replace());
  progress.is_done = progress.is_done && !token.stop_requested();
  return progress;
}

absl::StatusOr<std::optional<StoredAnew>> MoveContents::TryStore(
    const storage::StoredVersion& stored, const std::stop_token& token) {
  const storage::Version& version = stored.version;
  if (version.is_damaged || unreadable_.contains(version.version_id)) return std::nullopt;
  absl::Status unread;
  absl::StatusOr<StoredAnew> moving =
      StoreAnew(resources_, {places_, stored, pace_, token, unread}, version, version.form);
  if (moving.ok()) return *std::move(moving);
  const absl::Status wrong = handlers::LookAgain(resources_.catalog, version, moving.status());
  const std::optional<Reason> reason = ReasonOf(wrong);
  if (reason == Reason::kVersionNotFound) return std::nullopt;
  // Also the medium of the new content may fail.
  const bool is_unreadable = reason == Reason::kBlobDamaged || reason == Reason::kKeyMissing ||
                             (reason == Reason::kStorageIo && !unread.ok());
  if (!is_unreadable) return wrong;
  if (unreadable_.size() < kMaxUnreadable) unreadable_.insert(version.version_id);
  LOG(ERROR) << "version " << version.version_id << " of " << NameToText(version.file_name)
             << " of client " << ToUuid(version.client_id)
             << " stays as an older program stored it, since it cannot be read: " << wrong;
  return std::nullopt;
}

absl::StatusOr<int64_t> MoveContents::Replace(std::vector<Moving> moving) {
  if (moving.empty()) return 0;
  const absl::StatusOr<int64_t> moved =
      resources_.catalog.Run([&](Transaction& transaction) -> absl::StatusOr<int64_t> {
        int64_t count = 0;
        for (const auto& [old, anew] : moving) {
          ASSIGN_OR_RETURN(const bool was_there,
                           transaction.ReplaceContent(anew.version_id, old, anew.content));
          if (was_there) ++count;
        }
        return count;
      });
  if (!moved.ok()) {
    for (auto& [old, anew] : moving) anew.chunks.GiveUp(anew.content, moved.status());
    return moved;
  }
  for (auto& [old, anew] : moving) anew.chunks.Keep();
  resources_.blob_was_dropped();
  return moved;
}

}  // namespace backup::jobs
