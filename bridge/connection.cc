#include "bridge/connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace backup::bridge {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr size_t kReadAheadSize = 4096;

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK; }

}  // namespace

Connection::Arrived Connection::ReadAhead(size_t max_size) {
  bool any = false;
  while (buffer_.size() < max_size) {
    char bytes[kReadAheadSize];
    const ssize_t got =
        ::recv(socket_.get(), bytes, std::min(sizeof(bytes), max_size - buffer_.size()), 0);
    if (got > 0) {
      buffer_.append(bytes, static_cast<size_t>(got));
      any = true;
    } else if (got < 0 && errno == EINTR) {
      continue;
    } else if (got < 0 && WouldBlock()) {
      return any ? Arrived::kBytes : Arrived::kNothing;
    } else {
      return any ? Arrived::kBytes : Arrived::kEnd;
    }
  }
  return Arrived::kBytes;
}

absl::Status Connection::WaitFor(short events, steady_clock::time_point end,
                                 absl::string_view what) {
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(end - steady_clock::now()).count();
    if (left <= 0) return absl::DeadlineExceededError(what);
    pollfd wait = {socket_.get(), events, 0};
    if (::poll(&wait, 1, static_cast<int>(left)) > 0) return absl::OkStatus();
  }
}

absl::Status Connection::WriteAll(absl::string_view bytes) {
  const auto end = steady_clock::now() + limits_.write_timeout;
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (WouldBlock()) {
      RETURN_IF_ERROR(WaitFor(POLLOUT, end, "the client does not read its answer"));
    } else if (errno != EINTR) {
      return absl::UnavailableError("the client was gone before its answer");
    }
  }
  return absl::OkStatus();
}

void Connection::WriteNow(absl::string_view bytes) {
  static_cast<void>(::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
}

void Connection::ShutdownWrites() { ::shutdown(socket_.get(), SHUT_WR); }

void Connection::StartRateWindow() {
  window_start_ = steady_clock::now();
  window_bytes_ = 0;
}

absl::StatusOr<absl::string_view> Connection::ReadSome(size_t max_size) {
  if (!buffer_.empty()) {
    piece_ = buffer_.substr(0, max_size);
    buffer_.erase(0, piece_.size());
    return piece_;
  }
  piece_.resize(max_size);
  size_t filled = 0;
  while (filled < max_size) {
    const ssize_t got = ::recv(socket_.get(), piece_.data() + filled, max_size - filled, 0);
    if (got > 0) {
      filled += static_cast<size_t>(got);
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got == 0 || !WouldBlock())
      return absl::DataLossError("the client ended in the middle of a file");
    const absl::Status arrived = WaitFor(POLLIN, window_start_ + limits_.rate_window,
                                         "the client stalled in the middle of a file");
    const bool enough =
        window_bytes_ + static_cast<int64_t>(filled) >= limits_.least_bytes_per_window;
    if (!arrived.ok() && !enough) return arrived;
    if (steady_clock::now() >= window_start_ + limits_.rate_window) {
      if (!enough) return absl::DeadlineExceededError("the client sends too slowly");
      window_bytes_ = -static_cast<int64_t>(filled);
      window_start_ = steady_clock::now();
    }
  }
  window_bytes_ += static_cast<int64_t>(filled);
  return absl::string_view(piece_).substr(0, filled);
}

BodySource::BodySource(Connection& connection, uint64_t size_bytes)
    : connection_(connection), left_(size_bytes) {
  connection_.StartRateWindow();
}

absl::StatusOr<absl::string_view> BodySource::Read() {
  if (left_ == 0) return absl::string_view();
  const absl::StatusOr<absl::string_view> piece =
      connection_.ReadSome(static_cast<size_t>(std::min<uint64_t>(left_, kPieceSize)));
  status_ = piece.status();
  if (piece.ok()) left_ -= piece->size();
  return piece;
}

}  // namespace backup::bridge
