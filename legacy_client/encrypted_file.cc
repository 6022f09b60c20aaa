#include "legacy_client/encrypted_file.h"

#include <fcntl.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::legacy_client {

namespace {

// Plaintext of this size is still in the caches when it is encrypted and summed.
constexpr int64_t kReadSize = 64 << 10;

int64_t VectorSize(const EncryptionOptions& options) {
  return options.vector_in_front ? int64_t{kCipherBlockSize} : 0;
}

// Plaintext that becomes a piece: whole chunks if they are small, so that what becomes of it
// stays near kPieceSize however much is added to them.
int64_t PlaintextPieceSize(const EncryptionOptions& options, int64_t file_size) {
  const int64_t chunk_size = options.chunk_size;
  int64_t size = int64_t{kPieceSize};
  if (chunk_size != 0 && chunk_size < size) {
    size = std::max<int64_t>(size / ChunkEncryptedSize(options, chunk_size), 1) * chunk_size;
  }
  return std::min(file_size, size);
}

// What a piece may become: parts of a chunk before and behind its whole chunks, a block that was
// held back from the piece before, and one that OpenSSL may use.
size_t RoomForPiece(const EncryptionOptions& options, int64_t piece_size) {
  const int64_t chunks = options.chunk_size == 0 ? 1 : piece_size / options.chunk_size + 3;
  const int64_t added_to_each = VectorSize(options) + int64_t{kCipherBlockSize};
  return static_cast<size_t>(piece_size + chunks * added_to_each) + 3 * kCipherBlockSize;
}

int64_t RoundUp(int64_t size, int64_t multiple) {
  return (size + multiple - 1) / multiple * multiple;
}

bool IsOfPlaintext(ChecksumKind kind) {
  return kind == ChecksumKind::kCksumOfPlaintext || kind == ChecksumKind::kCrc32OfPlaintext;
}
bool IsCksum(ChecksumKind kind) {
  return kind == ChecksumKind::kCksumOfPlaintext || kind == ChecksumKind::kCksumOfCiphertext;
}

}  // namespace

std::string RandomVector() {
  std::string vector(kCipherBlockSize, '\0');
  CHECK_EQ(
      RAND_bytes(reinterpret_cast<unsigned char*>(vector.data()), static_cast<int>(vector.size())),
      1);
  return vector;
}

int64_t ChunkEncryptedSize(const EncryptionOptions& options, int64_t plaintext_size) {
  return VectorSize(options) + EncryptedSize(plaintext_size, options.padding);
}

int64_t EncryptedSize(const EncryptionOptions& options, int64_t plaintext_size) {
  const int64_t chunk_size = options.chunk_size;
  const int64_t first_size = options.first_chunk_size == 0 ? chunk_size : options.first_chunk_size;
  if (chunk_size == 0 || plaintext_size <= first_size) {
    return ChunkEncryptedSize(options, plaintext_size);
  }
  const int64_t behind_first = plaintext_size - first_size;
  const int64_t rest = behind_first % chunk_size;
  return ChunkEncryptedSize(options, first_size) +
         behind_first / chunk_size * ChunkEncryptedSize(options, chunk_size) +
         (rest == 0 ? 0 : ChunkEncryptedSize(options, rest));
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
      plaintext_size_(RoundUp(size, options.plaintext_multiple_of)),
      file_left_(size),
      plaintext_left_(plaintext_size_),
      chunk_left_(options.first_chunk_size == 0 ? options.chunk_size : options.first_chunk_size),
      piece_size_(PlaintextPieceSize(options, plaintext_size_)),
      encryptor_(key, options.padding),
      plaintext_(static_cast<size_t>(std::min(piece_size_, kReadSize))) {
  for (Piece& piece : pieces_) piece.bytes.resize(RoomForPiece(options_, piece_size_));
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
  if (plaintext_left_ == 0 && options_.padding_is_stored) {
    const int64_t padded = RoundUp(plaintext_size_, int64_t{kCipherBlockSize});
    UpdateChecksum(std::string(static_cast<size_t>(padded - plaintext_size_), '\0'), "");
  }
  return absl::OkStatus();
}

// All of `plaintext`, chunk by chunk, behind what is in `piece`; `plaintext_left_` is what comes
// after it.
void EncryptedFile::Encrypt(absl::string_view plaintext, Piece& piece) {
  const bool in_chunks = options_.chunk_size != 0;
  const std::span<char> out(piece.bytes);
  do {
    if (std::exchange(chunk_is_new_, false)) BeginChunk(piece);
    const absl::string_view part =
        in_chunks ? plaintext.substr(0, static_cast<size_t>(chunk_left_)) : plaintext;
    piece.size += encryptor_.Update(part, out.subspan(piece.size));
    plaintext.remove_prefix(part.size());
    chunk_left_ -= static_cast<int64_t>(part.size());
    const bool ends_file = plaintext_left_ == 0 && plaintext.empty();
    if (ends_file || (in_chunks && chunk_left_ == 0)) {
      piece.size += encryptor_.Finish(out.subspan(piece.size));
      chunk_left_ = options_.chunk_size;
      chunk_is_new_ = true;
    }
  } while (!plaintext.empty());
}

void EncryptedFile::BeginChunk(Piece& piece) {
  if (!options_.vector_in_front) return;
  const std::string vector = options_.make_vector();
  encryptor_.SetInitialVector(vector);
  std::copy(vector.begin(), vector.end(), piece.bytes.begin() + static_cast<ptrdiff_t>(piece.size));
  piece.size += vector.size();
}

void EncryptedFile::UpdateChecksum(absl::string_view plaintext, absl::string_view ciphertext) {
  const absl::string_view bytes = IsOfPlaintext(options_.checksum_kind) ? plaintext : ciphertext;
  if (IsCksum(options_.checksum_kind)) {
    cksum_.Update(bytes);
  } else {
    crc32_.Update(bytes);
  }
}

// What is behind the file's end are the zero bytes that fill it up.
absl::Status EncryptedFile::ReadPlaintext(size_t size) {
  const auto from_file = static_cast<size_t>(std::min(file_left_, static_cast<int64_t>(size)));
  file_left_ -= static_cast<int64_t>(from_file);
  std::fill(plaintext_.begin() + static_cast<ptrdiff_t>(from_file),
            plaintext_.begin() + static_cast<ptrdiff_t>(size), '\0');
  for (size_t filled = 0; filled < from_file;) {
    const ssize_t count = ::read(fd_.get(), plaintext_.data() + filled, from_file - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::ErrnoToStatus(errno, "cannot read the file");
    if (count == 0) return absl::DataLossError("the file became shorter while it was being sent");
    filled += static_cast<size_t>(count);
  }
  return absl::OkStatus();
}

}  // namespace backup::legacy_client
