#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "content/store_keys.h"

struct ZSTD_CDict_s;
struct ZSTD_DDict_s;

namespace backup::content {

// What small contents of a store have in common, so that none of them needs to say it: bytes that
// zstd looks back into. What it brings is in docs/adr/0030. A dictionary holds parts
// of the contents that it was trained with: it is kept as safe as they are.
inline constexpr size_t kMaxDictionarySize = size_t{112} << 10;
// How many a store may ever have. Each takes 140 KiB of memory where frames need it, and 520 KiB
// more, at level 3, where it compresses.
inline constexpr size_t kMaxDictionaries = 16;
// What training looks at, at most: about 5 s of one processor.
inline constexpr size_t kMaxTrainingBytes = size_t{32} << 20;

// A dictionary for contents like these: parts of one sample are never joined with those of another.
// Samples beyond kMaxTrainingBytes are not looked at. Nothing if they are too few or too small.
std::optional<std::string> TrainDictionary(std::span<const std::string> samples);

// One that can be used. Thread-safe.
class Dictionary {
 public:
  // Of what TrainDictionary() made; it only compresses if it is told a level, zstd's. Reason
  // BLOB_DAMAGED if it is no dictionary.
  static absl::StatusOr<std::shared_ptr<const Dictionary>> Open(
      absl::string_view bytes, std::optional<int> level = std::nullopt);
  ~Dictionary();
  Dictionary(const Dictionary&) = delete;
  Dictionary& operator=(const Dictionary&) = delete;

  // In the header of each frame that needs it; never 0.
  uint32_t id() const { return id_; }
  const ZSTD_CDict_s* compressing() const { return compressing_; }  // Null without a level.
  const ZSTD_DDict_s* decompressing() const { return decompressing_; }

 private:
  Dictionary(ZSTD_CDict_s* compressing, ZSTD_DDict_s* decompressing, uint32_t id);

  ZSTD_CDict_s* const compressing_;
  ZSTD_DDict_s* const decompressing_;
  const uint32_t id_;
};

// How a dictionary is kept in the catalog: under this name, and sealed whatever the form of
// contents is.
std::string DictionaryName(uint32_t id);
std::string SealDictionary(absl::string_view bytes, uint32_t id, const StoreKeys& keys);
// The other way. Reason BLOB_DAMAGED.
absl::StatusOr<std::string> UnsealDictionary(absl::string_view sealed, uint32_t id,
                                             const StoreKeys& keys);

// Those that frames need, each loaded when the first frame does. Thread-safe.
class Dictionaries {
 public:
  // The value that is kept under DictionaryName(id): nothing if there is none.
  using Load = std::function<absl::StatusOr<std::optional<std::string>>(uint32_t id)>;

  // `keys` must outlive this.
  Dictionaries(const StoreKeys& keys, Load load) : keys_(keys), load_(std::move(load)) {}

  // Reason BLOB_DAMAGED if there is none, or more than kMaxDictionaries; else the errors of `load`.
  absl::StatusOr<std::shared_ptr<const Dictionary>> Find(uint32_t id);

 private:
  const StoreKeys& keys_;
  const Load load_;
  Mutex mutex_;
  std::map<uint32_t, std::shared_ptr<const Dictionary>> loaded_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::content
