#include "bridge/flags.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/config.h"
#include "base/flag_validators.h"
#include "base/production.h"
#include "base/socket_address.h"
#include "base/status_macros.h"
#include "rpc/target.h"

DEFINE_string(bind, "127.0.0.1",
              "HOST or HOST:PORT to listen on for old clients; * is every address, IPv6 and IPv4");
DEFINE_int32(port, -1,
             "port to listen on, 0 for any free one; -1: the number in --port_file, else 1357");
DEFINE_string(port_file, "port.info", "file that holds the port if --port is not given");
DEFINE_string(fallback_ports, "",
              "comma-separated ports that are tried in turn when the port is in use");
DEFINE_string(bound_port_file, "", "file to write the bound port to");
DEFINE_string(
    proxy_protocol_from, "",
    "networks of balancers (10.0.0.5,fd00::/64): from there connections must begin with a "
    "PROXY header, which tells the client");
DEFINE_string(allow_networks, "",
              "networks whose clients may connect, such as 10.0.0.0/8,fd00::/8; empty: all");
DEFINE_string(deny_networks, "",
              "networks whose clients may not connect, even if --allow_networks has them");
DEFINE_string(
    operations_listen, "",
    "ADDRESS:PORT of /livez, /readyz, /drainz, /metrics, for example 127.0.0.1:9102; empty: "
    "none");
DEFINE_string(operations_bound_port_file, "", "file to write the bound port of those to");
DEFINE_string(service, "127.0.0.1:50051",
              "the backup-service: HOST:PORT, unix:PATH or any gRPC target");
DEFINE_string(service_tls_ca_file, "", "CA of the service's certificate; with it gRPC is over TLS");
DEFINE_string(service_tls_cert_file, "", "certificate of the bridge, if the service asks for one");
DEFINE_string(service_tls_key_file, "", "private key of that, readable by its owner only");
DEFINE_string(service_tls_server_name, "",
              "name in the service's certificate, if it is not the one in --service");
DEFINE_bool(insecure_grpc, false, "allow --service beyond this machine without TLS");
DEFINE_bool(production, false,
            "refuse to start with what is not fit for production: --debug, plaintext beyond this "
            "machine, a key that others can read");
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
DEFINE_string(
    ban_after, "300/10m",
    "an address is banned if it breaks the protocol more often, in a way in which no client does: "
    "so often at once, and within each such time as often again; 0: never");
DEFINE_string(ban_first, "1m",
              "how long it is banned for the first time; each further time in a row twice as long");
DEFINE_string(ban_longest, "1h", "how long it is banned at most");
DEFINE_string(never_ban_networks, "",
              "networks whose clients are never banned, beside this machine, --allow_networks and "
              "--proxy_protocol_from");
DEFINE_int64(
    connections_per_address, 5000,
    "more connections of one address, or 64 bits of IPv6, are answered with a general error; "
    "0: no limit");
DEFINE_string(
    requests_per_address, "100000/10s",
    "so many requests of one address at once, and within each such time as many again; more "
    "wait, at most 10 s; 0: no limit");
DEFINE_string(
    registrations_per_address, "20000/1h",
    "so many new clients of one address at once, and within each such time as many again; "
    "more wait, at most 10 s; 0: no limit");
DEFINE_string(
    registrations, "100000/1h",
    "so many new clients at once, of all addresses, and within each such time as many again; "
    "0: no limit");
