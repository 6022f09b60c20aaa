#include "services/backup/jobs/retain.h"

#include <deque>
#include <iterator>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/hex.h"
#include "base/low_priority_thread.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::jobs {
namespace {

using storage::AgesPlace;
using storage::Transaction;

// Files and versions that one step looks at: their ages are in memory.
constexpr int kPage = 8192;
// Opening a version takes as long as looking at so many: it reads the end of its blob.
constexpr int64_t kOpenedCost = 1000;

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

// Transactions that wait for one commit: the next has begun when that comes back.
constexpr size_t kBatchesAtOnce = 3;

}  // namespace

// Versions that one transaction deletes, which was submitted.
class Retain::Batch {
 public:
  // Leaves those of files for which more is damaged by now. `catalog` must outlive this.
  Batch(storage::Catalog& catalog, absl::Span<const Going> going, storage::Deletion deletion)
      : going_(going.begin(), going.end()), deletion_(deletion) {
    catalog.Submit([this](Transaction& transaction) { return Run(transaction); },
                   [this](const absl::Status& status) { SetDone(status); });
  }
  ~Batch() { WaitUntilDone().IgnoreError(); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  // Returns how many were deleted.
  absl::StatusOr<int64_t> Wait() {
    RETURN_IF_ERROR(WaitUntilDone());
    return expired_;
  }
  // After Wait(): how many were left.
  int64_t left() const { return std::ssize(going_) - std::ssize(expiring_); }

 private:
  absl::Status Run(Transaction& transaction) {
    ASSIGN_OR_RETURN(const int64_t damage_epoch, transaction.DamageEpoch());
    expiring_.clear();
    for (const Going& each : going_) {
      if (each.damage_epoch == damage_epoch) expiring_.push_back(each.expiring);
    }
    ASSIGN_OR_RETURN(expired_, transaction.ExpireVersions(expiring_, deletion_));
    return absl::OkStatus();
  }
  void SetDone(const absl::Status& status) {
    MutexLock lock(mutex_);
    outcome_ = status;
    done_.NotifyOne();
  }
  absl::Status WaitUntilDone() {
    MutexLock lock(mutex_);
    while (!outcome_) done_.Wait(mutex_);
    return *outcome_;
  }

  const std::vector<Going> going_;
  const storage::Deletion deletion_;
  std::vector<storage::Expiring> expiring_;  // Of the transaction, until it is done,
  int64_t expired_ = 0;                      // as this is.
  Mutex mutex_;
  CondVar done_;
  std::optional<absl::Status> outcome_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<Job::Progress> Retain::Step(const std::string& cursor, int64_t /*budget*/,
                                           const std::stop_token& token) {
  BecomeLowPriority();
  if (cursor != cursor_) walk_.reset();
  const absl::Status trusted = clock_watch_.CheckTrust();
  if (!trusted.ok()) walk_.reset();
  RETURN_IF_ERROR(trusted);
  if (!walk_) {
    RETURN_IF_ERROR(check_keys_());
    left_ = unopened_ = 0;
    why_unopened_ = absl::OkStatus();
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
  if (*expired > 0 && options_.for_good) blobs_were_dropped_();
  progress.cursor = cursor;
  if (!walk_) return progress;  // Told to stop, perhaps before all of these were deleted.
  progress.is_done = walk_->is_done();
  if (walk_->resume_place()) progress.cursor = ToCursor(*walk_->resume_place());
  cursor_ = progress.cursor;
  if (progress.is_done) {
    walk_.reset();
    progress.left = TellLeft();
  }
  pace_.Move(looked_at, token);
  return progress;
}

absl::StatusOr<std::vector<Retain::Going>> Retain::GoingOf(const retention::JudgedFile& file,
                                                           const std::stop_token& token) {
  std::vector<Going> going;
  std::optional<int64_t> checked;  // All of them have the same one, as a rule.
  absl::Status opens;
  for (const auto& [age, verdict, readable, readable_has_own_key] : file.versions) {
    if (!verdict.goes()) continue;
    if (readable_has_own_key && readable < options_.opened_from &&
        age.state == storage::VersionState::kVerified) {
      if (checked != readable) {
        opens = check_own_key_(readable);
        pace_.Move(kOpenedCost, token);
      }
      checked = readable;
      const std::optional<Reason> reason = ReasonOf(opens);
      if (!opens.ok() && !absl::IsNotFound(opens) && reason != Reason::kKeyMissing &&
          reason != Reason::kBlobDamaged && reason != Reason::kStorageIo)
        return opens;
      if (!opens.ok() && ++unopened_ == 1) why_unopened_ = opens;
      if (!opens.ok()) continue;
    }
    going.push_back({{age.version_id, age.state, readable}, file.damage_epoch});
  }
  return going;
}

absl::StatusOr<int64_t> Retain::Expire(const std::vector<retention::JudgedFile>& judged,
                                       const std::stop_token& token) {
  std::vector<Going> going;
  for (const retention::JudgedFile& file : judged) {
    if (token.stop_requested()) break;  // Versions may be opened, which takes long.
    ASSIGN_OR_RETURN(const std::vector<Going> of_file, GoingOf(file, token));
    going.insert(going.end(), of_file.begin(), of_file.end());
  }
  // What goes for good takes the catalog so long that others would wait for two of them.
  const size_t at_once = options_.for_good ? 1 : kBatchesAtOnce;
  std::deque<std::unique_ptr<Batch>> batches;
  int64_t expired = 0;
  const auto finish_first = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const int64_t count, batches.front()->Wait());
    expired += count;
    left_ += batches.front()->left();
    batches.pop_front();
    return absl::OkStatus();
  };
  for (size_t begin = 0; begin < going.size() && !token.stop_requested();
       begin += Transaction::kMaxDeletedVersions) {
    const absl::Time now = clock_watch_.RemovalTime();
    if (now == absl::InfinitePast()) break;  // The next step tells why.
    const auto part = absl::MakeConstSpan(going).subspan(begin, Transaction::kMaxDeletedVersions);
    batches.push_back(
        std::make_unique<Batch>(catalog_, part, storage::Deletion{now, options_.for_good}));
    if (batches.size() == at_once) RETURN_IF_ERROR(finish_first());
  }
  while (!batches.empty()) RETURN_IF_ERROR(finish_first());
  return expired;
}

absl::Status Retain::TellLeft() const {
  LOG_IF(WARNING, left_ > 0)
      << left_ << " versions that were to go stay until the next run: something was found damaged "
      << "while their files were judged";
  if (unopened_ == 0) return absl::OkStatus();
  return WithMessage(why_unopened_,
                     absl::StrCat(unopened_,
                                  " versions that were to go stay, since the newer one of their "
                                  "file cannot be opened: ",
                                  why_unopened_.message()));
}

}  // namespace backup::jobs
