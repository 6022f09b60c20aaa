#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "crypto/key_ring.h"
#include "storage/catalog/catalog.h"

// The rows of a catalog that have something that is sealed: unless a snapshot is given, page by
// page, each a read of its own.
namespace backup::handlers {

// Calls `visit` for all clients, those in the trash last, or for all packs, in order, until it
// returns false. Errors of Catalog::Read().
absl::Status VisitClients(storage::Catalog& catalog,
                          const std::function<bool(const storage::Client&)>& visit);
absl::Status VisitPacks(storage::Catalog& catalog,
                        const std::function<bool(const storage::PackInfo&)>& visit);

// The generations of keys that have sealed the store's secret, clients' session keys, in the trash
// or out of it, and packs: those that `ring` opens them with, or else that they name; of each the
// first that is sealed by it, for messages. It reads no blob, so it does not know of versions that
// are kept whole. Errors of Catalog::Read(), or of `snapshot`, which has all of one state, so that
// nothing moves meanwhile.
absl::StatusOr<std::map<uint32_t, std::string>> NamedGenerations(storage::Catalog& catalog,
                                                                 const crypto::KeyRing& ring);
absl::StatusOr<std::map<uint32_t, std::string>> NamedGenerations(storage::Snapshot& snapshot,
                                                                 const crypto::KeyRing& ring);

// Whether all generations are there that have sealed packs: of a version that is in one that cannot
// be opened nobody knows whether it can be read, so no other must go because it is there. Reason
// KEY_MISSING, with a pack; errors of Catalog::Read().
absl::Status CheckPacksOpen(storage::Catalog& catalog, const crypto::KeyRing& ring);

}  // namespace backup::handlers
