#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup {

class IoQueue;

// Pieces that sources hand over are usually this large, and never larger than kMaxPieceSize.
inline constexpr size_t kPieceSize = size_t{1} << 20;
inline constexpr size_t kMaxPieceSize = size_t{2} << 20;

// What looks at bytes as they pass, as a checksum does, gets parts of at most this size: the
// nearest cache (32 KiB and more) still has such a part from whatever made it.
inline constexpr size_t kHotSize = size_t{16} << 10;

// Bytes that are valid as long as this, or a copy of it, exists.
struct SharedPiece {
  std::shared_ptr<const char[]> buffer;
  size_t buffer_size = 0;   // The memory that it takes.
  absl::string_view bytes;  // In the buffer.
};

// A copy of `bytes`.
SharedPiece CopyPiece(absl::string_view bytes);

// Bytes that are pulled, piece by piece: the one way in which file content moves through both
// processes. Used by one thread at a time.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // The next bytes, valid until the next call or the source's end; empty at the end of the bytes,
  // then and ever after. After an error the source must not be read again.
  virtual absl::StatusOr<absl::string_view> Read() = 0;
  // Makes what the last Read() returned last: copied, unless the source can do without its buffer.
  // At most once after each Read().
  virtual SharedPiece Share(absl::string_view piece) { return CopyPiece(piece); }
  // Each piece stays valid until so many more than the next one were read, as MakeLast() says; the
  // same from the first Read() on.
  virtual size_t lasting_pieces() const { return 0; }
  // How whoever uses pieces while they last ends all such uses; empty: nobody uses them. A source
  // whose pieces now and then end earlier than lasting_pieces() says calls it before, in Read().
  virtual void set_end_uses(std::function<void()> /*end_uses*/) {}
};

// Looks at all bytes that a source yields, in their order, when they are made and maybe some time
// before they are read: parts of at most kHotSize.
using Observer = std::function<void(absl::string_view)>;

// A source whose pieces can be made to last, so that stages on threads of their own pass them on
// without copying. Used by one thread at a time.
class LastingSource : public ByteSource {
 public:
  // Each piece stays valid until `pieces` more than the next one were read. Before the first
  // Read(); of several calls the last one counts.
  virtual void MakeLast(size_t pieces) = 0;
};

// Takes bytes. Used by one thread at a time.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  // Takes all of `piece`, or fails.
  virtual absl::Status Write(absl::string_view piece) = 0;
  // From now on a piece lasts until `pieces` more than the next one were written, and may be used
  // until then; 0 unless told. Waits for what uses more than that now, so with 0 nothing is used
  // any more when it returns. What fails then is an error of the next call.
  virtual void LetPiecesLast(size_t /*pieces*/) {}
};

// While this lives, `sink` may use the pieces of `source` for as long as these last.
class LastingPieces {
 public:
  LastingPieces(ByteSink& sink, ByteSource& source) : sink_(sink), source_(source) {
    sink_.LetPiecesLast(source_.lasting_pieces());
    source_.set_end_uses([this] {
      sink_.LetPiecesLast(0);
      sink_.LetPiecesLast(source_.lasting_pieces());
    });
  }
  ~LastingPieces() {
    source_.set_end_uses(nullptr);
    sink_.LetPiecesLast(0);
  }
  LastingPieces(const LastingPieces&) = delete;
  LastingPieces& operator=(const LastingPieces&) = delete;

 private:
  ByteSink& sink_;
  ByteSource& source_;
};

// Moves everything from `source` to `sink`; returns the number of bytes moved.
absl::StatusOr<int64_t> CopyAll(ByteSource& source, ByteSink& sink);

// All that is left in `source`. Reason SIZE_LIMIT once there are more than `max_size` bytes.
absl::StatusOr<std::string> ReadAll(ByteSource& source, size_t max_size);

// Hands out a string, in pieces of at most `piece_size`.
class StringSource final : public ByteSource {
 public:
  explicit StringSource(std::string bytes, size_t piece_size = kPieceSize)
      : bytes_(std::move(bytes)), rest_(bytes_), piece_size_(piece_size) {}
  StringSource(const StringSource&) = delete;
  StringSource& operator=(const StringSource&) = delete;
  absl::StatusOr<absl::string_view> Read() override;

 private:
  const std::string bytes_;
  absl::string_view rest_;
  const size_t piece_size_;
};

// Gathers in a string; for tests and for small things of known size.
class StringSink final : public ByteSink {
 public:
  absl::Status Write(absl::string_view piece) override {
    bytes_.append(piece.data(), piece.size());
    return absl::OkStatus();
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// Exactly `size_bytes` bytes of `source`: InvalidArgument (reason INVALID_FIELD) if it ends earlier
// or goes on.
class ExactSource final : public ByteSource {
 public:
  ExactSource(ByteSource& source, int64_t size_bytes) : source_(source), left_(size_bytes) {}
  absl::StatusOr<absl::string_view> Read() override;

 private:
  ByteSource& source_;
  int64_t left_;
  bool ended_ = false;
};

// Bytes of known size that can be read at any place. Thread-safe.
class RandomAccess {
 public:
  virtual ~RandomAccess() = default;
  virtual int64_t size_bytes() const = 0;
  // How many large reads are best in flight at once.
  virtual size_t read_depth() const { return 1; }
  // Starts to read what ReadAt() would, as an operation of `queue`. False if it cannot: then, and
  // if not all was read, ReadAt() is to be called.
  virtual bool TryStartReadAt(IoQueue& /*queue*/, int64_t /*offset*/,
                              std::span<char> /*out*/) const {
    return false;
  }
  // Fills `out` with the bytes at `offset`. DataLoss if there are fewer; Internal, reason
  // STORAGE_IO, if the medium fails.
  virtual absl::Status ReadAt(int64_t offset, std::span<char> out) const = 0;
};

// A string to be read at any place. Thread-safe.
class StringAccess final : public RandomAccess {
 public:
  explicit StringAccess(std::string bytes) : bytes_(std::move(bytes)) {}
  int64_t size_bytes() const override { return static_cast<int64_t>(bytes_.size()); }
  absl::Status ReadAt(int64_t offset, std::span<char> out) const override;

 private:
  const std::string bytes_;
};

}  // namespace backup
