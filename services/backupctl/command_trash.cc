#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/ids.h"
#include "base/status_macros.h"
#include "services/backupctl/commands.h"
#include "services/backupctl/confirm.h"
#include "services/backupctl/removal.h"

namespace backup::ctl {
namespace {

// Of what is done in steps: a service that dies is noticed by keepalive long before.
constexpr absl::Duration kStepsTimeout = absl::Hours(24);

// What the options of all these commands are parsed into.
struct Options {
  std::string client;
  std::vector<std::string> files;  // Names and patterns, in the API's text form.
  int64_t version_id = 0;
  bool all = false;
  bool dry_run = false;
  bool agreed = false;
};

// The versions that are meant, by file.
using Chosen = std::map<std::string, std::vector<v1::FileVersion>>;

int64_t CountOf(const Chosen& chosen) {
  int64_t count = 0;
  for (const auto& [file, versions] : chosen) count += std::ssize(versions);
  return count;
}

// Such as "notes.txt of laptop: all 2 versions, 10 B" or "12 versions of 3 files of laptop, 1.5
// KiB".
std::string WhatText(const Chosen& chosen, const std::string& client_name) {
  int64_t bytes = 0;
  for (const auto& [file, versions] : chosen) {
    for (const v1::FileVersion& version : versions) bytes += version.size_bytes();
  }
  if (chosen.size() > 1) {
    return absl::StrCat(CountOf(chosen), " versions of ", chosen.size(), " files of ", client_name,
                        ", ", HumanSize(bytes));
  }
  const auto& [file, versions] = *chosen.begin();
  return absl::StrCat(file, " of ", client_name, ": ",
                      versions.size() == 1 ? absl::StrCat("version ", versions.front().version_id())
                                           : absl::StrCat("all ", versions.size(), " versions"),
                      ", ", HumanSize(bytes));
}

// What would be done to the versions that are meant.
void ShowChosen(const Chosen& chosen, Output& output) {
  Table table({{"FILE", Table::Align::kLeft, Cut::kMiddle},
               {"VERSION", Table::Align::kRight},
               {"STATE"},
               {"SIZE", Table::Align::kRight},
               {"RECEIVED"}});
  for (const auto& [file, versions] : chosen) {
    for (const v1::FileVersion& version : versions) {
      if (output.json()) output.Json(version);
      table.AddRow({file, absl::StrCat(version.version_id()),
                    v1::FileVersion::State_Name(version.state()), HumanSize(version.size_bytes()),
                    TimeText(version.receive_time())});
    }
  }
  if (!output.json()) output.Print(table);
}

// Leaves only the version that is asked for, of the one file that is meant.
absl::Status KeepOnly(int64_t version_id, Chosen& chosen) {
  if (version_id == 0) return absl::OkStatus();
  if (chosen.size() != 1)
    return absl::InvalidArgumentError("--version needs exactly one file (nothing was done)");
  auto& [file, versions] = *chosen.begin();
  for (const v1::FileVersion& version : versions) {
    if (version.version_id() != version_id) continue;
    versions = {v1::FileVersion(version)};
    return absl::OkStatus();
  }
  return MakeError(Reason::kVersionNotFound,
                   absl::StrCat("the file ", file, " has no version ", version_id, " there"),
                   absl::StrCat(file, "@", version_id));
}

bool HasPattern(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    if (file.find_first_of("*?[") != std::string::npos) return true;
  }
  return false;
}

// What of a client's files is to be deleted.
absl::StatusOr<Chosen> ChooseToRemove(Connection& connection, const std::string& client_id,
                                      const Options& options) {
  ASSIGN_OR_RETURN(FileChoice choice, FileChoice::Parse(options.files));
  std::vector<std::string> names = options.files;
  if (HasPattern(options.files)) {
    names.clear();
    RETURN_IF_ERROR(ForEachFile(connection, client_id, [&](const v1::File& file) {
      if (choice.Matches(file.file_name())) names.push_back(file.file_name());
    }));
    RETURN_IF_ERROR(choice.CheckAllFitted("of this client"));
  }
  Chosen chosen;
  for (const std::string& name : names) {
    std::vector<v1::FileVersion>& versions = chosen[name];
    versions.clear();
    RETURN_IF_ERROR(
        ForEachVersion(connection, client_id, name,
                       [&](const v1::FileVersion& version) { versions.push_back(version); }));
  }
  RETURN_IF_ERROR(KeepOnly(options.version_id, chosen));
  for (const auto& [file, versions] : chosen) {
    if (versions.size() > 1 && !options.all) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, " has ", versions.size(),
                       " versions: say which one with --version N, or --all (`backupctl file "
                       "versions` shows them; nothing was deleted)"));
    }
  }
  return chosen;
}

