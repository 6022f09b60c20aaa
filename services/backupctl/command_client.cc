#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/status_macros.h"
#include "services/backupctl/commands.h"

namespace backup::ctl {
namespace {

constexpr int kPageSize = 1000;

std::string LastVerified(const v1::Client& client) {
  return TimeOrNever(client, &v1::Client::has_last_verified_time, &v1::Client::last_verified_time);
}

absl::StatusOr<ExitCode> ListClients(Connection& connection, Output& output) {
  Table table({{"NAME"}, {"CLIENT ID"}, {"REGISTERED"}, {"LAST SEEN"}, {"LAST VERIFIED"}, {"KEY"}});
  v1::ListClientsRequest request;
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(
        const v1::ListClientsResponse page,
        connection.CallUnary(connection.catalog(), &v1::CatalogService::StubInterface::ListClients,
                             request));
    for (const v1::Client& client : page.clients()) {
      if (output.json()) output.Json(client);
      table.AddRow({client.name(), client.client_id(), TimeText(client.create_time()),
                    TimeText(client.last_seen_time()), LastVerified(client),
                    client.has_public_key() ? "yes" : "no"});
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (!output.json()) output.Text(table.Render());
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> ShowClient(Connection& connection, Output& output,
                                    const std::string& text) {
  ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(text));
  if (output.json()) {
    output.Json(client);
  } else {
    output.Text(RenderFields({{"Name", client.name()},
                              {"Client id", client.client_id()},
                              {"Registered", TimeText(client.create_time())},
                              {"Last seen", TimeText(client.last_seen_time())},
                              {"Last verified", LastVerified(client)},
                              {"Public key", client.has_public_key() ? "yes" : "no"}}));
  }
  return ExitCode::kOk;
}

}  // namespace

void AddClientCommands(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand("client", "Clients, and when each last backed up");
  group.require_subcommand(1);
  group.add_subcommand("list", "List all clients")->callback([&chosen] { chosen = ListClients; });

  CLI::App& show = *group.add_subcommand("show", "Show one client");
  const auto text = std::make_shared<std::string>();
  show.add_option("CLIENT", *text, "The client's name or id")->required()->type_name("");
  show.callback([&chosen, text] {
    chosen = [text](Connection& connection, Output& output) {
      return ShowClient(connection, output, *text);
    };
  });
}

}  // namespace backup::ctl
