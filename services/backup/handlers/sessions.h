#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/backup.pb.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "services/backup/crypto/master_key.h"
#include "storage/blob_store.h"
#include "storage/catalog.h"

// How a client becomes known, gets its session key and settles a transfer: the RPCs of
// IngestService but UploadFile. Thread-safe as far as what they are given is.
namespace backup::handlers {

struct KeyPolicy {
  storage::Rekey rekey = storage::Rekey::kPin;
  bool rotate_session_keys = false;  // A new session key at every ResumeClient.
  Counter replaced_keys = {};        // Counts public keys that took another one's place.
};

absl::StatusOr<v1::RegisterClientResponse> RegisterClient(storage::Catalog& catalog,
                                                          const Clock& clock,
                                                          storage::DuplicateNames policy,
                                                          const v1::RegisterClientRequest& request);

absl::StatusOr<v1::ExchangeKeyResponse> ExchangeKey(storage::Catalog& catalog,
                                                    const crypto::MasterKey& master_key,
                                                    const Clock& clock, const KeyPolicy& policy,
                                                    const v1::ExchangeKeyRequest& request);

absl::StatusOr<v1::ResumeClientResponse> ResumeClient(storage::Catalog& catalog,
                                                      const crypto::MasterKey& master_key,
                                                      const Clock& clock, const KeyPolicy& policy,
                                                      const v1::ResumeClientRequest& request);

struct ReportedTransfer {
  v1::ReportTransferResponse response;
  bool changed = false;  // Not if it was told before, or of an upload that failed.
};

// `corrupt_checksums`: wrong checksums are answered on purpose, so nothing is learned from
// outcomes.
absl::StatusOr<ReportedTransfer> ReportTransfer(storage::Catalog& catalog,
                                                storage::BlobStore& blobs, const Clock& clock,
                                                bool corrupt_checksums,
                                                const v1::ReportTransferRequest& request);

// Whether ReportTransfer() needs nothing but the catalog: it may delete the content of other files
// than verified ones, and only when that is durable.
bool StaysInCatalog(const v1::ReportTransferRequest& request);

absl::StatusOr<v1::ObserveClientResponse> ObserveClient(storage::Catalog& catalog,
                                                        const Clock& clock,
                                                        const v1::ObserveClientRequest& request);

// Stores what was observed of the client's protocol if it is news.
absl::Status NoteLegacyProfile(storage::Catalog& catalog, const storage::Client& client,
                               const storage::LegacyProfile& observed);

// The session key of a client that has one; reason KEY_NOT_SET if not.
absl::StatusOr<std::string> OpenSessionKey(const crypto::MasterKey& master_key,
                                           const storage::Client& client);

// FailedPrecondition if the session keys of clients are sealed under another master key.
absl::Status CheckMasterKey(storage::Catalog& catalog, const crypto::MasterKey& master_key);

// Deletes blobs that nothing refers to any more. What fails is left to the sweep.
void DeleteReleased(storage::BlobStore& blobs, const std::vector<BlobId>& released);

}  // namespace backup::handlers
