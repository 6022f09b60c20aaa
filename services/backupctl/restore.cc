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
    PlannedPath place;
    std::optional<absl::StatusOr<Outcome>> result;  // Guarded by mutex_ until it is there.
  };

  // Plans the next files and has them worked on, as many as there may be.
  absl::Status Plan();
  void Work(Job& job);
  // Notes what became of `job`; what would befall all files stops everything.
  void Finish(Job& job, absl::StatusOr<Outcome> result);
  absl::StatusOr<Outcome> RestoreFile(const Job& job);
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

absl::StatusOr<FolderRestore::Outcome> FolderRestore::RestoreFile(const Job& job) {
  const std::string& path = job.place.path;
  ASSIGN_OR_RETURN(const RestoreFolder::Found found,
                   folder_.Compare(path, job.version, connection_.interrupt()));
  if (found == RestoreFolder::Found::kSameContent) return Outcome::kKept;
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
    ASSIGN_OR_RETURN(const std::unique_ptr<OutputFile> file,
                     folder_.NewFile(job.version.size_bytes()));
    WatchedSink sink(*file, shared_);
    RETURN_IF_ERROR(Download(connection_, job.version, sink));
    return folder_.Place(*file, path, found != RestoreFolder::Found::kNothing,
                         ToTime(job.version.receive_time()));
  }));
  return Outcome::kRestored;
}

bool FolderRestore::IsDone(const Job& job) {
  MutexLock lock(mutex_);
  if (!job.result) changed_.WaitFor(mutex_, kTick);
  return job.result.has_value();
}

void FolderRestore::Tell(const Job& job) {
  if (!job.result->ok()) {
    report_.Failed(job.version, job.result->status());
  } else if (**job.result == Outcome::kKept) {
    report_.Kept(job.version, job.place);
  } else {
    report_.Restored(job.version, job.place);
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
    absl::Status added = place.status();
    if (added.ok() && !options.dry_run)
      added = AddToTar(connection, *version, place->path, *tar, shared, broken);
    if (broken) {
      return SameKind(added, absl::StrCat("the archive breaks off in ", version->file_name(), ": ",
                                          added.message()));
    }
    if (EndsEverything(added)) return added;
    if (added.ok()) {
      report.Restored(*version, *place);
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
