#include "bridge/client/encrypted_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace backup::legacy_client {

absl::StatusOr<std::unique_ptr<EncryptedFile>> EncryptedFile::Open(const std::string& path,
                                                                   absl::string_view key) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info;
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    return absl::ErrnoToStatus(errno, "cannot open the file");
  }
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("not a regular file");
  ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return std::unique_ptr<EncryptedFile>(new EncryptedFile(std::move(fd), info.st_size, key));
}

EncryptedFile::EncryptedFile(UniqueFd fd, int64_t size, absl::string_view key)
    : fd_(std::move(fd)), plaintext_size_(size), plaintext_left_(size), encryptor_(key) {
  const size_t piece_size = static_cast<size_t>(std::min(size, static_cast<int64_t>(kPieceSize)));
  plaintext_.resize(piece_size);
  // Room for the last block beside a full piece.
  for (Piece& piece : pieces_) piece.bytes.resize(piece_size + 2 * kCipherBlockSize);
  producer_ = std::jthread([this] { Produce(); });
}

EncryptedFile::~EncryptedFile() {
  MutexLock lock(mutex_);
  abandoned_ = true;
  changed_.NotifyAll();
}

absl::StatusOr<absl::string_view> EncryptedFile::Read() {
  MutexLock lock(mutex_);
  released_ = taken_;
  changed_.NotifyAll();
  while (produced_ == taken_ && !finished_) changed_.Wait(mutex_);
  if (produced_ > taken_) {
    const Piece& piece = pieces_[taken_++ % pieces_.size()];
    return absl::string_view(piece.bytes.data(), piece.size);
  }
  if (!status_.ok()) return status_;
  return absl::string_view();
}

uint32_t EncryptedFile::Checksum(ChecksumKind kind) const {
  return kind == ChecksumKind::kCrc32OfCiphertext ? crc32_of_ciphertext_.Value()
                                                  : cksum_of_plaintext_.Value();
}

void EncryptedFile::Produce() {
  absl::Status status;
  bool last = false;
  for (size_t turn = 0; !last; ++turn) {
    if (!WaitForRoom()) return;
    status = FillPiece(pieces_[turn % pieces_.size()]);
    last = !status.ok() || plaintext_left_ == 0;
    MutexLock lock(mutex_);
    if (status.ok()) ++produced_;
    if (last) {
      finished_ = true;
      status_ = status;
    }
    changed_.NotifyAll();
  }
}

// False if nobody will read on.
bool EncryptedFile::WaitForRoom() {
  MutexLock lock(mutex_);
  while (produced_ - released_ == pieces_.size() && !abandoned_) changed_.Wait(mutex_);
  return !abandoned_;
}

absl::Status EncryptedFile::FillPiece(Piece& piece) {
  const size_t size =
      static_cast<size_t>(std::min(plaintext_left_, static_cast<int64_t>(plaintext_.size())));
  RETURN_IF_ERROR(ReadPlaintext(size));
  plaintext_left_ -= static_cast<int64_t>(size);
  const absl::string_view plaintext(plaintext_.data(), size);
  cksum_of_plaintext_.Update(plaintext);
  piece.size = encryptor_.Update(plaintext, piece.bytes);
  if (plaintext_left_ == 0) {
    piece.size += encryptor_.Finish(std::span<char>(piece.bytes).subspan(piece.size));
  }
  crc32_of_ciphertext_.Update(absl::string_view(piece.bytes.data(), piece.size));
  return absl::OkStatus();
}

absl::Status EncryptedFile::ReadPlaintext(size_t size) {
  for (size_t filled = 0; filled < size;) {
    const ssize_t count = ::read(fd_.get(), plaintext_.data() + filled, size - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::ErrnoToStatus(errno, "cannot read the file");
    if (count == 0) return absl::DataLossError("the file became shorter while it was being sent");
    filled += static_cast<size_t>(count);
  }
  return absl::OkStatus();
}

}  // namespace backup::legacy_client
