#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "services/backupctl/commands.h"
#include "services/backupctl/quota.h"

namespace backup::ctl {
namespace {

constexpr int kPageSize = 1000;

std::string LastVerified(const v1::Client& client) {
  return TimeOrNever(client, &v1::Client::has_last_verified_time, &v1::Client::last_verified_time);
}

// What is listed of each client.
enum class Columns { kTimes, kSizes };

Table MakeTable(Columns columns) {
  const Table::Column name{"NAME", Table::Align::kLeft, Cut::kMiddle};
  if (columns == Columns::kTimes) {
    return Table({name, {"CLIENT ID"}, {"REGISTERED"}, {"LAST SEEN"}, {"LAST VERIFIED"}, {"KEY"}});
  }
  return Table({name,
                {"CLIENT ID"},
                {"STORED", Table::Align::kRight},
                {"KEPT", Table::Align::kRight},
                {"RATIO", Table::Align::kRight}});
}

std::vector<std::string> Row(const v1::Client& client, Columns columns) {
  std::vector<std::string> row = {client.name(), client.client_id()};
  if (columns == Columns::kTimes) {
    row.insert(row.end(), {TimeText(client.create_time()), TimeText(client.last_seen_time()),
                           LastVerified(client), client.has_public_key() ? "yes" : "no"});
  } else {
    row.insert(row.end(), {HumanSize(client.stored_bytes()), HumanSize(client.kept_bytes()),
                           RatioText(client.stored_bytes(), client.kept_bytes())});
  }
  return row;
}

// Every page of what `method` of `stub` lists, from `request` on.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<ExitCode> ListPages(Connection& connection, Output& output, Stub& stub,
                                   grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                const Request&, Response*),
                                   Request request, Columns columns) {
  Table table = MakeTable(columns);
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(const Response page, connection.CallUnary(stub, method, request));
    for (const v1::Client& client : page.clients()) {
      if (output.json()) output.Json(client);
      table.AddRow(Row(client, columns));
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (!output.json()) output.Print(table);
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> ListClients(Connection& connection, Output& output, Columns columns) {
  return ListPages(connection, output, connection.catalog(),
                   &v1::CatalogService::StubInterface::ListClients, v1::ListClientsRequest(),
                   columns);
}

absl::StatusOr<ExitCode> ListStaleClients(Connection& connection, Output& output,
                                          const std::string& older_than) {
  absl::Duration duration;
  if (!absl::ParseDuration(older_than, &duration) || duration < absl::Seconds(1)) {
    return absl::InvalidArgumentError(
        "--older-than must be a duration of at least 1s, such as 36h");
  }
  v1::ListStaleClientsRequest request;
  request.mutable_older_than()->set_seconds(absl::ToInt64Seconds(duration));
  return ListPages(connection, output, connection.admin(),
                   &v1::AdminService::StubInterface::ListStaleClients, request, Columns::kTimes);
}

// How an old client speaks, as far as that is known.
Fields LegacyFields(const v1::Client& client) {
  const v1::LegacyProfile& legacy = client.legacy_profile();
  const auto known = [](const std::string& text) { return text.empty() ? "not known" : text; };
  Fields fields = {
      {"Family", known(legacy.family())},
      {"Header version",
       known(legacy.header_version() == 0 ? "" : absl::StrCat(legacy.header_version()))},
      {"Framing", known(legacy.framing())},
      {"Files", known(legacy.file_style())},
      {"Connections", known(legacy.connection_style())},
      {"Checksum", legacy.checksum_kind() == v1::CHECKSUM_KIND_UNSPECIFIED
                       ? "not known"
                       : v1::ChecksumKind_Name(legacy.checksum_kind())}};
  if (legacy.has_last_protocol_error_time()) {
    fields.emplace_back("Last protocol error",
                        absl::StrCat(TimeText(legacy.last_protocol_error_time()), "  ",
                                     legacy.last_protocol_error()));
  }
  return fields;
}

absl::StatusOr<ExitCode> ShowClient(Connection& connection, Output& output,
                                    const std::string& text) {
  ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(text));
  if (output.json()) {
    output.Json(client);
  } else {
    output.Print(Fields{{"Name", client.name()},
                        {"Client id", client.client_id()},
                        {"Registered", TimeText(client.create_time())},
                        {"Last seen", TimeText(client.last_seen_time())},
                        {"Last verified", LastVerified(client)},
                        {"Public key", client.has_public_key() ? "yes" : "no"},
                        {"Stored", HumanSize(client.stored_bytes())},
                        {"Kept", HumanSize(client.kept_bytes())},
                        {"Ratio", RatioText(client.stored_bytes(), client.kept_bytes())}});
    if (client.has_quota()) {
      const bool is_own = client.quota().quota().scope() == v1::Quota::CLIENT;
      output.Print(Fields{
          {"Quota", absl::StrCat(QuotaText(client.quota()), is_own ? "" : "; every client's")}});
    }
    if (client.has_legacy_profile()) output.Print(LegacyFields(client));
  }
  return ExitCode::kOk;
}

}  // namespace

void AddClientCommands(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand("client", "Clients, and when each last backed up");
  group.require_subcommand(1);
  CLI::App& list = *group.add_subcommand("list", "List all clients");
  const auto sizes = std::make_shared<bool>(false);
  list.add_flag("--sizes", *sizes, "How much each has stored, and what is kept of that");
  list.callback([&chosen, sizes] {
    chosen = [sizes](Connection& connection, Output& output) {
      return ListClients(connection, output, *sizes ? Columns::kSizes : Columns::kTimes);
    };
  });

  CLI::App& stale = *group.add_subcommand("stale", "List clients without a recent backup");
  const auto older_than = std::make_shared<std::string>("36h");
  stale.add_option("--older-than", *older_than, "How long without a verified file")
      ->type_name("DURATION")
      ->capture_default_str();
  stale.callback([&chosen, older_than] {
    chosen = [older_than](Connection& connection, Output& output) {
      return ListStaleClients(connection, output, *older_than);
    };
  });

  CLI::App& show = *group.add_subcommand("show", "Show one client");
  const auto text = std::make_shared<std::string>();
  show.add_option("CLIENT", *text, "The client's name or id")->required()->type_name("");
  show.callback([&chosen, text] {
    chosen = [text](Connection& connection, Output& output) {
      return ShowClient(connection, output, *text);
    };
  });

  AddClientQuotaCommands(group, chosen);
  AddClientTrashCommands(group, chosen);
}

}  // namespace backup::ctl
