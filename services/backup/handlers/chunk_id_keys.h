#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "content/chunk_digest.h"
#include "content/store_keys.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/version.h"

namespace backup::handlers {

// Tells whether bytes are those of a chunk, in whose scope ever it is: everybody's or a client's
// (--share=client), since nothing says whose. Used by one thread at a time.
class ChunkIdKeys {
 public:
  // Both must outlive this.
  ChunkIdKeys(storage::Catalog& catalog, const content::StoreKeys& keys)
      : catalog_(catalog),
        keys_(keys),
        digest_key_(keys.IdKey(storage::StorageForm::kPlain)),
        last_key_(digest_key_) {}

  // `form` is how the chunk is kept. Looks at the keys of all clients before it says no; one pass
  // over the bytes all the same. Reasons as Catalog::Read().
  absl::StatusOr<bool> Made(const ChunkId& id, storage::StorageForm form,
                            absl::string_view plaintext) {
    return MadeOf(id, form, DigestsOf({&plaintext, 1}).front());
  }
  // The same in two steps, for several chunks: content::DigestsOf(), which any thread may call, and
  // what is left to do then.
  std::vector<std::string> DigestsOf(std::span<const absl::string_view> plaintexts) const {
    return content::DigestsOf(digest_key_, plaintexts);
  }
  absl::StatusOr<bool> MadeOf(const ChunkId& id, storage::StorageForm form,
                              absl::string_view digest);
  // Whether a chunk whose id no key made can be called damaged: a client's key goes with the
  // client, but what its contents referred to is released later.
  enum class Use {
    kNone,     // It is where it was no more, or nothing refers to it.
    kUnknown,  // It may be that only contents do that are gone.
    kNeeded,
  };
  // Reasons as Catalog::Read().
  absl::StatusOr<Use> UseOf(const storage::StoredChunk& chunk);

 private:
  bool TryKey(content::ChunkIdKey key, const ChunkId& id, absl::string_view digest);

  storage::Catalog& catalog_;
  const content::StoreKeys& keys_;
  const content::ChunkIdKey digest_key_;  // Its digest_key is that of all.
  content::ChunkIdKey last_key_;          // That made an id: as a rule it made the next one, too.
};

}  // namespace backup::handlers
