#include "services/backupctl/restore.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "base/worker_pool.h"
#include "services/backupctl/exit_code.h"
#include "services/backupctl/path_plan.h"
#include "services/backupctl/progress_bar.h"
#include "services/backupctl/tar_stream.h"
#include "services/backupctl/transfer.h"

namespace backup::ctl {
namespace {

constexpr int kMaxTries = 3;
constexpr absl::Duration kFirstBackOff = absl::Milliseconds(500);
// So many files are planned ahead of the first one that is not done.
constexpr size_t kMaxPlanned = 1000;
// How often progress is shown and an interrupt noticed.
constexpr absl::Duration kTick = absl::Milliseconds(100);
// In an archive, up to this size a file is checked in memory.
constexpr int64_t kMaxFileInMemory = int64_t{4} << 20;

// What the threads of a restore share.
struct Shared {
  std::atomic<int64_t> bytes = 0;  // Received.
  std::atomic<bool> stopping = false;
};

// Counts what passes; Cancelled once all is to stop.
class WatchedSink final : public ByteSink {
 public:
  WatchedSink(ByteSink& sink, Shared& shared) : sink_(sink), shared_(shared) {}
  absl::Status Write(absl::string_view piece) override {
    if (shared_.stopping) return absl::CancelledError("another file failed");
    shared_.bytes += std::ssize(piece);
    return sink_.Write(piece);
  }
  void LetPiecesLast(size_t pieces) override { sink_.LetPiecesLast(pieces); }

 private:
  ByteSink& sink_;
  Shared& shared_;
};

// Forgets everything.
class NullSink final : public ByteSink {
 public:
  absl::Status Write(absl::string_view) override { return absl::OkStatus(); }
};

// Calls `attempt` until it does not end with UNAVAILABLE: rides through a restart of the service.
template <typename Attempt>
absl::Status WithRetries(Connection& connection, const Attempt& attempt) {
  absl::Duration back_off = kFirstBackOff;
  for (int tried = 1;; ++tried) {
    const absl::Status status = attempt();
    if (!absl::IsUnavailable(status) || tried == kMaxTries) return status;
    if (connection.interrupt().WaitFor(back_off)) return connection.interrupt().Check();
    back_off *= 2;
  }
}

NameRules RulesOf(const RestoreOptions& options, size_t max_component_size) {
  return {.portable = options.portable_names, .max_component_size = max_component_size};
}

absl::StatusOr<PlannedPath> PlanPath(PathPlan& plan, const v1::FileVersion& version,
                                     const PathPlan::Fits& fits) {
  ASSIGN_OR_RETURN(const std::string name, TextToName(version.file_name()));
  return plan.Add(name, fits);
}

// The error of a version that is known to be damaged, if it is not tried all the same.
absl::Status KnownDamage(const v1::FileVersion& version, const RestoreOptions& options) {
  const bool is_tried = !options.fallback && !options.dry_run;
  if (is_tried || version.state() != v1::FileVersion::DAMAGED) return absl::OkStatus();
  return MakeError(Reason::kBlobDamaged,
                   absl::StrCat("version ", version.version_id(), " is damaged in the store"),
                   version.file_name());
}

// A restore into a folder. One thread plans and tells, in the order of the names; others do the
// work.
class FolderRestore {
 public:
  FolderRestore(Connection& connection, ChosenVersions& versions, const RestoreFolder& folder,
                const RestoreOptions& options, Output& output)
      : connection_(connection),
        versions_(versions),
        folder_(folder),
        options_(options),
        plan_(RulesOf(options, folder.max_component_size())),
        progress_(output.progress(), "restoring", /*total_bytes=*/0),
        report_(output, progress_, options.dry_run),
        workers_(options.parallel, /*idle_time=*/absl::Seconds(1)) {}
  ~FolderRestore() { shared_.stopping = true; }

  absl::Status Run();
  RestoreSummary& summary() { return report_.summary(); }

 private:
  enum class Outcome { kRestored, kKept };
  struct Job {
    v1::FileVersion version;
    std::optional<v1::FileVersion> instead;  // That is restored in the place of `version`.
    PlannedPath place;
    std::optional<absl::StatusOr<Outcome>> result;  // Guarded by mutex_ until it is there.
  };

