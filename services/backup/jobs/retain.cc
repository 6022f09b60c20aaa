#include "services/backup/jobs/retain.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/low_priority_thread.h"
#include "base/status_macros.h"

namespace backup::jobs {
namespace {

using storage::AgesPlace;
using storage::Transaction;

// Files and versions that one step looks at: their ages are in memory.
constexpr int kPage = 4096;

std::string ToCursor(const AgesPlace& place) {
  return absl::BytesToHexString(absl::StrCat(place.client.bytes(), place.file_name));
}

// The beginning if that is no cursor.
AgesPlace FromCursor(const std::string& cursor) {
  const std::string bytes = HexToBytes(cursor).value_or("");
  const std::optional<ClientId> client =
      ClientId::FromBytes(absl::string_view(bytes).substr(0, ClientId::kSize));
  return client ? AgesPlace{*client, bytes.substr(ClientId::kSize), 0} : AgesPlace();
}

// A version that no rule keeps.
struct Going {
  const retention::JudgedFile* file;  // Of which it is.
  const storage::VersionAge* age;
};

// Those of `batch` that are what they were when they were judged: one that was confirmed since is
// judged anew by the next run.
absl::StatusOr<std::vector<int64_t>> StillAsJudged(storage::Snapshot& snapshot,
                                                   absl::Span<const Going> batch) {
  std::vector<int64_t> ids;
  for (const Going& going : batch) {
    // What is verified stays so.
    if (going.age->state != storage::VersionState::kVerified) {
      const absl::StatusOr<storage::StoredVersion> found =
          snapshot.FindVersion(going.file->client, going.file->file_name, going.age->version_id,
                               /*with_content=*/false);
      const std::optional<Reason> reason = ReasonOf(found.status());
      if (reason == Reason::kClientNotFound || reason == Reason::kFileNotFound ||
          reason == Reason::kVersionNotFound)
        continue;
      RETURN_IF_ERROR(found.status());
      if (found->version.state != going.age->state) continue;
    }
    ids.push_back(going.age->version_id);
  }
  return ids;
}

}  // namespace

absl::StatusOr<Job::Progress> Retain::Step(const std::string& cursor, int64_t /*budget*/,
                                           const std::stop_token& token) {
  BecomeLowPriority();
  if (cursor != cursor_) walk_.reset();
  const absl::Status trusted = clock_watch_.CheckTrust();
  if (!trusted.ok()) walk_.reset();
  RETURN_IF_ERROR(trusted);
  if (!walk_) {
    walk_.emplace(retention::Conditions{clock_.Now(), options_.retention}, FromCursor(cursor));
  }
  absl::StatusOr<std::vector<retention::JudgedFile>> judged = walk_->Next(catalog_, kPage);
  if (!judged.ok()) walk_.reset();
  RETURN_IF_ERROR(judged.status());
  int64_t looked_at = 0;
  for (const retention::JudgedFile& file : *judged) looked_at += std::ssize(file.versions);
  Progress progress;
  absl::StatusOr<int64_t> expired = Expire(*judged, token);
  if (!expired.ok() || token.stop_requested()) walk_.reset();
  RETURN_IF_ERROR(expired.status());
  progress.count = *expired;
  progress.cursor = cursor;
  if (!walk_) return progress;  // Told to stop, perhaps before all of these were deleted.
  progress.is_done = walk_->is_done();
  if (walk_->resume_place()) progress.cursor = ToCursor(*walk_->resume_place());
  cursor_ = progress.cursor;
  if (progress.is_done) walk_.reset();
  pace_.Move(looked_at, token);
  return progress;
}

absl::StatusOr<int64_t> Retain::Expire(const std::vector<retention::JudgedFile>& judged,
                                       const std::stop_token& token) {
  std::vector<Going> going;
  for (const retention::JudgedFile& file : judged) {
    for (const retention::JudgedVersion& version : file.versions) {
      if (version.verdict.goes()) going.push_back({&file, &version.age});
    }
  }
  int64_t expired = 0;
  for (size_t begin = 0; begin < going.size() && !token.stop_requested();
       begin += Transaction::kMaxDeletedVersions) {
    const absl::Span<const Going> batch =
        absl::MakeConstSpan(going).subspan(begin, Transaction::kMaxDeletedVersions);
    const absl::Time now = clock_watch_.RemovalTime();
    if (now == absl::InfinitePast()) break;  // The next step tells why.
    ASSIGN_OR_RETURN(
        const int64_t count, catalog_.Run([&](Transaction& transaction) -> absl::StatusOr<int64_t> {
          ASSIGN_OR_RETURN(const std::vector<int64_t> ids, StillAsJudged(transaction, batch));
          return transaction.ExpireVersions(ids, {now});
        }));
    expired += count;
  }
  return expired;
}

}  // namespace backup::jobs
