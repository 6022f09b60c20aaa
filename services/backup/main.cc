// backup-service: flags to options, wiring, run until told to stop.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/exit_code.h"
#include "base/idle_shutdown.h"
#include "base/operations_endpoint.h"
#include "base/process.h"
#include "base/rpc/tls.h"
#include "base/rpc/tls_file_copies.h"
#include "base/rpc/versions.h"
#include "base/service_manager.h"
#include "base/status_macros.h"
#include "gflags/gflags.h"
#include "grpcpp/create_channel.h"
#include "services/backup/authorization.h"
#include "services/backup/limits.h"
#include "services/backup/open_storage.h"
#include "services/backup/parked_thread.h"
#include "services/backup/server.h"
#include "services/backup/service_metrics.h"
#include "storage/sweep.h"

DEFINE_string(data_dir, "", "folder that holds all state (required); one process at a time");
DEFINE_string(listen, "127.0.0.1:50051",
              "HOST:PORT or unix:PATH to serve gRPC on; port 0 means any free one");
DEFINE_string(bound_port_file, "",
              "file to write the bound port to (for a unix socket, its address)");
DEFINE_string(
    operations_listen, "",
    "ADDRESS:PORT of /livez, /readyz, /drainz, /metrics, for example 127.0.0.1:9101; empty: "
    "none");