  // Plans the next files and has them worked on, as many as there may be.
  absl::Status Plan();
  void Work(Job& job);
  // Notes what became of `job`; what would befall all files stops everything.
  void Finish(Job& job, absl::StatusOr<Outcome> result);
  // Also of an older version than the job's, if that is damaged and the options say so.
  absl::StatusOr<Outcome> RestoreFile(Job& job);
  absl::StatusOr<Outcome> RestoreVersion(const v1::FileVersion& version, const std::string& path);
  // Waits a little for `job`.
  bool IsDone(const Job& job);
  void Tell(const Job& job);

  Connection& connection_;
  ChosenVersions& versions_;
  const RestoreFolder& folder_;
  const RestoreOptions& options_;
  PathPlan plan_;
  ProgressBar progress_;
  RestoreReport report_;
  bool planned_all_ = false;
  Shared shared_;
  Mutex mutex_;
  CondVar changed_;
  absl::Status fatal_ ABSL_GUARDED_BY(mutex_);  // The first error that ends everything.
  std::deque<std::unique_ptr<Job>> jobs_;
  WorkerPool workers_;  // Last: ends before what its threads use.
};

absl::Status FolderRestore::Run() {
  while (true) {
    RETURN_IF_ERROR(Plan());
    if (jobs_.empty()) return options_.dry_run ? absl::OkStatus() : folder_.Sync();
    while (!IsDone(*jobs_.front())) progress_.SetDone(shared_.bytes);
    const std::unique_ptr<Job> job = std::move(jobs_.front());
    jobs_.pop_front();
    if (EndsEverything(job->result->status())) {
      MutexLock lock(mutex_);
      return fatal_;
    }
    Tell(*job);
  }
}

absl::Status FolderRestore::Plan() {
  while (!planned_all_ && jobs_.size() < kMaxPlanned) {
    ASSIGN_OR_RETURN(std::optional<v1::FileVersion> version, versions_.Next());
    planned_all_ = !version;
    if (planned_all_) return absl::OkStatus();
    auto job = std::make_unique<Job>();
    job->version = *std::move(version);
    absl::StatusOr<PlannedPath> place =
        PlanPath(plan_, job->version, [&](const std::string& path) { return folder_.Fits(path); });
    if (place.ok()) {
      job->place = *std::move(place);
      workers_.Submit([this, work = job.get()] { Work(*work); });
    } else {
      Finish(*job, place.status());
    }
    jobs_.push_back(std::move(job));
  }
  return absl::OkStatus();
}

void FolderRestore::Work(Job& job) {
  absl::StatusOr<Outcome> result = absl::CancelledError("another file failed");
  if (!shared_.stopping) result = RestoreFile(job);
  Finish(job, std::move(result));
}

void FolderRestore::Finish(Job& job, absl::StatusOr<Outcome> result) {
  MutexLock lock(mutex_);
  if (EndsEverything(result.status()) && !shared_.stopping.exchange(true)) fatal_ = result.status();
  job.result = std::move(result);
  changed_.NotifyAll();
}

absl::StatusOr<FolderRestore::Outcome> FolderRestore::RestoreFile(Job& job) {
  const v1::FileVersion* version = &job.version;
  while (true) {
    absl::StatusOr<Outcome> outcome = RestoreVersion(*version, job.place.path);
    if (ReasonOf(outcome.status()) != Reason::kBlobDamaged || !options_.fallback) return outcome;
    ASSIGN_OR_RETURN(std::optional<v1::FileVersion> older, versions_.GoodVersionBefore(*version));
    if (!older) return outcome;
    job.instead = *std::move(older);
    version = &*job.instead;
  }
}

absl::StatusOr<FolderRestore::Outcome> FolderRestore::RestoreVersion(const v1::FileVersion& version,
                                                                     const std::string& path) {
  ASSIGN_OR_RETURN(const RestoreFolder::Found found,
                   folder_.Compare(path, version, connection_.interrupt()));
  if (found == RestoreFolder::Found::kSameContent) return Outcome::kKept;
  RETURN_IF_ERROR(KnownDamage(version, options_));
  if (found == RestoreFolder::Found::kUnreadable && !options_.force) {
    return absl::AlreadyExistsError(
        absl::StrCat(NameToText(path), " is there and may not be read; --force replaces it"));
  }
  if (found == RestoreFolder::Found::kOther && !options_.force) {
    return absl::AlreadyExistsError(
        absl::StrCat(NameToText(path), " is there with other content, which --force replaces"));
  }
  if (options_.dry_run) return Outcome::kRestored;
  RETURN_IF_ERROR(WithRetries(connection_, [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::unique_ptr<OutputFile> file, folder_.NewFile(version.size_bytes()));
    WatchedSink sink(*file, shared_);
    RETURN_IF_ERROR(Download(connection_, version, sink));
    return folder_.Place(*file, path, found != RestoreFolder::Found::kNothing,
                         ToTime(version.receive_time()));
  }));
  return Outcome::kRestored;
}

bool FolderRestore::IsDone(const Job& job) {
  MutexLock lock(mutex_);
  if (!job.result) changed_.WaitFor(mutex_, kTick);
  return job.result.has_value();
}

void FolderRestore::Tell(const Job& job) {
  if (!job.result->ok()) return report_.Failed(job.version, job.result->status());
  const v1::FileVersion& version = job.instead ? *job.instead : job.version;
  if (job.instead) report_.Instead(job.version, version);
  if (**job.result == Outcome::kKept) {
    report_.Kept(version, job.place);
  } else {
    report_.Restored(version, job.place);
  }
}

// Puts one file into the archive; `broken` becomes true if the archive then ends in its middle.
absl::Status AddToTar(Connection& connection, const v1::FileVersion& version,
                      const std::string& path, TarStream& tar, Shared& shared, bool& broken) {
  const bool in_memory = version.size_bytes() <= kMaxFileInMemory;
  std::string content;
  RETURN_IF_ERROR(WithRetries(connection, [&] {
    NullSink null;
    StringSink memory;
    const absl::Status checked =
        Download(connection, version, in_memory ? static_cast<ByteSink&>(memory) : null);
    content = memory.bytes();
    return checked;
  }));
  broken = true;
  WatchedSink sink(tar, shared);
  RETURN_IF_ERROR(tar.BeginFile(path, version.size_bytes(), ToTime(version.receive_time())));
  RETURN_IF_ERROR(in_memory ? sink.Write(content) : Download(connection, version, sink));
  RETURN_IF_ERROR(tar.EndFile());
  broken = false;
  return absl::OkStatus();
}

absl::Status AddAllToTar(Connection& connection, ChosenVersions& versions, ByteSink& sink,
                         const RestoreOptions& options, ProgressBar& progress,
                         RestoreReport& report) {
  ASSIGN_OR_RETURN(const std::unique_ptr<TarStream> tar, TarStream::Open(sink));
  PathPlan plan(RulesOf(options, kMaxComponentSize));
  Shared shared;
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<v1::FileVersion> version, versions.Next());
    if (!version) return tar->Finish();
    const absl::StatusOr<PlannedPath> place =
        PlanPath(plan, *version, [](const std::string&) { return true; });
    bool broken = false;
    v1::FileVersion added_version = *version;
    absl::Status added = place.status();
    while (added.ok()) {
      added = KnownDamage(added_version, options);
      if (added.ok() && !options.dry_run)
        added = AddToTar(connection, added_version, place->path, *tar, shared, broken);
      if (broken || !options.fallback || ReasonOf(added) != Reason::kBlobDamaged) break;
      ASSIGN_OR_RETURN(std::optional<v1::FileVersion> older,
                       versions.GoodVersionBefore(added_version));
      if (!older) break;
      added_version = *std::move(older);
      added = absl::OkStatus();
    }
    if (broken) {
      return SameKind(added, absl::StrCat("the archive breaks off in ", version->file_name(), ": ",
                                          added.message()));
    }
    if (EndsEverything(added)) return added;
    if (added.ok()) {
      if (added_version.version_id() != version->version_id())
        report.Instead(*version, added_version);
      report.Restored(added_version, *place);
    } else {
      report.Failed(*version, added);
    }
    progress.SetDone(shared.bytes);
  }
}

}  // namespace

absl::StatusOr<RestoreSummary> Restore(Connection& connection, ChosenVersions& versions,
                                       const RestoreFolder& folder, const RestoreOptions& options,
                                       Output& output) {
  FolderRestore restore(connection, versions, folder, options, output);
  const absl::Status status = restore.Run();
  restore.summary().unverified = versions.without_version();
  restore.summary().removed_parts = folder.removed_parts();
  if (!status.ok()) return Incomplete(status, restore.summary());
  return restore.summary();
}

absl::StatusOr<RestoreSummary> RestoreToTar(Connection& connection, ChosenVersions& versions,
                                            ByteSink& sink, const RestoreOptions& options,
                                            Output& output) {
  ProgressBar progress(output.progress(), "restoring", /*total_bytes=*/0);
  RestoreReport report(output, progress, options.dry_run);
  RETURN_IF_ERROR(AddAllToTar(connection, versions, sink, options, progress, report));
  report.summary().unverified = versions.without_version();
  return report.summary();
}

}  // namespace backup::ctl
