#include "content/dictionary.h"

#include <zdict.h>
#include <zstd.h>

#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "crypto/aead.h"
#include "glog/logging.h"

namespace backup::content {
namespace {

absl::Status Damaged(absl::string_view why) {
  return MakeError(Reason::kBlobDamaged, absl::StrCat("a dictionary of the store ", why));
}

}  // namespace

std::optional<std::string> TrainDictionary(std::span<const std::string> samples) {
  std::string joined;
  std::vector<size_t> sizes;
  for (const std::string& sample : samples) {
    if (joined.size() + sample.size() > kMaxTrainingBytes) break;
    joined += sample;
    sizes.push_back(sample.size());
  }
  std::string dictionary(kMaxDictionarySize, '\0');
  const size_t size = ZDICT_trainFromBuffer(dictionary.data(), dictionary.size(), joined.data(),
                                            sizes.data(), static_cast<unsigned>(sizes.size()));
  if (ZDICT_isError(size)) return std::nullopt;
  dictionary.resize(size);
  return dictionary;
}

absl::StatusOr<std::shared_ptr<const Dictionary>> Dictionary::Open(absl::string_view bytes,
                                                                   std::optional<int> level) {
  const uint32_t id = ZSTD_getDictID_fromDict(bytes.data(), bytes.size());
  if (id == 0 || bytes.size() > kMaxDictionarySize) return Damaged("is none");
  ZSTD_CDict* const compressing =
      level ? ZSTD_createCDict(bytes.data(), bytes.size(), *level) : nullptr;
  ZSTD_DDict* const decompressing = ZSTD_createDDict(bytes.data(), bytes.size());
  const std::shared_ptr<const Dictionary> dictionary =
      absl::WrapUnique(new Dictionary(compressing, decompressing, id));
  if (decompressing == nullptr || (level && compressing == nullptr)) return Damaged("is damaged");
  return dictionary;
}

Dictionary::Dictionary(ZSTD_CDict_s* compressing, ZSTD_DDict_s* decompressing, uint32_t id)
    : compressing_(compressing), decompressing_(decompressing), id_(id) {}

Dictionary::~Dictionary() {
  ZSTD_freeCDict(compressing_);
  ZSTD_freeDDict(decompressing_);
}

std::string DictionaryName(uint32_t id) { return absl::StrCat("dictionary/", id); }

std::string SealDictionary(absl::string_view bytes, uint32_t id, const StoreKeys& keys) {
  return crypto::SealAlone(keys.DictionaryKey(), DictionaryName(id), bytes);
}

absl::StatusOr<std::string> UnsealDictionary(absl::string_view sealed, uint32_t id,
                                             const StoreKeys& keys) {
  std::optional<std::string> bytes =
      crypto::OpenAlone(keys.DictionaryKey(), DictionaryName(id), sealed);
  if (!bytes) return Damaged("was changed, or sealed under another key");
  return *std::move(bytes);
}

absl::StatusOr<std::shared_ptr<const Dictionary>> Dictionaries::Find(uint32_t id) {
  {
    const MutexLock lock(mutex_);
    const auto found = loaded_.find(id);
    if (found != loaded_.end()) return found->second;
    if (loaded_.size() >= kMaxDictionaries) return Damaged("is one too many");
  }
  // Not behind the lock: it may take the time of a disk.
  ASSIGN_OR_RETURN(const std::optional<std::string> sealed, load_(id));
  if (!sealed) return Damaged(absl::StrCat("is missing: ", DictionaryName(id)));
  ASSIGN_OR_RETURN(const std::string bytes, UnsealDictionary(*sealed, id, keys_));
  ASSIGN_OR_RETURN(std::shared_ptr<const Dictionary> dictionary, Dictionary::Open(bytes));
  if (dictionary->id() != id) return Damaged("is another than its name says");
  const MutexLock lock(mutex_);
  return loaded_.try_emplace(id, std::move(dictionary)).first->second;
}

}  // namespace backup::content
