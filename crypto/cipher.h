#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/piece_buffers.h"
#include "base/status_macros.h"

struct evp_cipher_ctx_st;

namespace backup::crypto {

// AES's, in bytes.
inline constexpr size_t kCipherBlockSize = 16;

// Decrypts AES-CBC with a zero IV and PKCS#7 padding, piece by piece. Used by one thread at a time.
class CbcDecryptor {
 public:
  // `key` has 16 or 32 bytes.
  explicit CbcDecryptor(absl::string_view key);
  ~CbcDecryptor();
  CbcDecryptor(const CbcDecryptor&) = delete;
  CbcDecryptor& operator=(const CbcDecryptor&) = delete;

  // Writes the plaintext that is certain so far to `out`, which has room for `piece` and a block
  // more; returns its size. `piece` has at most kMaxPieceSize bytes.
  absl::StatusOr<size_t> Update(absl::string_view piece, char* out);
  // The last plaintext, less than a block. Reason CONTENT_REJECTED, always with the same message,
  // if the ciphertext was empty, no multiple of 16 bytes, or badly padded.
  absl::StatusOr<size_t> Finish(char* out);

 private:
  evp_cipher_ctx_st* const context_;
};

// The plaintext of what `ciphertext` yields, in full pieces but for the last. `Decryptor` is
// CbcDecryptor or SegmentDecryptor.
template <typename Decryptor>
class DecryptSource final : public LastingSource {
 public:
  // `expected_size`: how much ciphertext there is, if that is known. The arguments behind it are
  // the decryptor's. What is borrowed must outlive this.
  template <typename... Args>
  DecryptSource(ByteSource& ciphertext, PieceBudget& budget, std::optional<int64_t> expected_size,
                const Args&... args)
      : ciphertext_(ciphertext), buffers_(budget, expected_size), decryptor_(args...) {}

  void MakeLast(size_t pieces) override { buffers_.set_count(pieces + 1); }

  // Before the first Read().
  void set_observer(Observer observer) { observer_ = std::move(observer); }

  absl::StatusOr<absl::string_view> Read() override {
    char* const piece = buffers_.Next();
    if (!surplus_.empty()) std::memmove(piece, surplus_.data(), surplus_.size());
    size_t filled = surplus_.size();
    while (!ended_ && filled < buffers_.piece_size()) {
      ASSIGN_OR_RETURN(const size_t size, Decrypt(buffers_.piece_size() - filled, piece + filled));
      if (observer_) observer_(absl::string_view(piece + filled, size));
      filled += size;
    }
    const size_t size = std::min(filled, buffers_.piece_size());
    surplus_ = absl::string_view(piece + size, filled - size);
    return absl::string_view(piece, size);
  }

  const Decryptor& decryptor() const { return decryptor_; }

 private:
  // Decrypts what comes next, at most `wanted` bytes of it. That may yield a block more than
  // `wanted`, which was held back before.
  absl::StatusOr<size_t> Decrypt(size_t wanted, char* out) {
    if (rest_.empty()) {
      ASSIGN_OR_RETURN(rest_, ciphertext_.Read());
      ended_ = rest_.empty();
      if (ended_) return decryptor_.Finish(out);
    }
    const absl::string_view taken =
        rest_.substr(0, observer_ ? std::min(wanted, kHotSize - kCipherBlockSize) : wanted);
    rest_.remove_prefix(taken.size());
    return decryptor_.Update(taken, out);
  }

  ByteSource& ciphertext_;
  PieceBuffers buffers_;
  Decryptor decryptor_;
  Observer observer_;
  absl::string_view rest_;     // Of what was read of the ciphertext.
  absl::string_view surplus_;  // Plaintext behind the piece before, in its buffer's slack.
  bool ended_ = false;
};
static_assert(PieceBuffers::kSlack >= 2 * kCipherBlockSize);
using CbcDecryptSource = DecryptSource<CbcDecryptor>;

}  // namespace backup::crypto
