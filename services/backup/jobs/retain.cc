#include "services/backup/jobs/retain.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
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
  std::vector<int64_t> going;
  int64_t looked_at = 0;
  for (const retention::JudgedFile& file : *judged) {
    looked_at += std::ssize(file.versions);
    for (const retention::JudgedVersion& version : file.versions) {
      if (version.verdict.goes()) going.push_back(version.age.version_id);
    }
  }
  Progress progress;
  absl::StatusOr<int64_t> expired = Expire(going, token);
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

absl::StatusOr<int64_t> Retain::Expire(const std::vector<int64_t>& ids,
                                       const std::stop_token& token) {
  int64_t expired = 0;
  for (size_t begin = 0; begin < ids.size() && !token.stop_requested();
       begin += Transaction::kMaxDeletedVersions) {
    const size_t end = std::min<size_t>(begin + Transaction::kMaxDeletedVersions, ids.size());
    const std::vector<int64_t> batch(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                     ids.begin() + static_cast<std::ptrdiff_t>(end));
    const absl::Time now = clock_watch_.RemovalTime();
    if (now == absl::InfinitePast()) break;  // The next step tells why.
    ASSIGN_OR_RETURN(const int64_t count, catalog_.Run([&](Transaction& transaction) {
      return transaction.ExpireVersions(batch, {now});
    }));
    expired += count;
  }
  return expired;
}

}  // namespace backup::jobs
