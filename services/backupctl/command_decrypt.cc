#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/name_text.h"
#include "base/piece_buffers.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "services/backupctl/commands.h"
#include "services/backupctl/decrypt.h"
#include "services/backupctl/interrupt.h"
#include "services/backupctl/key_options.h"
#include "services/backupctl/local_file.h"
#include "services/backupctl/progress_bar.h"
#include "services/backupctl/safe_path.h"

namespace backup::ctl {
namespace {

struct DecryptOptions {
  std::string blob_file;
  MorePacks more;
  KeyChoice key;
  BlobsOptions blobs;
  std::string data_dir;
  std::string client;
  std::string file;
  int64_t version_id = 0;
  std::string out;
  bool force = false;
};

// Writes on, shows how far it is, and stops when interrupted. Used by one thread at a time.
class WatchedSink final : public ByteSink {
 public:
  WatchedSink(ByteSink& sink, ProgressBar& progress, const Interrupt& interrupt)
      : sink_(sink), progress_(progress), interrupt_(interrupt) {}
  absl::Status Write(absl::string_view piece) override {
    RETURN_IF_ERROR(interrupt_.Check());
    progress_.Advance(static_cast<int64_t>(piece.size()));
    return sink_.Write(piece);
  }

 private:
  ByteSink& sink_;
  ProgressBar& progress_;
  const Interrupt& interrupt_;
};

absl::StatusOr<FilePlace> WriteOut(const content::StoredContent& content,
                                   const DecryptOptions& options, const Interrupt& interrupt,
                                   const Output& output) {
  const storage::Version& version = content.version();
  ASSIGN_OR_RETURN(FilePlace place,
                   FindPlace(options.out, SafeBaseName(version.file_name), options.force));
  RemoveLeftOverParts(place.folder.get());
  ASSIGN_OR_RETURN(const std::unique_ptr<OutputFile> file,
                   OutputFile::Create(place.folder.get(), version.size_bytes));
  ProgressBar progress(output.progress(), place.name, version.size_bytes);
  WatchedSink sink(*file, progress, interrupt);
  PieceBudget budget;
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> plaintext, content.ReadWhole(budget));
  RETURN_IF_ERROR(CopyAll(*plaintext, sink).status());
  RETURN_IF_ERROR(file->Sync());
  RETURN_IF_ERROR(
      file->Commit(place.folder.get(), place.name, options.force, version.receive_time));
  return place;
}

absl::Status CheckOptions(const DecryptOptions& options) {
  const bool from_data_dir = !options.data_dir.empty();
  const bool named = !options.client.empty() && !options.file.empty();
  if (from_data_dir == !options.blob_file.empty()) {
    return absl::InvalidArgumentError(
        "give either a BLOB_FILE, or --data_dir with --client and --file");
  }
  if (from_data_dir && !named)
    return absl::InvalidArgumentError("--data_dir needs --client and --file");
  if (from_data_dir && !options.more.folder.empty() &&
      !absl::StartsWith(options.more.folder, "s3://"))
    return absl::InvalidArgumentError("--blobs is for a BLOB_FILE: --data_dir has all of them");
  if (from_data_dir && !options.key.key_hex.empty()) {
    return absl::InvalidArgumentError(
        "--key is for a BLOB_FILE: with --data_dir give --master_key_file");
  }
  const KeySources& sources = options.key.sources;
  if (!options.key.key_hex.empty() &&
      !(sources.master_key_file.empty() && sources.command.empty() &&
        sources.old_master_key_files.empty()))
    return absl::InvalidArgumentError("give either --key, or master keys in files");
  return absl::OkStatus();
}

// Where a service has its blobs, if --blobs says that.
BlobsOptions BlobsOf(const DecryptOptions& options) {
  BlobsOptions blobs = options.blobs;
  blobs.url = options.more.folder;
  return blobs;
}

absl::StatusOr<ExitCode> Decrypt(Connection& connection, Output& output,
                                 const DecryptOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  MakeFilesPrivate();
  std::optional<DataDir> data_dir;  // Outlives the content.
  std::unique_ptr<content::StoredContent> content;
  if (options.data_dir.empty()) {
    ASSIGN_OR_RETURN(
        content, OpenBlobFile(options.blob_file, options.more, options.version_id, options.key));
  } else {
    ASSIGN_OR_RETURN(data_dir, OpenDataDir(options.data_dir, options.key, BlobsOf(options)));
    ASSIGN_OR_RETURN(content,
                     OpenStoredFile(*data_dir, options.client, options.file, options.version_id));
  }
  ASSIGN_OR_RETURN(const FilePlace place,
                   WriteOut(*content, options, connection.interrupt(), output));
  const storage::Version& version = content->version();
  if (output.json()) {
    output.Json(nlohmann::json{{"path", place.path},
                               {"client_id", ToUuid(version.client_id)},
                               {"file_name", NameToText(version.file_name)},
                               {"version_id", version.version_id},
                               {"size_bytes", version.size_bytes},
                               {"sha256", absl::BytesToHexString(version.sha256)}});
  } else {
    output.Note(absl::StrCat("wrote ", place.path, ": ", NameToText(version.file_name),
                             " of client ", ToUuid(version.client_id), ", version ",
                             version.version_id, ", ", HumanSize(version.size_bytes),
                             ", SHA-256 matches"));
  }
  return ExitCode::kOk;
}

}  // namespace

