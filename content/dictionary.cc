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

// Where a dictionary has its id: after zstd's magic number (RFC 8878, section 5), little-endian.
constexpr size_t kIdOffset = 4;

// Before a dictionary, where it is kept: its form and the chunk's number, little-endian.
constexpr size_t kNumberSize = 8;
constexpr size_t kHeadSize = 1 + kNumberSize;

absl::Status Damaged(absl::string_view name, absl::string_view why) {
  return MakeError(Reason::kBlobDamaged, absl::StrCat(name, " of the store ", why));
}

void PutNumber(uint64_t number, std::span<char> out) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<char>(number >> (8 * i));
}

uint64_t NumberOf(absl::string_view bytes) {
  uint64_t number = 0;
  for (size_t i = bytes.size(); i > 0; --i)
    number = number << 8 | static_cast<unsigned char>(bytes[i - 1]);
  return number;
}

struct OpenedDictionary {
  TrainedDictionary trained;
  std::shared_ptr<const Dictionary> dictionary;
};

// Of the value that is kept.
absl::StatusOr<OpenedDictionary> OpenKept(absl::string_view sealed, uint32_t id,
                                          const StoreKeys& keys, std::optional<int> level) {
  OpenedDictionary opened;
  ASSIGN_OR_RETURN(opened.trained, UnsealDictionary(sealed, id, keys));
  ASSIGN_OR_RETURN(opened.dictionary, Dictionary::Open(opened.trained.bytes, level));
  if (opened.dictionary->id() != id) return Damaged(DictionaryName(id), "is another one");
  return opened;
}

}  // namespace

std::optional<std::string> TrainDictionary(std::span<const std::string> samples, uint32_t id) {
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
  PutNumber(id, std::span(dictionary).subspan(kIdOffset, sizeof(id)));
  return dictionary;
}

absl::StatusOr<std::shared_ptr<const Dictionary>> Dictionary::Open(absl::string_view bytes,
                                                                   std::optional<int> level) {
  const uint32_t id = ZSTD_getDictID_fromDict(bytes.data(), bytes.size());
  if (id == 0 || bytes.size() > kMaxDictionarySize)
    return Damaged("a dictionary", "is none that can be used");
  ZSTD_CDict* const compressing =
      level ? ZSTD_createCDict(bytes.data(), bytes.size(), *level) : nullptr;
  ZSTD_DDict* const decompressing = ZSTD_createDDict(bytes.data(), bytes.size());
  const std::shared_ptr<const Dictionary> dictionary =
      absl::WrapUnique(new Dictionary(compressing, decompressing, id));
  if (decompressing == nullptr || (level && compressing == nullptr)) {
    return Damaged(DictionaryName(id), "is damaged");
  }
  return dictionary;
}

Dictionary::Dictionary(ZSTD_CDict_s* compressing, ZSTD_DDict_s* decompressing, uint32_t id)
    : compressing_(compressing), decompressing_(decompressing), id_(id) {}

Dictionary::~Dictionary() {
  ZSTD_freeCDict(compressing_);
  ZSTD_freeDDict(decompressing_);
}

std::string DictionaryName(uint32_t id) { return absl::StrCat("dictionary/", id); }

std::string SealDictionary(const TrainedDictionary& dictionary, uint32_t id,
                           const StoreKeys& keys) {
  std::string head(kHeadSize, static_cast<char>(dictionary.form));
  PutNumber(static_cast<uint64_t>(dictionary.last_chunk), std::span(head).subspan(1));
  return crypto::SealAlone(keys.DictionaryKey(), DictionaryName(id), head + dictionary.bytes);
}

absl::StatusOr<TrainedDictionary> UnsealDictionary(absl::string_view sealed, uint32_t id,
                                                   const StoreKeys& keys) {
  const std::optional<std::string> opened =
      crypto::OpenAlone(keys.DictionaryKey(), DictionaryName(id), sealed);
  if (!opened || opened->size() < kHeadSize)
    return Damaged(DictionaryName(id), "was changed, or sealed under another key");
  const absl::string_view bytes = *opened;
  return TrainedDictionary{static_cast<storage::StorageForm>(bytes[0]),
                           static_cast<int64_t>(NumberOf(bytes.substr(1, kNumberSize))),
                           std::string(bytes.substr(kHeadSize))};
}

absl::StatusOr<std::shared_ptr<const Dictionary>> Dictionaries::Find(uint32_t id) {
  const std::string name = DictionaryName(id);
  if (id < kFirstDictionaryId || id > kLastDictionaryId)
    return Damaged(name, "is none that it can have");
  {
    const MutexLock lock(mutex_);
    const auto found = loaded_.find(id);
    if (found != loaded_.end()) return found->second;
  }
  // Not behind the lock: it may take the time of a disk.
  ASSIGN_OR_RETURN(const std::optional<std::string> sealed, load_(id));
  if (!sealed) return Damaged(name, "is missing");
  ASSIGN_OR_RETURN(OpenedDictionary opened, OpenKept(*sealed, id, keys_, std::nullopt));
  const MutexLock lock(mutex_);
  return loaded_.try_emplace(id, std::move(opened.dictionary)).first->second;
}

absl::StatusOr<std::optional<uint32_t>> Dictionaries::Refresh(int level) {
  std::optional<uint32_t> next = kFirstDictionaryId;
  std::map<storage::StorageForm, Newest> newest;
  for (uint32_t id = kFirstDictionaryId; id <= kLastDictionaryId; ++id) {
    ASSIGN_OR_RETURN(const std::optional<std::string> sealed, load_(id));
    if (!sealed) continue;
    next = id == kLastDictionaryId ? std::nullopt : std::optional(id + 1);
    absl::StatusOr<OpenedDictionary> opened = OpenKept(*sealed, id, keys_, level);
    if (opened.ok()) {
      newest[opened->trained.form] = {std::move(opened->dictionary), opened->trained.last_chunk};
    } else {
      LOG(ERROR) << opened.status().message() << ": contents that need it cannot be read";
    }
  }
  const MutexLock lock(mutex_);
  newest_ = std::move(newest);
  return next;
}

Dictionaries::Newest Dictionaries::NewestOf(storage::StorageForm form) const {
  const MutexLock lock(mutex_);
  const auto found = newest_.find(form);
  return found == newest_.end() ? Newest() : found->second;
}

}  // namespace backup::content
