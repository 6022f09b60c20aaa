// backup-bridge: flags to options, wiring, run until told to stop.

#include <sys/resource.h>

#include <filesystem>
#include <optional>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/exit_code.h"
#include "base/operations_endpoint.h"
#include "base/process.h"
#include "base/rpc/tls.h"
#include "base/rpc/tls_file_copies.h"
#include "base/rpc/versions.h"
#include "base/service_manager.h"
#include "base/status_macros.h"
#include "bridge/backend_watch.h"
#include "bridge/listener.h"
#include "bridge/listening_socket.h"
#include "bridge/self_backup.h"
#include "gflags/gflags.h"

DEFINE_string(bind, "127.0.0.1", "address to listen on for old clients");
DEFINE_int32(port, -1,
             "port to listen on, 0 for any free one; -1: the number in --port_file, else 1357");
DEFINE_string(port_file, "port.info", "file that holds the port if --port is not given");
DEFINE_string(fallback_ports, "",
              "comma-separated ports that are tried in turn when the port is in use");
DEFINE_string(bound_port_file, "", "file to write the bound port to");
DEFINE_string(
    operations_listen, "",
    "ADDRESS:PORT of /livez, /readyz, /drainz, /metrics, for example 127.0.0.1:9102; empty: "
    "none");
DEFINE_string(operations_bound_port_file, "", "file to write the bound port of those to");
DEFINE_string(service, "127.0.0.1:50051", "the backup-service, as a gRPC target");
DEFINE_string(service_tls_ca_file, "", "CA of the service's certificate; with it gRPC is over TLS");
DEFINE_string(service_tls_cert_file, "", "certificate of the bridge, if the service asks for one");
DEFINE_string(service_tls_key_file, "", "private key of that, readable by its owner only");
DEFINE_string(service_tls_server_name, "",
              "name in the service's certificate, if it is not the one in --service");
DEFINE_bool(insecure_grpc, false, "allow --service beyond this machine without TLS");
DEFINE_bool(debug, false,
            "log everything, answer wrong checksums, never close or end what is idle");
DEFINE_bool(encrypt, false,
            "log only ERROR and CRITICAL lines; back up --self_backup_dir as a self-test");
DEFINE_string(corrupt_checksums, "auto",
              "answer wrong checksums on purpose: true, false, or auto (with --debug)");
DEFINE_string(idle_shutdown, "240s", "end after so long without a connection; 0s turns it off");
DEFINE_string(header_timeout, "10s",
              "a request's head must be whole within this time; 0s turns it off");
DEFINE_string(idle_timeout, "60s",
              "a connection without a request for so long is closed; 0s turns it off");
