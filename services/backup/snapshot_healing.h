#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/backup/handlers/open_content.h"
#include "storage/catalog/catalog.h"

// How a catalog that is rebuilt gets content back that it alone had, and has not any more, from
// what snapshots have of it (docs/adr/0038). Used while no service runs.
namespace backup {

// The version with that id; nothing if there is none.
absl::StatusOr<std::optional<storage::StoredVersion>> FindById(storage::Catalog& catalog,
                                                               int64_t version_id);

// OK if the content can be read, and is what the version says.
absl::Status ReadAllOf(const handlers::StoredPlaces& places, const storage::StoredVersion& stored);

// Puts a recipe down whose chunks the catalog knows, or are `chunks.inlined`, however long it is;
// `lease` holds it until something refers to it. Errors as of Transaction::AppendRecipe().
absl::StatusOr<storage::NewContent> PutRecipe(storage::Catalog& catalog,
                                              const storage::BlobLease& lease,
                                              storage::NewChunks chunks);

// Whether the bytes of a version are in the catalog and nowhere else.
bool IsInCatalogAlone(storage::Catalog& catalog, const storage::StoredVersion& stored);

// Puts what `snapshot` has of a version, if that is whole and the same, in the place of what `now`,
// a later state of the same store, has of it, which was found damaged. What is in a blob of its own
// is the same for both. Returns whether the version can be read from now on. Errors: those of the
// catalog of `now`, and of a store that is away (storage::SaysStoreIsAway).
absl::StatusOr<bool> HealFromSnapshot(const handlers::StoredPlaces& snapshot,
                                      const handlers::StoredPlaces& now,
                                      const storage::BlobLease& lease, int64_t version_id);

}  // namespace backup
