#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/boot_clock.h"
#include "base/clock.h"
#include "base/idle_shutdown.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/periodic_task.h"
#include "base/process.h"
#include "base/stage_resources.h"
#include "content/dictionary.h"
#include "content/store_keys.h"
#include "grpcpp/channel.h"
#include "rpc/acceptor.h"
#include "rpc/drain_gate.h"
#include "rpc/stream_watchdog.h"
#include "rpc/tls_file_copies.h"
#include "services/backup/audit/audit_log.h"
#include "services/backup/audit/audit_queue.h"
#include "services/backup/authorization.h"
#include "services/backup/client_trace.h"
#include "services/backup/flags.h"
#include "services/backup/jobs/catalog_check.h"
#include "services/backup/jobs/required_packs.h"
#include "services/backup/jobs/runner.h"
#include "services/backup/jobs/scrub.h"
#include "services/backup/jobs/snapshot_state.h"
#include "services/backup/open_storage.h"
#include "services/backup/server.h"
#include "services/backup/service_context.h"
#include "storage/blob_ledger.h"
#include "storage/catalog/stock.h"
#include "storage/chunk_cache.h"
#include "storage/storage_metrics.h"

namespace backup {

// Everything between the flags and the server: state, policies, jobs, in the order in which they
// need one another. Used by one thread at a time.
class RunningService {
 public:
  // Opens the state; nobody is served yet. `metrics` and `stop` must outlive it, and the metrics
  // must not be asked for when it is gone.
  static absl::StatusOr<std::unique_ptr<RunningService>> Open(const Options& options,
                                                              Metrics& metrics, StopRequest& stop);

  // Runs the jobs and serves whoever comes to `acceptor`. Once.
  absl::Status Start(std::unique_ptr<rpc::Acceptor> acceptor);

  // The rest only once it has started.
  const std::string& bound_address() const { return server_->bound_address(); }
  int bound_port() const { return server_->bound_port(); }
  storage::Catalog& catalog() { return *storage_.catalog; }
  const storage::SpaceReserve& reserve() const { return *storage_.reserve; }
  // Storage::catalog_place.
  const std::string& catalog_place() const { return storage_.catalog_place; }
  bool is_idle() const { return idle_.is_idle(); }
  // The start is over, which is no idle time.
  void NoteStarted() { start_.reset(); }
  // Logs how to have versions removed, if no policy says so.
  void WarnIfNothingIsRemoved() const;
  // Has certificates, keys and the policy read again.
  void Reload();
  // Calls its own listener.
  std::shared_ptr<grpc::Channel> MakeChannelToItself() const;
  // No more calls; waits for those in flight, for at most the drain timeout.
  void Drain();
  // What the process is to end with, as whoever starts it again is told: not 0 if it was asked to
  // stop since another service holds its blobs or its catalog by now. What it acknowledged since
  // may be lost, and nothing more is written down.
  int exit_code() const { return taken_over_; }

 private:
  struct Keys {
    std::unique_ptr<handlers::KeyKeeper> keeper;
    std::unique_ptr<content::StoreKeys> of_store;
    std::unique_ptr<audit::AuditLog> audit_log;
  };

  RunningService(const Options& options, Metrics& metrics, StopRequest& stop, Storage storage,
                 Keys keys, const storage::StorageMetrics& storage_metrics,
                 std::unique_ptr<rpc::TlsFileCopies> tls);
  // Takes the master keys.
  static absl::StatusOr<Keys> OpenKeys(Storage& storage);
  ServiceContext MakeContext(Metrics& metrics);
  jobs::StateSnapshots::Options SnapshotOptions() const;
  void AddSamples(Metrics& metrics);
  void WarnOfTheFuture();
  void TellKeys();
  // Small contents are compressed with the store's newest dictionaries from now on.
  void UseDictionaries();
  void StartJobs();
  void StartTraining();
  void StartRetention();
  void StartRepack();
  void StartCareOfCatalogFile();
  bool takes_snapshots() const { return !storage_.catalog->is_elsewhere(); }
  // Whether all is at hand by which retention tells what can be read; for jobs, at any step.
  absl::Status CheckPackKeys();
  void StartAudit();
  absl::Status TellRun(storage::Transaction& transaction, const jobs::AuditedRun& run) const;
  void NoteMark() ABSL_LOCKS_EXCLUDED(mark_mutex_);
  bool is_taken_over() const { return taken_over_ != 0; }
  void EndIfTakenOver();
  void EndAsTakenOver(absl::string_view what, int exit_code);
  absl::StatusOr<v1::BackUpStateResponse> BackUpState();
  void RestoreReserve();
  ServiceInfo Info() const;

  const Options options_;
  StopRequest& stop_;
  const SystemClock clock_;
  const SystemBootClock boot_clock_;
  const absl::Time start_time_ = clock_.Now();
  const storage::StorageMetrics storage_metrics_;
  storage::ChunkCache chunk_cache_;  // Works of the catalog use it.
  Storage storage_;
  const Keys keys_;
  const std::unique_ptr<content::Dictionaries> dictionaries_;
  storage::BlobLedger ledger_;
  storage::Stock<int64_t> version_ids_;
  retention::ClockWatch clock_watch_;
  const std::unique_ptr<rpc::TlsFileCopies> tls_;
  StageResources stages_;
  IdleShutdown idle_;
  std::optional<IdleShutdown::Activity> start_{std::in_place, idle_};
  rpc::StreamWatchdog watchdog_;
  rpc::DrainGate gate_;
  ClientTrace trace_;
  audit::AuditQueue audit_queue_;
  std::shared_ptr<Authorization> authorization_;  // gRPC shares it.
  std::stop_source stop_snapshots_;               // Those that callers asked for.
  jobs::StateSnapshots snapshots_;
  ServiceContext context_;
  handlers::SizeNoter size_noter_;                    // Used by clock_task_.
  const handlers::UploadResources upload_resources_;  // Of jobs.
  std::atomic<int> taken_over_ = 0;                   // exit_code().
  Mutex mark_mutex_;                                  // Held while NoteMark() writes its files.
  std::optional<PeriodicTask> lease_renewal_;
  std::optional<PeriodicTask> ownership_watch_;
  std::optional<PeriodicTask> catalog_watch_;
  std::optional<PeriodicTask> clock_task_;
  std::optional<PeriodicTask> audit_task_;
  const jobs::ScrubMetrics scrub_metrics_;
  jobs::CatalogCheck catalog_check_{*storage_.catalog, boot_clock_};
  std::optional<PeriodicTask> catalog_check_task_;
  // From then on none is missing: what comes is sealed by what is there.
  std::atomic<bool> has_pack_keys_ = false;
  jobs::RequiredPacks required_packs_;
  jobs::Runner jobs_;
  int restorations_without_room_ = 0;
  std::optional<PeriodicTask> reserve_restoration_;
  std::unique_ptr<Server> server_;  // Last: ends first.
};

}  // namespace backup