absl::StatusOr<v1::DeleteFileResponse> RemoveOne(Connection& connection,
                                                 const v1::FileVersion& version) {
  v1::DeleteVersionRequest request;
  request.set_client_id(version.client_id());
  request.set_file_name(version.file_name());
  request.set_version_id(version.version_id());
  ASSIGN_OR_RETURN(
      const v1::DeleteVersionResponse deleted,
      connection.CallUnary(connection.catalog(), &v1::CatalogService::StubInterface::DeleteVersion,
                           request));
  v1::DeleteFileResponse response;
  response.set_version_count(1);
  if (deleted.has_purge_time()) *response.mutable_purge_time() = deleted.purge_time();
  return response;
}

absl::StatusOr<v1::DeleteFileResponse> RemoveAll(Connection& connection,
                                                 const v1::FileVersion& version) {
  v1::DeleteFileRequest request;
  request.set_client_id(version.client_id());
  request.set_file_name(version.file_name());
  return connection.CallUnary(connection.catalog(), &v1::CatalogService::StubInterface::DeleteFile,
                              request, kStepsTimeout);
}

// What is said of the command that takes back what was deleted.
std::string UndeleteCommand(const Options& options) {
  std::string command = absl::StrCat("backupctl file undelete ", options.client);
  for (const std::string& file : options.files) absl::StrAppend(&command, " '", file, "'");
  if (options.version_id != 0) absl::StrAppend(&command, " --version ", options.version_id);
  return command;
}

absl::StatusOr<ExitCode> RemoveFiles(Connection& connection, Output& output,
                                     const Options& options) {
  ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(options.client));
  ASSIGN_OR_RETURN(const Chosen chosen, ChooseToRemove(connection, client.client_id(), options));
  if (options.dry_run) {
    ShowChosen(chosen, output);
    return ExitCode::kOk;
  }
  ASSIGN_OR_RETURN(const std::string fate, FateOfDeleted(connection));
  RETURN_IF_ERROR(ConfirmDeletion(absl::StrCat(WhatText(chosen, client.name()), fate),
                                  options.agreed, connection.interrupt(), output));
  v1::DeleteFileResponse all;
  for (const auto& [file, versions] : chosen) {
    const absl::StatusOr<v1::DeleteFileResponse> deleted =
        versions.size() == 1 ? RemoveOne(connection, versions.front())
                             : RemoveAll(connection, versions.front());
    // It was there a moment ago: a try before this one, or somebody else, has deleted it.
    if (!deleted.ok() && !absl::IsNotFound(deleted.status())) {
      return WithMessage(deleted.status(),
                         absl::StrCat(deleted.status().message(), "; ", all.version_count(),
                                      " versions were deleted before"));
    }
    if (deleted.ok()) {
      all.set_version_count(all.version_count() + deleted->version_count());
      if (deleted->has_purge_time()) *all.mutable_purge_time() = deleted->purge_time();
    }
    for (const v1::FileVersion& version : versions) {
      if (output.json()) output.Json(version);
    }
  }
  if (!output.json()) {
    output.Note(DeletedText(
        absl::StrCat(all.version_count(), all.version_count() == 1 ? " version" : " versions"), all,
        UndeleteCommand(options)));
  }
  return ExitCode::kOk;
}