DEFINE_int32(max_connections, 10'000, "more connections are answered with a general error");
DEFINE_int32(max_active_requests, 1024, "more requests at once wait");
DEFINE_string(ride_through, "30s",
              "how long requests are tried again while the service is unavailable");
DEFINE_string(retry_answer_delay, "300ms",
              "how long the answer to a retry notice waits for the client's next bytes");
DEFINE_string(drain_timeout, "30s", "how long requests in flight may go on after SIGTERM");
DEFINE_uint64(spool_bytes, 4 << 20,
              "an upload of at most this many bytes so far is repeated when the service restarts");
DEFINE_string(dialect_file, "",
              "comma-separated files, NAME.textproto each, that describe further dialects of old "
              "clients");
DEFINE_string(print_dialect, "",
              "print the description of the dialect of this name, such as C, and exit");
DEFINE_string(
    family_of_1025, "auto",
    "family of clients with request codes 1025 to 1031 of which nothing else is known: C, "
    "D, or auto (D on port 1256, else C)");
DEFINE_string(
    explain, "",
    "say how each dialect reads this capture, a file of tcpdump -w or of hex, and exit: 0 "
    "if all of it fits, else 3");
DEFINE_string(self_backup_dir, "auto",
              "folder that is backed up as a self-test with --encrypt; auto: the legacy client's "
              "sources; empty: none");
DEFINE_string(legacy_client, "",
              "program for the self-test; empty: legacy-client beside this program");

namespace backup::bridge {
namespace {

constexpr int kMaxPort = 65535;
// Of a file of --dialect_file: many times what any dialect needs.
constexpr size_t kMaxDialectFileSize = size_t{1} << 20;

bool ValidateBanTime(const char*, const std::string& value) {
  constexpr absl::Duration kLongest = absl::Hours(24 * 7);
  absl::Duration time;
  return (absl::ParseDuration(value, &time) && time >= absl::Seconds(1) && time <= kLongest) ||
         MustBe("a duration from 1s to 168h");
}
bool ValidateRate(const char*, const std::string& value) {
  return Rate::Parse(value).has_value() ||
         MustBe("COUNT/DURATION like 1000/1h, a year at most, or 0");
}
bool ValidateFamily(const char*, const std::string& value) {
  return IsOneOf(value, {"auto", "C", "D"});
}
bool ValidatePort(const char*, int32_t value) {
  return (value >= -1 && value <= kMaxPort) || MustBe(absl::StrCat("0 to ", kMaxPort, ", or -1"));
}

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
DEFINE_validator(proxy_protocol_from, &ValidateNetworks);
DEFINE_validator(allow_networks, &ValidateNetworks);
DEFINE_validator(deny_networks, &ValidateNetworks);
DEFINE_validator(fallback_ports, &ValidatePorts);
DEFINE_validator(connections_per_address, &ValidateNotNegative);
DEFINE_validator(ban_after, &ValidateRate);
DEFINE_validator(ban_first, &ValidateBanTime);
DEFINE_validator(ban_longest, &ValidateBanTime);
DEFINE_validator(never_ban_networks, &ValidateNetworks);
DEFINE_validator(requests_per_address, &ValidateRate);
DEFINE_validator(registrations_per_address, &ValidateRate);
DEFINE_validator(registrations, &ValidateRate);
DEFINE_validator(max_connections, &ValidatePositive);
DEFINE_validator(max_active_requests, &ValidatePositive);

// A host alone, or with the port, which is -1 if it is not said.
absl::StatusOr<HostAndPort> BindFlag() {
  constexpr int kNotSaid = -1;
  const absl::StatusOr<HostAndPort> address = ParseHostAndPort(FLAGS_bind, kNotSaid);
  const bool is_name = !absl::StrContains(FLAGS_bind, ':') && !FLAGS_bind.empty();
  return address.ok() || !is_name ? address : HostAndPort{FLAGS_bind, kNotSaid};
}

absl::Status CheckBind() {
  const absl::StatusOr<HostAndPort> bind = BindFlag();
  if (!bind.ok())
    return absl::InvalidArgumentError(absl::StrCat("--bind=", bind.status().message()));
  if (bind->port < 0 || FLAGS_port < 0 || bind->port == FLAGS_port) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--bind=", FLAGS_bind, " and --port=", FLAGS_port,
                                                 " name two ports: leave one out"));
}

// The self-test is a client like any other, of this machine.
absl::Status CheckSelfTest() {
  if (!FLAGS_encrypt || FLAGS_self_backup_dir.empty()) return absl::OkStatus();
  const std::optional<IpAddress> own = IpAddress::Parse(OwnHost());
  if (!own) return absl::OkStatus();  // A name.
  const IpNetworks allowed = NetworksFlag(FLAGS_allow_networks);
  const char* const in_the_way =
      NetworksFlag(FLAGS_proxy_protocol_from).Contains(*own) ? "--proxy_protocol_from"
      : !allowed.empty() && !allowed.Contains(*own)          ? "--allow_networks"
      : NetworksFlag(FLAGS_deny_networks).Contains(*own)     ? "--deny_networks"
                                                             : nullptr;
  if (in_the_way == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      in_the_way, " keeps ", own->text(), " out, where the self-test of --encrypt is a ",
      "client: change it, or turn the self-test off by --self_backup_dir="));
}

