#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "bridge/net/connection.h"

namespace backup::bridge {

// How slow a peer may be while it sends a body.
struct BodyLimits {
  // In each of these spans of waiting for the peer ...
  absl::Duration window = absl::Seconds(30);
  // ... it must send at least at this rate.
  int64_t least_bytes_per_second = 1024;
  // How long bytes that have come wait for more, to make a larger piece.
  absl::Duration gather = absl::Milliseconds(20);
};

// The content of a request, which comes on a connection. Used by one thread at a time.
class Body : public ByteSource {
 public:
  // At least this many bytes of the connection were not read yet; 0 only once the end was reached.
  virtual uint64_t left() const = 0;
  // How many bytes of the connection were.
  virtual uint64_t received_bytes() const = 0;
  // The error that Read() returned, if any.
  virtual const absl::Status& status() const = 0;
};

// What the pieces of all bodies together may take, more or less: they are as large as is good for
// speed while there are few bodies, and smaller the more there are. Thread-safe.
class BodyBudget {
 public:
  void AddBody() { bodies_.fetch_add(1); }
  void RemoveBody() { bodies_.fetch_sub(1); }
  // How large a piece may be now; one of a few sizes.
  size_t PieceSize() const;

 private:
  std::atomic<size_t> bodies_ = 0;
};

// The next `size` bytes of a connection. DataLoss if the peer stops before; DeadlineExceeded if it
// is too slow. Only the time spent waiting for the peer counts, not the time between reads. Used by
// one thread at a time.
class BodySource final : public Body {
 public:
  // Connection and budget must outlive this.
  BodySource(Connection& connection, uint64_t size, const BodyLimits& limits, BodyBudget& budget);
  ~BodySource() override;
  BodySource(const BodySource&) = delete;
  BodySource& operator=(const BodySource&) = delete;

  absl::StatusOr<absl::string_view> Read() override;
  SharedPiece Share(absl::string_view piece) override;

  uint64_t left() const override { return left_; }
  uint64_t received_bytes() const override { return size_ - left_; }
  const absl::Status& status() const override { return status_; }

 private:
  // Waits for the client, without a buffer.
  absl::Status WaitForClient();
  // Makes room for the next piece; how large it may be.
  size_t PrepareBuffer();
  // Fills the buffer from `filled` on; the number of bytes that came within `timeout`, perhaps
  // none.
  absl::StatusOr<size_t> Fill(size_t filled, size_t wanted, absl::Duration timeout);
  absl::Status CheckRate();

  Connection& connection_;
  const uint64_t size_;
  uint64_t left_;
  const BodyLimits limits_;
  BodyBudget& budget_;
  std::shared_ptr<char[]> buffer_;
  size_t buffer_size_ = 0;
  absl::Duration waited_;     // In the current window.
  int64_t window_bytes_ = 0;  // In the current window.
  absl::Status status_;
};

}  // namespace backup::bridge
