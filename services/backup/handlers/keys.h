#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "backup/v1/admin.pb.h"
#include "base/clock.h"
#include "content/blob_footer.h"
#include "services/backup/handlers/key_keeper.h"
#include "services/backup/handlers/open_content.h"

// The keys that seal what is kept (docs/operations.md, "Keys"). All of these wait for the catalog.
namespace backup::handlers {

// Reads all clients and packs of the catalog whose keys `keeper` keeps.
absl::StatusOr<v1::ListKeysResponse> ListKeys(storage::Catalog& catalog, const KeyKeeper& keeper);

// Notes for the job `retire` that a generation is to go, or to stay after all; if that is known
// already, what could not be sealed anew is tried again at once. Reason INVALID_FIELD if there is
// no such generation, or it is the one that seals.
absl::StatusOr<v1::RetireKeyResponse> RetireKey(storage::Catalog& catalog, const KeyKeeper& keeper,
                                                const Clock& clock,
                                                const v1::RetireKeyRequest& request);

// What a version that is kept whole says of itself, and so of its key. NotFound if it is missing;
// reason BLOB_DAMAGED if it is; STORAGE_IO.
absl::StatusOr<content::BlobFooter> FooterOf(const storage::BlobStore& blobs,
                                             const storage::StoredVersion& stored);

// Whether a version that is kept whole, and not plain, can be opened; OK if it is not kept so, or
// not there. Reads the end of its blob, which of a store elsewhere may take up to 512 KiB of it.
// Reason KEY_MISSING if the generation of keys is missing
// that has sealed its key; errors of FooterOf() and Catalog::Read().
absl::Status CheckOwnKey(storage::Catalog& catalog, const storage::BlobStore& blobs,
                         const crypto::KeyRing& ring, int64_t version_id);

// Takes a snapshot of the state, and waits for it (ServiceContext::back_up_state).
using BackUpState = std::function<absl::StatusOr<v1::BackUpStateResponse>()>;

// Makes a generation, doing `also` in the same transaction, and then a snapshot that has it. Errors
// as of KeyKeeper::Rotate() and `back_up_state`, whose message then says that the generation is
// there.
absl::StatusOr<v1::RotateKeyResponse> RotateKey(
    KeyKeeper& keeper, const Clock& clock, const BackUpState& back_up_state,
    const KeyKeeper::Change& also = KeyKeeper::ChangeNothing);

// `places` are those of the store whose keys `keeper` keeps; does `also` when they are kept. Errors
// as of KeyKeeper::Rewrap() and `back_up_state`, whose message then says that the old master key is
// needed still.
absl::StatusOr<v1::RewrapKeysResponse> RewrapKeys(
    const StoredPlaces& places, KeyKeeper& keeper, const Clock& clock,
    const BackUpState& back_up_state, const v1::RewrapKeysRequest& request,
    const KeyKeeper::Change& also = KeyKeeper::ChangeNothing);

}  // namespace backup::handlers
