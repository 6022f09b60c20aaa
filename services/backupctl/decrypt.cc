#include "services/backupctl/decrypt.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/hex.h"
#include "base/ids.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "content/blob_footer.h"
#include "crypto/master_key.h"
#include "services/backup/handlers/open_content.h"
#include "services/backup/handlers/store_keys.h"
#include "services/backupctl/local_file.h"

namespace backup::ctl {
namespace {

using content::BlobFooter;
using storage::StorageForm;

constexpr size_t kMasterKeySize = 32;

absl::StatusOr<std::string> ParseKey(absl::string_view hex) {
  std::optional<std::string> key = HexToBytes(hex);
  if (!key || (key->size() != 16 && key->size() != 32)) {
    return absl::InvalidArgumentError("--key must have 32 or 64 hex digits");
  }
  return *std::move(key);
}

// Null if none was given.
absl::StatusOr<std::unique_ptr<crypto::MasterKey>> MasterKeyOf(const KeyChoice& choice) {
  if (!choice.master_key_file.empty()) return crypto::MasterKey::Load(choice.master_key_file);
  if (choice.key_hex.empty()) return nullptr;
  ASSIGN_OR_RETURN(std::string key, ParseKey(choice.key_hex));
  if (key.size() != kMasterKeySize) {
    return absl::InvalidArgumentError(
        "what the service seals opens with the master key alone: --key must have 64 hex digits");
  }
  return std::make_unique<crypto::MasterKey>(std::move(key));
}

absl::StatusOr<std::string> Unwrap(const crypto::MasterKey& master_key, const BlobFooter& footer) {
  absl::StatusOr<std::string> key =
      master_key.Open(footer.wrapped_key, content::EncodeFooterFields(footer));
  if (!key.ok()) {
    return MakeError(Reason::kBlobDamaged,
                     "the key does not open this blob: it is another key, or the blob was changed",
                     NameToText(footer.file_name));
  }
  return key;
}

// The key that the blob's payload is encrypted with.
absl::StatusOr<std::string> PayloadKey(const BlobFooter& footer, const KeyChoice& choice) {
  if (footer.form == StorageForm::kPlain) return std::string();
  if (!choice.key_hex.empty() && storage::IsClientsForm(footer.form))
    return ParseKey(choice.key_hex);
  ASSIGN_OR_RETURN(const std::unique_ptr<crypto::MasterKey> master_key, MasterKeyOf(choice));
  if (master_key == nullptr)
    return absl::InvalidArgumentError("the blob is encrypted: give --master_key_file or --key");
  return Unwrap(*master_key, footer);
}

absl::Status CheckExists(const std::string& path, absl::string_view what) {
  std::error_code error;
  if (std::filesystem::exists(path, error)) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("there is no ", what, " ", path));
}

absl::StatusOr<storage::Client> FindClient(storage::Snapshot& snapshot, const std::string& text) {
  if (const std::optional<ClientId> id = FromUuid<ClientId>(text)) {
    absl::StatusOr<storage::Client> client = snapshot.FindClient(*id);
    if (!absl::IsNotFound(client.status())) return client;
  }
  ASSIGN_OR_RETURN(const std::string name, TextToName(text));
  return snapshot.FindClientByName(name);
}

}  // namespace

absl::StatusOr<std::unique_ptr<content::StoredContent>> OpenBlobFile(const std::string& path,
                                                                     const MorePacks& more,
                                                                     int64_t version_id,
                                                                     const KeyChoice& choice) {
  ASSIGN_OR_RETURN(const bool is_pack, IsPackFile(path));
  if (is_pack) {
    ASSIGN_OR_RETURN(std::unique_ptr<crypto::MasterKey> master_key, MasterKeyOf(choice));
    return OpenPackFile(path, more, version_id, std::move(master_key));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<LocalFile> blob, LocalFile::Open(path));
  ASSIGN_OR_RETURN(BlobFooter footer, content::ReadFooter(*blob));
  ASSIGN_OR_RETURN(std::string key, PayloadKey(footer, choice));
  return std::make_unique<content::WholeContent>(std::move(blob), std::move(footer),
                                                 std::move(key));
}

absl::StatusOr<DataDir> OpenDataDir(const std::string& data_dir,
                                    const std::string& master_key_file) {
  // OpenStorage() makes what is missing, as a new service needs; here it would hide a mistyped
  // path.
  RETURN_IF_ERROR(CheckExists(absl::StrCat(data_dir, "/catalog.db"), "catalog"));
  const std::string key_file =
      master_key_file.empty() ? absl::StrCat(data_dir, "/master.key") : master_key_file;
  RETURN_IF_ERROR(CheckExists(key_file, "master key"));
  absl::StatusOr<Storage> storage = OpenStorage(data_dir, key_file);
  if (storage.ok()) {
    DataDir opened{*std::move(storage), nullptr, nullptr};
    ASSIGN_OR_RETURN(opened.store_keys,
                     handlers::OpenStoreKeys(*opened.storage.catalog, *opened.storage.master_key));
    opened.dictionaries = handlers::MakeDictionaries(*opened.storage.catalog, *opened.store_keys);
    return opened;
  }
  if (absl::IsAborted(storage.status())) {
    return WithMessage(storage.status(),
                       absl::StrCat("a running service holds ", data_dir,
                                    ": use `backupctl file get`, or stop the service"));
  }
  return storage.status();
}

absl::StatusOr<std::unique_ptr<content::StoredContent>> OpenStoredFile(const DataDir& data_dir,
                                                                       const std::string& client,
                                                                       const std::string& file,
                                                                       int64_t version_id) {
  const Storage& storage = data_dir.storage;
  ASSIGN_OR_RETURN(const std::string name, TextToName(file));
  ASSIGN_OR_RETURN(
      const storage::StoredVersion stored,
      storage.catalog->Read(
          [&](storage::Snapshot& snapshot) -> absl::StatusOr<storage::StoredVersion> {
            ASSIGN_OR_RETURN(const storage::Client owner, FindClient(snapshot, client));
            return snapshot.FindVersion(owner.id, name, version_id, /*with_content=*/true);
          }));
  if (stored.version.state == storage::VersionState::kAbandoned)
    return handlers::Abandoned(stored.version);
  return handlers::OpenContent({*storage.catalog, *storage.blobs, *storage.master_key,
                                *data_dir.store_keys, *data_dir.dictionaries},
                               stored);
}

}  // namespace backup::ctl
