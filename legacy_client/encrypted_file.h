#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/checksum.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "legacy_client/cipher.h"

namespace backup::legacy_client {

// What the client compares the server's checksum with.
enum class ChecksumKind {
  kCksumOfPlaintext,
  kCksumOfCiphertext,
  kCrc32OfPlaintext,
  kCrc32OfCiphertext,
};

// An initial vector, kCipherBlockSize bytes.
std::string RandomVector();

struct EncryptionOptions {
  ChecksumKind checksum_kind = ChecksumKind::kCrc32OfCiphertext;
  // So much plaintext at a time is encrypted on its own; 0: the file is one ciphertext.
  int64_t chunk_size = 0;
  // The first chunk, if it is smaller; 0: it is not.
  int64_t first_chunk_size = 0;
  CipherPadding padding = CipherPadding::kPkcs7;
  // Zero padding is part of the file that the server stores, and so of its checksum.
  bool padding_is_stored = false;
  // An initial vector is in front of each ciphertext, and counts as part of it.
  bool vector_in_front = false;
  std::function<std::string()> make_vector = &RandomVector;
  // The file is filled up with zero bytes to a multiple of so many before all else.
  int64_t plaintext_multiple_of = 1;
};

// Size of what becomes of one plaintext that is encrypted on its own.
int64_t ChunkEncryptedSize(const EncryptionOptions& options, int64_t plaintext_size);

// Size of what becomes of a plaintext, chunk by chunk. An empty plaintext is one empty chunk.
int64_t EncryptedSize(const EncryptionOptions& options, int64_t plaintext_size);

// A file's ciphertext, and its checksum. A thread of its own reads and encrypts the next piece
// while the present one is being sent. Used by one thread at a time.
class EncryptedFile final : public ByteSource {
 public:
  // The file as large as it is now. NotFound, PermissionDenied and so on if it cannot be opened;
  // InvalidArgument if it is no regular file.
  static absl::StatusOr<std::unique_ptr<EncryptedFile>> Open(const std::string& path,
                                                             absl::string_view key,
                                                             const EncryptionOptions& options);
  ~EncryptedFile() override;
  EncryptedFile(const EncryptedFile&) = delete;
  EncryptedFile& operator=(const EncryptedFile&) = delete;

  // Filled up.
  int64_t plaintext_size() const { return plaintext_size_; }
  int64_t ciphertext_size() const { return EncryptedSize(options_, plaintext_size_); }

  // DataLoss if the file has become shorter since it was opened.
  absl::StatusOr<absl::string_view> Read() override;

  // Only after Read() has come to the end.
  uint32_t Checksum() const;

 private:
  struct Piece {
    std::vector<char> bytes;
    size_t size = 0;
  };

  EncryptedFile(UniqueFd fd, int64_t size, absl::string_view key, const EncryptionOptions& options);

  void Produce();
  bool WaitForRoom();
  absl::Status FillPiece(Piece& piece);
  absl::Status ReadPlaintext(size_t size);
  void Encrypt(absl::string_view plaintext, Piece& piece);
  void BeginChunk(Piece& piece);
  void UpdateChecksum(absl::string_view plaintext, absl::string_view ciphertext);

  // Of the producing thread until `finished_`.
  const UniqueFd fd_;
  const EncryptionOptions options_;
  const int64_t plaintext_size_;
  int64_t file_left_;  // Of what is in the file, without what fills it up.
  int64_t plaintext_left_;
  int64_t chunk_left_;  // Of the chunk that is being encrypted.
  bool chunk_is_new_ = true;
  const int64_t piece_size_;  // Of the plaintext of a piece.
  CbcEncryptor encryptor_;
  std::vector<char> plaintext_;
  Cksum cksum_;  // Only the one that `options_` names is kept.
  Crc32 crc32_;

  // A piece is the producer's while it is not among the produced ones, else the reader's.
  std::array<Piece, 2> pieces_;

  Mutex mutex_;
  CondVar changed_;
  size_t produced_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t released_ ABSL_GUARDED_BY(mutex_) = 0;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);

  std::jthread producer_;  // Last: ends before what it uses.
};

}  // namespace backup::legacy_client
