#pragma once

#include <cstdint>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/catalog/types.h"
#include "storage/sqlite/database.h"

namespace backup::storage {

// Tells contents that have a damaged chunk. Nobody keeps that: such chunks are few, as a rule none,
// and where there is none nothing is read but that. A recipe is read whole, 12 bytes a step, unless
// it is skipped, and told to be whole: for those who make others wait. Good
// for one state of the catalog, which may change after the last question only. Used by one thread
// at a time.
class DamagedChunks {
 public:
  enum class Recipes { kRead, kSkipped };

  // `database` must outlive this.
  DamagedChunks(Database& database, Recipes recipes) : database_(database), recipes_(recipes) {}

  // Whether a chunk of this content, if it has any, is damaged, or its recipe cannot be read.
  absl::StatusOr<bool> Has(const ChunkList& content);

 private:
  absl::Status Load();
  absl::StatusOr<bool> HasChunk(int64_t chunk);
  absl::StatusOr<bool> IsMarked(int64_t chunk);
  absl::StatusOr<bool> HasOfRecipe(int64_t recipe);

  Database& database_;
  const Recipes recipes_;
  bool is_loaded_ = false;
  bool is_all_ = true;  // numbers_ has all of them; else each is asked for.
  absl::flat_hash_set<int64_t> numbers_;
};

}  // namespace backup::storage