DEFINE_string(body_timeout, "30s", "a file must bring at least 1 KiB/s over this time");
DEFINE_string(write_timeout, "30s", "an answer must be taken within this time");
DEFINE_int32(max_connections, 10'000, "more connections are answered with a general error");
DEFINE_int32(max_active_requests, 1024, "more requests at once wait");
DEFINE_string(ride_through, "30s", "how long requests are tried again while the service is away");
DEFINE_string(retry_answer_delay, "300ms",
              "how long the answer to a retry notice waits for the client's next bytes");
DEFINE_string(drain_timeout, "30s", "how long requests in flight may go on after SIGTERM");
DEFINE_uint64(spool_bytes, 4 << 20,
              "an upload of at most so many bytes so far is repeated when the service restarts");
DEFINE_string(
    family_of_1025, "auto",
    "family of clients with request codes 1025 to 1031 of which nothing else is known: C, "
    "D, or auto (D on port 1256, else C)");
DEFINE_string(self_backup_dir, "auto",
              "folder that is backed up as a self-test with --encrypt; auto: the legacy client's "
              "sources; empty: none");
DEFINE_string(legacy_client, "",
              "program for the self-test; empty: legacy-client beside this program");

namespace backup::bridge {
namespace {

constexpr MetricName kUpstreamUp{"backup_bridge_upstream_up",
                                 "1 while there is a connection to the service"};
constexpr MetricName kCertExpiry{"backup_tls_cert_expiry_timestamp_seconds",
                                 "When the certificate ends"};

constexpr int kMaxPort = 65535;
// Where clients of family D look for their server.
constexpr int kPortOfFamilyD = 1256;
// Descriptors for other things than clients.
constexpr rlim_t kSpareDescriptors = 64;

bool ValidateDuration(const char*, const std::string& value) {
  absl::Duration duration;
  return (absl::ParseDuration(value, &duration) && duration >= absl::ZeroDuration()) ||
         MustBe("a duration like 30s, 5m or 0s");
}
bool ValidateTristate(const char*, const std::string& value) {
  return value == "auto" || value == "true" || value == "false" ||
         MustBe("one of: auto, true, false");
}
bool ValidateFamily(const char*, const std::string& value) {
  return value == "auto" || value == "C" || value == "D" || MustBe("C, D or auto");
}
bool ValidatePort(const char*, int32_t value) {
  return (value >= -1 && value <= kMaxPort) || MustBe(absl::StrCat("0 to ", kMaxPort, ", or -1"));
}
bool ValidatePositive(const char*, int32_t value) { return value > 0 || MustBe("1 or more"); }

// The ports of a comma-separated list; nothing if one of them is none.
std::optional<std::vector<int>> ParsePorts(absl::string_view list) {
  std::vector<int> ports;
  for (const absl::string_view text : absl::StrSplit(list, ',', absl::SkipWhitespace())) {
    int port = 0;
    if (!absl::SimpleAtoi(text, &port) || port < 0 || port > kMaxPort) return std::nullopt;
    ports.push_back(port);
  }
  return ports;
}
bool ValidatePorts(const char*, const std::string& value) {
  return ParsePorts(value) || MustBe("port numbers with commas between them");
}

DEFINE_validator(idle_shutdown, &ValidateDuration);
DEFINE_validator(header_timeout, &ValidateDuration);
DEFINE_validator(idle_timeout, &ValidateDuration);
DEFINE_validator(body_timeout, &ValidateDuration);
DEFINE_validator(write_timeout, &ValidateDuration);
DEFINE_validator(ride_through, &ValidateDuration);
DEFINE_validator(retry_answer_delay, &ValidateDuration);
DEFINE_validator(drain_timeout, &ValidateDuration);
DEFINE_validator(corrupt_checksums, &ValidateTristate);
DEFINE_validator(family_of_1025, &ValidateFamily);
DEFINE_validator(port, &ValidatePort);
DEFINE_validator(fallback_ports, &ValidatePorts);
DEFINE_validator(max_connections, &ValidatePositive);
DEFINE_validator(max_active_requests, &ValidatePositive);

absl::Duration DurationFlag(const std::string& value) {
  absl::Duration duration;
  CHECK(absl::ParseDuration(value, &duration));  // The validators saw to it.
  return duration;
}
// For what closes idle connections: not under --debug.
absl::Duration TimeoutFlag(const std::string& value) {
  const absl::Duration timeout = DurationFlag(value);
  return FLAGS_debug || timeout == absl::ZeroDuration() ? absl::InfiniteDuration() : timeout;
}

bool CorruptChecksums() {
  return FLAGS_corrupt_checksums == "auto" ? FLAGS_debug : FLAGS_corrupt_checksums == "true";
}

PortRules PortRulesFromFlags() {
  return {FLAGS_port, FLAGS_port_file, *ParsePorts(FLAGS_fallback_ports)};
}

ListenerOptions ListenerOptionsFromFlags(int port, const BridgeMetrics& metrics) {
  ListenerOptions options;
  options.session.metrics = metrics;
  options.max_connections = FLAGS_max_connections;
  options.max_active_requests = FLAGS_max_active_requests;
  options.header_timeout = TimeoutFlag(FLAGS_header_timeout);
  options.idle_timeout = TimeoutFlag(FLAGS_idle_timeout);
  options.retry_answer_delay = DurationFlag(FLAGS_retry_answer_delay);
  options.session.body.window = DurationFlag(FLAGS_body_timeout);
  options.session.write_timeout = DurationFlag(FLAGS_write_timeout);
  options.session.family_of_shared_codes = FLAGS_family_of_1025 != "auto" ? FLAGS_family_of_1025
                                           : port == kPortOfFamilyD       ? "D"
                                                                          : "C";
  return options;
}

// As many descriptors as the system allows: each client is one.
void RaiseDescriptorLimit() {
  rlimit limit = {};
  PCHECK(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    PLOG(WARNING) << "cannot raise the limit of open files";
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

// Where a client on this machine reaches us.
std::string OwnAddress(int port) {
  const bool any = FLAGS_bind == "0.0.0.0" || FLAGS_bind == "::";
  return absl::StrCat(any ? "127.0.0.1" : FLAGS_bind, ":", port);
}

std::unique_ptr<SelfBackup> StartSelfBackup(int port) {
  std::error_code error;
  const auto bin_directory = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const std::string directory = SelfBackupDirectory(bin_directory);
  if (!FLAGS_encrypt || directory.empty()) return nullptr;
  const std::string program = FLAGS_legacy_client.empty()
                                  ? (bin_directory / "legacy-client").string()
                                  : FLAGS_legacy_client;
  return std::make_unique<SelfBackup>(SelfBackupOptions{directory, program, OwnAddress(port)});
}

// How long the event loop may take to come round.
constexpr absl::Duration kLongestTurn = absl::Seconds(5);

absl::Status ProbeListener(Listener& listener) {
  return listener.Turns(kLongestTurn)
             ? absl::OkStatus()
             : absl::DeadlineExceededError("the event loop does not come round");
}

// BackendWatch keeps the channel connected, and health checks of the channel say when it is not.
absl::Status ProbeService(grpc::Channel& channel) {
  return channel.GetState(/*try_to_connect=*/true) == GRPC_CHANNEL_READY
             ? absl::OkStatus()
             : absl::UnavailableError(absl::StrCat("no connection to ", FLAGS_service));
}

rpc::TlsFiles TlsFromFlags() {
  return {FLAGS_service_tls_cert_file, FLAGS_service_tls_key_file, FLAGS_service_tls_ca_file};
}

// What can be told without starting.
absl::Status CheckConfiguration() {
  RETURN_IF_ERROR(rpc::CheckTlsFiles(TlsFromFlags()));
  if (!FLAGS_service_tls_cert_file.empty() && FLAGS_service_tls_ca_file.empty()) {
    return absl::InvalidArgumentError(
        "--service_tls_cert_file needs --service_tls_ca_file: without it nothing is encrypted");
  }
  if (!FLAGS_service_tls_ca_file.empty() || FLAGS_insecure_grpc ||
      rpc::IsLocalTarget(FLAGS_service)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--service=", FLAGS_service,
                   " is another machine: give --service_tls_ca_file, or allow plaintext with "
                   "--insecure_grpc"));
}

// What is sampled when somebody asks.
void AddSamples(Metrics& metrics, const std::shared_ptr<grpc::Channel>& channel,
                const std::string& cert_file) {
  metrics.AddCollector([channel, cert_file] {
    std::vector<Sample> samples = {{kUpstreamUp, {}, ProbeService(*channel).ok() ? 1.0 : 0.0}};
    const absl::StatusOr<absl::Time> end = rpc::CertificateExpiry(cert_file);
    if (end.ok())
      samples.push_back({kCertExpiry, {{"listener", "upstream"}}, SecondsSinceEpoch(*end)});
    return samples;
  });
}

int Serve(const std::vector<Setting>& settings, StopRequest& stop) {
  RaiseDescriptorLimit();
  Metrics metrics;
  AddProcessMetrics(metrics, rpc::LibraryVersions(), ConfigurationText(settings));
  const MetricFamily<Gauge> modes = AddModes(metrics, {{"debug", FLAGS_debug},
                                                       {"encrypt", FLAGS_encrypt},
                                                       {"corrupt_checksums", CorruptChecksums()},
                                                       {"draining", false}});
  const BridgeMetrics bridge_metrics(metrics);
  std::stop_source give_up;
  const auto tls = rpc::TlsFileCopies::Make(TlsFromFlags());
  if (!tls.ok()) return Refuse(tls.status());
  const BackendChannels channels = MakeBackendChannels(
      FLAGS_service, rpc::MakeChannelCredentials((*tls)->copies()), FLAGS_service_tls_server_name);
  AddSamples(metrics, channels.calls, (*tls)->copies().cert_file);
  // Before anybody is served: a port in use stops the start with nothing half-started.
  absl::StatusOr<std::unique_ptr<OperationsEndpoint>> endpoint =
      OpenOperations(FLAGS_operations_listen);
  if (!endpoint.ok()) return Refuse(endpoint.status());
  absl::StatusOr<ListeningSocket> socket =
      ListenOnFirstFree(FLAGS_bind, PortsToTry(PortRulesFromFlags()));
  if (!socket.ok()) return Refuse(socket.status());
  const BackendWatch watch(channels, FLAGS_service);
  BackendOptions backend_options;
  backend_options.ride_through = DurationFlag(FLAGS_ride_through);
  backend_options.spool_bytes = FLAGS_spool_bytes;
  backend_options.give_up = give_up.get_token();
  backend_options.metrics = bridge_metrics;
  BackendClient backend(channels, backend_options);
  Forwarder forwarder(backend, CorruptChecksums(), bridge_metrics.faults_injected);
  IdleShutdown idle(FLAGS_debug ? absl::ZeroDuration() : DurationFlag(FLAGS_idle_shutdown), stop);
  const absl::StatusOr<std::unique_ptr<Listener>> listener =
      Listener::Start(std::move(socket->fd), forwarder, idle,
                      ListenerOptionsFromFlags(socket->port, bridge_metrics));
  if (!listener.ok()) return Refuse(listener.status());
  const absl::Status told = WriteOperationsPort(FLAGS_operations_bound_port_file, endpoint->get());
  if (!told.ok()) return Refuse(told);
  const Operations operations = StartOperations(
      *std::move(endpoint),
      {{"self", [&] { return ProbeListener(**listener); }, /*is_vital=*/true},
       {"upstream", [&] { return ProbeService(*channels.calls); }}},
      [&] { return idle.is_idle(); }, metrics);
  if (!FLAGS_bound_port_file.empty()) {
    const absl::Status written =
        WriteFileAtomically(FLAGS_bound_port_file, absl::StrCat(socket->port, "\n"));
    if (!written.ok()) return Refuse(written);
  }
  LOG(INFO) << "listening on " << FLAGS_bind << ":" << socket->port << ", forwarding to "
            << FLAGS_service;
  if (CorruptChecksums())
    LOG(WARNING) << "checksums are falsified on purpose: no client will verify a file";
  TellServiceManager("READY=1");
  std::unique_ptr<SelfBackup> self_backup = StartSelfBackup(socket->port);
  const std::string why = stop.Wait();  // First: a log line has the time of its beginning.
  LOG(INFO) << "stopping: " << why;
  modes.With({"draining"}).Set(1);
  operations.SetDraining();
  TellServiceManager("STOPPING=1");
  self_backup.reset();
  if (!(*listener)->Drain(DurationFlag(FLAGS_drain_timeout))) {
    LOG(WARNING) << "requests are still in flight after " << FLAGS_drain_timeout << ", hanging up";
    give_up.request_stop();
  }
  LOG(INFO) << "stopped";
  return 0;
}

int Main(int argc, char** argv) {
  StopRequest& stop =
      *new StopRequest;  // Lives as long as the signal thread, that is, the process.
  const std::vector<Setting> settings = StartProcess(
      {"backup-bridge [--bind=ADDRESS] [--port=PORT] [--service=TARGET] ...", __FILE__}, argc, argv,
      stop);
  if (FLAGS_debug) SetDebugLogging();
  if (FLAGS_encrypt && !FLAGS_debug) SetQuietLogging();
  const absl::Status checked = argc > 1 ? UnknownArgument(argv[1]) : CheckConfiguration();
  if (CheckConfigurationOnly()) return checked.ok() ? 0 : Refuse(checked);
  return LeaveNoPortFiles(checked.ok() ? Serve(settings, stop) : Refuse(checked),
                          {FLAGS_bound_port_file, FLAGS_operations_bound_port_file});
}

}  // namespace
}  // namespace backup::bridge

int main(int argc, char** argv) { return backup::bridge::Main(argc, argv); }
