#include "services/backup/running_service.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/status_macros.h"
#include "crypto/random.h"
#include "glog/logging.h"
#include "grpcpp/create_channel.h"
#include "rpc/tls.h"
#include "services/backup/audit/actions.h"
#include "services/backup/catalog_mark.h"
#include "services/backup/disk_use.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/growth.h"
#include "services/backup/handlers/keys.h"
#include "services/backup/handlers/sealed_rows.h"
#include "services/backup/handlers/session_keys.h"
#include "services/backup/handlers/store_keys.h"
#include "services/backup/handlers/version_ids.h"
#include "services/backup/jobs/compact.h"
#include "services/backup/jobs/move_contents.h"
#include "services/backup/jobs/purge_trash.h"
#include "services/backup/jobs/repack.h"
#include "services/backup/jobs/retain.h"
#include "services/backup/jobs/retire_keys.h"
#include "services/backup/jobs/scrub.h"
#include "services/backup/jobs/snapshot_state.h"
#include "services/backup/jobs/sweep.h"
#include "services/backup/jobs/train.h"
#include "services/backup/restore_state.h"
#include "services/backup/state_samples.h"

namespace backup {
namespace {

constexpr MetricName kCertExpiry{"backup_tls_cert_expiry_timestamp_seconds",
                                 "When the certificate ends"};
constexpr MetricName kUploadHold{"backup_upload_hold_seconds",
                                 "How long uploads have kept deleted content from going"};
constexpr MetricName kAuditEntries{"backup_audit_entries_total",
                                   "Entries of the audit log, ever, as far as they were noted"};
constexpr MetricName kAuditLost{"backup_audit_lost_total",
                                "Entries of the audit log for which there was no room"};
constexpr MetricName kAuditDamaged{"backup_audit_damaged",
                                   "1 if the audit log is not as it was written"};
// How often all of the audit log is verified, and what is too old removed.
constexpr absl::Duration kAuditInterval = absl::Hours(6);
// How soon what was reserved is reserved again, and with that new files are stored, once there is
// room.
constexpr absl::Duration kRestorationInterval = absl::Seconds(1);
// In every so many of them the catalog is asked for room.
constexpr int kCompactEvery = 3;
// A step is 10 ms of the catalog's writer: about ten of them a second.
constexpr int64_t kCompactRate = 2560;
// Versions a second that are purged: about a third of what the catalog's writer could do.
constexpr int64_t kPurgeRate = 5000;
// How often it looks whether it holds its blobs still.
constexpr absl::Duration kOwnershipInterval = absl::Seconds(30);
// And its catalog, if that is elsewhere.
constexpr absl::Duration kCatalogHoldInterval = absl::Seconds(5);
// Of jobs that pace themselves.
constexpr int64_t kUnpaced = 1'000'000;

OwnerId NewOwnerId() { return *OwnerId::FromBytes(crypto::RandomBytes(OwnerId::kSize)); }

std::shared_ptr<grpc::ServerCredentials> MakeCredentials(
    const rpc::TlsFiles& files, const std::shared_ptr<Authorization>& authorization) {
  if (files.cert_file.empty()) return grpc::InsecureServerCredentials();
  std::shared_ptr<grpc::ServerCredentials> credentials = rpc::MakeServerCredentials(files);
  if (authorization != nullptr) credentials->SetAuthMetadataProcessor(authorization);
  return credentials;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RunningService>> RunningService::Open(const Options& options,
                                                                     Metrics& metrics,
                                                                     StopRequest& stop) {
  const storage::StorageMetrics storage_metrics(metrics);
  BlobsOptions blobs = options.blobs;
  blobs.metrics = &metrics;
  ASSIGN_OR_RETURN(Storage storage, OpenStorage(options.data_dir, options.key_sources,
                                                storage_metrics, options.catalog, blobs));
  // Before anything is written to it.
  if (const absl::Status fits = CheckCatalogMark(options.data_dir, *storage.catalog); !fits.ok()) {
    return WithExitCode(WithMessage(fits, absl::StrCat("the data directory ", options.data_dir,
                                                       ": ", fits.message())),
                        kExitDamaged);
  }
  if (const absl::Status claimed = ClaimBlobs(options.data_dir, storage); !claimed.ok()) {
    return WithMessage(
        claimed, absl::StrCat("the data directory ", options.data_dir, ": ", claimed.message()));
  }
  absl::StatusOr<Keys> keys = OpenKeys(storage);
  if (!keys.ok()) {
    const absl::Status error = WithMessage(
        keys.status(),
        absl::StrCat("the data directory ", options.data_dir, ": ", keys.status().message()));
    const bool is_damaged = ReasonOf(error) == Reason::kStateCorrupt;
    return is_damaged ? WithExitCode(error, kExitDamaged) : error;
  }
  ASSIGN_OR_RETURN(auto tls, rpc::TlsFileCopies::Make(options.tls));
  return std::unique_ptr<RunningService>(new RunningService(options, metrics, stop,
                                                            std::move(storage), *std::move(keys),
                                                            storage_metrics, std::move(tls)));
}

absl::StatusOr<RunningService::Keys> RunningService::OpenKeys(Storage& storage) {
  Keys keys;
  ASSIGN_OR_RETURN(keys.keeper,
                   handlers::KeyKeeper::Open(*storage.catalog, std::move(storage.master_keys),
                                             storage.generations_file, SystemClock().Now()));
  absl::StatusOr<std::unique_ptr<content::StoreKeys>> of_store =
      handlers::OpenStoreKeys(*storage.catalog, keys.keeper->ring());
  if (!of_store.ok()) {
    return WithMessage(of_store.status(),
                       absl::StrCat("the store's secret: ", of_store.status().message()));
  }
  keys.of_store = *std::move(of_store);
  ASSIGN_OR_RETURN(
      keys.audit_log,
      audit::AuditLog::Open(*storage.catalog, keys.of_store->AuditKey(),
                            audit::HeadPath(storage.generations_file), SystemClock().Now()));
  return keys;
}

RunningService::RunningService(const Options& options, Metrics& metrics, StopRequest& stop,
                               Storage storage, Keys keys,
                               const storage::StorageMetrics& storage_metrics,
                               std::unique_ptr<rpc::TlsFileCopies> tls)
    : options_(options),
      stop_(stop),
      storage_metrics_(storage_metrics),
      chunk_cache_(options.chunk_cache_bytes),
      storage_(std::move(storage)),
      keys_(std::move(keys)),
      dictionaries_(handlers::MakeDictionaries(*storage_.catalog, *keys_.of_store)),
      ledger_(*storage_.catalog, clock_, NewOwnerId()),
      version_ids_(handlers::NewVersionIds(*storage_.catalog)),
      clock_watch_(*storage_.catalog, clock_, boot_clock_),
      tls_(std::move(tls)),
      idle_(options.idle_shutdown, stop),
      watchdog_(options.stream_idle_timeout),
      audit_queue_(*storage_.catalog, *keys_.audit_log, metrics.AddCounter(kAuditLost)),
      snapshots_(*storage_.catalog, *keys_.keeper->master_keys().current, clock_, SnapshotOptions(),
                 jobs::SnapshotMetrics(metrics)),
      context_(MakeContext(metrics)),
      size_noter_(*storage_.catalog, context_.look_at_disk),
      upload_resources_(context_.upload_resources()),
      scrub_metrics_(metrics),
      jobs_(*storage_.catalog, clock_, jobs::JobMetrics(metrics),
            [this](storage::Transaction& transaction, const jobs::AuditedRun& run) {
              return TellRun(transaction, run);
            }) {
  AddSamples(metrics);
}

jobs::StateSnapshots::Options RunningService::SnapshotOptions() const {
  jobs::StateSnapshots::Options snapshots;
  snapshots.folders = SnapshotFolders(options_.data_dir, options_.snapshot_dir);
  if (storage_.remote == nullptr) return snapshots;
  // Others take theirs into the same folder, and the newest is what is got back.
  snapshots.check = [&blobs = *storage_.remote] {
    return blobs.IsTakenOver() ? absl::FailedPreconditionError("another service holds the blobs")
                               : absl::OkStatus();
  };
  return snapshots;
}

ServiceContext RunningService::MakeContext(Metrics& metrics) {
  ServiceContext context{*storage_.catalog,
                         *storage_.blobs,
                         ledger_,
                         version_ids_,
                         keys_.keeper->ring(),
                         *keys_.of_store,
                         *dictionaries_,
                         chunk_cache_,
                         clock_,
                         stages_,
                         idle_,
                         watchdog_,
                         gate_};
  context.duplicate_names = options_.duplicate_names;
  context.metrics = ServiceMetrics(metrics);
  context.keys = options_.keys;
  context.keys.replaced_keys = context.metrics.rekeys.With({"accepted"});
  context.keys.duplicate_names = options_.duplicate_names;
  context.keys.adopted_clients = context.metrics.clients_adopted;
  context.keys.returned_clients = context.metrics.clients_returned;
  context.trash = options_.trash;
  context.uploads = options_.uploads;
  const MetricFamily<Histogram>& phases = context.metrics.upload_duration;
  context.uploads.phases = {phases.With({"receive"}), phases.With({"decrypt"}),
                            phases.With({"fsync"}), phases.With({"commit"})};
  const MetricFamily<Counter>& contents = context.metrics.upload_contents;
  context.uploads.bytes = {contents.With({"known"}), contents.With({"raw"}),
                           contents.With({"compressed"}), context.metrics.upload_stored};
  context.scrub = {options_.scrub_period, options_.scrub_rate};
  context.wake_scrub = [this] { jobs_.Wake(jobs::Scrub::kName); };
  context.wake_sweep = [this] { jobs_.Wake(jobs::Sweep::kName); };
  context.clock_watch = &clock_watch_;
  context.retention = options_.retention;
  context.look_at_disk = [this] {
    return LookAtDisk(options_.data_dir, *storage_.catalog, storage_.blobs->is_elsewhere());
  };
  context.back_up_state = [this] { return BackUpState(); };
  // Copies of a database are its administrator's.
  context.back_up_keys = [this]() -> absl::StatusOr<v1::BackUpStateResponse> {
    return takes_snapshots() ? BackUpState() : v1::BackUpStateResponse();
  };
  context.key_keeper = keys_.keeper.get();
  context.retires_keys = options_.retire_interval > absl::ZeroDuration();
  context.wake_retire = [this] { jobs_.Wake(jobs::RetireKeys::kName); };
  context.trace = &trace_;
  context.audit_log = keys_.audit_log.get();
  context.audit_queue = &audit_queue_;
  context.callers_are_local = rpc::IsLocalAddress(options_.listen);
  return context;
}

// What is sampled when somebody asks.
void RunningService::AddSamples(Metrics& metrics) {
  metrics.AddCollector([this] {
    const absl::StatusOr<absl::Time> end = rpc::CertificateExpiry(tls_->copies().cert_file);
    if (!end.ok()) return std::vector<Sample>();
    return std::vector<Sample>{{kCertExpiry, {{"listener", "grpc"}}, SecondsSinceEpoch(*end)}};
  });
  metrics.AddCollector([this] {
    return std::vector<Sample>{{kUploadHold, {}, absl::ToDoubleSeconds(ledger_.HoldTime())}};
  });
  metrics.AddCollector([this] { return SampleKeys(*keys_.keeper); });
  metrics.AddCollector([this] {
    const audit::AuditLog& log = *keys_.audit_log;
    return std::vector<Sample>{
        {kAuditEntries, {}, static_cast<double>(log.noted_number()), Sample::Kind::kCounter},
        {kAuditDamaged, {}, log.is_damaged() ? 1.0 : 0.0}};
  });
  metrics.AddCollector([this] {
    return SampleState(
        {*storage_.catalog, options_.data_dir, options_.metrics_max_clients, options_.scrub_period,
         context_.look_at_disk(), context_.RemovalTime(), catalog_check_.has_failed()},
        clock_.Now());
  });
}

absl::Status RunningService::Start(std::unique_ptr<rpc::Acceptor> acceptor) {
  TellKeys();
  if (!options_.authz_policy_file.empty()) {
    ASSIGN_OR_RETURN(authorization_, Authorization::Open(options_.authz_policy_file));
    context_.authorization = authorization_.get();
  }
  WarnOfTheFuture();
  // Nobody is served before it is known in which epoch this process looks at the catalog.
  RETURN_IF_ERROR(ledger_.Renew());
  UseDictionaries();
  StartJobs();
  ASSIGN_OR_RETURN(server_, Server::Start(std::move(acceptor), context_, Info(),
                                          {options_.reflection,
                                           MakeCredentials(tls_->copies(), authorization_)}));
  return absl::OkStatus();
}

void RunningService::TellKeys() {
  const handlers::KeyKeeper& keeper = *keys_.keeper;
  if (options_.encrypt) {
    LOG_CRITICAL << "storing files as " << options_.at_rest << ", master key "
                 << keeper.master_keys().current->Fingerprint() << ", key generation "
                 << *keeper.ring().newest();
  }
  LOG_IF(WARNING, !keeper.IsRewrapped())
      << "key generations are sealed under an old master key, which is needed until `backupctl key "
         "rewrap --verify` has ended well";
}

void RunningService::UseDictionaries() {
  const absl::Status found = dictionaries_->Refresh(options_.uploads.compression.level).status();
  LOG_IF(WARNING, !found.ok()) << "cannot look for the store's dictionaries: small contents are "
                               << "compressed without: " << found;
}

void RunningService::StartJobs() {
  lease_renewal_.emplace(storage::BlobLedger::kRenewalInterval, [this](const std::stop_token&) {
    absl::Status renewed = ledger_.Renew();
    renewed.Update(ledger_.SecureFound());
    LOG_IF(WARNING, !renewed.ok()) << "cannot renew the leases of what is on its way: " << renewed;
    NoteMark();
  });
  if (storage_.remote != nullptr) {
    ownership_watch_.emplace(kOwnershipInterval,
                             [this](const std::stop_token&) { EndIfTakenOver(); });
  }
  if (storage_.catalog_hold != nullptr) {
    catalog_watch_.emplace(kCatalogHoldInterval, [this](const std::stop_token&) {
      if (storage_.catalog_hold->IsLost(*storage_.catalog)) EndAsTakenOver("catalog", kExitInUse);
    });
  }
  // The data directory is locked: no other process can be alive.
  jobs_.Add(std::make_unique<jobs::Sweep>(*storage_.catalog, *storage_.blobs, ledger_, clock_,
                                          storage_metrics_.orphans_removed,
                                          [this] { jobs_.Wake(jobs::Repack::kName); }),
            {options_.sweep_interval});
  if (options_.purge_interval > absl::ZeroDuration()) {
    jobs_.Add(std::make_unique<jobs::PurgeTrash>(*storage_.catalog, clock_, options_.trash,
                                                 context_.wake_sweep,
                                                 [this] {
                                                   absl::Status checked = clock_watch_.CheckTrust();
                                                   if (checked.ok()) checked = CheckPackKeys();
                                                   return checked;
                                                 }),
              {options_.purge_interval, kPurgeRate});
  }
  StartRepack();
  if (options_.move_interval > absl::ZeroDuration()) {
    jobs_.Add(std::make_unique<jobs::MoveContents>(upload_resources_, context_.stored_places(),
                                                   options_.repack_rate),
              {options_.move_interval, kUnpaced});
  }
  if (takes_snapshots()) StartCareOfCatalogFile();
  LOG_IF(WARNING, !takes_snapshots() && !options_.snapshot_dir.empty())
      << "--snapshot_dir is of no use: the catalog is in PostgreSQL, which has backups of its own";
  StartTraining();
  StartRetention();
  StartAudit();
  jobs_.Add(std::make_unique<jobs::Scrub>(
                upload_resources_, context_.stored_places(),
                jobs::Scrub::Options{options_.scrub_period, options_.scrub_rate}, scrub_metrics_),
            {jobs::Scrub::kPollInterval, kUnpaced});
  reserve_restoration_.emplace(kRestorationInterval,
                               [this](const std::stop_token&) { RestoreReserve(); });
}

// What a database server does by itself.
void RunningService::StartCareOfCatalogFile() {
  jobs_.Add(std::make_unique<jobs::Compact>(*storage_.catalog),
            {options_.compact_interval, kCompactRate});
  if (options_.snapshot_interval > absl::ZeroDuration()) {
    jobs_.Add(std::make_unique<jobs::SnapshotState>(snapshots_, options_.snapshot_interval),
              {options_.snapshot_interval, kUnpaced});
  }
  catalog_check_task_.emplace(
      jobs::CatalogCheck::kRetryInterval,
      [this](const std::stop_token& token) { catalog_check_.RunIfDue(token); },
      PeriodicTask::FirstRun::kAtOnce);
}

// Also to retire keys, which takes it as often as there is something of that.
void RunningService::StartRepack() {
  const bool repacks = options_.repack_interval > absl::ZeroDuration();
  const bool retires = options_.retire_interval > absl::ZeroDuration();
  if (!repacks && !retires) return;
  jobs::Repack::Options repack;
  repack.bytes_per_second = options_.repack_rate;
  repack.required = &required_packs_;
  repack.only_required = !repacks;
  jobs_.Add(
      std::make_unique<jobs::Repack>(upload_resources_, repack, storage_metrics_.damaged_chunks),
      {repacks ? options_.repack_interval : options_.retire_interval, kUnpaced});
  if (!retires) return;
  jobs::RetireKeys::Options retire;
  retire.bytes_per_second = options_.repack_rate;
  retire.wake_repack = [this] { jobs_.Wake(jobs::Repack::kName); };
  retire.back_up_state = [this](const std::stop_token& token) {
    return takes_snapshots() ? snapshots_.Take(token).status() : absl::OkStatus();
  };
  jobs_.Add(std::make_unique<jobs::RetireKeys>(upload_resources_, *keys_.keeper, *keys_.of_store,
                                               required_packs_, std::move(retire)),
            {options_.retire_interval, kUnpaced});
}

void RunningService::EndIfTakenOver() {
  if (!storage_.remote->IsTakenOver()) return;
  EndAsTakenOver("blobs", kExitBadConfiguration);
}

void RunningService::EndAsTakenOver(absl::string_view what, int exit_code) {
  if (int none = 0; !taken_over_.compare_exchange_strong(none, exit_code)) return;
  stop_.Request(absl::StrCat("another service holds the ", what,
                             " of this one: end that one, or this one for good"));
}

void RunningService::NoteMark() {
  MutexLock lock(mark_mutex_);
  if (is_taken_over() || !storage_.catalog->damage().ok()) return;
  const absl::Status noted = WriteCatalogMark(options_.data_dir, *storage_.catalog);
  LOG_IF(WARNING, !noted.ok()) << "cannot note how far the catalog is: " << noted;
  const absl::Status told = keys_.audit_log->NoteHead();
  LOG_IF(WARNING, !told.ok()) << "cannot note how far the audit log is: " << told;
}

void RunningService::StartAudit() {
  audit_task_.emplace(
      kAuditInterval,
      [this](const std::stop_token& token) {
        keys_.audit_log->Check(token);
        if (options_.audit_retention == absl::ZeroDuration()) return;
        context_.LookAtClock();
        const absl::StatusOr<int64_t> removed = keys_.audit_log->RemoveBefore(
            clock_watch_.RemovalTime() - options_.audit_retention, token);
        LOG_IF(WARNING, !removed.ok())
            << "cannot remove old entries of the audit log: " << removed.status();
        LOG_IF(INFO, removed.ok() && *removed > 0)
            << *removed << " entries of the audit log were removed by age";
      },
      PeriodicTask::FirstRun::kAtOnce);
}

absl::Status RunningService::TellRun(storage::Transaction& transaction,
                                     const jobs::AuditedRun& run) const {
  storage::AuditEntry entry =
      audit::EntryOfService(run.action, absl::StrCat("count ", run.count), clock_.Now());
  if (!absl::IsCancelled(run.result)) entry.outcome = std::string(OutcomeName(run.result));
  if (!run.result.ok()) absl::StrAppend(&entry.detail, ": ", run.result.message());
  return keys_.audit_log->Append(transaction, std::move(entry), storage::AuditRoom::kAlways);
}

absl::StatusOr<v1::BackUpStateResponse> RunningService::BackUpState() {
  if (!takes_snapshots()) {
    return absl::FailedPreconditionError(
        "the catalog is in PostgreSQL, which has backups of its own: there are no snapshots of it");
  }
  ASSIGN_OR_RETURN(const jobs::StateSnapshots::Taken taken,
                   snapshots_.Take(stop_snapshots_.get_token()));
  v1::BackUpStateResponse response;
  response.set_name(storage::SnapshotFolder::NameOf(taken.entry));
  handlers::SetTime(taken.entry.time, *response.mutable_time());
  for (const std::string& path : taken.paths) response.add_paths(path);
  response.set_size_bytes(taken.entry.size_bytes);
  response.set_catalog_bytes(taken.catalog_size);
  NoteMark();
  return response;
}

void RunningService::Drain() {
  stop_snapshots_.request_stop();
  server_->Drain(is_taken_over() ? absl::ZeroDuration() : options_.drain_timeout);
  // Jobs are told to stop when they are asked for it; nobody may wait for a store meanwhile.
  storage_.blobs->StopWaiting();
  if (!is_taken_over()) audit_queue_.Close();
  NoteMark();
}

// Not of what is no other client's business, nor for what is not compressed.
void RunningService::StartTraining() {
  const handlers::UploadPolicy& uploads = options_.uploads;
  if (options_.train_interval == absl::ZeroDuration() ||
      uploads.sharing == handlers::Sharing::kClient ||
      uploads.compression.when == content::CompressionPolicy::When::kNever)
    return;
  // What new content becomes that is not kept as the client's ciphertext.
  const auto form = uploads.form == storage::StorageForm::kPlain ? storage::StorageForm::kPlain
                                                                 : storage::StorageForm::kSealed;
  jobs_.Add(std::make_unique<jobs::Train>(*storage_.catalog, *keys_.of_store, *dictionaries_,
                                          jobs::Train::Options{form, uploads.compression.level}),
            {options_.train_interval, kUnpaced});
}

void RunningService::StartRetention() {
  clock_task_.emplace(
      retention::ClockWatch::kInterval,
      [this](const std::stop_token&) {
        const absl::Status checked = clock_watch_.Check();
        LOG_IF(WARNING, !checked.ok()) << "cannot note what time it is: " << checked;
        if (!checked.ok()) return;
        const absl::Status noted = size_noter_.NoteIfDue(clock_watch_.RemovalTime());
        LOG_IF(WARNING, !noted.ok()) << "cannot note how much is kept: " << noted;
      },
      PeriodicTask::FirstRun::kAtOnce);
  if (options_.retain_interval == absl::ZeroDuration()) return;
  jobs::Retain::Options retain{options_.retention, options_.retain_rate, options_.trash.for_good()};
  // Nobody has stored anything since the keys were opened.
  const absl::StatusOr<int64_t> next_version_id =
      storage_.catalog->Read([](storage::Snapshot& snapshot) { return snapshot.NextVersionId(); });
  if (next_version_id.ok()) retain.opened_from = *next_version_id;
  jobs_.Add(std::make_unique<jobs::Retain>(
                *storage_.catalog, clock_watch_, clock_, retain, context_.wake_sweep,
                [this] { return CheckPackKeys(); },
                [this](int64_t version_id) {
                  return handlers::CheckOwnKey(*storage_.catalog, *storage_.blobs,
                                               keys_.keeper->ring(), version_id);
                }),
            {options_.retain_interval, kUnpaced});
}

absl::Status RunningService::CheckPackKeys() {
  if (has_pack_keys_) return absl::OkStatus();
  RETURN_IF_ERROR(handlers::CheckPacksOpen(*storage_.catalog, keys_.keeper->ring()));
  has_pack_keys_ = true;
  return absl::OkStatus();
}

void RunningService::RestoreReserve() {
  storage_.reserve->Restore();
  // The catalog itself, or its log, may have the room.
  if (storage_.reserve->CheckGrowth().ok() || ++restorations_without_room_ % kCompactEvery != 1)
    return;
  jobs_.Wake(jobs::Compact::kName);
}

ServiceInfo RunningService::Info() const {
  ServiceInfo info{start_time_, {}, options_.at_rest, options_.trash.retention};
  if (options_.debug) info.modes.push_back("debug");
  if (options_.encrypt) info.modes.push_back("encrypt");
  if (options_.uploads.corrupt_checksums) info.modes.push_back("corrupt_checksums");
  return info;
}

void RunningService::Reload() {
  tls_->Reload();
  if (authorization_ != nullptr) authorization_->Reload();
}

std::shared_ptr<grpc::Channel> RunningService::MakeChannelToItself() const {
  return grpc::CreateChannel(bound_address(), rpc::MakeSelfCredentials(tls_->copies()));
}

void RunningService::WarnIfNothingIsRemoved() const {
  const absl::StatusOr<storage::Counts> counts =
      storage_.catalog->Read([](storage::Snapshot& snapshot) { return snapshot.Count(); });
  LOG_IF(WARNING, counts.ok() && counts->policies == 0)
      << "there is no retention policy: no verified version is ever removed, until the disk is "
      << "full; for example: backupctl policy set --keep-last 3 --keep-daily 14 --keep-weekly 8 "
      << "--keep-monthly 12";
}

void RunningService::WarnOfTheFuture() {
  const absl::StatusOr<int64_t> clients =
      storage_.catalog->Read([this](storage::Snapshot& snapshot) {
        return snapshot.CountStaleClients(absl::InfinitePast(), clock_.Now());
      });
  if (!clients.ok() || *clients == 0) return;
  LOG(WARNING) << *clients
               << " clients were last verified, or else registered, in the future: this "
               << "machine's clock is wrong or was; they count as stale until their next backup";
}

}  // namespace backup