// What stopped the start is one line of the log, however many faults there are.
std::string OneLine(const absl::Status& errors) {
  return absl::StrReplaceAll(errors.message(), {{"\n", "; "}});
}

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(kMaxDialectFileSize + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || !in.is_open())
    return absl::InvalidArgumentError(absl::StrCat("--dialect_file: cannot read ", path));
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() <= kMaxDialectFileSize) return text;
  return absl::InvalidArgumentError(absl::StrCat("--dialect_file: ", path, " has more than ",
                                                 kMaxDialectFileSize,
                                                 " bytes: no dialect needs so many"));
}

absl::StatusOr<wire::Dialect> ReadDialect(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  ASSIGN_OR_RETURN(wire::Dialect dialect, wire::ParseDialect(text, path));
  const std::string stem = std::filesystem::path(path).stem().string();
  if (dialect.name() == stem) return dialect;
  return absl::InvalidArgumentError(absl::StrCat(path, ": its dialect is called ", dialect.name(),
                                                 ": call it ", stem, ", or the file ",
                                                 dialect.name(), ".textproto"));
}

absl::Status CheckForProduction(const std::string& target) {
  if (!FLAGS_production) return absl::OkStatus();
  ProductionSettings settings = {.debug = FLAGS_debug,
                                 .corrupt_checksums = FLAGS_corrupt_checksums == "true",
                                 .insecure_grpc = FLAGS_insecure_grpc,
                                 .address = absl::StrCat("--service=", FLAGS_service),
                                 .address_is_local = rpc::IsLocalTarget(target),
                                 .has_tls = !FLAGS_service_tls_ca_file.empty(),
                                 .tls_flag = "--service_tls_ca_file",
                                 .user = ::geteuid()};
  if (!FLAGS_service_tls_key_file.empty()) {
    settings.secrets.push_back(
        FindSecretFile("--service_tls_key_file", FLAGS_service_tls_key_file));
  }
  return CheckProduction(settings);
}

BanListOptions BanListOptionsFromFlags() {
  BanListOptions options{DurationFlag(FLAGS_ban_first), DurationFlag(FLAGS_ban_longest), {}};
  // A balancer without a PROXY header, a tunnel or the self-test may be on this machine.
  for (const std::string& networks : {std::string("127.0.0.0/8,::1"), FLAGS_never_ban_networks,
                                      FLAGS_allow_networks, FLAGS_proxy_protocol_from}) {
    options.never.Add(NetworksFlag(networks));
  }
  return options;
}

// For what closes idle connections: not under --debug.
absl::Duration TimeoutFlag(const std::string& value) {
  const absl::Duration timeout = DurationFlag(value);
  return FLAGS_debug || timeout == absl::ZeroDuration() ? absl::InfiniteDuration() : timeout;
}

}  // namespace

const char* FlagsFile() { return __FILE__; }

absl::Duration DrainTimeout() { return DurationFlag(FLAGS_drain_timeout); }

absl::Duration IdleShutdownTime() {
  return FLAGS_debug ? absl::ZeroDuration() : DurationFlag(FLAGS_idle_shutdown);
}

bool CorruptChecksums() { return TristateFlag(FLAGS_corrupt_checksums, FLAGS_debug); }

std::string BindHost() { return BindFlag()->host; }

std::string OwnHost() {
  const std::string host = BindHost();
  const bool any = host.empty() || host == "0.0.0.0" || host == "::";
  return any ? "127.0.0.1" : host;
}

PortRules PortRulesFromFlags() {
  return {FLAGS_port >= 0 ? FLAGS_port : BindFlag()->port, FLAGS_port_file,
          *ParsePorts(FLAGS_fallback_ports)};
}

std::string TargetOfService() { return *rpc::ServiceTarget(FLAGS_service); }