void AddDecryptCommand(CLI::App& app, Command& chosen) {
  CLI::App& decrypt = *app.add_subcommand(
      "decrypt", "Read a stored file without a service, in whatever form it is kept");
  decrypt.footer(
      "\nEither from a blob's file, or by its name from the data directory of a service that does "
      "not run:\n"
      "  backupctl decrypt data/store/BLOB --master_key_file data/master.key -o FILE\n"
      "  backupctl decrypt data/store/BLOB --blobs data/store --master_key_file data/master.key "
      "-o FILE\n"
      "  backupctl decrypt --data_dir data --client laptop-7 --file /etc/hostname -o FILE\n"
      "A file that is kept in chunks is found by any pack that tells of it; its chunks may be in "
      "others:\n"
      "give these as PACK_FILEs, or their folder as --blobs. Of a pack that tells of several files "
      "--version\n"
      "says which.\n"
      "--key is a client's session key from the service's log, or the master key. Others on this "
      "machine\n"
      "may see it while this runs, so prefer --master_key_file.");
  const auto options = std::make_shared<DecryptOptions>();
  decrypt.add_option("BLOB_FILE", options->blob_file, "A file of the blob store")->type_name("");
  decrypt.add_option("PACK_FILE", options->more.files, "More packs that may hold its chunks")
      ->type_name("");
  decrypt
      .add_option("--blobs", options->more.folder,
                  "A folder of such packs: the store's, as a rule;\nwith --data_dir: the service's "
                  "--blobs, if it had one")
      ->type_name("DIR");
  AddStoreOptions(decrypt, options->blobs);
  AddKeyOptions(decrypt, options->key.sources);
  decrypt.add_option("--key", options->key.key_hex, "The key of a BLOB_FILE, in hex")
      ->type_name("HEX");
  decrypt.add_option("--data_dir", options->data_dir, "The service's data directory")
      ->type_name("DIR");
  decrypt.add_option("--client", options->client, "With --data_dir: the client's name or id")
      ->type_name("CLIENT");
  decrypt.add_option("--file", options->file, "With --data_dir: the file's name")
      ->type_name("FILE");
  decrypt
      .add_option("--version", options->version_id,
                  "The version; default: the newest verified one,\nor the only one in a pack")
      ->type_name("N")
      ->check(CLI::Validator(CLI::PositiveNumber).description(""));
  decrypt.add_option("-o,--out", options->out, "Where to; default: the end of the file's name")
      ->type_name("PATH");
  decrypt.add_flag("--force", options->force, "Replace a file that is there");
  decrypt.callback([&chosen, options] {
    chosen = [options](Connection& connection, Output& output) {
      return Decrypt(connection, output, *options);
    };
  });
}

}  // namespace backup::ctl
