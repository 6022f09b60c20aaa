#include "services/backupctl/decrypt.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/hex.h"
#include "base/ids.h"
#include "base/name_text.h"
#include "base/secret_bytes.h"
#include "base/status_macros.h"
#include "content/blob_footer.h"
#include "crypto/key_generations.h"
#include "crypto/key_ring.h"
#include "crypto/master_key.h"
#include "services/backup/handlers/open_content.h"
#include "services/backup/handlers/store_keys.h"
#include "services/backupctl/local_file.h"

namespace backup::ctl {
namespace {

using content::BlobFooter;
using storage::StorageForm;

constexpr size_t kMasterKeySize = 32;

absl::StatusOr<SecretBytes> ParseKey(absl::string_view hex) {
  std::optional<std::string> key = HexToBytes(hex);
  if (!key || (key->size() != 16 && key->size() != 32)) {
    return absl::InvalidArgumentError("--key must have 32 or 64 hex digits");
  }
  return SecretBytes(*std::move(key));
}

// Without a current one if none was given.
absl::StatusOr<crypto::MasterKeys> MasterKeysOf(const KeyChoice& choice) {
  const KeySources& sources = choice.sources;
  if (!sources.master_key_file.empty() || !sources.command.empty())
    return OpenMasterKeys(/*data_dir=*/"", sources);
  crypto::MasterKeys keys;
  if (choice.key_hex.empty()) return keys;
  ASSIGN_OR_RETURN(SecretBytes key, ParseKey(choice.key_hex));
  if (key.size() != kMasterKeySize) {
    return absl::InvalidArgumentError(
        "what the service seals opens with the master key alone: --key must have 64 hex digits");
  }
  keys.current = std::make_unique<crypto::MasterKey>(std::move(key));
  keys.origin = "the key that was given";
  return keys;
}

// None if there is no file that was not asked for.
absl::StatusOr<std::vector<crypto::KeyGeneration>> ReadGenerations(const KeySources& sources) {
  std::string path = sources.generations_file;
  if (path.empty() && !sources.master_key_file.empty())
    path = std::filesystem::path(sources.master_key_file).replace_filename(kKeyGenerationsFile);
  std::vector<crypto::KeyGeneration> none;
  if (path.empty()) return none;
  const absl::StatusOr<std::string> text = crypto::ReadGenerationsFile(path);
  if (absl::IsNotFound(text.status()) && sources.generations_file.empty()) return none;
  RETURN_IF_ERROR(text.status());
  auto generations = crypto::ParseGenerations(*text);
  if (generations.ok()) return generations;
  return WithMessage(generations.status(),
                     absl::StrCat(path, ": ", generations.status().message()));
}

// What opens all that the service has sealed; null if no key was given.
absl::StatusOr<std::unique_ptr<crypto::KeyRing>> KeyRingOf(const KeyChoice& choice) {
  ASSIGN_OR_RETURN(const crypto::MasterKeys keys, MasterKeysOf(choice));
  if (keys.current == nullptr) return nullptr;
  ASSIGN_OR_RETURN(const std::vector<crypto::KeyGeneration> generations,
                   ReadGenerations(choice.sources));
  auto ring = std::make_unique<crypto::KeyRing>();
  RETURN_IF_ERROR(crypto::AddGenerations(generations, keys, *ring));
  // Older programs sealed with the master key itself.
  if (ring->KeyOf(0).empty()) ring->Add(0, std::string(keys.current->bytes()));
  return ring;
}

absl::StatusOr<SecretBytes> Unwrap(const crypto::KeyRing& ring, const BlobFooter& footer) {
  absl::StatusOr<SecretBytes> key =
      ring.Open(footer.wrapped_key, content::EncodeFooterFields(footer));
  if (ReasonOf(key.status()) == Reason::kKeyMissing) return key;
  if (!key.ok()) {
    return MakeError(
        Reason::kBlobDamaged,
        absl::StrCat(
            "the key does not open this blob: it is another key, or the blob was changed (",
            key.status().message(), ")"),
        NameToText(footer.file_name));
  }
  return key;
}

// The key that the blob's payload is encrypted with.
absl::StatusOr<SecretBytes> PayloadKey(const BlobFooter& footer, const KeyChoice& choice) {
  if (footer.form == StorageForm::kPlain) return SecretBytes();
  if (!choice.key_hex.empty() && storage::IsClientsForm(footer.form))
    return ParseKey(choice.key_hex);
  ASSIGN_OR_RETURN(const std::unique_ptr<crypto::KeyRing> ring, KeyRingOf(choice));
  if (ring == nullptr)
    return absl::InvalidArgumentError("the blob is encrypted: give --master_key_file or --key");
  return Unwrap(*ring, footer);
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
    ASSIGN_OR_RETURN(std::unique_ptr<crypto::KeyRing> ring, KeyRingOf(choice));
    return OpenPackFile(path, more, version_id, std::move(ring));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<LocalFile> blob, LocalFile::Open(path));
  ASSIGN_OR_RETURN(BlobFooter footer, content::ReadFooter(*blob));
  ASSIGN_OR_RETURN(SecretBytes key, PayloadKey(footer, choice));
  return std::make_unique<content::WholeContent>(std::move(blob), std::move(footer),
                                                 std::move(key));
}

absl::StatusOr<DataDir> OpenDataDir(const std::string& data_dir, const KeyChoice& choice,
                                    const BlobsOptions& blobs) {
  // OpenStorage() makes what is missing, as a new service needs; here it would hide a mistyped
  // path.
  ASSIGN_OR_RETURN(const std::optional<CatalogLocation> elsewhere, FindCatalogLocation(data_dir));
  if (!elsewhere)
    RETURN_IF_ERROR(CheckExists(absl::StrCat(data_dir, "/", kCatalogName), "catalog"));
  KeySources sources = choice.sources;
  if (sources.master_key_file.empty() && sources.command.empty())
    sources.master_key_file = absl::StrCat(data_dir, "/master.key");
  if (sources.command.empty()) RETURN_IF_ERROR(CheckExists(sources.master_key_file, "master key"));
  absl::StatusOr<Storage> storage =
      OpenStorage(data_dir, sources, {}, {}, blobs, RemoteBlobs::Access::kRead);
  if (storage.ok()) {
    DataDir opened{*std::move(storage), nullptr, nullptr, nullptr};
    storage::Catalog& catalog = *opened.storage.catalog;
    ASSIGN_OR_RETURN(opened.keys, handlers::KeyKeeper::Read(
                                      catalog, std::move(opened.storage.master_keys),
                                      opened.storage.generations_file, SystemClock().Now()));
    ASSIGN_OR_RETURN(opened.store_keys, handlers::OpenStoreKeys(catalog, opened.keys->ring()));
    opened.dictionaries = handlers::MakeDictionaries(catalog, *opened.store_keys);
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
  return handlers::OpenContent({*storage.catalog, *storage.blobs, data_dir.keys->ring(),
                                *data_dir.store_keys, *data_dir.dictionaries},
                               stored);
}

}  // namespace backup::ctl
