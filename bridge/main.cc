// backup-bridge: flags to options, wiring, run until told to stop.

#include <fstream>
#include <iostream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/process.h"
#include "bridge/listener.h"
#include "gflags/gflags.h"

DEFINE_string(bind, "127.0.0.1", "IPv4 address to listen on for old clients");
DEFINE_int32(port, -1,
             "port to listen on, 0 for any free one; -1: the number in --port_file, else 1357");
DEFINE_string(port_file, "port.info", "file that holds the port if --port is not given");
DEFINE_string(fallback_ports, "",
              "comma-separated ports that are tried in turn when the port is in use");
DEFINE_string(bound_port_file, "", "file to write the bound port to");
DEFINE_string(service, "127.0.0.1:50051", "the backup-service, as a gRPC target");
DEFINE_bool(debug, false,
            "log everything, answer wrong checksums, never close or end what is idle");
DEFINE_bool(encrypt, false, "log only ERROR and CRITICAL lines");
DEFINE_string(corrupt_checksums, "auto",
              "answer wrong checksums on purpose: true, false, or auto (with --debug)");
DEFINE_string(idle_shutdown, "240s", "end after so long without a connection; 0s turns it off");
DEFINE_string(header_timeout, "10s", "a request's head must be whole within this time");
DEFINE_string(idle_timeout, "60s", "a connection without a request for so long is closed");
DEFINE_string(body_timeout, "30s", "a file must bring at least 1 KiB/s over this time");
DEFINE_string(write_timeout, "30s", "an answer must be taken within this time");
DEFINE_int32(max_connections, 10'000, "more connections are answered with a general error");
DEFINE_int32(max_active_requests, 1024, "more requests at once wait");
DEFINE_string(ride_through, "30s", "how long requests are tried again while the service is away");
DEFINE_string(retry_answer_delay, "300ms",
              "how long the answer to a retry notice waits for the client's next bytes");
DEFINE_string(drain_timeout, "30s", "how long requests in flight may go on after SIGTERM");

namespace backup::bridge {
namespace {

// Exit codes: docs/operations.md.
constexpr int kBadConfiguration = 10;
constexpr int kDefaultPort = 1357;
constexpr int kMaxPort = 65535;

bool ValidateDuration(const char* flag, const std::string& value) {
  absl::Duration duration;
  if (absl::ParseDuration(value, &duration) && duration >= absl::ZeroDuration()) return true;
  std::cerr << "--" << flag << " must be a duration like 30s, 5m or 0s\n";
  return false;
}
bool ValidateTristate(const char*, const std::string& value) {
  return value == "auto" || value == "true" || value == "false";
}
bool ValidatePort(const char*, int32_t value) { return value >= -1 && value <= kMaxPort; }
bool ValidatePositive(const char*, int32_t value) { return value > 0; }

DEFINE_validator(idle_shutdown, &ValidateDuration);
DEFINE_validator(header_timeout, &ValidateDuration);
DEFINE_validator(idle_timeout, &ValidateDuration);
DEFINE_validator(body_timeout, &ValidateDuration);
DEFINE_validator(write_timeout, &ValidateDuration);
DEFINE_validator(ride_through, &ValidateDuration);
DEFINE_validator(retry_answer_delay, &ValidateDuration);
DEFINE_validator(drain_timeout, &ValidateDuration);
DEFINE_validator(corrupt_checksums, &ValidateTristate);
DEFINE_validator(port, &ValidatePort);
DEFINE_validator(max_connections, &ValidatePositive);
DEFINE_validator(max_active_requests, &ValidatePositive);

absl::Duration DurationFlag(const std::string& value) {
  absl::Duration duration;
  CHECK(absl::ParseDuration(value, &duration));  // The validators saw to it.
  return duration;
}
std::chrono::milliseconds MillisFlag(const std::string& value) {
  return absl::ToChronoMilliseconds(DurationFlag(value));
}

bool CorruptChecksums() {
  return FLAGS_corrupt_checksums == "auto" ? FLAGS_debug : FLAGS_corrupt_checksums == "true";
}

// The port that is asked for: --port, else the number in --port_file, else 1357. A bad or missing
// file is no reason to fail.
int WantedPort() {
  if (FLAGS_port >= 0) return FLAGS_port;
  std::ifstream file(FLAGS_port_file);
  std::string line;
  int port = 0;
  if (std::getline(file, line) && absl::SimpleAtoi(line, &port) && port > 0 && port <= kMaxPort)
    return port;
  LOG(WARNING) << "no port in " << FLAGS_port_file << ", using " << kDefaultPort;
  return kDefaultPort;
}

// The ports to try, in order.
absl::StatusOr<std::vector<int>> PortsToTry() {
  std::vector<int> ports = {WantedPort()};
  for (const absl::string_view text :
       absl::StrSplit(FLAGS_fallback_ports, ',', absl::SkipWhitespace())) {
    int port = 0;
    if (!absl::SimpleAtoi(text, &port) || port < 0 || port > kMaxPort) {
      return absl::InvalidArgumentError(absl::StrCat("--fallback_ports: not a port: ", text));
    }
    ports.push_back(port);
  }
  return ports;
}

absl::StatusOr<UniqueFd> ListenOnFirstFree() {
  const absl::StatusOr<std::vector<int>> ports = PortsToTry();
  if (!ports.ok()) return ports.status();
  absl::Status last;
  for (const int port : *ports) {
    absl::StatusOr<UniqueFd> socket = ListenOnPort(FLAGS_bind, port);
    if (socket.ok()) return socket;
    last = socket.status();
    LOG(WARNING) << last.message();
  }
  return last;
}

ListenerOptions OptionsFromFlags() {
  ListenerOptions options;
  options.max_connections = static_cast<size_t>(FLAGS_max_connections);
  options.max_active_requests = static_cast<size_t>(FLAGS_max_active_requests);
  options.header_timeout =
      FLAGS_debug ? std::chrono::milliseconds::zero() : MillisFlag(FLAGS_header_timeout);
  options.idle_timeout =
      FLAGS_debug ? std::chrono::milliseconds::zero() : MillisFlag(FLAGS_idle_timeout);
  options.retry_answer_delay = MillisFlag(FLAGS_retry_answer_delay);
  options.connection.rate_window = MillisFlag(FLAGS_body_timeout);
  options.connection.least_bytes_per_window = 1024 * options.connection.rate_window.count() / 1000;
  options.connection.write_timeout = MillisFlag(FLAGS_write_timeout);
  return options;
}

// One line that says what stopped the start, and its exit code.
int Refuse(const absl::Status& status) {
  LOG(ERROR) << "cannot start: " << status.message();
  return kBadConfiguration;
}

int Serve(StopRequest& stop) {
  absl::StatusOr<UniqueFd> socket = ListenOnFirstFree();
  if (!socket.ok()) return Refuse(socket.status());
  const int port = PortOf(*socket);
  const auto channel = MakeBackendChannel(FLAGS_service);
  const auto stub = v1::IngestService::NewStub(channel);
  BackendOptions backend_options;
  backend_options.ride_through = DurationFlag(FLAGS_ride_through);
  BackendClient backend(*stub, backend_options);
  Forwarder forwarder(backend, CorruptChecksums());
  Session session(forwarder);
  IdleShutdown idle(FLAGS_debug ? absl::ZeroDuration() : DurationFlag(FLAGS_idle_shutdown), stop);
  Listener listener(*std::move(socket), session, idle, OptionsFromFlags());
  LOG(INFO) << "listening on " << FLAGS_bind << ":" << port << ", forwarding to " << FLAGS_service;
  if (CorruptChecksums())
    LOG(WARNING) << "checksums are falsified on purpose: no client will verify a file";
  if (!FLAGS_bound_port_file.empty()) {
    const absl::Status written =
        WriteFileAtomically(FLAGS_bound_port_file, absl::StrCat(port, "\n"));
    if (!written.ok()) return Refuse(written);
  }
  LOG(INFO) << "stopping: " << stop.Wait();
  listener.Drain(DurationFlag(FLAGS_drain_timeout));
  LOG(INFO) << "stopped";
  return 0;
}

int Main(int argc, char** argv) {
  StopRequest& stop =
      *new StopRequest;  // Lives as long as the signal thread, that is, the process.
  StartProcess(argc, argv, "backup-bridge [--bind=ADDRESS] [--port=PORT] [--service=HOST:PORT] ...",
               stop);
  if (FLAGS_debug) SetDebugLogging();
  if (FLAGS_encrypt && !FLAGS_debug) SetQuietLogging();
  if (argc > 1)
    return Refuse(
        absl::InvalidArgumentError(absl::StrCat("what is ", argv[1], "? flags begin with --")));
  return Serve(stop);
}

}  // namespace
}  // namespace backup::bridge

int main(int argc, char** argv) { return backup::bridge::Main(argc, argv); }
