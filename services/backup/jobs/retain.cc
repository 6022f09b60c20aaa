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

// Whether more may be damaged now than then: what could be read then cannot be told to be readable.
bool IsMoreDamaged(const storage::Counts& then, const storage::Counts& now) {
  return now.damaged_chunks + now.healed_chunks != then.damaged_chunks + then.healed_chunks;
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
  absl::StatusOr<int64_t> expired = Expire(*judged, walk_->counts(), token);
  if (!expired.ok() || token.stop_requested()) walk_.reset();
  RETURN_IF_ERROR(expired.status());
  progress.count = *expired;
  if (*expired > 0 && options_.for_good) blobs_were_dropped_();
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
                                       const storage::Counts& counts,
                                       const std::stop_token& token) {
  std::vector<storage::Expiring> going;
  for (const retention::JudgedFile& file : judged) {
    for (const auto& [age, verdict, readable] : file.versions) {
      if (verdict.goes()) going.push_back({age.version_id, age.state, readable});
    }
  }
  int64_t expired = 0;
  for (size_t begin = 0; begin < going.size() && !token.stop_requested();
       begin += Transaction::kMaxDeletedVersions) {
    const absl::Span<const storage::Expiring> batch =
        absl::MakeConstSpan(going).subspan(begin, Transaction::kMaxDeletedVersions);
    const absl::Time now = clock_watch_.RemovalTime();
    if (now == absl::InfinitePast()) break;  // The next step tells why.
    ASSIGN_OR_RETURN(
        const int64_t count, catalog_.Run([&](Transaction& transaction) -> absl::StatusOr<int64_t> {
          ASSIGN_OR_RETURN(const storage::Counts current, transaction.Count());
          if (IsMoreDamaged(counts, current)) return 0;  // The next run judges them anew.
          return transaction.ExpireVersions({batch.begin(), batch.end()}, {now, options_.for_good});
        }));
    expired += count;
  }
  return expired;
}

}  // namespace backup::jobs
