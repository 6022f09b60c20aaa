#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/unique_fd.h"

namespace backup::bridge {

struct ConnectionLimits {
  // A peer that does not take an answer for so long is given up.
  std::chrono::milliseconds write_timeout{30'000};
  // The least that a body must bring in each window.
  std::chrono::milliseconds rate_window{30'000};
  int64_t least_bytes_per_window = 30 * 1024;
};

// One client's socket: what has arrived and is not yet used, and reads and writes with deadlines.
// Used by one thread at a time: the event loop's while it waits, a worker's while it serves.
class Connection {
 public:
  // `socket` does not block.
  Connection(UniqueFd socket, std::string peer, uint64_t number, const ConnectionLimits& limits)
      : socket_(std::move(socket)), peer_(std::move(peer)), number_(number), limits_(limits) {}

  int fd() const { return socket_.get(); }
  const std::string& peer() const { return peer_; }
  uint64_t number() const { return number_; }

  enum class Arrived { kBytes, kNothing, kEnd };
  // Takes what has arrived, without waiting, until `max_size` bytes are buffered.
  Arrived ReadAhead(size_t max_size);
  absl::string_view buffered() const { return buffer_; }
  void Consume(size_t size) { buffer_.erase(0, size); }

  // Writes everything, waiting for the peer if need be. DeadlineExceeded, or Unavailable if the
  // peer is gone.
  absl::Status WriteAll(absl::string_view bytes);
  // Writes what can be written at once.
  void WriteNow(absl::string_view bytes);
  // Tells the peer that nothing more comes.
  void ShutdownWrites();

  // Up to `max_size` bytes, at least one: buffered ones first, then as many as come without a long
  // wait. Valid until the next call. DeadlineExceeded below the least rate; DataLoss if the peer
  // ended.
  absl::StatusOr<absl::string_view> ReadSome(size_t max_size);

 private:
  absl::Status WaitFor(short events, std::chrono::steady_clock::time_point end,
                       absl::string_view what);

  const UniqueFd socket_;
  const std::string peer_;
  const uint64_t number_;
  const ConnectionLimits limits_;
  std::string buffer_;
  std::string piece_;
  std::chrono::steady_clock::time_point window_start_ = std::chrono::steady_clock::now();
  int64_t window_bytes_ = 0;

  friend class BodySource;
  void StartRateWindow();
};

// The next `size_bytes` bytes of a connection.
class BodySource final : public ByteSource {
 public:
  BodySource(Connection& connection, uint64_t size_bytes);
  absl::StatusOr<absl::string_view> Read() override;
  uint64_t left() const { return left_; }
  // The error that ended the body early, if one did.
  const absl::Status& status() const { return status_; }

 private:
  Connection& connection_;
  uint64_t left_;
  absl::Status status_;
};

}  // namespace backup::bridge
