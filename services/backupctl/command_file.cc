#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "services/backupctl/commands.h"
#include "services/backupctl/local_file.h"
#include "services/backupctl/progress_bar.h"
#include "services/backupctl/removal.h"
#include "services/backupctl/safe_path.h"
#include "services/backupctl/standard_output.h"
#include "services/backupctl/transfer.h"
#include "services/backupctl/version_choice.h"

namespace backup::ctl {
namespace {

constexpr int kPageSize = 1000;

// What the options of all file commands are parsed into.
struct FileOptions {
  std::string client;
  std::string file;  // A name in the API's text form; for `put`, a path here.
  int64_t version_id = 0;
  std::string out;
  std::string name;
  bool force = false;
  bool fallback = false;
};

absl::StatusOr<ExitCode> ListFiles(Connection& connection, Output& output,
                                   const FileOptions& options) {
  ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(options.client));
  Table table({{"FILE", Table::Align::kLeft, Cut::kMiddle},
               {"SIZE", Table::Align::kRight},
               {"VERIFIED"},
               {"NEWEST", Table::Align::kRight},
               {"VERSIONS", Table::Align::kRight}});
  v1::ListFilesRequest request;
  request.set_client_id(client.client_id());
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(const v1::ListFilesResponse page,
                     connection.CallUnary(connection.catalog(),
                                          &v1::CatalogService::StubInterface::ListFiles, request));
    for (const v1::File& file : page.files()) {
      const bool verified = file.has_newest_verified();
      const v1::FileVersion& newest = file.newest_verified();
      if (output.json()) output.Json(file);
      table.AddRow({file.file_name(), verified ? HumanSize(newest.size_bytes()) : "-",
                    verified ? TimeText(newest.verify_time()) : "never",
                    verified ? absl::StrCat(newest.version_id()) : "-",
                    absl::StrCat(file.version_count())});
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (!output.json()) output.Print(table);
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> ListVersions(Connection& connection, Output& output,
                                      const FileOptions& options) {
  ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(options.client));
  Table table({{"VERSION", Table::Align::kRight},
               {"STATE"},
               {"SIZE", Table::Align::kRight},
               {"RECEIVED"},
               {"VERIFIED"},
               {"ARRIVED"},
               {"RETAINED"},
               {"STORAGE"},
               {"CHECKSUM", Table::Align::kRight},
               {"SHA256"}});
  RETURN_IF_ERROR(ForEachVersion(
      connection, client.client_id(), options.file, [&](const v1::FileVersion& version) {
        if (output.json()) output.Json(version);
        table.AddRow(
            {absl::StrCat(version.version_id()), v1::FileVersion::State_Name(version.state()),
             HumanSize(version.size_bytes()), TimeText(version.receive_time()),
             TimeOrNever(version, &v1::FileVersion::has_verify_time, &v1::FileVersion::verify_time),
             version.has_arrive_time() ? TimeText(version.arrive_time()) : "-",
             version.has_retain_until() ? TimeText(version.retain_until()) : "-",
             v1::FileVersion::Storage_Name(version.storage()), absl::StrCat(version.checksum()),
             absl::BytesToHexString(version.sha256())});
      }));
  if (!output.json()) output.Print(table);
  return ExitCode::kOk;
}

// Writes on, and shows how far it is. Used by one thread at a time.
class ShownSink final : public ByteSink {
 public:
  ShownSink(ByteSink& sink, ProgressBar& progress) : sink_(sink), progress_(progress) {}
  absl::Status Write(absl::string_view piece) override {
    progress_.Advance(static_cast<int64_t>(piece.size()));
    return sink_.Write(piece);
  }
  void LetPiecesLast(size_t pieces) override { sink_.LetPiecesLast(pieces); }