absl::StatusOr<std::vector<wire::Dialect>> DialectsOfFiles() {
  std::vector<wire::Dialect> further;
  std::string errors;
  for (const absl::string_view path :
       absl::StrSplit(FLAGS_dialect_file, ',', absl::SkipWhitespace())) {
    absl::StatusOr<wire::Dialect> dialect = ReadDialect(std::string(path));
    if (dialect.ok())
      further.push_back(*std::move(dialect));
    else
      absl::StrAppend(&errors, errors.empty() ? "" : "; ", OneLine(dialect.status()));
  }
  if (!errors.empty()) return absl::InvalidArgumentError(errors);
  return further;
}

absl::StatusOr<wire::DialectSet> DialectsFromFlags(int port) {
  ASSIGN_OR_RETURN(std::vector<wire::Dialect> further, DialectsOfFiles());
  const std::string preferred = FLAGS_family_of_1025 == "auto" ? "" : FLAGS_family_of_1025;
  absl::StatusOr<wire::DialectSet> dialects =
      wire::DialectSet::Make(std::move(further), {.port = port, .preferred = preferred});
  if (dialects.ok()) return dialects;
  return absl::InvalidArgumentError(OneLine(dialects.status()));
}

ListenerOptions ListenerOptionsFromFlags(wire::DialectSet dialects, const BridgeMetrics& metrics) {
  ListenerOptions options;
  options.session.dialects = std::make_shared<const wire::DialectSet>(std::move(dialects));
  options.session.metrics = metrics;
  options.balancers = NetworksFlag(FLAGS_proxy_protocol_from);
  options.allowed = NetworksFlag(FLAGS_allow_networks);
  options.denied = NetworksFlag(FLAGS_deny_networks);
  options.limits.connections = FLAGS_connections_per_address;
  options.limits.requests = *Rate::Parse(FLAGS_requests_per_address);
  options.limits.registrations = *Rate::Parse(FLAGS_registrations_per_address);
  options.limits.all_registrations = *Rate::Parse(FLAGS_registrations);
  options.ban_after = *Rate::Parse(FLAGS_ban_after);
  options.bans = BanListOptionsFromFlags();
  options.max_connections = FLAGS_max_connections;
  options.max_active_requests = FLAGS_max_active_requests;
  options.header_timeout = TimeoutFlag(FLAGS_header_timeout);
  options.idle_timeout = TimeoutFlag(FLAGS_idle_timeout);
  options.retry_answer_delay = DurationFlag(FLAGS_retry_answer_delay);
  options.session.body.window = DurationFlag(FLAGS_body_timeout);
  options.session.write_timeout = DurationFlag(FLAGS_write_timeout);
  return options;
}

BackendOptions BackendOptionsFromFlags(std::stop_token give_up, const BridgeMetrics& metrics) {
  BackendOptions options;
  options.ride_through = DurationFlag(FLAGS_ride_through);
  options.spool_bytes = FLAGS_spool_bytes;
  options.give_up = std::move(give_up);
  options.metrics = metrics;
  return options;
}

rpc::TlsFiles TlsFromFlags() {
  return {FLAGS_service_tls_cert_file, FLAGS_service_tls_key_file, FLAGS_service_tls_ca_file};
}

absl::Status CheckConfiguration() {
  RETURN_IF_ERROR(CheckBind());
  RETURN_IF_ERROR(CheckSelfTest());
  RETURN_IF_ERROR(DialectsFromFlags(/*port=*/0).status());
  const absl::StatusOr<std::string> target = rpc::ServiceTarget(FLAGS_service);
  if (!target.ok())
    return absl::InvalidArgumentError(absl::StrCat("--service=", target.status().message()));
  RETURN_IF_ERROR(CheckForProduction(*target));
  RETURN_IF_ERROR(rpc::CheckTlsFiles(TlsFromFlags()));
  if (!FLAGS_service_tls_cert_file.empty() && FLAGS_service_tls_ca_file.empty()) {
    return absl::InvalidArgumentError(
        "--service_tls_cert_file needs --service_tls_ca_file: without it nothing is encrypted");
  }
  if (!FLAGS_service_tls_ca_file.empty() || FLAGS_insecure_grpc || rpc::IsLocalTarget(*target)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--service=", FLAGS_service,
                   " is another machine: give --service_tls_ca_file, or allow plaintext with "
                   "--insecure_grpc"));
}

}  // namespace backup::bridge
