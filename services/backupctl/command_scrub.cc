#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "services/backupctl/commands.h"
#include "services/backupctl/confirm.h"

namespace backup::ctl {
namespace {

std::string StateText(const v1::Scrub& scrub) {
  std::string text = absl::AsciiStrToLower(v1::Scrub::State_Name(scrub.state()));
  if (scrub.has_start_time())
    absl::StrAppendFormat(&text, ", %.0f %% of a cycle are done", 100 * scrub.progress_ratio());
  return text;
}

std::string TallyText(const v1::ScrubTally& tally) {
  return absl::StrCat(HumanSize(tally.stored_bytes()), " in ", tally.pack_count(), " packs, ",
                      tally.version_count(), " versions: ", tally.damaged_count(), " damaged, ",
                      tally.missing_count(), " missing, ", tally.unreadable_count(),
                      " unreadable, ", tally.orphan_count(), " orphans");
}

std::string PaceText(const v1::Scrub& scrub) {
  const absl::Duration period = absl::Seconds(scrub.period().seconds());
  return absl::StrCat(
      period == absl::ZeroDuration() ? "only when told to"
                                     : absl::StrCat("all within ", absl::FormatDuration(period)),
      ", ",
      scrub.bytes_per_second() == 0
          ? "as fast as can be"
          : absl::StrCat("at most ", HumanSize(scrub.bytes_per_second()), " a second"));
}

void Show(const v1::Scrub& scrub, Output& output) {
  if (output.json()) return output.Json(scrub);
  std::vector<std::pair<std::string, std::string>> fields = {{"State", StateText(scrub)},
                                                             {"Reads", PaceText(scrub)}};
  if (scrub.has_start_time()) {
    fields.emplace_back("Began", TimeText(scrub.start_time()));
    fields.emplace_back("So far", TallyText(scrub.tally()));
  }
  if (scrub.has_last_end_time()) {
    fields.emplace_back("Last cycle", absl::StrCat(TimeText(scrub.last_start_time()), " to ",
                                                   TimeText(scrub.last_end_time())));
    fields.emplace_back("It found", TallyText(scrub.last_tally()));
  }
  if (scrub.has_next_start_time())
    fields.emplace_back("Next cycle", TimeText(scrub.next_start_time()));
  fields.emplace_back("Damaged now",
                      absl::StrCat(scrub.damaged_chunk_count(), " chunks, ",
                                   scrub.damaged_version_count(), " versions by themselves"));
  fields.emplace_back("Healed ever", absl::StrCat(scrub.healed_chunk_count(), " chunks, ",
                                                  scrub.healed_version_count(), " versions"));
  fields.emplace_back("Set aside", absl::StrCat(scrub.set_aside_blob_count(), " damaged blobs"));
  output.Print(fields);
}

absl::StatusOr<ExitCode> ShowScrub(Connection& connection, Output& output) {
  ASSIGN_OR_RETURN(
      const v1::GetScrubResponse response,
      connection.CallUnary(connection.admin(), &v1::AdminService::StubInterface::GetScrub,
                           v1::GetScrubRequest()));
  Show(response.scrub(), output);
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> StartScrub(Connection& connection, Output& output) {
  ASSIGN_OR_RETURN(
      const v1::StartScrubResponse response,
      connection.CallUnary(connection.admin(), &v1::AdminService::StubInterface::StartScrub,
                           v1::StartScrubRequest()));
  Show(response.scrub(), output);
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> PauseScrub(Connection& connection, Output& output) {
  ASSIGN_OR_RETURN(
      const v1::PauseScrubResponse response,
      connection.CallUnary(connection.admin(), &v1::AdminService::StubInterface::PauseScrub,
                           v1::PauseScrubRequest()));
  Show(response.scrub(), output);
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> DiscardDamaged(Connection& connection, Output& output, bool agreed) {
  RETURN_IF_ERROR(ConfirmDeletion("damaged blobs that no version refers to any more", agreed,
                                  connection.interrupt(), output));
  ASSIGN_OR_RETURN(
      const v1::DiscardDamagedResponse response,
      connection.CallUnary(connection.admin(), &v1::AdminService::StubInterface::DiscardDamaged,
                           v1::DiscardDamagedRequest()));
  if (output.json()) {
    output.Json(response);
  } else {
    output.Note(absl::StrCat("gave up ", response.discarded_count(), " damaged blobs"));
  }
  return ExitCode::kOk;
}

}  // namespace

void AddScrubCommands(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand(
      "scrub", "The job that reads everything once in a while, finds damage and heals it");
  group.require_subcommand(1);
  group.add_subcommand("status", "How far it is, what it found, and what is damaged now")
      ->callback([&chosen] { chosen = ShowScrub; });
  group.add_subcommand("start", "End a pause, and begin to read everything now")
      ->callback([&chosen] { chosen = StartScrub; });
  group.add_subcommand("pause", "Read nothing until `scrub start`, also after a restart")
      ->callback([&chosen] { chosen = PauseScrub; });
  CLI::App& discard = *group.add_subcommand(
      "discard", "Delete damaged blobs that were set aside and that no version needs any more");
  const auto agreed = std::make_shared<bool>(false);
  discard.add_flag("--yes,-y", *agreed, "Do not ask; needed where nobody can be asked");
  discard.callback([&chosen, agreed] {
    chosen = [agreed](Connection& connection, Output& output) {
      return DiscardDamaged(connection, output, *agreed);
    };
  });
}

}  // namespace backup::ctl
