#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "base/metrics.h"
#include "base/unique_fd.h"

namespace backup::bridge {

using MonotonicClock = std::chrono::steady_clock;
using MonotonicTime = MonotonicClock::time_point;

// The end of `timeout`, which begins now. An infinite one ends in 20 days.
MonotonicTime After(absl::Duration timeout);

// One socket of a legacy client, with bytes read ahead. Used by one thread at a time, except for
// Abort().
class Connection {
 public:
  enum class ReadAheadResult {
    kBytes,    // There are more bytes than before.
    kNothing,  // None have come.
    kEnd,      // None will come any more: the peer is done, or gone.
  };

  // `socket` is a connected, non-blocking stream socket. `peer` and `number` are for the log; the
  // counters get what comes and goes.
  Connection(UniqueFd socket, std::string peer, uint64_t number, Counter received_bytes = {},
             Counter sent_bytes = {})
      : socket_(std::move(socket)),
        peer_(std::move(peer)),
        number_(number),
        received_bytes_(received_bytes),
        sent_bytes_(sent_bytes) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int fd() const { return socket_.get(); }
  const std::string& peer() const { return peer_; }
  uint64_t number() const { return number_; }

  // The bytes read ahead; valid until the next call that reads or consumes.
  absl::string_view buffered() const { return buffered_; }
  // Drops the first `size` of them.
  void Consume(size_t size) { buffered_.erase(0, size); }

  // Takes what has come, without waiting, until `max_size` bytes are buffered.
  ReadAheadResult ReadAhead(size_t max_size);

  // Waits until at least `size` bytes are buffered, which may be more than are read ahead
  // otherwise. DeadlineExceeded when `timeout` has passed; DataLoss if the peer stops before.
  absl::Status WaitForBuffered(size_t size, absl::Duration timeout);

  // Waits for at least one byte, or the end, without taking it. DeadlineExceeded when `timeout` has
  // passed.
  absl::Status WaitForBytes(absl::Duration timeout) const;
  // Whether that would return at once.
  bool HasBytes() const;

  // Waits for at least one byte, takes as many as there are and fit into `out`, those read ahead
  // first; 0 at the end of the stream. DeadlineExceeded when `timeout` has passed.
  absl::StatusOr<size_t> Read(std::span<char> out, absl::Duration timeout);

  // Writes everything. DeadlineExceeded if the peer does not take it within `timeout`.
  absl::Status WriteAll(absl::string_view bytes, absl::Duration timeout);

  // Writes what goes without waiting; whether that was everything.
  bool WriteNow(absl::string_view bytes);

  // Whether the peer's system has taken everything that was written. Then an answer of any dialect
  // is written without waiting.
  bool HasSentEverything() const;

  // Tells the peer that no more bytes will come; it may still send.
  void ShutdownWrite();

  // Ends every wait on this connection, now and later. Any thread may call it.
  void Abort();

 private:
  // Without waiting: how many bytes came or went, or -1 with errno.
  ssize_t Receive(char* out, size_t size) const;
  ssize_t Send(absl::string_view bytes) const;
  // Waits until the socket is ready for `events`.
  absl::Status WaitFor(short events, MonotonicTime deadline) const;

  const UniqueFd socket_;
  const std::string peer_;
  const uint64_t number_;
  const Counter received_bytes_;
  const Counter sent_bytes_;
  std::string buffered_;
};

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
  // At least so many bytes were not read yet; 0 only once the end was reached.
  virtual uint64_t left() const = 0;
  // The error that Read() returned, if any.
  virtual const absl::Status& status() const = 0;
};

// What the pieces of all bodies together may take, more or less: they are as large as is good for
// speed while there are few bodies, and smaller the more there are.
inline constexpr size_t kAllBodyPieces = size_t{32} << 20;
inline constexpr size_t kLeastBodyPiece = size_t{32} << 10;

// The next `size` bytes of a connection. DataLoss if the peer stops before; DeadlineExceeded if it
// is too slow. Only the time spent waiting for the peer counts, not the time between reads. Used by
// one thread at a time.
class BodySource final : public Body {
 public:
  BodySource(Connection& connection, uint64_t size, const BodyLimits& limits);
  ~BodySource() override;
  BodySource(const BodySource&) = delete;
  BodySource& operator=(const BodySource&) = delete;

  absl::StatusOr<absl::string_view> Read() override;
  SharedPiece Share(absl::string_view piece) override;

  uint64_t left() const override { return left_; }
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
  uint64_t left_;
  const BodyLimits limits_;
  std::shared_ptr<char[]> buffer_;
  size_t buffer_size_ = 0;
  absl::Duration waited_;       // In the current window.
  int64_t received_bytes_ = 0;  // In the current window.
  absl::Status status_;
};

}  // namespace backup::bridge
