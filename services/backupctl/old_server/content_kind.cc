#include "services/backupctl/old_server/content_kind.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/status_macros.h"
#include "crypto/cipher.h"

namespace backup::ctl::old_server {
namespace {

using crypto::kCipherBlockSize;

constexpr int64_t kSampleSize = 4096;
// Beyond it chance is out of the question: for 16 bytes it is 1 in 100 000, for more bytes less.
constexpr double kMaxDeviation = 8;

absl::StatusOr<std::string> ReadPart(const RandomAccess& file, int64_t offset, int64_t size) {
  std::string bytes(static_cast<size_t>(size), '\0');
  RETURN_IF_ERROR(file.ReadAt(offset, bytes));
  return bytes;
}

// How long the padding at the end of the ciphertext is; nothing if it is wrong.
absl::StatusOr<std::optional<size_t>> PaddingSize(const RandomAccess& file, absl::string_view key) {
  // CBC: a block's plaintext depends on the block before it, and on no other.
  const int64_t size = std::min(file.size_bytes(), int64_t{2 * kCipherBlockSize});
  ASSIGN_OR_RETURN(const std::string end, ReadPart(file, file.size_bytes() - size, size));
  std::array<char, 3 * kCipherBlockSize> plain;
  crypto::CbcDecryptor decryptor(key);
  ASSIGN_OR_RETURN(const size_t before, decryptor.Update(end, plain.data()));
  const absl::StatusOr<size_t> last = decryptor.Finish(plain.data() + before);
  if (ReasonOf(last.status()) == Reason::kContentRejected) return std::nullopt;
  RETURN_IF_ERROR(last.status());
  return end.size() - before - *last;
}

// As much of the plaintext as can be had.
absl::StatusOr<std::string> Decrypt(absl::string_view ciphertext, absl::string_view key) {
  std::string plain(ciphertext.size() + 2 * kCipherBlockSize, '\0');
  crypto::CbcDecryptor decryptor(key);
  ASSIGN_OR_RETURN(const size_t size, decryptor.Update(ciphertext, plain.data()));
  // Of a part of a file there is no padding to be right.
  const size_t last = decryptor.Finish(plain.data() + size).value_or(0);
  plain.resize(size + last);
  return plain;
}

bool IsText(absl::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) {
    return (c >= ' ' && c <= '~') || c == '\n' || c == '\r' || c == '\t';
  });
}

}  // namespace

bool LooksRandom(absl::string_view bytes) {
  if (IsText(bytes)) return false;
  std::array<double, 256> counts = {};
  for (const char c : bytes) ++counts[static_cast<unsigned char>(c)];
  double equal_pairs = 0;
  for (const double count : counts) equal_pairs += count * (count - 1) / 2;
  const auto size = static_cast<double>(bytes.size());
  const double expected = size * (size - 1) / 2 / 256;
  return equal_pairs - expected <= kMaxDeviation * std::sqrt(expected);
}

absl::StatusOr<Evidence> Examine(const RandomAccess& file, absl::string_view key) {
  Evidence evidence;
  const int64_t size = file.size_bytes();
  if (size == 0 || size % int64_t{kCipherBlockSize} != 0) return evidence;
  ASSIGN_OR_RETURN(const std::string sample, ReadPart(file, 0, std::min(size, kSampleSize)));
  const bool is_random = LooksRandom(sample);
  std::optional<size_t> padding;
  if (!key.empty()) {
    ASSIGN_OR_RETURN(padding, PaddingSize(file, key));
  }
  if (!padding) {
    evidence.looks_encrypted = is_random;
    return evidence;
  }
  evidence.fits_key = true;
  if (!is_random) {
    evidence.could_be_both = true;
    return evidence;
  }
  evidence.kind = ContentKind::kEncrypted;
  if (*padding > 1) return evidence;  // By chance of one file in 65 536.
  ASSIGN_OR_RETURN(const std::string plain, Decrypt(sample, key));
  evidence.could_be_both = LooksRandom(plain);
  evidence.undecided = evidence.could_be_both;
  return evidence;
}

}  // namespace backup::ctl::old_server
