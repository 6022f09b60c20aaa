#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/piece_buffers.h"

struct evp_cipher_ctx_st;

namespace backup::crypto {

// AES's, in bytes.
inline constexpr size_t kCipherBlockSize = 16;

// How a plaintext was encrypted with AES-CBC: all that one must know to decrypt it, beside the key
// and sizes. The numbers are those of blob footers: never change one.
struct CbcFormat {
  enum class Cut {
    kWhole = 1,          // In one piece.
    kSizedSegments = 2,  // In segments, each with its size before it.
    kEqualSegments = 3,  // In segments of segment_size bytes, but for the last.
  };
  enum class InitialVector {
    kZero = 0,
    kInFront = 1,  // It is the first block of the ciphertext, or of each segment.
  };
  enum class Padding {
    kPkcs7 = 0,
    kZeros = 1,  // With 0 to 15 zero bytes, which the ciphertext does not tell from plaintext.
    kPkcs7AndSurplus = 2,  // As kPkcs7, before which up to 15 bytes are no part of the file.
  };

  Cut cut = Cut::kWhole;
  InitialVector initial_vector = InitialVector::kZero;
  Padding padding = Padding::kPkcs7;
  int64_t segment_size = 0;  // kEqualSegments: in bytes, a multiple of kCipherBlockSize.

  bool operator==(const CbcFormat&) const = default;
};

// The one error of content that decrypts to something impossible, so that nobody can use us as a
// padding oracle.
absl::Status ContentRejected();
// The errors of content whose size is impossible, which is nobody's secret.
absl::Status NoWholeBlocks();
absl::Status TooShortForItsVector();

// Decrypts content, piece by piece. Used by one thread at a time.
class Decryptor {
 public:
  virtual ~Decryptor() = default;
  // Writes the plaintext that is certain so far to `out`, which has room for `piece` and a block
  // more; returns its size. `piece` has at most kMaxPieceSize bytes. Reason CONTENT_REJECTED.
  virtual absl::StatusOr<size_t> Update(absl::string_view piece, char* out) = 0;
  // The last plaintext, less than a block. Reason CONTENT_REJECTED.
  virtual absl::StatusOr<size_t> Finish(char* out) = 0;
};

// Decrypts one AES-CBC ciphertext, or one after the other. Content is rejected if it is empty, no
// multiple of 16 bytes, or badly padded, in one way; what was padded with zeros may be empty, and
// keeps its padding.
class CbcDecryptor final : public Decryptor {
 public:
  // `key` has 16 or 32 bytes. The format's cut does not matter.
  explicit CbcDecryptor(absl::string_view key, const CbcFormat& format = {});
  ~CbcDecryptor() override;
  CbcDecryptor(const CbcDecryptor&) = delete;
  CbcDecryptor& operator=(const CbcDecryptor&) = delete;

  absl::StatusOr<size_t> Update(absl::string_view piece, char* out) override;
  absl::StatusOr<size_t> Finish(char* out) override;
  // The next ciphertext begins, under the same key.
  void Restart();

 private:
  const CbcFormat format_;
  evp_cipher_ctx_st* const context_;
  size_t vector_left_ = 0;  // What comes next of the IV's block, which is no plaintext.
};

// The plaintext of what `ciphertext` yields, in full pieces but for the last.
class DecryptSource final : public LastingSource {
 public:
  // `expected_size`: how much ciphertext there is, if that is known. What is borrowed must outlive
  // this.
  DecryptSource(ByteSource& ciphertext, PieceBudget& budget, std::optional<int64_t> expected_size,
                std::unique_ptr<Decryptor> decryptor)
      : ciphertext_(ciphertext),
        buffers_(budget, expected_size),
        decryptor_(std::move(decryptor)) {}

  void MakeLast(size_t pieces) override { buffers_.set_count(pieces + 1); }

  // Before the first Read().
  void set_observer(Observer observer) { observer_ = std::move(observer); }

  absl::StatusOr<absl::string_view> Read() override;

 private:
  // Decrypts what comes next, at most `wanted` bytes of it. That may yield a block more than
  // `wanted`, which was held back before.
  absl::StatusOr<size_t> Decrypt(size_t wanted, char* out);

  ByteSource& ciphertext_;
  PieceBuffers buffers_;
  const std::unique_ptr<Decryptor> decryptor_;
  Observer observer_;
  absl::string_view rest_;     // Of what was read of the ciphertext.
  absl::string_view surplus_;  // Plaintext behind the piece before, in its buffer's slack.
  bool ended_ = false;
};

}  // namespace backup::crypto
