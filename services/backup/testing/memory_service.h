#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "backup/v1/backup.pb.h"
#include "base/clock.h"
#include "services/backup/crypto/master_key.h"
#include "services/backup/handlers/sessions.h"
#include "services/backup/handlers/upload_file.h"
#include "storage/memory/memory_blob_store.h"
#include "storage/memory/memory_catalog.h"

namespace backup::testing {

// A client that has exchanged its key.
struct KnownClient {
  std::string id;  // As text.
  std::string session_key;
};

// Everything handlers work on, in memory, and the calls that most tests begin with. Those that
// return a value die if the call fails. Used by one thread at a time.
struct MemoryService {
  FakeClock clock{absl::FromUnixSeconds(1'700'000'000)};
  storage::MemoryCatalog catalog;
  storage::MemoryBlobStore blobs{clock};
  crypto::MasterKey master_key{std::string(32, 'k')};
  storage::DuplicateNames duplicate_names = storage::DuplicateNames::kReject;
  handlers::KeyPolicy keys;
  handlers::UploadPolicy uploads;

  // A new client, as text id.
  std::string Register(const std::string& name);
  KnownClient MakeClient(const std::string& name, int session_key_bits = 128);

  absl::StatusOr<v1::UploadFileResponse> Upload(const v1::UploadFileHeader& header,
                                                const std::string& encoded);
  // Uploads `plain` without encryption and confirms it; returns the version's id.
  int64_t Store(const std::string& client_id, const std::string& file_name,
                const std::string& plain);
  absl::Status Report(const std::string& client_id, const std::string& file_name,
                      v1::ReportTransferRequest::Outcome outcome);
  // The bytes that a download brings.
  absl::StatusOr<std::string> Download(const v1::DownloadFileRequest& request);

  // What is kept of a version, payload and footer included.
  storage::StoredVersion Stored(const std::string& client_id, const std::string& file_name,
                                int64_t version_id);
  // Puts `content` in the place of what is kept of a version.
  void Replace(const storage::StoredVersion& stored, const storage::Content& content);
  int BlobCount() const;
};

v1::UploadFileHeader HeaderOf(const std::string& client_id, const std::string& file_name,
                              v1::UploadFileHeader::Encoding encoding, const std::string& encoded);
v1::DownloadFileRequest DownloadOf(const std::string& client_id, const std::string& file_name,
                                   int64_t version_id);

}  // namespace backup::testing