 private:
  ByteSink& sink_;
  ProgressBar& progress_;
};

absl::Status DownloadShown(Connection& connection, const v1::FileVersion& version, ByteSink& sink,
                           const Output& output) {
  ProgressBar progress(output.progress(), version.file_name(), version.size_bytes());
  ShownSink shown(sink, progress);
  return Download(connection, version, shown);
}

absl::Status GetInto(FilePlace& place, Connection& connection, const v1::FileVersion& version,
                     bool replace, const Output& output) {
  RemoveLeftOverParts(place.folder.get());
  ASSIGN_OR_RETURN(const std::unique_ptr<OutputFile> file,
                   OutputFile::Create(place.folder.get(), version.size_bytes()));
  RETURN_IF_ERROR(DownloadShown(connection, version, *file, output));
  RETURN_IF_ERROR(file->Sync());
  return file->Commit(place.folder.get(), place.name, replace, ToTime(version.receive_time()));
}

// The newest version before `version` that is not known to be damaged, if that is what to do after
// `error`; nothing if it is not.
absl::StatusOr<std::optional<v1::FileVersion>> Fallback(Connection& connection,
                                                        const v1::FileVersion& version,
                                                        const absl::Status& error,
                                                        const FileOptions& options) {
  const bool is_damaged = ReasonOf(error) == Reason::kBlobDamaged;
  if (is_damaged && options.fallback) return GoodVersionBefore(connection, version, std::nullopt);
  return std::optional<v1::FileVersion>();
}

// With what may help.
absl::Status WithAdvice(const absl::Status& error, const FileOptions& options) {
  if (ReasonOf(error) != Reason::kBlobDamaged || options.fallback || options.version_id != 0)
    return error;
  return WithMessage(error, absl::StrCat(error.message(),
                                         "; `backupctl file get --fallback` gives the newest "
                                         "version that is not damaged"));
}

// Fetches `version`, or with --fallback the newest one before it that is not damaged: then that
// becomes `version`.
absl::Status GetOrFallBack(Connection& connection, v1::FileVersion& version, FilePlace& place,
                           ByteSink* bytes, const FileOptions& options, Output& output) {
  while (true) {
    absl::Status got;
    if (options.fallback && version.state() == v1::FileVersion::DAMAGED) {
      got = MakeError(Reason::kBlobDamaged, "this version is damaged", version.file_name());
    } else {
      got = bytes == nullptr ? GetInto(place, connection, version, options.force, output)
                             : DownloadShown(connection, version, *bytes, output);
      // What was written to standard output cannot be taken back.
      if (bytes != nullptr) return WithAdvice(got, options);
    }
    ASSIGN_OR_RETURN(std::optional<v1::FileVersion> older,
                     Fallback(connection, version, got, options));
    if (!older) return WithAdvice(got, options);
    output.Problem(absl::StrCat("version ", version.version_id(), " is damaged: version ",
                                older->version_id(), " of ", TimeText(older->receive_time()),
                                " is fetched instead"));
    version = *std::move(older);
  }
}

absl::StatusOr<ExitCode> GetFile(Connection& connection, Output& standard_output,
                                 const FileOptions& options) {
  MakeFilesPrivate();
  const bool to_file = options.out != "-";
  Output on_standard_error = standard_output.OnStandardError();
  Output& output = to_file ? standard_output : on_standard_error;
  ASSIGN_OR_RETURN(const std::string name, TextToName(options.file));
  FilePlace place = {.folder = UniqueFd(), .name = "", .path = "-"};
  std::unique_ptr<StandardOutput> bytes;
  if (to_file) {
    ASSIGN_OR_RETURN(place, FindPlace(options.out, SafeBaseName(name), options.force));
  } else {
    ASSIGN_OR_RETURN(bytes, StandardOutput::Open(connection.interrupt()));
  }
  ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(options.client));
  v1::GetVersionRequest request;
  request.set_client_id(client.client_id());
  request.set_file_name(options.file);
  request.set_version_id(options.version_id);
  ASSIGN_OR_RETURN(const v1::GetVersionResponse found,
                   connection.CallUnary(connection.catalog(),
                                        &v1::CatalogService::StubInterface::GetVersion, request));
  v1::FileVersion version = found.version();
  RETURN_IF_ERROR(GetOrFallBack(connection, version, place, bytes.get(), options, output));
  const bool fell_back = version.version_id() != found.version().version_id();
  if (output.json()) {
    nlohmann::json copy = {{"path", place.path},
                           {"client_id", client.client_id()},
                           {"file_name", version.file_name()},
                           {"version_id", version.version_id()},
                           {"size_bytes", version.size_bytes()},
                           {"sha256", absl::BytesToHexString(version.sha256())}};
    if (fell_back) copy["damaged_version_id"] = found.version().version_id();
    output.Json(copy);
  } else {
    output.Note(absl::StrCat("wrote ", place.path, ": version ", version.version_id(), ", ",
                             HumanSize(version.size_bytes()), ", SHA-256 matches"));
  }
  return fell_back ? ExitCode::kPartial : ExitCode::kOk;
}

// The name that `path` is backed up as.
absl::StatusOr<std::string> NameOf(const FileOptions& options) {
  const std::string text = options.name.empty() ? NameToText(options.file) : options.name;
  const absl::StatusOr<std::string> name = TextToName(text);
  if (name.ok()) return text;
  return absl::InvalidArgumentError(absl::StrCat("the file cannot be called ", text, ": ",
                                                 name.status().message(),
                                                 "; give it another name with --name"));
}

absl::StatusOr<ExitCode> PutFile(Connection& connection, Output& output,
                                 const FileOptions& options) {
  ASSIGN_OR_RETURN(const std::string name, NameOf(options));
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalFile> file, LocalFile::Open(options.file));
  ASSIGN_OR_RETURN(const v1::Client client, connection.FindClient(options.client));
  v1::FileVersion version;
  {
    ProgressBar progress(output.progress(), name, file->size_bytes());
    ASSIGN_OR_RETURN(version, BackUp(connection, client.client_id(), name, *file, progress));
  }
  if (output.json()) {
    output.Json(version);
  } else {
    output.Note(absl::StrCat("stored ", name, " for ", client.name(), ": version ",
                             version.version_id(), ", ", HumanSize(version.size_bytes()),
                             ", verified"));
  }
  return ExitCode::kOk;
}

