#pragma once

#include <array>
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
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "content/store_keys.h"
#include "storage/catalog/version.h"

struct ZSTD_CDict_s;
struct ZSTD_DDict_s;

namespace backup::content {

// What small contents of a store have in common, so that none of them needs to say it: bytes that
// zstd looks back into. What it brings is in docs/adr/0033. A dictionary holds parts
// of the contents that it was trained with: it is kept as safe as they are.
inline constexpr size_t kMaxDictionarySize = size_t{112} << 10;
// How many a store may ever have. Each takes 140 KiB of memory where frames need it, and the newest
// ones 520 KiB more, at level 3, where they compress.
inline constexpr size_t kMaxDictionaries = 16;
// What training looks at, at most: about 1 s of one processor, and as much memory again.
inline constexpr size_t kMaxTrainingBytes = size_t{8} << 20;

// A store's dictionaries have the ids from here on, one after the other: the first of those that
// zstd's registry leaves to everybody, so that a frame names one in two bytes.
inline constexpr uint32_t kFirstDictionaryId = 32'768;
inline constexpr uint32_t kLastDictionaryId = kFirstDictionaryId + kMaxDictionaries - 1;

// A dictionary with this id for contents like these: parts of one sample are never joined with
// those of another. Samples beyond kMaxTrainingBytes are not looked at. Nothing if they are too few
// or too small.
std::optional<std::string> TrainDictionary(std::span<const std::string> samples, uint32_t id);

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

// A dictionary with what is known of its origin.
struct TrainedDictionary {
  // Of the contents that it was trained with, kPlain or kSealed. Only content of this form is
  // compressed with it: the sizes of what is kept plain tell nothing of what is sealed.
  storage::StorageForm form = storage::StorageForm::kPlain;
  int64_t last_chunk = 0;  // The last number of a chunk in the catalog at that time.
  std::string bytes;
};

// How a dictionary is kept in the catalog: under this name, and sealed whatever the form of
// contents is.
std::string DictionaryName(uint32_t id);
std::string SealDictionary(const TrainedDictionary& dictionary, uint32_t id, const StoreKeys& keys);
// The other way. Reason BLOB_DAMAGED.
absl::StatusOr<TrainedDictionary> UnsealDictionary(absl::string_view sealed, uint32_t id,
                                                   const StoreKeys& keys);

// A store's dictionaries: those that frames need, each loaded when the first frame does, and the
// newest ones, for new content. Thread-safe.
class Dictionaries {
 public:
  // The value that is kept under DictionaryName(id): nothing if there is none.
  using Load = std::function<absl::StatusOr<std::optional<std::string>>(uint32_t id)>;

  // The last one that was trained with contents of a form.
  struct Newest {
    std::shared_ptr<const Dictionary> dictionary;  // It compresses; null: there is none.
    int64_t last_chunk = 0;                        // As of TrainedDictionary.
  };

  // `keys` must outlive this.
  Dictionaries(const StoreKeys& keys, Load load) : keys_(keys), load_(std::move(load)) {}

  // Reason BLOB_DAMAGED, with the dictionary's name, if there is none that can be used; else the
  // errors of `load`.
  absl::StatusOr<std::shared_ptr<const Dictionary>> Find(uint32_t id);

  // Reads all that the store has: the newest ones are used from now on, at zstd's `level`. One that
  // is damaged is logged and left out. Returns the id of the next one to be trained; nothing if the
  // store has as many as it may. Errors: those of `load`, which change nothing.
  absl::StatusOr<std::optional<uint32_t>> Refresh(int level);
  // Nothing before the first Refresh(). Takes no longer than a lock.
  Newest NewestOf(storage::StorageForm form) const;

 private:
  const StoreKeys& keys_;
  const Load load_;
  mutable Mutex mutex_;
  std::map<uint32_t, std::shared_ptr<const Dictionary>> loaded_ ABSL_GUARDED_BY(mutex_);
  std::map<storage::StorageForm, Newest> newest_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::content
