#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "backup/v1/lifecycle.pb.h"
#include "base/status_macros.h"
#include "services/backupctl/commands.h"
#include "services/backupctl/quota.h"

namespace backup::ctl {
namespace {

using Lifecycle = v1::LifecycleService::StubInterface;

constexpr int kPageSize = 1000;

// What is given of a quota.
struct QuotaOptions {
  std::string client;  // Name or id.
  bool every_client = false;
  bool store = false;
  std::string soft_bytes;
  std::string hard_bytes;
  int64_t soft_files = 0;
  int64_t hard_files = 0;

  bool has_scope() const { return !client.empty() || every_client || store; }
};

void AddScope(CLI::App& command, QuotaOptions& options) {
  command.add_option("CLIENT", options.client, "The client's name or id")->type_name("");
  command.add_flag("--every-client", options.every_client,
                   "Of each client that has none of its own");
  command.add_flag("--store", options.store, "Of all clients together, with what is in the trash");
}

absl::Status CheckScope(const QuotaOptions& options) {
  const int given =
      (options.client.empty() ? 0 : 1) + (options.every_client ? 1 : 0) + (options.store ? 1 : 0);
  if (given == 1) return absl::OkStatus();
  return absl::InvalidArgumentError("give one of CLIENT, --every-client and --store");
}

absl::StatusOr<v1::Quota> MakeQuota(Connection& connection, const QuotaOptions& options) {
  RETURN_IF_ERROR(CheckScope(options));
  v1::Quota quota;
  if (options.store) quota.set_scope(v1::Quota::STORE);
  if (options.every_client) quota.set_scope(v1::Quota::EVERY_CLIENT);
  if (!options.client.empty()) {
    ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(options.client));
    quota.set_scope(v1::Quota::CLIENT);
    quota.set_client_id(client.client_id());
  }
  if (!options.soft_bytes.empty()) {
    ASSIGN_OR_RETURN(const int64_t bytes, ParseSize("--soft-bytes", options.soft_bytes));
    quota.set_soft_bytes(bytes);
  }
  if (!options.hard_bytes.empty()) {
    ASSIGN_OR_RETURN(const int64_t bytes, ParseSize("--hard-bytes", options.hard_bytes));
    quota.set_hard_bytes(bytes);
  }
  quota.set_soft_files(options.soft_files);
  quota.set_hard_files(options.hard_files);
  return quota;
}

std::string ScopeText(const v1::Quota& quota) {
  switch (quota.scope()) {
    case v1::Quota::STORE:
      return "(the store)";
    case v1::Quota::EVERY_CLIENT:
      return "(every client)";
    default:
      return quota.client_id();
  }
}

Table MakeTable() {
  return Table({{"CLIENT ID"},
                {"USED", Table::Align::kRight},
                {"SOFT", Table::Align::kRight},
                {"HARD", Table::Align::kRight},
                {"FILES", Table::Align::kRight},
                {"SOFT", Table::Align::kRight},
                {"HARD", Table::Align::kRight}});
}

std::vector<std::string> Row(const v1::QuotaUse& use) {
  const v1::Quota& quota = use.quota();
  const bool has_use = quota.scope() != v1::Quota::EVERY_CLIENT;
  const auto size = [](int64_t limit) { return limit == 0 ? "-" : HumanSize(limit); };
  const auto count = [](int64_t limit) { return limit == 0 ? "-" : absl::StrCat(limit); };
  return {ScopeText(quota),
          has_use ? HumanSize(use.used_bytes()) : "",
          size(quota.soft_bytes()),
          size(quota.hard_bytes()),
          has_use ? absl::StrCat(use.used_files()) : "",
          count(quota.soft_files()),
          count(quota.hard_files())};
}

absl::StatusOr<ExitCode> SetQuota(Connection& connection, Output& output,
                                  const QuotaOptions& options) {
  v1::SetQuotaRequest request;
  ASSIGN_OR_RETURN(*request.mutable_quota(), MakeQuota(connection, options));
  ASSIGN_OR_RETURN(const v1::SetQuotaResponse response,
                   connection.CallUnary(connection.lifecycle(), &Lifecycle::SetQuota, request));
  if (output.json()) {
    output.Json(response.use());
  } else if (options.every_client) {
    output.Note("held to from now on, by each client that has no quota of its own");
  } else {
    output.Note(absl::StrCat("held to from now on: ", QuotaText(response.use())));
  }
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> ListQuotas(Connection& connection, Output& output) {
  Table table = MakeTable();
  bool is_empty = true;
  v1::ListQuotasRequest request;
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(const v1::ListQuotasResponse page,
                     connection.CallUnary(connection.lifecycle(), &Lifecycle::ListQuotas, request));
    for (const v1::QuotaUse& use : page.uses()) {
      is_empty = false;
      if (output.json()) output.Json(use);
      table.AddRow(Row(use));
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (output.json()) return ExitCode::kOk;
  output.Print(table);
  if (is_empty) output.Note("there is no quota: clients may send until the disk is full");
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> ShowQuota(Connection& connection, Output& output,
                                   const QuotaOptions& options) {
  if (!options.has_scope()) return ListQuotas(connection, output);
  ASSIGN_OR_RETURN(const v1::Quota scope, MakeQuota(connection, options));
  v1::GetQuotaRequest request;
  request.set_scope(scope.scope());
  request.set_client_id(scope.client_id());
  ASSIGN_OR_RETURN(const v1::GetQuotaResponse response,
                   connection.CallUnary(connection.lifecycle(), &Lifecycle::GetQuota, request));
  const v1::QuotaUse& use = response.use();
  if (output.json()) {
    output.Json(use);
    return ExitCode::kOk;
  }
  if (!use.has_quota()) {
    output.Note(absl::StrCat("no quota; ", QuotaText(use)));
    return ExitCode::kOk;
  }
  Table table = MakeTable();
  table.AddRow(Row(use));
  output.Print(table);
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> RemoveQuota(Connection& connection, Output& output,
                                     const QuotaOptions& options) {
  ASSIGN_OR_RETURN(const v1::Quota scope, MakeQuota(connection, options));
  v1::DeleteQuotaRequest request;
  request.set_scope(scope.scope());
  request.set_client_id(scope.client_id());
  ASSIGN_OR_RETURN(const v1::DeleteQuotaResponse response,
                   connection.CallUnary(connection.lifecycle(), &Lifecycle::DeleteQuota, request));
  if (!output.json())
    output.Note(response.was_there() ? "the quota is forgotten" : "there was no such quota");
  return ExitCode::kOk;
}

void AddLimits(CLI::App& command, QuotaOptions& options) {
  command
      .add_option("--soft-bytes", options.soft_bytes,
                  "Log and alert when versions have more bytes than this,\nsuch as 500M or 10GiB")
      ->type_name("SIZE");
  command
      .add_option("--hard-bytes", options.hard_bytes,
                  "Refuse versions with which they would have more; what is\nstored stays")
      ->type_name("SIZE");
  command.add_option("--soft-files", options.soft_files, "The same of files")->type_name("N");
  command.add_option("--hard-files", options.hard_files, "The same of files")->type_name("N");
}

}  // namespace

void AddClientQuotaCommands(CLI::App& clients, Command& chosen) {
  CLI::App& group =
      *clients.add_subcommand("quota", "How much a client, every client or the store may hold");
  group.require_subcommand(1);

  CLI::App& set =
      *group.add_subcommand("set", "Hold them to these limits, and to no others of before");
  const auto to_set = std::make_shared<QuotaOptions>();
  AddScope(set, *to_set);
  AddLimits(set, *to_set);
  set.callback([&chosen, to_set] {
    chosen = [to_set](Connection& connection, Output& output) {
      return SetQuota(connection, output, *to_set);
    };
  });

  CLI::App& show = *group.add_subcommand("show", "Show all quotas, or one, and what is used of it");
  const auto to_show = std::make_shared<QuotaOptions>();
  AddScope(show, *to_show);
  show.callback([&chosen, to_show] {
    chosen = [to_show](Connection& connection, Output& output) {
      return ShowQuota(connection, output, *to_show);
    };
  });

  CLI::App& remove = *group.add_subcommand("rm", "Forget a quota");
  const auto to_remove = std::make_shared<QuotaOptions>();
  AddScope(remove, *to_remove);
  remove.callback([&chosen, to_remove] {
    chosen = [to_remove](Connection& connection, Output& output) {
      return RemoveQuota(connection, output, *to_remove);
    };
  });
}

}  // namespace backup::ctl
