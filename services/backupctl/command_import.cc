#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "services/backupctl/commands.h"
#include "services/backupctl/old_server/import.h"

namespace backup::ctl {
namespace {

struct ImportFlags {
  std::string database;
  std::string folder;
  std::vector<std::string> owners;
  std::string columns;
  std::string content = "auto";
  std::string zone;
  bool dry_run = false;
};

absl::StatusOr<ExitCode> RunImport(Connection& connection, Output& output,
                                   const ImportFlags& flags) {
  old_server::ImportOptions options;
  options.database = flags.database;
  options.folder = flags.folder;
  options.owners = flags.owners;
  options.dry_run = flags.dry_run;
  options.zone = absl::LocalTimeZone();
  ASSIGN_OR_RETURN(options.columns, old_server::ParseColumnNames(flags.columns));
  if (flags.content == "plain") options.content = old_server::ContentKind::kPlain;
  if (flags.content == "encrypted") options.content = old_server::ContentKind::kEncrypted;
  if (!flags.zone.empty() && !absl::LoadTimeZone(flags.zone, &options.zone)) {
    return absl::InvalidArgumentError(absl::StrCat("--time-zone: there is no time zone ",
                                                   flags.zone,
                                                   "; one is called Europe/Berlin, or UTC"));
  }
  return old_server::Import(connection, output, options);
}

}  // namespace

void AddImportCommand(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand("import", "Take over what another server keeps");
  group.require_subcommand(1);
  CLI::App& command = *group.add_subcommand(
      "old-server", "Take over the clients, keys and files of the old Python server");
  command.footer(
      "\nThe old clients go on with the ids and keys that they have. Nothing of the old server is "
      "changed, and the\n"
      "same import again changes nothing. What cannot be taken over is told with the reason (exit "
      "code 3).");
  const auto flags = std::make_shared<ImportFlags>();
  command.add_option("--database", flags->database, "The old server's SQLite database")
      ->required()
      ->type_name("FILE");
  command
      .add_option("--files", flags->folder,
                  "Its folder uploaded_files, or the folder that this is in")
      ->required()
      ->type_name("DIR");
  command.add_flag("--dry-run", flags->dry_run, "Only tell what would be done");
  command
      .add_option("--owner", flags->owners,
                  "Whose the files are that no row names: a client's name or id,\n"
                  "with =PATTERN only those; may be given several times")
      ->type_name("CLIENT[=PATTERN]")
      ->type_size(1)
      ->allow_extra_args(false);
  command
      .add_option("--columns", flags->columns,
                  "What columns with other names are: id, name, public_key, last_seen,\n"
                  "aes_key, file_name, path_name, verified")
      ->type_name("THEIRS=OURS,...");
  command
      .add_option("--content", flags->content,
                  "What its files are: plain, encrypted (under the client's key), or auto:\n"
                  "find out for each")
      ->check(CLI::IsMember({"auto", "plain", "encrypted"}).description(""))
      ->type_name("KIND")
      ->capture_default_str();
  command
      .add_option("--time-zone", flags->zone,
                  "Where the old server ran, for its times; default: this machine's")
      ->type_name("ZONE");
  command.callback([&chosen, flags] {
    chosen = [flags](Connection& connection, Output& output) {
      return RunImport(connection, output, *flags);
    };
  });
}

}  // namespace backup::ctl
