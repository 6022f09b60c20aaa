#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/backup.pb.h"
#include "base/byte_stream.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "services/backup/crypto/master_key.h"
#include "storage/blob_store.h"
#include "storage/catalog.h"

namespace backup::handlers {

// Where the time of uploads goes; each is observed once for each upload that was stored.
struct UploadPhases {
  Histogram receive;  // Waiting for the caller.
  Histogram decrypt;  // With the checksum of what was sent; not if it came as plaintext.
  Histogram fsync;    // From the last byte on until a blob is durable; small files have none.
  Histogram commit;   // Of the row, and of a small file's content.
};

struct UploadPolicy {
  // How new content is kept. Under kClientCiphertext what came unencrypted is sealed.
  storage::StorageForm form = storage::StorageForm::kPlain;
  // Content of at most so many stored bytes (footer not counted) lives in the catalog.
  int64_t inline_blob_limit = 64 << 10;
  // Answer wrong checksums on purpose; the version keeps the true one.
  bool corrupt_checksums = false;
  UploadPhases phases = {};
};

// Stores one file as a new, unconfirmed version, durable when this returns OK; on any error nothing
// is stored. `chunks` is everything that follows the header. Memory does not grow with the file.
absl::StatusOr<v1::UploadFileResponse> UploadFile(storage::Catalog& catalog,
                                                  storage::BlobStore& blobs,
                                                  const crypto::MasterKey& master_key,
                                                  const Clock& clock, const UploadPolicy& policy,
                                                  const v1::UploadFileHeader& header,
                                                  ByteSource& chunks);

// Whether UploadFile() needs nothing but the catalog for such a file, whatever its content, and is
// quick.
bool StaysInCatalog(const v1::UploadFileHeader& header, const UploadPolicy& policy);

}  // namespace backup::handlers
