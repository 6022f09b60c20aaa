#pragma once

#include <functional>

#include "absl/status/status.h"
#include "backup/v1/admin.pb.h"
#include "base/piece_buffers.h"
#include "crypto/master_key.h"
#include "storage/blob_store.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

// Reads everything back and compares it with its checksums. `report` gets progress, findings, and a
// summary last; an error it returns (the caller is gone) ends the verification.
absl::Status VerifyStore(storage::Catalog& catalog, const storage::BlobStore& blobs,
                         const crypto::MasterKey& master_key, PieceBudget& budget,
                         const std::function<absl::Status(const v1::VerifyStoreResponse&)>& report);

}  // namespace backup::handlers
