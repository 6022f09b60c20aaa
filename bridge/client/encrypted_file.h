#pragma once

#include <array>
#include <cstdint>
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
#include "bridge/client/cipher.h"

namespace backup::legacy_client {

// What the server is asked to answer with, by the version in the request header.
enum class ChecksumKind { kCrc32OfCiphertext, kCksumOfPlaintext };

// A file's ciphertext, and its checksums. A thread of its own reads and encrypts the next piece
// while the present one is being sent. Used by one thread at a time.
class EncryptedFile final : public ByteSource {
 public:
  // The file as large as it is now. NotFound, PermissionDenied and so on if it cannot be opened;
  // InvalidArgument if it is no regular file.
  static absl::StatusOr<std::unique_ptr<EncryptedFile>> Open(const std::string& path,
                                                             absl::string_view key);
  ~EncryptedFile() override;
  EncryptedFile(const EncryptedFile&) = delete;
  EncryptedFile& operator=(const EncryptedFile&) = delete;

  int64_t plaintext_size() const { return plaintext_size_; }
  int64_t ciphertext_size() const { return EncryptedSize(plaintext_size_); }

  // DataLoss if the file has become shorter since it was opened.
  absl::StatusOr<absl::string_view> Read() override;

  // Only after Read() has come to the end.
  uint32_t Checksum(ChecksumKind kind) const;

 private:
  struct Piece {
    std::vector<char> bytes;
    size_t size = 0;
  };

  EncryptedFile(UniqueFd fd, int64_t size, absl::string_view key);

  void Produce();
  bool WaitForRoom();
  absl::Status FillPiece(Piece& piece);
  absl::Status ReadPlaintext(size_t size);

  // Of the producing thread until `finished_`.
  const UniqueFd fd_;
  const int64_t plaintext_size_;
  int64_t plaintext_left_;
  CbcEncryptor encryptor_;
  std::vector<char> plaintext_;
  Cksum cksum_of_plaintext_;
  Crc32 crc32_of_ciphertext_;

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
