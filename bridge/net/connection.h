#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
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
        sent_bytes_(sent_bytes),
        arrival_time_(MonotonicClock::now()),
        begin_time_(arrival_time_) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int fd() const { return socket_.get(); }
  const std::string& peer() const { return peer_; }
  uint64_t number() const { return number_; }

  // The bytes read ahead; valid until the next call that reads or consumes.
  absl::string_view buffered() const { return buffered_; }
  // When they came: when the peer connected, if the first ReadAhead() found them, however late that
  // was; else when the first of them was read.
  MonotonicTime arrival_time() const { return arrival_time_; }
  // When the peer began to ask for what they begin: when it connected, if that is its first
  // request, however long the bytes then took to come; else arrival_time().
  MonotonicTime begin_time() const { return begin_time_; }
  // Drops the first `size` of them.
  void Consume(size_t size) { buffered_.erase(0, size); }
  // Drops the first `size` of them, which a proxy has put in front of what `peer` sends: that
  // begins behind them. Before anything else was consumed.
  void ConsumeProxyHeader(size_t size, std::string peer);

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

  // Writes what goes without waiting: the number of bytes, perhaps none.
  absl::StatusOr<size_t> WriteSome(absl::string_view bytes);
  // The same, for what is not missed if it does not go: whether everything went.
  bool WriteNow(absl::string_view bytes);

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
  std::string peer_;
  const uint64_t number_;
  const Counter received_bytes_;
  const Counter sent_bytes_;
  std::string buffered_;
  MonotonicTime arrival_time_;
  MonotonicTime begin_time_;
  bool has_tried_ = false;  // To read ahead.
  bool has_read_ = false;   // Ahead, anything.
};

}  // namespace backup::bridge