DEFINE_string(operations_bound_port_file, "", "file to write the bound port of those to");
DEFINE_int64(metrics_max_clients, 10'000, "clients that have metrics of their own");
DEFINE_bool(insecure_grpc, false, "allow --listen beyond loopback without TLS");
DEFINE_string(tls_cert_file, "", "certificate of the service, PEM; with it gRPC is over TLS");
DEFINE_string(tls_key_file, "", "private key of that, readable by its owner only");
DEFINE_string(tls_client_ca_file, "",
              "CA of the callers' certificates; with it every caller needs one");
DEFINE_string(authz_policy_file, "",
              "which certificate's name may call what, JSON; needed with --tls_client_ca_file");
DEFINE_string(grpc_reflection, "auto",
              "server reflection: on, off, or auto (on while --listen is local)");
DEFINE_bool(debug, false,
            "log everything, answer wrong checksums, never close or end what is idle");
DEFINE_bool(encrypt, false, "store files encrypted and log only ERROR and CRITICAL lines");
DEFINE_string(
    at_rest, "auto",
    "how new files are kept: plain, sealed, client, or auto (sealed with --encrypt, else plain)");
DEFINE_string(master_key_file, "",
              "file of the master key, made if missing; empty means DATA_DIR/master.key");
DEFINE_string(corrupt_checksums, "auto",
              "answer wrong checksums on purpose: true, false, or auto (with --debug)");
DEFINE_string(idle_shutdown, "240s",
              "end after so long without a connection or call; 0s turns it off");
DEFINE_string(duplicate_names, "reject",
              "what to do with a client name that is taken: reject or allow");
DEFINE_string(rekey, "pin",
              "what to do with a second, different public key of a client: pin (refuse) or allow");
DEFINE_bool(rotate_session_keys, false, "make a new session key at each reconnect");
DEFINE_int64(inline_blob_limit, 64 << 10,
             "files of at most so many stored bytes live in the catalog");
DEFINE_string(drain_timeout, "30s", "how long calls in flight may go on after SIGTERM");
DEFINE_string(stream_idle_timeout, "60s",
              "end an upload or download whose peer moves nothing for so long; 0s turns it off");
DEFINE_string(sweep_interval, "1h", "how often blobs that no version refers to are removed");

namespace backup {
namespace {

constexpr MetricName kCertExpiry{"backup_tls_cert_expiry_timestamp_seconds",
                                 "When the certificate ends"};
// backupctl's: where it finds the service.
constexpr char kForeignVariable[] = "BACKUP_SERVICE";

// Longer than any transfer may last: a younger blob without a version may still get one.
constexpr absl::Duration kSweepGrace = absl::Hours(24);

bool IsOneOf(const std::string& value, std::initializer_list<const char*> allowed) {
  return std::find(allowed.begin(), allowed.end(), value) != allowed.end() ||
         MustBe(absl::StrCat("one of: ", absl::StrJoin(allowed, ", ")));
}

bool ValidateDuration(const char*, const std::string& value) {
  absl::Duration duration;
  return (absl::ParseDuration(value, &duration) && duration >= absl::ZeroDuration()) ||
         MustBe("a duration like 30s, 5m or 0s");
}
bool ValidateTristate(const char*, const std::string& value) {
  return IsOneOf(value, {"auto", "true", "false"});
}
bool ValidateReflection(const char*, const std::string& value) {
  return IsOneOf(value, {"auto", "on", "off"});
}
bool ValidateAtRest(const char*, const std::string& value) {
  return IsOneOf(value, {"auto", "plain", "sealed", "client"});
}
bool ValidateDuplicateNames(const char*, const std::string& value) {
  return IsOneOf(value, {"reject", "allow"});
}
bool ValidateRekey(const char*, const std::string& value) {
  return IsOneOf(value, {"pin", "allow"});
}
bool ValidateNotNegative(const char*, int64_t value) { return value >= 0 || MustBe("0 or more"); }
bool ValidateInlineLimit(const char*, int64_t value) {
  return (value >= 0 && value <= kMaxInlineBlobLimit) ||
         MustBe(absl::StrCat("0 to ", kMaxInlineBlobLimit));
}

DEFINE_validator(idle_shutdown, &ValidateDuration);
DEFINE_validator(drain_timeout, &ValidateDuration);
DEFINE_validator(stream_idle_timeout, &ValidateDuration);
DEFINE_validator(sweep_interval, &ValidateDuration);
DEFINE_validator(corrupt_checksums, &ValidateTristate);
DEFINE_validator(grpc_reflection, &ValidateReflection);
DEFINE_validator(at_rest, &ValidateAtRest);
DEFINE_validator(duplicate_names, &ValidateDuplicateNames);
DEFINE_validator(rekey, &ValidateRekey);
DEFINE_validator(metrics_max_clients, &ValidateNotNegative);
DEFINE_validator(inline_blob_limit, &ValidateInlineLimit);

absl::Duration DurationFlag(const std::string& value) {
  absl::Duration duration;
  CHECK(absl::ParseDuration(value, &duration));  // The validators saw to it.
  return duration;
}

std::string AtRest() {
  if (FLAGS_at_rest != "auto") return FLAGS_at_rest;
  return FLAGS_encrypt ? "sealed" : "plain";
}

bool CorruptChecksums() {
  return FLAGS_corrupt_checksums == "auto" ? FLAGS_debug : FLAGS_corrupt_checksums == "true";
}

std::string MasterKeyFile() {
  return FLAGS_master_key_file.empty() ? absl::StrCat(FLAGS_data_dir, "/master.key")
                                       : FLAGS_master_key_file;
}

handlers::UploadPolicy UploadPolicyFromFlags() {
  handlers::UploadPolicy policy;
  const std::string at_rest = AtRest();
  policy.form = at_rest == "sealed"   ? storage::StorageForm::kSealed
                : at_rest == "client" ? storage::StorageForm::kClientCiphertext
                                      : storage::StorageForm::kPlain;
  policy.inline_blob_limit = FLAGS_inline_blob_limit;
  policy.corrupt_checksums = CorruptChecksums();
  return policy;
}

ServiceInfo InfoFromFlags(absl::Time start_time) {
  ServiceInfo info{start_time, {}, AtRest()};
  if (FLAGS_debug) info.modes.push_back("debug");
  if (FLAGS_encrypt) info.modes.push_back("encrypt");
  if (CorruptChecksums()) info.modes.push_back("corrupt_checksums");
  return info;
}

// Removes blobs without a version: first what an earlier process left, later what is older than any
// transfer.
class PeriodicSweep {
 public:
  // Counts what it removes in `removed`, and notes the size of all other blobs in `kept_bytes`.
  PeriodicSweep(Storage& storage, absl::Time start_time, absl::Duration interval, Counter removed,
                std::atomic<int64_t>& kept_bytes)
      : thread_([&storage, start_time, interval, removed, &kept_bytes](std::stop_token token) {
          std::mutex mutex;
          std::condition_variable_any stopped;
          std::unique_lock<std::mutex> lock(mutex);
          absl::Time created_before = start_time;
          do {
            const absl::StatusOr<storage::SweepResult> result =
                storage::Sweep(*storage.catalog, *storage.blobs, created_before);
            if (result.ok()) {
              if (result->removed > 0)
                LOG(INFO) << "the sweep removed " << result->removed << " blobs";
              removed.Add(static_cast<double>(result->removed));
              kept_bytes = result->kept_bytes;
            } else {
              LOG(WARNING) << "the sweep failed: " << result.status();
            }
            created_before = std::max(start_time, absl::Now() - kSweepGrace);
          } while (!stopped.wait_for(lock, token, absl::ToChronoNanoseconds(interval),
                                     [&] { return token.stop_requested(); }));
        }) {}

 private:
  std::jthread thread_;
};

// What is sampled when somebody asks.
void AddSamples(Metrics& metrics, storage::Catalog& catalog, const std::atomic<int64_t>& blob_bytes,
                const std::string& cert_file, const Clock& clock) {
  metrics.AddCollector([cert_file] {
    const absl::StatusOr<absl::Time> end = rpc::CertificateExpiry(cert_file);
    if (!end.ok()) return std::vector<Sample>();
    return std::vector<Sample>{{kCertExpiry, {{"listener", "grpc"}}, SecondsSinceEpoch(*end)}};
  });
  metrics.AddCollector([&] {
    return SampleState({catalog, FLAGS_data_dir, FLAGS_metrics_max_clients, blob_bytes},
                       clock.Now());
  });
}

rpc::TlsFiles TlsFromFlags() {
  return {FLAGS_tls_cert_file, FLAGS_tls_key_file, FLAGS_tls_client_ca_file};
}

std::shared_ptr<grpc::ServerCredentials> MakeCredentials(
    const rpc::TlsFiles& files, const std::shared_ptr<Authorization>& authorization) {
  if (files.cert_file.empty()) return grpc::InsecureServerCredentials();
  std::shared_ptr<grpc::ServerCredentials> credentials = rpc::MakeServerCredentials(files);
  if (authorization != nullptr) credentials->SetAuthMetadataProcessor(authorization);
  return credentials;
}

// Null if every caller may do everything.
absl::StatusOr<std::shared_ptr<Authorization>> AuthorizationFromFlags() {
  if (FLAGS_authz_policy_file.empty()) return nullptr;
  return Authorization::Open(FLAGS_authz_policy_file);
}

int Serve(const std::vector<Setting>& settings, StopRequest& stop) {
  const SystemClock clock;
  const absl::Time start_time = clock.Now();
  Metrics metrics;
  Labels libraries = rpc::LibraryVersions();
  libraries.merge(CatalogLibraryVersion());
  AddProcessMetrics(metrics, libraries, ConfigurationText(settings));
  const MetricFamily<Gauge> modes = AddModes(metrics, {{"debug", FLAGS_debug},
                                                       {"encrypt", FLAGS_encrypt},
                                                       {"corrupt_checksums", CorruptChecksums()},
                                                       {"draining", false}});
  const storage::StorageMetrics storage_metrics(metrics);
  std::atomic<int64_t> blob_bytes = 0;
  absl::StatusOr<Storage> storage = OpenStorage(FLAGS_data_dir, MasterKeyFile(), storage_metrics);
  if (!storage.ok()) return Refuse(storage.status());
  if (const absl::Status fits = handlers::CheckMasterKey(*storage->catalog, *storage->master_key);
      !fits.ok()) {
    return Refuse(WithMessage(
        fits, absl::StrCat("the data directory ", FLAGS_data_dir, ": ", fits.message(),
                           " than the one in ", MasterKeyFile(), ": restore that file")));
  }
  const auto tls = rpc::TlsFileCopies::Make(TlsFromFlags());
  if (!tls.ok()) return Refuse(tls.status());
  // Before anybody is served: a port in use stops the start with nothing half-started.
  absl::StatusOr<std::unique_ptr<OperationsEndpoint>> endpoint =
      OpenOperations(FLAGS_operations_listen);
  if (!endpoint.ok()) return Refuse(endpoint.status());
  absl::StatusOr<std::unique_ptr<Acceptor>> acceptor = Acceptor::Listen(FLAGS_listen);
  if (!acceptor.ok()) return Refuse(acceptor.status());
  AddSamples(metrics, *storage->catalog, blob_bytes, (*tls)->copies().cert_file, clock);
  if (FLAGS_encrypt) {
    LOG_CRITICAL << "storing files as " << AtRest() << ", master key "
                 << storage->master_key->Fingerprint();
  }
  const PeriodicSweep sweep(*storage, start_time,
                            std::max(DurationFlag(FLAGS_sweep_interval), absl::Seconds(1)),
                            storage_metrics.orphans_removed, blob_bytes);
  IdleShutdown idle(FLAGS_debug ? absl::ZeroDuration() : DurationFlag(FLAGS_idle_shutdown), stop);
  StreamWatchdog watchdog(FLAGS_debug ? absl::ZeroDuration()
                                      : DurationFlag(FLAGS_stream_idle_timeout));
  CallGate gate;
  ServiceContext context{*storage->catalog,
                         *storage->blobs,
                         *storage->master_key,
                         clock,
                         idle,
                         watchdog,
                         gate,
                         FLAGS_duplicate_names == "allow" ? storage::DuplicateNames::kAllow
                                                          : storage::DuplicateNames::kReject,
                         {FLAGS_rekey == "allow" ? storage::Rekey::kAllow : storage::Rekey::kPin,
                          FLAGS_rotate_session_keys},
                         UploadPolicyFromFlags()};
  context.metrics = ServiceMetrics(metrics);
  const MetricFamily<Histogram>& phases = context.metrics.upload_duration;
  context.uploads.phases = {phases.With({"receive"}), phases.With({"decrypt"}),
                            phases.With({"fsync"}), phases.With({"commit"})};
  context.keys.replaced_keys = context.metrics.rekeys.With({"accepted"});
  ClientTrace trace;
  context.trace = &trace;
  const bool reflection = FLAGS_grpc_reflection == "auto" ? IsLocalAddress(FLAGS_listen)
                                                          : FLAGS_grpc_reflection == "on";
  const auto authorization = AuthorizationFromFlags();
  if (!authorization.ok()) return Refuse(authorization.status());
  context.authorization = authorization->get();
  context.callers_are_local = IsLocalAddress(FLAGS_listen);
  const absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start(*std::move(acceptor), context, InfoFromFlags(start_time),
                    {reflection, MakeCredentials((*tls)->copies(), *authorization)});
  if (!server.ok()) return Refuse(server.status());
  const absl::Status told = WriteOperationsPort(FLAGS_operations_bound_port_file, endpoint->get());
  if (!told.ok()) return Refuse(told);
  if (!FLAGS_bound_port_file.empty()) {
    const std::string port = (*server)->bound_port() == 0 ? (*server)->bound_address()
                                                          : absl::StrCat((*server)->bound_port());
    const absl::Status written =
        WriteFileAtomically(FLAGS_bound_port_file, absl::StrCat(port, "\n"));
    if (!written.ok()) return Refuse(written);
  }
  const auto to_itself =
      grpc::CreateChannel((*server)->bound_address(), rpc::MakeSelfCredentials((*tls)->copies()));
  const ParkedThread parked(to_itself);
  const Operations operations = StartOperations(
      *std::move(endpoint), ServiceProbes(*storage->catalog, FLAGS_data_dir, to_itself),
      [&] { return idle.is_idle(); }, metrics);
  LOG(INFO) << "serving on " << (*server)->bound_address() << ", data in " << FLAGS_data_dir
            << ", at rest " << AtRest();
  if (CorruptChecksums())
    LOG(WARNING) << "checksums are falsified on purpose: no client will verify a file";
  TellServiceManager("READY=1");
  const std::string why = stop.Wait();  // First: a log line has the time of its beginning.
  LOG(INFO) << "stopping: " << why;
  modes.With({"draining"}).Set(1);
  operations.SetDraining();
  TellServiceManager("STOPPING=1");
  (*server)->Drain(DurationFlag(FLAGS_drain_timeout));
  LOG(INFO) << "stopped";
  return 0;
}

// What can be told without starting.
absl::Status CheckConfiguration() {
  if (FLAGS_data_dir.empty())
    return UsageError("--data_dir=DIR must say where to keep the data (--help tells more)");
  if (!IsAddress(FLAGS_listen)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen=", FLAGS_listen, " is neither HOST:PORT nor unix:PATH"));
  }
  RETURN_IF_ERROR(rpc::CheckTlsFiles(TlsFromFlags()));
  if (!FLAGS_tls_client_ca_file.empty() && FLAGS_tls_cert_file.empty())
    return absl::InvalidArgumentError("--tls_client_ca_file needs --tls_cert_file");
  if (FLAGS_tls_client_ca_file.empty() != FLAGS_authz_policy_file.empty()) {
    return absl::InvalidArgumentError(
        "--tls_client_ca_file says who may connect and --authz_policy_file what each may do: give "
        "both");
  }
  if (!FLAGS_authz_policy_file.empty())
    RETURN_IF_ERROR(Authorization::Open(FLAGS_authz_policy_file).status());
  if (!IsLocalAddress(FLAGS_listen) && !FLAGS_insecure_grpc && FLAGS_tls_cert_file.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--listen=", FLAGS_listen,
        " is reachable from outside without TLS: give "
        "--tls_cert_file, listen on 127.0.0.1 or unix:PATH, or allow it with --insecure_grpc"));
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  StopRequest& stop =
      *new StopRequest;  // Lives as long as the signal thread, that is, the process.
  const std::vector<Setting> settings =
      StartProcess({"backup-service --data_dir=DIR [--listen=HOST:PORT|unix:PATH] ...",
                    __FILE__,
                    {kForeignVariable}},
                   argc, argv, stop);
  if (FLAGS_debug) SetDebugLogging();
  if (FLAGS_encrypt && !FLAGS_debug) SetQuietLogging();
  const absl::Status checked = argc > 1 ? UnknownArgument(argv[1]) : CheckConfiguration();
  if (CheckConfigurationOnly()) return checked.ok() ? 0 : Refuse(checked);
  return LeaveNoPortFiles(checked.ok() ? Serve(settings, stop) : Refuse(checked),
                          {FLAGS_bound_port_file, FLAGS_operations_bound_port_file});
}

}  // namespace
}  // namespace backup

int main(int argc, char** argv) { return backup::Main(argc, argv); }