// What of a client's files is to be taken back.
absl::StatusOr<Chosen> ChooseToUndelete(Connection& connection, const std::string& client_id,
                                        const Options& options) {
  ASSIGN_OR_RETURN(FileChoice choice, FileChoice::Parse(options.files));
  Chosen chosen;
  RETURN_IF_ERROR(ForEachTrashPage(connection, client_id, [&](const v1::ListTrashResponse& page) {
    for (const v1::TrashedVersion& trashed : page.versions()) {
      const v1::FileVersion& version = trashed.version();
      if (choice.Matches(version.file_name())) chosen[version.file_name()].push_back(version);
    }
  }));
  RETURN_IF_ERROR(choice.CheckAllFitted("of this client in the trash"));
  RETURN_IF_ERROR(KeepOnly(options.version_id, chosen));
  return chosen;
}

absl::Status UndeleteOne(Connection& connection, const v1::FileVersion& version) {
  v1::UndeleteVersionRequest request;
  request.set_client_id(version.client_id());
  request.set_file_name(version.file_name());
  request.set_version_id(version.version_id());
  return connection
      .CallUnary(connection.lifecycle(), &v1::LifecycleService::StubInterface::UndeleteVersion,
                 request)
      .status();
}

absl::Status UndeleteAll(Connection& connection, const v1::FileVersion& version) {
  v1::UndeleteFileRequest request;
  request.set_client_id(version.client_id());
  request.set_file_name(version.file_name());
  return connection
      .CallUnary(connection.lifecycle(), &v1::LifecycleService::StubInterface::UndeleteFile,
                 request, kStepsTimeout)
      .status();
}

absl::StatusOr<ExitCode> UndeleteFiles(Connection& connection, Output& output,
                                       const Options& options) {
  ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(options.client));
  ASSIGN_OR_RETURN(const Chosen chosen, ChooseToUndelete(connection, client.client_id(), options));
  if (options.dry_run) {
    ShowChosen(chosen, output);
    return ExitCode::kOk;
  }
  for (const auto& [file, versions] : chosen) {
    RETURN_IF_ERROR(versions.size() == 1 ? UndeleteOne(connection, versions.front())
                                         : UndeleteAll(connection, versions.front()));
    for (const v1::FileVersion& version : versions) {
      if (output.json()) output.Json(version);
    }
  }
  if (!output.json()) output.Note(absl::StrCat("took back ", WhatText(chosen, client.name())));
  return ExitCode::kOk;
}

// What a client has, for people.
absl::StatusOr<std::string> Holdings(Connection& connection, const std::string& client_id) {
  int64_t files = 0;
  int64_t versions = 0;
  RETURN_IF_ERROR(ForEachFile(connection, client_id, [&](const v1::File& file) {
    ++files;
    versions += file.version_count();
  }));
  return absl::StrCat(files, " files, ", versions, " versions");
}

