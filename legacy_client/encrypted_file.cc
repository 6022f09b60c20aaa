#include "legacy_client/encrypted_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace backup::legacy_client {

namespace {

// Plaintext of this size is still in the caches when it is encrypted and summed.
constexpr int64_t kReadSize = 64 << 10;

// Plaintext that becomes a piece: whole chunks if they are small, so that what becomes of it
// stays near kPieceSize however much padding they get.
int64_t PlaintextPieceSize(int64_t file_size, int64_t chunk_size) {
  int64_t size = int64_t{kPieceSize};
  if (chunk_size != 0 && chunk_size < size) {
    size = std::max<int64_t>(size / EncryptedSize(chunk_size), 1) * chunk_size;
  }
  return std::min(file_size, size);
}

bool IsOfPlaintext(ChecksumKind kind) {
  return kind == ChecksumKind::kCksumOfPlaintext || kind == ChecksumKind::kCrc32OfPlaintext;
}
bool IsCksum(ChecksumKind kind) {
  return kind == ChecksumKind::kCksumOfPlaintext || kind == ChecksumKind::kCksumOfCiphertext;
}

}  // namespace

int64_t EncryptedSize(int64_t plaintext_size, int64_t chunk_size) {
  if (chunk_size == 0 || plaintext_size <= chunk_size) return EncryptedSize(plaintext_size);
  const int64_t rest = plaintext_size % chunk_size;
  return plaintext_size / chunk_size * EncryptedSize(chunk_size) +
         (rest == 0 ? 0 : EncryptedSize(rest));
}

absl::StatusOr<std::unique_ptr<EncryptedFile>> EncryptedFile::Open(
    const std::string& path, absl::string_view key, const EncryptionOptions& options) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info;
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    return absl::ErrnoToStatus(errno, "cannot open the file");
  }
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("not a regular file");
  ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return std::unique_ptr<EncryptedFile>(
      new EncryptedFile(std::move(fd), info.st_size, key, options));
}

EncryptedFile::EncryptedFile(UniqueFd fd, int64_t size, absl::string_view key,
                             const EncryptionOptions& options)
    : fd_(std::move(fd)),
      options_(options),
      plaintext_size_(size),
      plaintext_left_(size),
      chunk_left_(options.chunk_size),
      piece_size_(PlaintextPieceSize(size, options.chunk_size)),
      encryptor_(key),
      plaintext_(static_cast<size_t>(std::min(piece_size_, kReadSize))) {
  // Room for a block that was held back from the piece before, and for one that OpenSSL may use.
  const auto room =
      static_cast<size_t>(EncryptedSize(piece_size_, options.chunk_size)) + 3 * kCipherBlockSize;
  for (Piece& piece : pieces_) piece.bytes.resize(room);
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

uint32_t EncryptedFile::Checksum() const {
  return IsCksum(options_.checksum_kind) ? cksum_.Value() : crc32_.Value();
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
  piece.size = 0;
  int64_t left = std::min(plaintext_left_, piece_size_);
  do {
    const size_t size = std::min(static_cast<size_t>(left), plaintext_.size());
    RETURN_IF_ERROR(ReadPlaintext(size));
    left -= static_cast<int64_t>(size);
    plaintext_left_ -= static_cast<int64_t>(size);
    const absl::string_view plaintext(plaintext_.data(), size);
    const size_t begin = piece.size;
    Encrypt(plaintext, piece);
    UpdateChecksum(plaintext, absl::string_view(piece.bytes.data() + begin, piece.size - begin));
  } while (left > 0);
  return absl::OkStatus();
}

// All of `plaintext`, chunk by chunk, behind what is in `piece`; `plaintext_left_` is what comes
// after it.
void EncryptedFile::Encrypt(absl::string_view plaintext, Piece& piece) {
  const bool in_chunks = options_.chunk_size != 0;
  const std::span<char> out(piece.bytes);
  do {
    const absl::string_view part =
        in_chunks ? plaintext.substr(0, static_cast<size_t>(chunk_left_)) : plaintext;
    piece.size += encryptor_.Update(part, out.subspan(piece.size));
    plaintext.remove_prefix(part.size());
    chunk_left_ -= static_cast<int64_t>(part.size());
    const bool ends_file = plaintext_left_ == 0 && plaintext.empty();
    if (ends_file || (in_chunks && chunk_left_ == 0)) {
      piece.size += encryptor_.Finish(out.subspan(piece.size));
      chunk_left_ = options_.chunk_size;
    }
  } while (!plaintext.empty());
}

void EncryptedFile::UpdateChecksum(absl::string_view plaintext, absl::string_view ciphertext) {
  const absl::string_view bytes = IsOfPlaintext(options_.checksum_kind) ? plaintext : ciphertext;
  if (IsCksum(options_.checksum_kind)) {
    cksum_.Update(bytes);
  } else {
    crc32_.Update(bytes);
  }
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
