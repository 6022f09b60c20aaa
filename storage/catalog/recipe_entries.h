#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// How databases keep recipes.
namespace backup::storage {

// One step of a recipe as it is stored.
struct RecipeEntry {
  int64_t chunk = 0;  // Its number.
  int64_t size_bytes = 0;
};

// Entries of one row of recipe_parts: four rows fit a page of the database.
inline constexpr size_t kMaxPartEntries = 80;

// The number of the chunk in 8 bytes and its size in 4, little-endian, of one entry after the
// other.
std::string EncodeEntries(const std::vector<RecipeEntry>& entries);
// Reason STATE_CORRUPT.
absl::StatusOr<std::vector<RecipeEntry>> DecodeEntries(absl::string_view bytes);

// Reason STATE_CORRUPT, of chunks and recipes.
absl::Status ChunksCorrupt(absl::string_view what);

}  // namespace backup::storage