using FileCommand = absl::StatusOr<ExitCode> (*)(Connection&, Output&, const FileOptions&);

// Adds a command on a client's files; its options are parsed into what is returned.
std::shared_ptr<FileOptions> AddFileCommand(CLI::App& command, Command& chosen, FileCommand run) {
  auto options = std::make_shared<FileOptions>();
  command.add_option("CLIENT", options->client, "The client's name or id")
      ->required()
      ->type_name("");
  command.callback([&chosen, options, run] {
    chosen = [options, run](Connection& connection, Output& output) {
      return run(connection, output, *options);
    };
  });
  return options;
}

void AddFileName(CLI::App& command, FileOptions& options) {
  command
      .add_option("FILE", options.file,
                  "The file's name as `file list` shows it;\nafter -- if it begins with a dash")
      ->required()
      ->type_name("");
}

}  // namespace

void AddFileCommands(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand("file", "A client's files and their versions");
  group.require_subcommand(1);

  AddFileCommand(*group.add_subcommand("list", "List a client's files"), chosen, ListFiles);

  CLI::App& versions = *group.add_subcommand("versions", "List a file's versions, newest first");
  AddFileName(versions, *AddFileCommand(versions, chosen, ListVersions));

  CLI::App& get = *group.add_subcommand("get", "Fetch a file; its size and SHA-256 are checked");
  const auto got = AddFileCommand(get, chosen, GetFile);
  AddFileName(get, *got);
  CLI::Option& got_version =
      *get.add_option("--version", got->version_id, "The version; default: the newest verified one")
           ->check(CLI::Validator(CLI::PositiveNumber).description(""))
           ->type_name("N");
  get.add_flag("--fallback", got->fallback,
               "If that is damaged, the newest verified one before it\nthat is not (exit code 3)")
      ->excludes(&got_version);
  get.add_option("-o,--out", got->out,
                 "Where to, - is standard output; default: the end of\nthe file's name")
      ->type_name("PATH");
  get.add_flag("--force", got->force, "Replace a file that is there");

  CLI::App& put =
      *group.add_subcommand("put", "Back a file up; the service's checksum is compared");
  const auto stored = AddFileCommand(put, chosen, PutFile);
  put.add_option("PATH", stored->file, "The file to back up")->required()->type_name("");
  put.add_option("--name", stored->name, "What it is called there; default: PATH as given")
      ->type_name("NAME");

  AddFileTrashCommands(group, chosen);
}

}  // namespace backup::ctl
