#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "bridge/bridge_metrics.h"
#include "bridge/listener.h"
#include "bridge/net/ports_to_try.h"
#include "bridge/service/backend_options.h"
#include "bridge/wire/dialects.h"
#include "gflags/gflags.h"
#include "rpc/tls.h"

// The flags of backup-bridge, which only main.cc reads.
DECLARE_string(bound_port_file);
DECLARE_bool(debug);
DECLARE_string(drain_timeout);
DECLARE_bool(encrypt);
DECLARE_string(explain);
DECLARE_string(legacy_client);
DECLARE_int32(max_connections);
DECLARE_string(operations_bound_port_file);
DECLARE_string(operations_listen);
DECLARE_string(print_dialect);
DECLARE_string(self_backup_dir);
DECLARE_string(service);
DECLARE_string(service_tls_server_name);

namespace backup::bridge {

// What can be told of them without starting.
absl::Status CheckConfiguration();
// The file that defines them, for --help.
const char* FlagsFile();

// Whether wrong checksums are answered on purpose.
bool CorruptChecksums();
absl::Duration DrainTimeout();
// Zero turns it off.
absl::Duration IdleShutdownTime();

// Where to listen: --bind without its port, and the rules of that, of --port and what goes with it.
// CheckConfiguration() has seen that they make sense.
std::string BindHost();
// Where a client on this machine reaches us, and from where it comes.
std::string OwnHost();
PortRules PortRulesFromFlags();
// The gRPC target that --service means.
std::string TargetOfService();
// The dialects of --dialect_file. InvalidArgument with all faults, "FILE:LINE: what" each.
absl::StatusOr<std::vector<wire::Dialect>> DialectsOfFiles();
// What clients may speak: the dialects that are built in and those of --dialect_file. `port` is the
// one that is listened on. InvalidArgument with all faults, "FILE:LINE: what" each.
absl::StatusOr<wire::DialectSet> DialectsFromFlags(int port);
ListenerOptions ListenerOptionsFromFlags(wire::DialectSet dialects, const BridgeMetrics& metrics);
BackendOptions BackendOptionsFromFlags(std::stop_token give_up, const BridgeMetrics& metrics);
rpc::TlsFiles TlsFromFlags();

}  // namespace backup::bridge
