#include "crypto/key_ring.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "glog/logging.h"

namespace backup::crypto {
namespace {

constexpr absl::string_view kMagic = "BKG1";

std::string HeaderOf(uint32_t generation) {
  std::string header(kMagic);
  for (int shift = 0; shift < 32; shift += 8)
    header += static_cast<char>(generation >> shift & 0xff);
  return header;
}

// Nothing if there is no header. In 2^32 of what has none one looks as if it had.
std::optional<uint32_t> ReadHeader(absl::string_view sealed) {
  if (sealed.size() < KeyRing::kMaxOverhead || !absl::StartsWith(sealed, kMagic))
    return std::nullopt;
  uint32_t generation = 0;
  for (size_t i = 0; i < sizeof(generation); ++i)
    generation |= uint32_t{static_cast<uint8_t>(sealed[kMagic.size() + i])} << (8 * i);
  if (generation == 0) return std::nullopt;
  return generation;
}

}  // namespace

void KeyRing::Add(uint32_t generation, SecretBytes key) {
  auto added = std::make_shared<const MasterKey>(std::move(key));
  MutexLock lock(mutex_);
  CHECK(keys_.try_emplace(generation, std::move(added)).second) << generation;
}

void KeyRing::Remove(uint32_t generation) {
  MutexLock lock(mutex_);
  keys_.erase(generation);
}

uint64_t KeyRing::AddUse() const {
  MutexLock lock(uses_mutex_);
  uses_.emplace_hint(uses_.end(), next_use_, std::chrono::steady_clock::now());
  return next_use_++;
}

void KeyRing::EndUse(uint64_t number) const {
  MutexLock lock(uses_mutex_);
  uses_.erase(number);
}

uint64_t KeyRing::NextUse() const {
  MutexLock lock(uses_mutex_);
  return next_use_;
}

bool KeyRing::HaveEnded(uint64_t next_use) const {
  MutexLock lock(uses_mutex_);
  return uses_.empty() || uses_.begin()->first >= next_use;
}

absl::Duration KeyRing::LongestUse() const {
  MutexLock lock(uses_mutex_);
  if (uses_.empty()) return absl::ZeroDuration();
  return absl::FromChrono(std::chrono::steady_clock::now() - uses_.begin()->second);
}

KeyRing::Key KeyRing::Find(uint32_t generation) const {
  MutexLock lock(mutex_);
  const auto found = keys_.find(generation);
  return found == keys_.end() ? nullptr : found->second;
}

std::optional<uint32_t> KeyRing::newest() const {
  MutexLock lock(mutex_);
  if (keys_.empty()) return std::nullopt;
  return keys_.rbegin()->first;
}

std::string KeyRing::Seal(absl::string_view secret, absl::string_view context) const {
  const std::optional<uint32_t> generation = newest();
  CHECK(generation) << "there is no key to seal with";
  const Key key = Find(*generation);
  if (*generation == 0) return key->Seal(secret, context);
  return absl::StrCat(HeaderOf(*generation), key->Seal(secret, context));
}

absl::StatusOr<SecretBytes> KeyRing::Open(absl::string_view sealed,
                                          absl::string_view context) const {
  const std::optional<uint32_t> generation = ReadHeader(sealed);
  const Key key = generation ? Find(*generation) : nullptr;
  if (key != nullptr) {
    absl::StatusOr<SecretBytes> secret = key->Open(sealed.substr(kHeaderSize), context);
    if (secret.ok()) return secret;
  }
  if (const Key first = Find(0); first != nullptr) {
    absl::StatusOr<SecretBytes> secret = first->Open(sealed, context);
    if (secret.ok()) return secret;
  }
  // What is shorter than any seal is none.
  const bool is_missing =
      generation ? key == nullptr : Find(0) == nullptr && sealed.size() >= kSealOverhead;
  if (is_missing) {
    return MakeError(Reason::kKeyMissing,
                     absl::StrCat("it is sealed by key generation ", generation.value_or(0),
                                  ", which is missing: restore key.generations"));
  }
  return MakeError(Reason::kBlobDamaged,
                   "a sealed key was changed, or sealed under another master key");
}

uint32_t KeyRing::GenerationOf(absl::string_view sealed, absl::string_view context) const {
  const std::optional<uint32_t> said = ReadHeader(sealed);
  if (!said) return 0;
  const Key key = Find(*said);
  if (key != nullptr && key->Open(sealed.substr(kHeaderSize), context).ok()) return *said;
  const Key first = Find(0);
  return first != nullptr && first->Open(sealed, context).ok() ? 0 : *said;
}

SecretBytes KeyRing::KeyOf(uint32_t generation) const {
  const Key key = Find(generation);
  return key == nullptr ? SecretBytes() : SecretBytes(std::string(key->bytes()));
}

}  // namespace backup::crypto
