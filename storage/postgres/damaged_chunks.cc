#include "storage/postgres/damaged_chunks.h"

#include <vector>

#include "base/status_macros.h"
#include "storage/catalog/recipe_entries.h"

namespace backup::storage::postgres {
namespace {

// Numbers that are kept in memory: about 1 MiB.
constexpr int64_t kMaxNumbers = 65'536;

}  // namespace

absl::Status DamagedChunks::Load() {
  if (is_loaded_) return absl::OkStatus();
  Query query =
      connection_.Prepare("SELECT chunk_no FROM chunks WHERE is_damaged AND refs > 0 LIMIT $1");
  query.Bind(kMaxNumbers + 1);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) break;
    numbers_.insert(query.Int(0));
  }
  is_all_ = std::ssize(numbers_) <= kMaxNumbers;
  is_loaded_ = true;
  return absl::OkStatus();
}

absl::StatusOr<bool> DamagedChunks::HasChunk(int64_t chunk) {
  if (is_all_ || numbers_.contains(chunk)) return numbers_.contains(chunk);
  return connection_.Prepare("SELECT 1 FROM chunks WHERE chunk_no = $1 AND is_damaged")
      .Bind(chunk)
      .Step();
}

absl::StatusOr<bool> DamagedChunks::HasOfRecipe(int64_t recipe) {
  if (recipes_ == Recipes::kSkipped) return false;
  RETURN_IF_ERROR(Load());
  if (numbers_.empty()) return false;
  Query parts = connection_.Prepare("SELECT entries FROM recipe_parts WHERE recipe_id = $1");
  parts.Bind(recipe);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, parts.Step());
    if (!more) return false;
    const absl::StatusOr<std::vector<RecipeEntry>> entries = DecodeEntries(parts.Blob(0));
    if (!entries.ok()) return true;
    for (const RecipeEntry& entry : *entries) {
      ASSIGN_OR_RETURN(const bool is_damaged, HasChunk(entry.chunk));
      if (is_damaged) return true;
    }
  }
}

}  // namespace backup::storage::postgres
