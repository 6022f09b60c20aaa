#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/socket_address.h"
#include "base/status_macros.h"
#include "services/backupctl/commands.h"

namespace backup::ctl {
namespace {

// A trace lasts until it is interrupted; this only bounds one that was forgotten.
constexpr absl::Duration kTraceTimeout = absl::Hours(24);

struct TraceOptions {
  std::string client;
  std::string peer;
};

std::string EventLine(const v1::TraceClientResponse& event) {
  std::string line =
      absl::StrCat(TimeText(event.time()), " ", event.peer(), " conn=", event.connection(),
                   " client=", event.client_id(), " ", event.request(), " -> ", event.outcome());
  if (!event.error().empty()) absl::StrAppend(&line, " (", event.error(), ")");
  absl::StrAppend(&line, " content_bytes=", event.content_bytes(), " us=", event.duration_micros(),
                  " rid=", event.request_id());
  return line;
}

bool BeginsWithOneOf(absl::string_view peer, const std::vector<std::string>& addresses) {
  return std::any_of(addresses.begin(), addresses.end(),
                     [&](const std::string& address) { return absl::StartsWith(peer, address); });
}

absl::StatusOr<ExitCode> Trace(Connection& connection, Output& output,
                               const TraceOptions& options) {
  v1::TraceClientRequest request;
  ASSIGN_OR_RETURN(const std::vector<std::string> addresses, AddressPrefixes(options.peer));
  // The service looks for one; where a name has several, they are picked out here.
  if (addresses.size() == 1) request.set_peer(addresses[0]);
  if (!options.client.empty()) {
    ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(options.client));
    request.set_client_id(client.client_id());
  }
  Call call(connection.interrupt(), kTraceTimeout);
  const auto stream = connection.admin().TraceClient(&call.context(), request);
  stream->WaitForInitialMetadata();
  if (!output.json()) output.Note("watching; Ctrl-C ends it");
  v1::TraceClientResponse event;
  while (output.Check().ok() && stream->Read(&event)) {
    if (!BeginsWithOneOf(event.peer(), addresses)) continue;
    if (output.json()) {
      output.Json(event);
    } else {
      if (event.missed_count() > 0) output.Note(absl::StrCat(event.missed_count(), " not shown"));
      output.Text(absl::StrCat(Printable(EventLine(event)), "\n"));
    }
  }
  if (!output.Check().ok()) call.context().TryCancel();
  const grpc::Status ended = stream->Finish();
  RETURN_IF_ERROR(output.Check());
  RETURN_IF_ERROR(connection.Explain(ended));
  return ExitCode::kOk;
}

}  // namespace

void AddTraceCommand(CLI::App& app, Command& chosen) {
  CLI::App& trace = *app.add_subcommand(
      "trace",
      "Show the decoded conversation of old clients as it happens, without keys and content");
  const auto options = std::make_shared<TraceOptions>();
  trace.add_option("--client", options->client, "Only this client: its name or id")
      ->type_name("CLIENT");
  trace
      .add_option("--address", options->peer,
                  "Only clients at this HOST or HOST:PORT,\nor whose address begins so")
      ->type_name("ADDRESS");
  trace.callback([&chosen, options] {
    chosen = [options](Connection& connection, Output& output) {
      return Trace(connection, output, *options);
    };
  });
}

}  // namespace backup::ctl
