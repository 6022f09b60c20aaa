#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "services/backup/audit/actions.h"
#include "services/backup/catalog_mark.h"
#include "services/backup/jobs/snapshot_state.h"
#include "services/backup/rebuild_state.h"
#include "services/backup/restore_state.h"
#include "services/backupctl/commands.h"
#include "services/backupctl/decrypt.h"
#include "services/backupctl/key_options.h"

namespace backup::ctl {
namespace {

// A snapshot goes slowly on purpose.
constexpr absl::Duration kBackupTimeout = absl::Hours(6);

struct StateFlags {
  std::string data_dir;
  KeySources keys;
  std::string snapshot_dir;
  std::string snapshot;
  bool gives_up_missing_keys = false;
  BlobsOptions blobs;
};

std::string TimeOf(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

ExitCode ShowTaken(const v1::BackUpStateResponse& taken, Output& output) {
  if (output.json()) {
    output.Json(taken);
    return ExitCode::kOk;
  }
  output.Note(absl::StrCat("took ", taken.name(), ", ", HumanSize(taken.size_bytes()),
                           " of a catalog of ", HumanSize(taken.catalog_bytes())));
  for (const std::string& path : taken.paths()) output.Text(absl::StrCat(Printable(path), "\n"));
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> BackUp(Connection& connection, Output& output, const StateFlags& flags) {
  if (flags.data_dir.empty()) {
    ASSIGN_OR_RETURN(
        const v1::BackUpStateResponse taken,
        connection.CallUnary(connection.admin(), &v1::AdminService::StubInterface::BackUpState,
                             v1::BackUpStateRequest(), kBackupTimeout));
    return ShowTaken(taken, output);
  }
  RETURN_IF_ERROR(CheckOwner(flags.data_dir));
  RETURN_IF_ERROR(CheckCatalogIsHere(flags.data_dir));
  ASSIGN_OR_RETURN(const DataDir opened, OpenDataDir(flags.data_dir, {flags.keys, ""}));
  RETURN_IF_ERROR(CheckCatalogMark(flags.data_dir, *opened.storage.catalog));
  const SystemClock clock;
  jobs::StateSnapshots::Options options;
  options.folders = SnapshotFolders(flags.data_dir, flags.snapshot_dir);
  options.part_of_time = 1;  // Nobody else is there.
  jobs::StateSnapshots snapshots(*opened.storage.catalog, *opened.keys->master_keys().current,
                                 clock, options);
  ASSIGN_OR_RETURN(const jobs::StateSnapshots::Taken taken, snapshots.Take({}));
  v1::BackUpStateResponse response;
  response.set_name(storage::SnapshotFolder::NameOf(taken.entry));
  response.mutable_time()->set_seconds(absl::ToUnixSeconds(taken.entry.time));
  for (const std::string& path : taken.paths) response.add_paths(path);
  response.set_size_bytes(taken.entry.size_bytes);
  response.set_catalog_bytes(taken.catalog_size);
  return ShowTaken(response, output);
}

absl::StatusOr<ExitCode> List(Output& output, const StateFlags& flags) {
  const absl::StatusOr<crypto::MasterKeys> keys = OpenMasterKeys(flags.data_dir, flags.keys);
  if (!keys.ok() && !absl::IsNotFound(keys.status())) return keys.status();
  const std::vector<FoundSnapshot> found = FindSnapshots(
      SnapshotFolders(flags.data_dir, flags.snapshot_dir), keys.ok() ? &*keys : nullptr);
  Table table({{"TIME"},
               {"SIZE", Table::Align::kRight},
               {"CATALOG", Table::Align::kRight},
               {"READABLE"},
               {"WHERE", Table::Align::kLeft, Cut::kMiddle}});
  for (const FoundSnapshot& each : found) {
    if (output.json()) {
      output.Json(nlohmann::ordered_json{{"path", each.path},
                                         {"time", JsonTime(each.entry.time)},
                                         {"size_bytes", each.entry.size_bytes},
                                         {"catalog_bytes", each.footer.catalog_size},
                                         {"is_readable", each.readable.ok()},
                                         {"problem", std::string(each.readable.message())}});
      continue;
    }
    table.AddRow({TimeOf(each.entry.time), HumanSize(each.entry.size_bytes),
                  each.footer.catalog_size == 0 ? "-" : HumanSize(each.footer.catalog_size),
                  each.readable.ok() ? "yes" : "no", each.path});
  }
  if (output.json()) return ExitCode::kOk;
  output.Print(table);
  for (const FoundSnapshot& each : found) {
    if (!each.readable.ok())
      output.Problem(absl::StrCat(Printable(each.path), ": ", each.readable.message()));
  }
  return ExitCode::kOk;
}

void ShowUnreadable(const std::vector<std::string>& unreadable, Output& output) {
  for (const std::string& each : unreadable)
    output.Problem(absl::StrCat("passed over ", Printable(each)));
}

absl::StatusOr<ExitCode> Restore(Output& output, const StateFlags& flags) {
  ASSIGN_OR_RETURN(const HeldDataDir held, HoldDataDir(flags.data_dir, flags.keys));
  RETURN_IF_ERROR(CheckCatalogIsHere(held.path));
  const StateListener silent = [](absl::string_view) {};
  ASSIGN_OR_RETURN(
      NewCatalog restored,
      OpenSnapshot(held, {SnapshotFolders(held.path, flags.snapshot_dir), flags.snapshot}, silent));
  ShowUnreadable(restored.unreadable, output);
  restored.catalog.reset();
  ASSIGN_OR_RETURN(
      const std::string aside,
      PutInPlace(held, SystemClock().Now(), audit::kStateRestored, restored.snapshot_path, silent));
  if (output.json()) {
    output.Json(nlohmann::ordered_json{{"snapshot", restored.snapshot_path},
                                       {"time", JsonTime(restored.snapshot_time)},
                                       {"aside", aside}});
    return ExitCode::kOk;
  }
  output.Note(absl::StrCat("the catalog is that of ", TimeOf(restored.snapshot_time), ", from ",
                           Printable(restored.snapshot_path)));
  if (!aside.empty()) output.Note(absl::StrCat("what was there before is in ", Printable(aside)));
  output.Note("what came later is not in it: `backupctl state rebuild` takes that in");
  return ExitCode::kOk;
}

ExitCode ShowRebuilt(const RebuildReport& report, Output& output) {
  const bool has_snapshot = !report.snapshot_path.empty();
  if (output.json()) {
    nlohmann::ordered_json object = {{"snapshot", report.snapshot_path}};
    if (has_snapshot) object["time"] = JsonTime(report.snapshot_time);
    object.update(nlohmann::ordered_json{{"aside", report.aside},
                                         {"added_versions", report.versions},
                                         {"added_clients", report.clients},
                                         {"added_packs", report.packs},
                                         {"moved_versions", report.moved},
                                         {"healed_versions", report.healed},
                                         {"lost_count", report.lost_count},
                                         {"lost", report.lost},
                                         {"checked_versions", report.checked_versions},
                                         {"checked_bytes", report.checked_bytes},
                                         {"damaged_versions", report.damaged_versions}});
    output.Json(object);
  } else {
    for (const std::string& each : report.lost)
      output.Problem(absl::StrCat("not saved: ", Printable(each)));
    output.Print(Fields{
        {"Snapshot", has_snapshot
                         ? absl::StrCat(TimeOf(report.snapshot_time), ", ", report.snapshot_path)
                         : "none: all is from blobs"},
        {"Versions after it", absl::StrCat(report.versions, " (not confirmed)")},
        {"Clients after it", absl::StrCat(report.clients, " (without names and keys)")},
        {"Packs after it", absl::StrCat(report.packs)},
        {"Content that moved", absl::StrCat(report.moved, " versions")},
        {"Content from snapshots", absl::StrCat(report.healed, " versions")},
        {"Not saved", absl::StrCat(report.lost_count)},
        {"Checked",
         absl::StrCat(report.checked_versions, " versions, ", HumanSize(report.checked_bytes), ": ",
                      report.damaged_versions, " damaged")},
        {"Before it", report.aside.empty() ? "no catalog" : report.aside}});
  }
  return report.lost_count == 0 ? ExitCode::kOk : ExitCode::kDamaged;
}

absl::StatusOr<ExitCode> RunRebuild(Output& output, const StateFlags& flags) {
  ASSIGN_OR_RETURN(HeldDataDir held, HoldDataDir(flags.data_dir, flags.keys));
  RETURN_IF_ERROR(CheckCatalogIsHere(held.path));
  RETURN_IF_ERROR(CheckBlobsOptions(flags.blobs));
  held.blobs = flags.blobs;
  ASSIGN_OR_RETURN(
      const RebuildReport report,
      RebuildState(held, {SnapshotFolders(held.path, flags.snapshot_dir), flags.snapshot},
                   flags.gives_up_missing_keys ? MissingKeys::kGiveUp : MissingKeys::kRefuse,
                   SystemClock().Now(), [](absl::string_view) {}));
  ShowUnreadable(report.unreadable, output);
  return ShowRebuilt(report, output);
}

absl::StatusOr<ExitCode> Accept(Output& output, const StateFlags& flags) {
  ASSIGN_OR_RETURN(const HeldDataDir held, HoldDataDir(flags.data_dir, flags.keys));
  RETURN_IF_ERROR(AcceptCatalog(held));
  if (output.json()) return ExitCode::kOk;
  output.Note("a service may start with this catalog; what it does not know of stays in the store");
  return ExitCode::kOk;
}

void AddPlaces(CLI::App& command, StateFlags& flags, bool is_needed) {
  CLI::Option* const data_dir =
      command.add_option("--data_dir", flags.data_dir, "The service's data directory")
          ->type_name("DIR");
  if (is_needed) data_dir->required();
  AddKeyOptions(command, flags.keys);
  command
      .add_option("--snapshot_dir", flags.snapshot_dir,
                  "The service's --snapshot_dir: where more snapshots are")
      ->type_name("DIR");
}

// Adds a command that works on a data directory, or may.
CLI::App& AddStateCommand(CLI::App& group, Command& chosen, const std::string& name,
                          const std::string& what, bool needs_data_dir,
                          absl::StatusOr<ExitCode> (*run)(Connection&, Output&,
                                                          const StateFlags&)) {
  CLI::App& command = *group.add_subcommand(name, what);
  const auto flags = std::make_shared<StateFlags>();
  AddPlaces(command, *flags, needs_data_dir);
  if (name == "restore" || name == "rebuild") {
    command
        .add_option("--snapshot", flags->snapshot,
                    "The snapshot's file; default: the newest that is not damaged")
        ->type_name("FILE");
  }
  if (name == "rebuild") {
    command
        .add_option(
            "--blobs", flags->blobs.url,
            "The service's --blobs, if it had one; default: what\nthe catalog, a snapshot or "
            "the data directory says")
        ->type_name("URL");
    AddStoreOptions(command, flags->blobs);
    command.add_flag(
        "--give-up-missing-keys", flags->gives_up_missing_keys,
        "Go on without what a generation of keys has sealed\nthat is lost for ever, and "
        "name that");
  }
  command.callback([&chosen, flags, run] {
    chosen = [flags, run](Connection& connection, Output& output) {
      return run(connection, output, *flags);
    };
  });
  return command;
}

}  // namespace

void AddStateCommands(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand(
      "state", "Snapshots of the service's state (its catalog), and getting that back");
  group.require_subcommand(1);
  AddStateCommand(group, chosen, "backup", "Take a snapshot now", false, &BackUp)
      .footer(
          "\nThe service takes it, beside its work and therefore slowly. With --data_dir it is "
          "taken here, of a\n"
          "service that does not run.");
  AddStateCommand(
      group, chosen, "list", "List the snapshots that there are", true,
      [](Connection&, Output& output, const StateFlags& flags) { return List(output, flags); });
  AddStateCommand(
      group, chosen, "restore",
      "Put the catalog of a snapshot in place, of a service that does not run", true,
      [](Connection&, Output& output, const StateFlags& flags) { return Restore(output, flags); })
      .footer(
          "\nWhat was there is put aside, and nothing is deleted. What came after the snapshot is "
          "not known to the\n"
          "catalog then: \"state rebuild\" takes it in as well.");
  AddStateCommand(group, chosen, "rebuild",
                  "Make the catalog anew of the newest snapshot and of all that the store tells",
                  true,
                  [](Connection&, Output& output, const StateFlags& flags) {
                    return RunRebuild(output, flags);
                  })
      .footer(
          "\nIt begins with the catalog that is in place, if that is sound and as new as the "
          "snapshots, and no --snapshot\n"
          "is given. What was there is put aside, and nothing is deleted. Afterwards all is read "
          "and compared; what cannot be\n"
          "saved is named (exit code 14). Small files, verdicts, and clients and their keys that "
          "came after the\n"
          "snapshot are not in the store.");
  AddStateCommand(
      group, chosen, "accept",
      "Go on with a catalog that is older than the store, without what came later", true,
      [](Connection&, Output& output, const StateFlags& flags) { return Accept(output, flags); });
}

}  // namespace backup::ctl
