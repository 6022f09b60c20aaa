#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "services/backup/migrate.h"
#include "services/backupctl/commands.h"
#include "services/backupctl/interrupt.h"
#include "services/backupctl/key_options.h"
#include "services/backupctl/local_file.h"

namespace backup::ctl {
namespace {

struct MigrateFlags {
  Migration migration;
  std::vector<std::string> to;
  bool undoes = false;
};

// What each word of --to is, is told by how it begins.
absl::Status SortPlaces(MigrateFlags& flags) {
  Migration& migration = flags.migration;
  for (const std::string& place : flags.to) {
    const bool is_catalog =
        absl::StartsWith(place, "postgres://") || absl::StartsWith(place, "postgresql://");
    const bool is_store = absl::StartsWith(place, "s3://");
    std::string& wanted = is_catalog ? migration.catalog.conninfo
                          : is_store ? migration.blobs.url
                                     : migration.to;
    if (!wanted.empty()) {
      return absl::InvalidArgumentError(
          "--to has two places of one kind: give a folder, and at most one postgres:// and s3://");
    }
    wanted = place;
  }
  if (!migration.to.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "--to must name a folder, the new data directory: keys and marks stay in one, wherever "
      "catalog and blobs are");
}

// Shows how it goes, each part by a bar of its own.
class ProgressShown {
 public:
  explicit ProgressShown(const ProgressStyle& style) : style_(style) {}

  void Show(absl::string_view what, int64_t done, int64_t total) {
    if (!bar_ || what != what_) {
      what_ = std::string(what);
      bar_.emplace(style_, what_, total);
    }
    // Bytes of blobs; of rows only that it goes on.
    bar_->SetTotal(total);
    bar_->SetDone(done);
  }

