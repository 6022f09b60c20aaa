#include "services/backup/testing/memory_service.h"

#include <variant>

#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "content/blob_footer.h"
#include "content/stored_form.h"
#include "glog/logging.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/delete_client.h"
#include "services/backup/handlers/delete_file.h"
#include "services/backup/handlers/delete_version.h"
#include "services/backup/handlers/download_file.h"
#include "services/backup/handlers/empty_trash.h"
#include "services/backup/handlers/exchange_key.h"
#include "services/backup/handlers/import_client.h"
#include "services/backup/handlers/observe_client.h"
#include "services/backup/handlers/register_client.h"
#include "services/backup/handlers/report_transfer.h"
#include "services/backup/handlers/resume_client.h"
#include "services/backup/handlers/transact.h"
#include "services/backup/handlers/undelete_client.h"
#include "services/backup/handlers/undelete_file.h"
#include "services/backup/handlers/undelete_version.h"
#include "services/backup/jobs/sweep.h"
#include "services/backup/testing/legacy_peer.h"

namespace backup::testing {
namespace {

// So that uploads arrive in many pieces of odd sizes.
constexpr size_t kMaxTestPiece = 100'000;

template <typename T>
T ValueOf(absl::StatusOr<T> result) {
  CHECK(result.ok()) << result.status();
  return *std::move(result);
}

}  // namespace

absl::StatusOr<v1::RegisterClientResponse> MemoryService::RegisterClient(
    const v1::RegisterClientRequest& request) {
  return handlers::Transact(
      catalog, [&] { return handlers::RegisterClient::Prepare(clock, duplicate_names, request); });
}

absl::StatusOr<v1::ExchangeKeyResponse> MemoryService::ExchangeKey(
    const v1::ExchangeKeyRequest& request) {
  return handlers::Transact(catalog, [&] {
    return handlers::ExchangeKey::Prepare(catalog, master_key, clock, keys, request);
  });
}

absl::StatusOr<v1::ResumeClientResponse> MemoryService::ResumeClient(
    const v1::ResumeClientRequest& request) {
  return handlers::Transact(catalog, [&] {
    return handlers::ResumeClient::Prepare(catalog, master_key, clock, keys, request);
  });
}

absl::StatusOr<v1::ImportClientResponse> MemoryService::ImportClient(
    const v1::ImportClientRequest& request) {
  return handlers::Transact(catalog, [&] {
    return handlers::ImportClient::Prepare(master_key, clock, duplicate_names, request);
  });
}

absl::StatusOr<v1::ReportTransferResponse> MemoryService::ReportTransfer(
    const v1::ReportTransferRequest& request) {
  return handlers::Transact(catalog, [&] {
    return handlers::ReportTransfer::Prepare(clock, uploads.corrupt_checksums, request);
  });
}

absl::StatusOr<v1::ObserveClientResponse> MemoryService::ObserveClient(
    const v1::ObserveClientRequest& request) {
  return handlers::Transact(catalog,
                            [&] { return handlers::ObserveClient::Prepare(clock, request); });
}

absl::StatusOr<v1::DeleteClientResponse> MemoryService::DeleteClient(
    const v1::DeleteClientRequest& request) {
  return handlers::DeleteClient(catalog, clock, trash, request);
}

absl::StatusOr<v1::DeleteVersionResponse> MemoryService::DeleteVersion(
    const v1::DeleteVersionRequest& request) {
  return handlers::Transact(
      catalog, [&] { return handlers::DeleteVersion::Prepare(clock, trash, request); });
}

absl::StatusOr<v1::DeleteFileResponse> MemoryService::DeleteFile(
    const v1::DeleteFileRequest& request) {
  return handlers::DeleteFile(catalog, clock, trash, request);
}

absl::StatusOr<v1::UndeleteVersionResponse> MemoryService::UndeleteVersion(
    const v1::UndeleteVersionRequest& request) {
  return handlers::UndeleteVersion(catalog, request);
}

absl::StatusOr<v1::UndeleteFileResponse> MemoryService::UndeleteFile(
    const v1::UndeleteFileRequest& request) {
  return handlers::UndeleteFile(catalog, request);
}

absl::StatusOr<v1::UndeleteClientResponse> MemoryService::UndeleteClient(
    const v1::UndeleteClientRequest& request) {
  return handlers::Transact(
      catalog, [&] { return handlers::UndeleteClient::Prepare(duplicate_names, request); });
}

absl::StatusOr<v1::EmptyTrashResponse> MemoryService::EmptyTrash(
    const v1::EmptyTrashRequest& request) {
  v1::EmptyTrashResponse last;
  RETURN_IF_ERROR(
      handlers::EmptyTrash(catalog, clock, request, [&](const v1::EmptyTrashResponse& progress) {
        last = progress;
        return absl::OkStatus();
      }));
  return last;
}

std::string MemoryService::Register(const std::string& name) {
  v1::RegisterClientRequest request;
  request.set_name(name);
  return ValueOf(RegisterClient(request)).client().client_id();
}

KnownClient MemoryService::MakeClient(const std::string& name, int session_key_bits) {
  const LegacyPeer peer;
  v1::ExchangeKeyRequest request;
  request.set_client_id(Register(name));
  request.set_public_key(peer.PublicKey());
  request.set_session_key_bits(session_key_bits);
  const v1::ExchangeKeyResponse response = ValueOf(ExchangeKey(request));
  return {request.client_id(), peer.DecryptSessionKey(response.encrypted_session_key())};
}

absl::StatusOr<v1::UploadFileResponse> MemoryService::Upload(const v1::UploadFileHeader& header,
                                                             const std::string& encoded) {
  RandomCutSource chunks(encoded, kMaxTestPiece);
  return handlers::StoreUpload(upload_resources, header, chunks);
}

int64_t MemoryService::Store(const std::string& client_id, const std::string& file_name,
                             const std::string& plain) {
  const v1::UploadFileHeader header =
      HeaderOf(client_id, file_name, v1::UploadFileHeader::IDENTITY, plain);
  const int64_t version_id = ValueOf(Upload(header, plain)).version().version_id();
  const absl::Status confirmed = Report(client_id, file_name, v1::ReportTransferRequest::VERIFIED);
  CHECK(confirmed.ok()) << confirmed;
  return version_id;
}

absl::Status MemoryService::Report(const std::string& client_id, const std::string& file_name,
                                   v1::ReportTransferRequest::Outcome outcome,
                                   const std::string& upload_id) {
  v1::ReportTransferRequest request;
  request.set_client_id(client_id);
  request.set_file_name(file_name);
  request.set_outcome(outcome);
  request.set_upload_id(upload_id);
  return ReportTransfer(request).status();
}

absl::Status MemoryService::Delete(const std::string& client_id, const std::string& file_name,
                                   int64_t version_id) {
  v1::DeleteVersionRequest request;
  request.set_client_id(client_id);
  request.set_file_name(file_name);
  request.set_version_id(version_id);
  return DeleteVersion(request).status();
}

absl::StatusOr<std::string> MemoryService::Download(const v1::DownloadFileRequest& request) {
  ASSIGN_OR_RETURN(const handlers::Download download,
                   handlers::DownloadFile(stored_places, stages, request));
  StringSink bytes;
  RETURN_IF_ERROR(CopyAll(*download.bytes, bytes).status());
  return bytes.bytes();
}

storage::Client MemoryService::Client(const std::string& client_id) {
  const ClientId id = ValueOf(handlers::ParseClientId(client_id));
  return ValueOf(
      catalog.Read([&](storage::Snapshot& snapshot) { return snapshot.FindClient(id); }));
}

storage::Counts MemoryService::Count() {
  return ValueOf(catalog.Read([](storage::Snapshot& snapshot) { return snapshot.Count(); }));
}

storage::StoredVersion MemoryService::Stored(const std::string& client_id,
                                             const std::string& file_name, int64_t version_id) {
  const ClientId id = ValueOf(handlers::ParseClientId(client_id));
  return ValueOf(catalog.Read([&](storage::Snapshot& snapshot) {
    return snapshot.FindVersion(id, file_name, version_id, /*with_content=*/true);
  }));
}

int64_t MemoryService::StoreWhole(const std::string& client_id, const std::string& file_name,
                                  const std::string& plain, storage::StorageForm form) {
  content::Arrival arrival;
  arrival.client_id = ValueOf(handlers::ParseClientId(client_id));
  arrival.file_name = file_name;
  arrival.encoding.size_bytes = std::ssize(plain);
  arrival.form = form;
  StringSource bytes(plain);
  content::StoredForm stored(
      arrival, master_key, clock, stages, [this] { return version_ids.Take(); }, bytes);
  const std::string whole = ValueOf(ReadAll(stored, plain.size() * 2 + (1 << 20)));
  storage::NewContent content = whole;
  if (stored.footer().payload_size > uploads.inline_blob_limit) {
    const BlobId id = ValueOf(ledger.Take());
    StringSource source(whole);
    content = storage::NewBlob{id, ValueOf(blobs.Put(id, source, std::nullopt))};
  }
  const storage::Version version = content::VersionOf(stored.footer());
  ValueOf(catalog.Run([&](storage::Transaction& transaction) {
    return transaction.AddVersion(version, content, {});
  }));
  CHECK(Report(client_id, file_name, v1::ReportTransferRequest::VERIFIED).ok());
  return version.version_id;
}

std::vector<storage::StoredChunk> MemoryService::ChunksOf(const storage::StoredVersion& stored) {
  return ValueOf(catalog.Read([&](storage::Snapshot& snapshot) {
    return snapshot.ListChunks(std::get<storage::ChunkList>(stored.content), /*offset=*/0,
                               /*limit=*/1'000'000);
  }));
}

std::string MemoryService::BlobBytes(const BlobId& id) {
  const auto blob = ValueOf(memory_blobs.Open(id));
  std::string bytes(static_cast<size_t>(blob->size_bytes()), '\0');
  CHECK(blob->ReadAt(0, {bytes.data(), bytes.size()}).ok());
  return bytes;
}

void MemoryService::ReplaceBlob(const BlobId& id, const std::string& bytes) {
  CHECK(ValueOf(memory_blobs.Delete(id)));
  StringSource source(bytes);
  ValueOf(memory_blobs.Put(id, source, std::nullopt));
}

void MemoryService::Replace(const storage::StoredVersion& stored, const std::string& content) {
  const storage::Version& version = stored.version;
  const absl::Status replaced = catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(transaction.DeleteVersion(version.client_id, version.file_name,
                                              version.version_id,
                                              {clock.Now(), /*for_good=*/true}));
    return transaction.AddVersion(version, content, {}).status();
  });
  CHECK(replaced.ok()) << replaced;
}

void MemoryService::Sweep() {
  jobs::Sweep sweep(catalog, blobs, ledger, clock, Counter());
  const auto progress = ValueOf(sweep.Step("", /*budget=*/1000, std::stop_token()));
  CHECK(progress.is_done);
}

int MemoryService::BlobCount() const {
  int count = 0;
  const absl::Status visited = blobs.List([&](const storage::BlobInfo&) {
    ++count;
    return absl::OkStatus();
  });
  CHECK(visited.ok()) << visited;
  return count;
}

v1::UploadFileHeader HeaderOf(const std::string& client_id, const std::string& file_name,
                              v1::UploadFileHeader::Encoding encoding, const std::string& encoded) {
  v1::UploadFileHeader header;
  header.set_client_id(client_id);
  header.set_file_name(file_name);
  header.set_encoding(encoding);
  header.set_encoded_size(static_cast<int64_t>(encoded.size()));
  return header;
}

v1::DownloadFileRequest DownloadOf(const std::string& client_id, const std::string& file_name,
                                   int64_t version_id) {
  v1::DownloadFileRequest request;
  request.set_client_id(client_id);
  request.set_file_name(file_name);
  request.set_version_id(version_id);
  return request;
}

}  // namespace backup::testing
