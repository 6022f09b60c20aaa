#include "storage/catalog/recipe_entries.h"

#include "base/error.h"

namespace backup::storage {
namespace {

constexpr size_t kNumberBytes = 8;
constexpr size_t kSizeBytes = 4;
constexpr size_t kEntryBytes = kNumberBytes + kSizeBytes;

void AppendNumber(uint64_t number, size_t bytes, std::string& out) {
  for (size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>(number >> (8 * i)));
}

int64_t NumberAt(absl::string_view bytes) {
  uint64_t number = 0;
  for (size_t i = bytes.size(); i > 0; --i) {
    number = number << 8 | static_cast<unsigned char>(bytes[i - 1]);
  }
  return static_cast<int64_t>(number);
}

}  // namespace

std::string EncodeEntries(const std::vector<RecipeEntry>& entries) {
  std::string bytes;
  bytes.reserve(entries.size() * kEntryBytes);
  for (const RecipeEntry& entry : entries) {
    AppendNumber(static_cast<uint64_t>(entry.chunk), kNumberBytes, bytes);
    AppendNumber(static_cast<uint64_t>(entry.size_bytes), kSizeBytes, bytes);
  }
  return bytes;
}

absl::StatusOr<std::vector<RecipeEntry>> DecodeEntries(absl::string_view bytes) {
  if (bytes.empty() || bytes.size() % kEntryBytes != 0)
    return ChunksCorrupt("a part of a recipe is damaged");
  std::vector<RecipeEntry> entries;
  for (size_t i = 0; i < bytes.size(); i += kEntryBytes) {
    entries.push_back({NumberAt(bytes.substr(i, kNumberBytes)),
                       NumberAt(bytes.substr(i + kNumberBytes, kSizeBytes))});
  }
  return entries;
}

absl::Status ChunksCorrupt(absl::string_view what) {
  return MakeError(Reason::kStateCorrupt, absl::StrCat("the catalog is damaged: ", what),
                   "catalog");
}

}  // namespace backup::storage
