#pragma once

#include <cstdint>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/postgres/connection.h"

namespace backup::storage::postgres {

// Tells recipes that have a damaged chunk. Nobody keeps that: such chunks are few, as a rule none.
// A recipe is read whole, 12 bytes a step, unless recipes are skipped, and told to be whole: for
// those who make others wait. Good for one state of the catalog. Used by one thread at a time.
class DamagedChunks {
 public:
  enum class Recipes { kRead, kSkipped };

  // `connection` must outlive this.
  DamagedChunks(Connection& connection, Recipes recipes)
      : connection_(connection), recipes_(recipes) {}

  // Whether a chunk of this recipe is damaged, or it cannot be read.
  absl::StatusOr<bool> HasOfRecipe(int64_t recipe);

 private:
  absl::Status Load();
  absl::StatusOr<bool> HasChunk(int64_t chunk);

  Connection& connection_;
  const Recipes recipes_;
  bool is_loaded_ = false;
  bool is_all_ = true;  // numbers_ has all of them; else each is asked for.
  absl::flat_hash_set<int64_t> numbers_;
};

}  // namespace backup::storage::postgres
