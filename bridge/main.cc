// backup-bridge: wiring, run until told to stop.

#include <sys/resource.h>

#include <filesystem>
#include <iostream>
#include <iterator>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/exit_code.h"
#include "base/inherited_state.h"
#include "base/log_writer.h"
#include "base/operations_endpoint.h"
#include "base/process.h"
#include "base/service_manager.h"
#include "base/socket_address.h"
#include "base/standard_output.h"
#include "bridge/explain_capture.h"
#include "bridge/flags.h"
#include "bridge/listener.h"
#include "bridge/net/ports_to_try.h"
#include "bridge/self_backup.h"
#include "bridge/service/backend_client.h"
#include "bridge/service/backend_diagnosis.h"
#include "bridge/service/backend_watch.h"
#include "bridge/service/ban_sync.h"
#include "rpc/grpc_log.h"
#include "rpc/tls_file_copies.h"
#include "rpc/versions.h"

namespace backup::bridge {
namespace {

constexpr MetricName kUpstreamUp{"backup_bridge_upstream_up",
                                 "1 while there is a connection to the service"};
constexpr MetricName kCertExpiry{"backup_tls_cert_expiry_timestamp_seconds",
                                 "When the certificate ends"};

// Descriptors for other things than clients.
constexpr rlim_t kSpareDescriptors = 64;

// Each client is one.
void CheckDescriptorLimit() {
  rlimit limit = {};
  PCHECK(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  if (limit.rlim_cur < static_cast<rlim_t>(FLAGS_max_connections) + kSpareDescriptors) {
    LOG(WARNING) << "only " << limit.rlim_cur
                 << " files may be open: fewer clients than --max_connections="
                 << FLAGS_max_connections << " can be served (ulimit -n)";
  }
}

// What the self-test is to back up: as installed, else as built. Empty for nothing.
std::string SelfBackupDirectory(const std::filesystem::path& bin_directory) {
  if (FLAGS_self_backup_dir != "auto") return FLAGS_self_backup_dir;
  const auto installed = bin_directory.parent_path() / "share/backup/legacy-client-src";
  std::error_code ignored;
  return std::filesystem::is_directory(installed, ignored) ? installed.string()
                                                           : BACKUP_LEGACY_CLIENT_SOURCES;
}

std::unique_ptr<SelfBackup> StartSelfBackup(int port) {
  std::error_code error;
  const auto bin_directory = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const std::string directory = SelfBackupDirectory(bin_directory);
  if (!FLAGS_encrypt || directory.empty()) return nullptr;
  const std::string program = FLAGS_legacy_client.empty()
                                  ? (bin_directory / "legacy-client").string()
                                  : FLAGS_legacy_client;
  return std::make_unique<SelfBackup>(
      SelfBackupOptions{directory, program, AddressText({OwnHost(), port})});
}

// How long the event loop may take to come round.
constexpr absl::Duration kLongestRound = absl::Seconds(5);

absl::Status ProbeListener(Listener& listener) {
  return listener.Turns(kLongestRound)
             ? absl::OkStatus()
             : absl::DeadlineExceededError("the event loop does not come round");
}

// BackendWatch keeps the channel connected, and health checks of the channel say when it is not.
bool IsConnected(grpc::Channel& channel) {
  return channel.GetState(/*try_to_connect=*/true) == GRPC_CHANNEL_READY;
}

absl::Status ProbeService(grpc::Channel& channel, const BackendDiagnosis& diagnosis) {
  if (IsConnected(channel)) return absl::OkStatus();
  const std::string why = diagnosis.why();
  return absl::UnavailableError(
      absl::StrCat("no connection to ", FLAGS_service, why.empty() ? "" : ": ", why));
}

rpc::ConnectionPlan PlanFromFlags() {
  return {TargetOfService(),
          TlsFromFlags(),
          FLAGS_service_tls_server_name,
          {"--service", "--service_tls_ca_file",
           "--service_tls_cert_file and --service_tls_key_file", "--service_tls_server_name"}};
}

// What is sampled when somebody asks.
void AddSamples(Metrics& metrics, const std::shared_ptr<grpc::Channel>& channel,
                const std::string& cert_file) {
  metrics.AddCollector([channel, cert_file] {
    std::vector<Sample> samples = {{kUpstreamUp, {}, IsConnected(*channel) ? 1.0 : 0.0}};
    const absl::StatusOr<absl::Time> end = rpc::CertificateExpiry(cert_file);
    if (end.ok())
      samples.push_back({kCertExpiry, {{"listener", "upstream"}}, SecondsSinceEpoch(*end)});
    return samples;
  });
}

std::string NamesOf(const wire::DialectSet& dialects) {
  return absl::StrJoin(
      dialects.dialects(), ", ",
      [](std::string* out, const wire::Dialect& dialect) { absl::StrAppend(out, dialect.name()); });
}

int PrintDialect() {
  constexpr int kNoPort = 0;
  const absl::StatusOr<wire::DialectSet> dialects = DialectsFromFlags(kNoPort);
  if (!dialects.ok()) return Refuse(dialects.status());
  const wire::Dialect* const dialect = dialects->FindByName(FLAGS_print_dialect);
  if (dialect == nullptr) {
    return Refuse(UsageError(absl::StrCat("--print_dialect=", FLAGS_print_dialect,
                                          ": there are the dialects ", NamesOf(*dialects),
                                          ", and those of --dialect_file")));
  }
  std::cout << dialect->source();
  ExitAfterOutput();
}

int Explain() {
  absl::StatusOr<std::vector<wire::Dialect>> further = DialectsOfFiles();
  if (!further.ok()) return Refuse(further.status());
  // Also what could not be served together: whoever writes a dialect begins with a copy of another.
  const absl::Span<const wire::Dialect> built_in = wire::BuiltInDialects();
  std::vector<wire::Dialect> dialects(built_in.begin(), built_in.end());
  std::move(further->begin(), further->end(), std::back_inserter(dialects));
  return ExplainCapture(FLAGS_explain, dialects);
}

int Serve(const Process& process, StopRequest& stop) {
  CheckDescriptorLimit();
  Metrics metrics;
  AddProcessMetrics(metrics, rpc::LibraryVersions(), ConfigurationText(process.settings));
  AddLogMetrics(metrics, process.log);
  const MetricFamily<Gauge> modes = AddModes(metrics, {{"debug", FLAGS_debug},
                                                       {"encrypt", FLAGS_encrypt},
                                                       {"corrupt_checksums", CorruptChecksums()},
                                                       {"draining", false}});
  const BridgeMetrics bridge_metrics(metrics);
  std::stop_source give_up;
  const auto tls = rpc::TlsFileCopies::Make(TlsFromFlags());
  if (!tls.ok()) return Refuse(tls.status());
  const BackendChannels channels =
      MakeBackendChannels(TargetOfService(), rpc::MakeChannelCredentials((*tls)->copies()),
                          FLAGS_service_tls_server_name);
  AddSamples(metrics, channels.calls, (*tls)->copies().cert_file);
  // Before anybody is served: a port in use stops the start with nothing half-started.
  absl::StatusOr<std::unique_ptr<OperationsEndpoint>> endpoint =
      OpenOperations(FLAGS_operations_listen);
  if (!endpoint.ok()) return Refuse(endpoint.status());
  absl::StatusOr<ListeningSocket> socket =
      ListenOnFirstFree(BindHost(), PortsToTry(PortRulesFromFlags()));
  if (!socket.ok()) return Refuse(socket.status());
  absl::StatusOr<wire::DialectSet> dialects = DialectsFromFlags(socket->port);
  if (!dialects.ok()) return Refuse(dialects.status());
  const std::string dialect_names = NamesOf(*dialects);
  const BackendWatch watch(channels, FLAGS_service);
  const BackendDiagnosis diagnosis(channels.calls, PlanFromFlags());
  BackendClient backend(channels, BackendOptionsFromFlags(give_up.get_token(), bridge_metrics));
  Forwarder forwarder(backend, CorruptChecksums(), bridge_metrics.faults_injected);
  IdleShutdown idle(IdleShutdownTime(), stop);
  std::optional<IdleShutdown::Activity> start(std::in_place, idle);  // Which is no idle time.
  const absl::StatusOr<std::unique_ptr<Listener>> listener =
      Listener::Start(std::move(socket->fd), forwarder, idle,
                      ListenerOptionsFromFlags(*std::move(dialects), bridge_metrics));
  if (!listener.ok()) return Refuse(listener.status());
  const absl::Status told = WriteOperationsPort(FLAGS_operations_bound_port_file, endpoint->get());
  if (!told.ok()) return Refuse(told);
  const Operations operations = StartOperations(
      *std::move(endpoint),
      {{"self", [&] { return ProbeListener(**listener); }, Probe::Kind::kVital},
       {"upstream", [&] { return ProbeService(*channels.calls, diagnosis); }},
       LogProbe(process.log)},
      [&] { return idle.is_idle(); }, metrics);
  if (!FLAGS_bound_port_file.empty()) {
    const absl::Status written =
        WriteFileAtomically(FLAGS_bound_port_file, absl::StrCat(socket->port, "\n"));
    if (!written.ok()) return Refuse(written);
  }
  start.reset();
  LOG(INFO) << "listening on " << socket->address << ", forwarding to " << FLAGS_service
            << ", dialects: " << dialect_names;
  if (CorruptChecksums())
    LOG(WARNING) << "checksums are falsified on purpose: no client will verify a file";
  const ReloadRequest::Handler reload(process.reload, [&] { (*tls)->Reload(); });
  LogDroppedVariables();
  TellServiceManager("READY=1");
  std::unique_ptr<SelfBackup> self_backup = StartSelfBackup(socket->port);
  const BanSync ban_sync(backend, (*listener)->bans());
  const std::string why = stop.Wait();  // First: a log line has the time of its beginning.
  LOG(INFO) << "stopping: " << why;
  modes.With({"draining"}).Set(1);
  operations.SetDraining();
  TellServiceManager("STOPPING=1");
  self_backup.reset();
  if (!(*listener)->Drain(DrainTimeout())) {
    LOG(WARNING) << "requests are still in flight after " << FLAGS_drain_timeout << ", hanging up";
    give_up.request_stop();
  }
  LOG(INFO) << "stopped";
  return 0;
}

int Main(int argc, char** argv) {
  StopRequest& stop =
      *new StopRequest;  // Lives as long as the signal thread, that is, the process.
  const Process process = StartProcess(
      {"backup-bridge [--bind=ADDRESS] [--port=PORT] [--service=TARGET] ...", FlagsFile()}, argc,
      argv, stop);
  rpc::SendGrpcLogToGlog();
  if (FLAGS_debug) SetDebugLogging();
  if (FLAGS_encrypt && !FLAGS_debug) SetQuietLogging();
  if (argc == 1 && !FLAGS_print_dialect.empty()) return PrintDialect();
  if (argc == 1 && !FLAGS_explain.empty()) return Explain();
  const absl::Status checked = argc > 1 ? UnknownArgument(argv[1]) : CheckConfiguration();
  if (CheckConfigurationOnly()) return checked.ok() ? 0 : Refuse(checked);
  return LeaveNoPortFiles(checked.ok() ? Serve(process, stop) : Refuse(checked),
                          {FLAGS_bound_port_file, FLAGS_operations_bound_port_file});
}

}  // namespace
}  // namespace backup::bridge

int main(int argc, char** argv) { return backup::bridge::Main(argc, argv); }
