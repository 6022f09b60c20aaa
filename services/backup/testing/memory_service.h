#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "backup/v1/admin.pb.h"
#include "backup/v1/catalog.pb.h"
#include "backup/v1/ingest.pb.h"
#include "backup/v1/lifecycle.pb.h"
#include "base/clock.h"
#include "base/stage_resources.h"
#include "crypto/key_ring.h"
#include "services/backup/handlers/open_content.h"
#include "services/backup/handlers/session_keys.h"
#include "services/backup/handlers/store_keys.h"
#include "services/backup/handlers/trash.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/handlers/version_ids.h"
#include "services/backup/testing/hooked_blob_store.h"
#include "storage/blob_ledger.h"
#include "storage/chunk_cache.h"
#include "storage/memory/memory_blob_store.h"
#include "storage/memory/memory_catalog.h"
#include "storage/testing/ids.h"

namespace backup::testing {

// A client that has exchanged its key.
struct KnownClient {
  std::string id;  // As text.
  std::string session_key;
};

// Everything handlers work on, in memory, and the calls that most tests begin with. Those that
// return a value die if the call fails. Used by one thread at a time.
struct MemoryService {
  MemoryService() : MemoryService(std::make_unique<storage::MemoryCatalog>()) {}
  explicit MemoryService(std::unique_ptr<storage::Catalog> any_catalog)
      : owned_catalog(std::move(any_catalog)) {}

  FakeClock clock{absl::FromUnixSeconds(1'700'000'000)};
  storage::ChunkCache chunk_cache{64 << 20};
  const std::unique_ptr<storage::Catalog> owned_catalog;
  storage::Catalog& catalog{*owned_catalog};
  storage::MemoryBlobStore memory_blobs;
  HookedBlobStore blobs{memory_blobs};
  storage::BlobLedger ledger{catalog, clock, storage::IdOf<OwnerId>(1)};
  storage::Stock<int64_t> version_ids{handlers::NewVersionIds(catalog)};
  crypto::KeyRing master_key{std::string(32, 'k')};
  const std::unique_ptr<content::StoreKeys> owned_store_keys{
      handlers::OpenStoreKeys(catalog, master_key).value()};
  const content::StoreKeys& store_keys{*owned_store_keys};
  const std::unique_ptr<content::Dictionaries> dictionaries{
      handlers::MakeDictionaries(catalog, store_keys)};
  StageResources stages;
  const handlers::StoredPlaces stored_places{catalog,    blobs,         master_key,
                                             store_keys, *dictionaries, &chunk_cache};
  storage::DuplicateNames duplicate_names = storage::DuplicateNames::kReject;
  handlers::KeyPolicy keys;
  handlers::UploadPolicy uploads;
  handlers::TrashPolicy trash;  // At first, what is deleted is gone for good.
  const handlers::UploadResources upload_resources{
      catalog,       blobs,       ledger, version_ids, master_key, store_keys,
      *dictionaries, chunk_cache, clock,  stages,      uploads};

  // The three steps of each handler.
  absl::StatusOr<v1::RegisterClientResponse> RegisterClient(
      const v1::RegisterClientRequest& request);
  absl::StatusOr<v1::ExchangeKeyResponse> ExchangeKey(const v1::ExchangeKeyRequest& request);
  absl::StatusOr<v1::ResumeClientResponse> ResumeClient(const v1::ResumeClientRequest& request);
  absl::StatusOr<v1::ImportClientResponse> ImportClient(const v1::ImportClientRequest& request);
  absl::StatusOr<v1::ReportTransferResponse> ReportTransfer(
      const v1::ReportTransferRequest& request);
  absl::StatusOr<v1::ObserveClientResponse> ObserveClient(const v1::ObserveClientRequest& request);
  absl::StatusOr<v1::DeleteClientResponse> DeleteClient(const v1::DeleteClientRequest& request);
  absl::StatusOr<v1::DeleteVersionResponse> DeleteVersion(const v1::DeleteVersionRequest& request);
  absl::StatusOr<v1::DeleteFileResponse> DeleteFile(const v1::DeleteFileRequest& request);
  absl::StatusOr<v1::UndeleteVersionResponse> UndeleteVersion(
      const v1::UndeleteVersionRequest& request);
  absl::StatusOr<v1::UndeleteFileResponse> UndeleteFile(const v1::UndeleteFileRequest& request);
  absl::StatusOr<v1::UndeleteClientResponse> UndeleteClient(
      const v1::UndeleteClientRequest& request);
  // The last that it reported.
  absl::StatusOr<v1::EmptyTrashResponse> EmptyTrash(const v1::EmptyTrashRequest& request);
  // What a handler that only reads returns.
  template <typename Handler, typename Request>
  auto Read(const Handler& handler, const Request& request) {
    return catalog.Read([&](storage::Snapshot& snapshot) { return handler(snapshot, request); });
  }

  // A new client, as text id.
  std::string Register(const std::string& name);
  KnownClient MakeClient(const std::string& name, int session_key_bits = 128);

  absl::StatusOr<v1::UploadFileResponse> Upload(const v1::UploadFileHeader& header,
                                                const std::string& encoded);
  // Uploads `plain` without encryption and confirms it; returns the version's id.
  int64_t Store(const std::string& client_id, const std::string& file_name,
                const std::string& plain);
  absl::Status Report(const std::string& client_id, const std::string& file_name,
                      v1::ReportTransferRequest::Outcome outcome,
                      const std::string& upload_id = "");
  absl::Status Delete(const std::string& client_id, const std::string& file_name,
                      int64_t version_id);
  // The bytes that a download brings.
  absl::StatusOr<std::string> Download(const v1::DownloadFileRequest& request);

  storage::Client Client(const std::string& client_id);
  storage::Counts Count();
  // What is kept of a version, payload and footer included.
  storage::StoredVersion Stored(const std::string& client_id, const std::string& file_name,
                                int64_t version_id);
  // As older programs stored it: payload and footer, `form` is plain or sealed, in a blob of its
  // own if it is larger than uploads.inline_blob_limit. Confirms it; returns the version's id.
  int64_t StoreWhole(const std::string& client_id, const std::string& file_name,
                     const std::string& plain, storage::StorageForm form);
  // All chunks of a version.
  std::vector<storage::StoredChunk> ChunksOf(const storage::StoredVersion& stored);
  std::string BlobBytes(const BlobId& id);
  // Changes a blob, as bad disks do.
  void ReplaceBlob(const BlobId& id, const std::string& bytes);
  // Puts `content` in the place of what is kept of a version.
  void Replace(const storage::StoredVersion& stored, const std::string& content);
  // Runs the sweep once, which must go well.
  void Sweep();
  int BlobCount() const;
};

v1::UploadFileHeader HeaderOf(const std::string& client_id, const std::string& file_name,
                              v1::UploadFileHeader::Encoding encoding, const std::string& encoded);
v1::DownloadFileRequest DownloadOf(const std::string& client_id, const std::string& file_name,
                                   int64_t version_id);

}  // namespace backup::testing