 private:
  const ProgressStyle style_;
  std::string what_;
  std::optional<ProgressBar> bar_;
};

nlohmann::ordered_json JsonOf(const Migration& migration, const MigrationReport& report) {
  nlohmann::ordered_json object = {
      {"is_finished", !report.to.empty()},     {"blobs_stay", report.blobs_stay},
      {"blobs", report.blobs.blobs},           {"blob_bytes", report.blobs.bytes},
      {"copied_blobs", report.blobs.copied},   {"copied_bytes", report.blobs.copied_bytes},
      {"removed_blobs", report.blobs.removed}, {"damaged_blobs", report.blobs.damaged_count},
      {"damaged", report.blobs.damaged},       {"unreadable_blobs", report.blobs.unreadable_count},
      {"unreadable", report.blobs.unreadable}};
  if (!migration.finishes) return object;
  object["missing_blobs"] = report.rows.missing_count;
  object["missing"] = report.rows.missing;
  object["tables"] = nlohmann::ordered_json::array();
  for (const TableCopy& table : report.rows.tables) {
    object["tables"].push_back(
        {{"name", table.table}, {"rows", table.rows}, {"sha256", table.sha256}});
  }
  return object;
}

void ShowProblems(const MigrationReport& report, Output& output) {
  for (const std::string& each : report.blobs.unreadable)
    output.Problem(absl::StrCat("cannot be read: ", Printable(each)));
  for (const std::string& each : report.blobs.damaged)
    output.Problem(absl::StrCat("damaged at the source, copied as it is: ", each));
  for (const std::string& each : report.rows.missing)
    output.Problem(absl::StrCat("missing, though the catalog names it: ", each));
}

void ShowReport(const MigrationReport& report, Output& output) {
  int64_t rows = 0;
  for (const TableCopy& table : report.rows.tables) rows += table.rows;
  const BlobCopyReport& blobs = report.blobs;
  Fields fields = {{"Blobs", absl::StrCat(blobs.blobs, ", ", HumanSize(blobs.bytes),
                                          report.blobs_stay ? ", which stay where they are" : "")},
                   {"Copied now", absl::StrCat(blobs.copied, ", ", HumanSize(blobs.copied_bytes))}};
  if (!report.to.empty()) {
    fields.emplace_back("Rows of the catalog", absl::StrCat(rows, ", all compared"));
    fields.emplace_back("Moved to", report.to);
  }
  output.Print(fields);
}

void ShowNextStep(const Migration& migration, const MigrationReport& report, Output& output) {
  if (report.to.empty()) {
    output.Note(
        "to finish, stop the service and give the same command with --finish; until then it may "
        "be repeated");
    return;
  }
  std::string flags = absl::StrCat("--data_dir=", migration.to);
  if (!report.brought_key) absl::StrAppend(&flags, " and where its master key is, as before");
  output.Note(
      absl::StrCat("start the service with ", flags, "; that of before does not start any more"));
  if (report.has_snapshots)
    output.Note("snapshots of before stay where they were; the service takes new ones");
}

absl::StatusOr<ExitCode> Undo(Output& output, const MigrateFlags& flags) {
  if (!flags.to.empty() || flags.migration.finishes)
    return absl::InvalidArgumentError("--undo takes --from only");
  ASSIGN_OR_RETURN(const std::string was, UndoMigration(flags.migration.from));
  if (!output.json()) {
    output.Note(absl::StrCat("a service may start with it again, as it was; what came to ", was,
                             " since is not in it, and both must not serve clients"));
  }
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> RunMigrate(Connection& connection, Output& output, MigrateFlags flags) {
  MakeFilesPrivate();
  if (flags.undoes) return Undo(output, flags);
  RETURN_IF_ERROR(SortPlaces(flags));
  MigrationReport report;
  absl::Status done;
  {
    ProgressShown shown(output.progress());
    MigrationListener listener;
    listener.progress = [&](absl::string_view what, int64_t so_far, int64_t total) {
      shown.Show(what, so_far, total);
    };
    listener.check = [&] { return connection.interrupt().Check(); };
    done = Migrate(flags.migration, SystemClock().Now(), listener, report);
  }
  ShowProblems(report, output);
  RETURN_IF_ERROR(done);
  if (output.json()) {
    output.Json(JsonOf(flags.migration, report));
  } else {
    ShowReport(report, output);
    ShowNextStep(flags.migration, report, output);
  }
  return report.blobs.unreadable_count == 0 ? ExitCode::kOk : ExitCode::kDamaged;
}

}  // namespace

void AddMigrateCommand(CLI::App& app, Command& chosen) {
  CLI::App& command = *app.add_subcommand(
      "migrate", "Bring a whole installation to another place: catalog, blobs and keys");
  const auto flags = std::make_shared<MigrateFlags>();
  command.add_option("--from", flags->migration.from, "The service's data directory")
      ->type_name("DIR")
      ->required();
  command
      .add_option("--to", flags->to,
                  "A new data directory, and where the catalog\n(postgres://...) and the blobs "
                  "(s3://...) are to be;\nwhat is not named is in that directory")
      ->type_name("PLACE");
  command.add_flag("--finish", flags->migration.finishes,
                   "Also the catalog, and all else, of a service that\ndoes not run; it is moved "
                   "then");
  command.add_flag("--give-up-unreadable", flags->migration.gives_up_unreadable,
                   "Finish without blobs that cannot be read, and name\nthem");
  command.add_flag("--undo", flags->undoes,
                   "Let the service start again with --from, as it was\nwhen it moved");
  AddKeyOptions(command, flags->migration.keys);
  AddStoreOptions(command, flags->migration.blobs);
  // Here it is written to; of the one that it comes from all is known.
  command.get_option("--s3_endpoint")->description("The object store of --to");
  command.get_option("--s3_credentials_file")
      ->description(
          "Its access key; else from the environment, or\n~/.aws/credentials, as that of the store "
          "it comes from");
  command.footer(
      "\nWithout --finish only blobs are copied, while the service runs, as often as you like; "
      "with "
      "it the rest.\n"
      "All that is copied is read back and compared. Interrupted, the same command goes on. The "
      "old "
      "place is\n"
      "not changed, but that no service starts there any more: not both may serve.");
  command.callback([&chosen, flags] {
    chosen = [flags](Connection& connection, Output& output) {
      return RunMigrate(connection, output, *flags);
    };
  });
}

}  // namespace backup::ctl