absl::StatusOr<ExitCode> RemoveClient(Connection& connection, Output& output,
                                      const Options& options) {
  ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(options.client));
  ASSIGN_OR_RETURN(const std::string holdings, Holdings(connection, client.client_id()));
  const std::string what = absl::StrCat("the client ", client.name(), " (", client.client_id(),
                                        ") with all it has: ", holdings);
  if (options.dry_run) {
    output.json() ? output.Json(client) : output.Text(absl::StrCat("would delete ", what, "\n"));
    return ExitCode::kOk;
  }
  ASSIGN_OR_RETURN(const std::string fate, FateOfDeleted(connection));
  RETURN_IF_ERROR(
      ConfirmDeletion(absl::StrCat(what, fate), options.agreed, connection.interrupt(), output));
  v1::DeleteClientRequest request;
  request.set_client_id(client.client_id());
  absl::StatusOr<v1::DeleteClientResponse> deleted =
      connection.CallUnary(connection.catalog(), &v1::CatalogService::StubInterface::DeleteClient,
                           request, kStepsTimeout);
  // It was there a moment ago: a try before this one, or somebody else, has deleted it.
  if (absl::IsNotFound(deleted.status())) deleted = v1::DeleteClientResponse();
  if (!deleted.ok()) return deleted.status();
  if (output.json()) {
    output.Json(client);
  } else {
    output.Note(DeletedText(client.name(), *deleted,
                            absl::StrCat("backupctl client undelete ", client.client_id())));
    output.Note(deleted->has_purge_time()
                    ? "if it calls again with its key before then, it is back by itself"
                    : "if it comes back, it must register as a new client");
  }
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> UndeleteClient(Connection& connection, Output& output,
                                        const Options& options) {
  v1::UndeleteClientRequest request;
  const bool is_id = FromUuid<ClientId>(options.client).has_value();
  is_id ? request.set_client_id(options.client) : request.set_name(options.client);
  ASSIGN_OR_RETURN(
      const v1::UndeleteClientResponse response,
      connection.CallUnary(connection.lifecycle(),
                           &v1::LifecycleService::StubInterface::UndeleteClient, request));
  if (output.json()) {
    output.Json(response.client());
  } else {
    output.Note(absl::StrCat("took back ", response.client().name(), " with ",
                             response.file_count(), " files, ", response.version_count(),
                             " versions"));
  }
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> ListTrash(Connection& connection, Output& output, const Options& options) {
  std::string client_id;
  if (!options.client.empty()) {
    ASSIGN_OR_RETURN(client_id, FindClientId(connection, options.client));
  }
  Table table({{"CLIENT"},
               {"FILE", Table::Align::kLeft, Cut::kMiddle},
               {"VERSION", Table::Align::kRight},
               {"SIZE", Table::Align::kRight},
               {"DELETED"},
               {"UNTIL"}});
  RETURN_IF_ERROR(ForEachTrashPage(connection, client_id, [&](const v1::ListTrashResponse& page) {
    for (const v1::TrashedClient& trashed : page.clients()) {
      if (output.json()) output.Json(trashed);
      const v1::Client& client = trashed.client();
      table.AddRow({client.client_id(),
                    absl::StrCat("all of ", client.name(), ": ", trashed.file_count(), " files"),
                    absl::StrCat(trashed.version_count(), " in all"),
                    HumanSize(client.stored_bytes()), TimeText(trashed.delete_time()),
                    UntilText(trashed.purge_time())});
    }
    for (const v1::TrashedVersion& trashed : page.versions()) {
      if (output.json()) output.Json(trashed);
      const v1::FileVersion& version = trashed.version();
      table.AddRow({version.client_id(), version.file_name(), absl::StrCat(version.version_id()),
                    HumanSize(version.size_bytes()), TimeText(trashed.delete_time()),
                    UntilText(trashed.purge_time())});
    }
  }));
  if (!output.json()) output.Print(table);
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> EmptyTrash(Connection& connection, Output& output,
                                    const Options& options) {
  v1::EmptyTrashRequest request;
  if (!options.client.empty()) {
    ASSIGN_OR_RETURN(*request.mutable_client_id(), FindClientId(connection, options.client));
  }
  int64_t clients = 0;
  int64_t versions = 0;
  RETURN_IF_ERROR(
      ForEachTrashPage(connection, request.client_id(), [&](const v1::ListTrashResponse& page) {
        clients += page.clients_size();
        versions += page.versions_size();
        for (const v1::TrashedClient& client : page.clients()) versions += client.version_count();
      }));
  RETURN_IF_ERROR(ConfirmDeletion(
      absl::StrCat("all that is in the trash", options.client.empty() ? "" : " of ", options.client,
                   ": ", clients, " clients, ", versions, " versions, for good"),
      options.agreed, connection.interrupt(), output));
  Call call(connection.interrupt(), kStepsTimeout);
  const auto stream = connection.lifecycle().EmptyTrash(&call.context(), request);
  v1::EmptyTrashResponse last;
  while (stream->Read(&last)) {
  }
  RETURN_IF_ERROR(connection.Explain(stream->Finish()));
  if (output.json()) {
    output.Json(last);
  } else {
    output.Note(absl::StrCat("removed ", last.version_count(), " versions and ",
                             last.client_count(), " clients for good"));
  }
  return ExitCode::kOk;
}

using Run = absl::StatusOr<ExitCode> (*)(Connection&, Output&, const Options&);

std::shared_ptr<Options> AddCommand(CLI::App& command, Command& chosen, Run run) {
  auto options = std::make_shared<Options>();
  command.callback([&chosen, options, run] {
    chosen = [options, run](Connection& connection, Output& output) {
      return run(connection, output, *options);
    };
  });
  return options;
}

CLI::Option& AddClient(CLI::App& command, Options& options) {
  return *command.add_option("CLIENT", options.client, "The client's name or id")->type_name("");
}

CLI::Option& AddFiles(CLI::App& command, Options& options) {
  command
      .add_option("FILE", options.files,
                  "Names or patterns, such as 'docs/**'; after -- if they\nbegin with a dash")
      ->required()
      ->type_name("");
  return *command.add_option("--version", options.version_id, "Only this version, of one file")
              ->check(CLI::Validator(CLI::PositiveNumber).description(""))
              ->type_name("N");
}

void AddDryRun(CLI::App& command, Options& options) {
  command.add_flag("--dry-run", options.dry_run, "Only say what would be done");
}

void AddAgreement(CLI::App& command, Options& options) {
  command.add_flag("--yes,-y", options.agreed, "Do not ask; needed where nobody can be asked");
}

}  // namespace

void AddFileTrashCommands(CLI::App& group, Command& chosen) {
  CLI::App& remove = *group.add_subcommand("rm", "Delete files, or a version of one");
  const auto removed = AddCommand(remove, chosen, RemoveFiles);
  AddClient(remove, *removed).required();
  CLI::Option& version = AddFiles(remove, *removed);
  remove.add_flag("--all", removed->all, "All versions; needed where there are several")
      ->excludes(&version);
  AddDryRun(remove, *removed);
  AddAgreement(remove, *removed);

  CLI::App& undelete =
      *group.add_subcommand("undelete", "Take files, or a version of one, back from the trash");
  const auto undeleted = AddCommand(undelete, chosen, UndeleteFiles);
  AddClient(undelete, *undeleted).required();
  AddFiles(undelete, *undeleted);
  AddDryRun(undelete, *undeleted);
}

void AddClientTrashCommands(CLI::App& group, Command& chosen) {
  CLI::App& remove = *group.add_subcommand("rm", "Delete a client with all its files and versions");
  const auto removed = AddCommand(remove, chosen, RemoveClient);
  AddClient(remove, *removed).required();
  AddDryRun(remove, *removed);
  AddAgreement(remove, *removed);

  CLI::App& undelete =
      *group.add_subcommand("undelete", "Take a client back from the trash with all it had");
  AddClient(undelete, *AddCommand(undelete, chosen, UndeleteClient)).required();
}

void AddTrashCommands(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand("trash", "What was deleted and can be taken back");
  group.require_subcommand(1);
  CLI::App& list = *group.add_subcommand("list", "List the trash, or what of it is one client's");
  AddClient(list, *AddCommand(list, chosen, ListTrash));
  CLI::App& empty = *group.add_subcommand("empty", "Remove what is in the trash for good");
  const auto emptied = AddCommand(empty, chosen, EmptyTrash);
  AddClient(empty, *emptied);
  AddAgreement(empty, *emptied);
}

}  // namespace backup::ctl
