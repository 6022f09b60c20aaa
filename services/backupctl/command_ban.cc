#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "services/backupctl/commands.h"

namespace backup::ctl {
namespace {

using Admin = v1::AdminService::StubInterface;

constexpr int kPageSize = 1000;

struct BanOptions {
  std::string network;
  std::string duration;  // Empty: until it is lifted.
  std::string reason;
};

std::string SourceText(v1::Ban::Source source) {
  return source == v1::Ban::BRIDGE ? "bridge" : "operator";
}

std::string EndText(const v1::Ban& ban) {
  // No time that is wrong because it is in the future, which TimeText() would say.
  return ban.has_end_time()
             ? absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", ToTime(ban.end_time()), absl::UTCTimeZone())
             : "lifted";
}

absl::StatusOr<ExitCode> List(Connection& connection, Output& output) {
  Table table({{"NETWORK"},
               {"SINCE"},
               {"UNTIL"},
               {"TIMES", Table::Align::kRight},
               {"BY"},
               {"AUTHOR"},
               {"REASON"}});
  bool is_empty = true;
  v1::ListBansRequest request;
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(const v1::ListBansResponse page,
                     connection.CallUnary(connection.admin(), &Admin::ListBans, request));
    for (const v1::Ban& ban : page.bans()) {
      is_empty = false;
      if (output.json()) output.Json(ban);
      table.AddRow({ban.network(), TimeText(ban.start_time()), EndText(ban),
                    ban.strikes() == 0 ? "-" : absl::StrCat(ban.strikes()),
                    SourceText(ban.source()), ban.author(), ban.reason()});
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (output.json()) return ExitCode::kOk;
  output.Print(table);
  if (is_empty) output.Note("nobody is banned");
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> Add(Connection& connection, Output& output, const BanOptions& options) {
  v1::AddBanRequest request;
  request.set_network(options.network);
  request.set_reason(options.reason);
  if (!options.duration.empty()) {
    absl::Duration duration;
    if (!absl::ParseDuration(options.duration, &duration) || duration < absl::Seconds(1) ||
        duration == absl::InfiniteDuration()) {
      return absl::InvalidArgumentError("--for must be a duration of at least 1s, such as 24h");
    }
    request.mutable_duration()->set_seconds(absl::ToInt64Seconds(duration));
  }
  ASSIGN_OR_RETURN(const v1::AddBanResponse response,
                   connection.CallUnary(connection.admin(), &Admin::AddBan, request));
  if (output.json()) {
    output.Json(response.ban());
  } else {
    output.Note(
        absl::StrCat(response.ban().network(), " is banned by all bridges within seconds, until ",
                     response.ban().has_end_time() ? EndText(response.ban()) : "`backupctl ban rm`",
                     "; networks that a bridge never bans stay let in there"));
  }
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> Remove(Connection& connection, Output& output,
                                const std::string& network) {
  v1::RemoveBanRequest request;
  request.set_network(network);
  ASSIGN_OR_RETURN(const v1::RemoveBanResponse response,
                   connection.CallUnary(connection.admin(), &Admin::RemoveBan, request));
  if (!output.json()) {
    output.Note(response.was_there() ? "the ban is lifted, within seconds at all bridges"
                                     : "there was no ban of exactly this network");
  }
  return ExitCode::kOk;
}

void AddNetwork(CLI::App& command, std::string& network) {
  command
      .add_option("NETWORK", network,
                  "An address such as 10.1.2.3, or a network such as\n10.1.0.0/16 or 2001:db8::/64")
      ->type_name("")
      ->required();
}

void AddAdd(CLI::App& group, Command& chosen) {
  CLI::App& add = *group.add_subcommand(
      "add", "Have all bridges turn away whoever connects from an address or a network");
  const auto options = std::make_shared<BanOptions>();
  AddNetwork(add, options->network);
  add.add_option("--for", options->duration, "How long, such as 24h; default: until it is lifted")
      ->type_name("DURATION");
  add.add_option("--reason", options->reason, "Why, for whoever lists bans later")
      ->type_name("TEXT");
  add.callback([&chosen, options] {
    chosen = [options](Connection& connection, Output& output) {
      return Add(connection, output, *options);
    };
  });
}

void AddRemove(CLI::App& group, Command& chosen) {
  CLI::App& remove =
      *group.add_subcommand("rm", "Lift a ban, and forget what the address did before");
  const auto network = std::make_shared<std::string>();
  AddNetwork(remove, *network);
  remove.callback([&chosen, network] {
    chosen = [network](Connection& connection, Output& output) {
      return Remove(connection, output, *network);
    };
  });
}

}  // namespace

void AddBanCommands(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand("ban", "Who may not connect to bridges");
  group.require_subcommand(1);
  CLI::App& list =
      *group.add_subcommand("list", "List bans, those of operators and those that were earned");
  list.callback([&chosen] { chosen = List; });
  AddAdd(group, chosen);
  AddRemove(group, chosen);
}

}  // namespace backup::ctl
