#include "crypto/key_generations.h"

#include <cerrno>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "crypto/aead.h"
#include "crypto/sha256.h"

namespace backup::crypto {
namespace {

constexpr absl::string_view kFirstLine = "backup key generations 1\n";
constexpr absl::string_view kSum = "sum ";
constexpr size_t kSumSize = 8;
constexpr size_t kFingerprintDigits = 16;
constexpr size_t kWrappedSize = Aead::kKeySize + MasterKey::kOverhead;
// A line has at most 160 bytes.
constexpr size_t kMaxTextSize = (kMaxKeyGenerations + 2) * 160;

absl::Status Corrupt(absl::string_view why) {
  return MakeError(Reason::kStateCorrupt,
                   absl::StrCat("the list of key generations is damaged: ", why));
}

// Binds all of a generation's line to its key.
std::string ContextOf(const KeyGeneration& generation) {
  return absl::StrCat("backup key generation ", generation.number, " of ",
                      absl::ToUnixSeconds(generation.create_time));
}

std::string SumOf(absl::string_view text) {
  Sha256 hash;
  hash.Update(text);
  return absl::BytesToHexString(hash.Finish().substr(0, kSumSize));
}

absl::StatusOr<KeyGeneration> ParseLine(absl::string_view line) {
  const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ');
  KeyGeneration generation;
  int64_t seconds = 0;
  if (fields.size() != 4 || !absl::SimpleAtoi(fields[0], &generation.number) ||
      !absl::SimpleAtoi(fields[1], &seconds) || fields[2].size() != kFingerprintDigits) {
    return Corrupt("a line that is none");
  }
  generation.create_time = absl::FromUnixSeconds(seconds);
  generation.master_key_fingerprint = std::string(fields[2]);
  std::optional<std::string> wrapped = HexToBytes(fields[3]);
  if (!wrapped || wrapped->size() != kWrappedSize) return Corrupt("a key that is none");
  generation.wrapped_key = *std::move(wrapped);
  return generation;
}

absl::Status FileError(const std::string& path, absl::string_view doing) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", doing, " the file of key generations ",
                                                 path, errno == ENOSPC ? ": free disk space" : ""));
}

absl::Status WrappedByAnother(const KeyGeneration& generation, const MasterKeys& master_keys) {
  return absl::FailedPreconditionError(absl::StrCat(
      "key generation ", generation.number, " is sealed under another master key (",
      generation.master_key_fingerprint, ") than ", master_keys.origin, " (",
      master_keys.current->Fingerprint(), "): restore that, or give it as --old_master_key_file"));
}

}  // namespace

const MasterKey* MasterKeys::Find(absl::string_view fingerprint) const {
  if (current->Fingerprint() == fingerprint) return current.get();
  for (const std::unique_ptr<MasterKey>& key : old) {
    if (key->Fingerprint() == fingerprint) return key.get();
  }
  return nullptr;
}

MasterKeys MasterKeys::Copy() const {
  const auto copy = [](const MasterKey& key) {
    return std::make_unique<MasterKey>(std::string(key.bytes()));
  };
  MasterKeys keys;
  if (current != nullptr) keys.current = copy(*current);
  keys.origin = origin;
  for (const std::unique_ptr<MasterKey>& key : old) keys.old.push_back(copy(*key));
  return keys;
}

KeyGeneration WrapGeneration(uint32_t number, absl::Time create_time, absl::string_view key,
                             const MasterKey& master_key) {
  KeyGeneration generation;
  generation.number = number;
  generation.create_time = absl::FromUnixSeconds(absl::ToUnixSeconds(create_time));
  generation.master_key_fingerprint = master_key.Fingerprint();
  generation.wrapped_key = master_key.Seal(key, ContextOf(generation));
  return generation;
}

absl::StatusOr<SecretBytes> UnwrapGeneration(const KeyGeneration& generation,
                                             const MasterKey& master_key) {
  return master_key.Open(generation.wrapped_key, ContextOf(generation));
}

std::string EncodeGenerations(const std::vector<KeyGeneration>& generations) {
  std::string text(kFirstLine);
  for (const KeyGeneration& generation : generations) {
    absl::StrAppend(&text, generation.number, " ", absl::ToUnixSeconds(generation.create_time), " ",
                    generation.master_key_fingerprint, " ",
                    absl::BytesToHexString(generation.wrapped_key), "\n");
  }
  return absl::StrCat(text, kSum, SumOf(text), "\n");
}

absl::StatusOr<std::vector<KeyGeneration>> ParseGenerations(absl::string_view text) {
  if (text.size() > kMaxTextSize) return Corrupt("it is too long");
  const size_t sum = text.rfind(kSum);
  if (sum == absl::string_view::npos ||
      text.substr(sum) != absl::StrCat(kSum, SumOf(text.substr(0, sum)), "\n")) {
    return Corrupt("its sum is wrong");
  }
  text = text.substr(0, sum);
  if (!absl::ConsumePrefix(&text, kFirstLine)) return Corrupt("it is of another format");
  std::vector<KeyGeneration> generations;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    ASSIGN_OR_RETURN(KeyGeneration generation, ParseLine(line));
    if (!generations.empty() && generation.number <= generations.back().number)
      return Corrupt("numbers that do not grow");
    generations.push_back(std::move(generation));
  }
  return generations;
}

absl::Status WriteGenerationsFile(const std::string& path, absl::string_view text) {
  return ReplaceFile(path, text) ? absl::OkStatus() : FileError(path, "write");
}

absl::StatusOr<std::string> ReadGenerationsFile(const std::string& path) {
  std::optional<std::string> text = ReadSmallFile(path, kMaxTextSize + 1);
  if (!text) return FileError(path, "read");
  return *std::move(text);
}

absl::Status AddGenerations(const std::vector<KeyGeneration>& generations,
                            const MasterKeys& master_keys, KeyRing& ring) {
  for (const KeyGeneration& generation : generations) {
    const MasterKey* const master_key = master_keys.Find(generation.master_key_fingerprint);
    if (master_key == nullptr) return WrappedByAnother(generation, master_keys);
    ASSIGN_OR_RETURN(SecretBytes key, UnwrapGeneration(generation, *master_key));
    ring.Add(generation.number, std::move(key));
  }
  return absl::OkStatus();
}

}  // namespace backup::crypto
