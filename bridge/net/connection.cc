#include "bridge/net/connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/status_macros.h"

namespace backup::bridge {
namespace {

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK; }

}  // namespace

MonotonicTime After(absl::Duration timeout) {
  // The clock has no room for an infinite one, nor has poll() for more than 24 days.
  constexpr absl::Duration kLongest = absl::Hours(20 * 24);
  return MonotonicClock::now() + absl::ToChronoNanoseconds(std::min(timeout, kLongest));
}

ssize_t Connection::Receive(char* out, size_t size) const {
  ssize_t received;
  do {
    received = ::recv(fd(), out, size, MSG_DONTWAIT);
  } while (received < 0 && errno == EINTR);
  if (received > 0) received_bytes_.Add(static_cast<double>(received));
  return received;
}

ssize_t Connection::Send(absl::string_view bytes) const {
  ssize_t sent;
  do {
    sent = ::send(fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent > 0) sent_bytes_.Add(static_cast<double>(sent));
  return sent;
}

Connection::ReadAheadResult Connection::ReadAhead(size_t max_size) {
  const size_t size_before = buffered_.size();
  const bool is_first = !std::exchange(has_tried_, true);
  std::array<char, 4096> piece;
  while (buffered_.size() < max_size) {
    const size_t wanted = std::min(piece.size(), max_size - buffered_.size());
    const ssize_t received = Receive(piece.data(), wanted);
    if (received < 0 && WouldBlock()) break;
    if (received <= 0) {
      return buffered_.size() > size_before ? ReadAheadResult::kBytes : ReadAheadResult::kEnd;
    }
    if (buffered_.empty()) {
      if (!is_first) arrival_time_ = MonotonicClock::now();
      if (std::exchange(has_read_, true)) begin_time_ = arrival_time_;
    }
    buffered_.append(piece.data(), static_cast<size_t>(received));
    if (static_cast<size_t>(received) < wanted) break;  // There was no more just now.
  }
  return buffered_.size() > size_before ? ReadAheadResult::kBytes : ReadAheadResult::kNothing;
}

void Connection::ConsumeProxyHeader(size_t size, std::string peer) {
  Consume(size);
  peer_ = std::move(peer);
  if (buffered_.empty()) has_read_ = false;
}

absl::Status Connection::WaitForBuffered(size_t size, absl::Duration timeout) {
  const MonotonicTime deadline = After(timeout);
  while (buffered_.size() < size) {
    switch (ReadAhead(size)) {
      case ReadAheadResult::kBytes:
        break;
      case ReadAheadResult::kNothing:
        RETURN_IF_ERROR(WaitFor(POLLIN, deadline));
        break;
      case ReadAheadResult::kEnd:
        return absl::DataLossError("the client stopped");
    }
  }
  return absl::OkStatus();
}

absl::Status Connection::WaitForBytes(absl::Duration timeout) const {
  return buffered_.empty() ? WaitFor(POLLIN, After(timeout)) : absl::OkStatus();
}

bool Connection::HasBytes() const {
  pollfd now = {fd(), POLLIN, 0};
  return !buffered_.empty() || ::poll(&now, 1, 0) > 0;
}

absl::StatusOr<size_t> Connection::Read(std::span<char> out, absl::Duration timeout) {
  if (!buffered_.empty()) {
    const size_t size = buffered_.copy(out.data(), out.size());
    Consume(size);
    return size;
  }
  const MonotonicTime deadline = After(timeout);
  while (true) {
    const ssize_t received = Receive(out.data(), out.size());
    if (received >= 0) return static_cast<size_t>(received);
    if (!WouldBlock()) return absl::ErrnoToStatus(errno, "reading from the client");
    RETURN_IF_ERROR(WaitFor(POLLIN, deadline));
  }
}

absl::Status Connection::WriteAll(absl::string_view bytes, absl::Duration timeout) {
  const MonotonicTime deadline = After(timeout);
  while (!bytes.empty()) {
    const ssize_t sent = Send(bytes);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (WouldBlock()) {
      RETURN_IF_ERROR(WaitFor(POLLOUT, deadline));
    } else {
      return absl::ErrnoToStatus(errno, "writing to the client");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> Connection::WriteSome(absl::string_view bytes) {
  const ssize_t sent = Send(bytes);
  if (sent >= 0) return static_cast<size_t>(sent);
  if (WouldBlock()) return size_t{0};
  return absl::ErrnoToStatus(errno, "writing to the client");
}

bool Connection::WriteNow(absl::string_view bytes) {
  return Send(bytes) == static_cast<ssize_t>(bytes.size());
}

void Connection::ShutdownWrite() { ::shutdown(fd(), SHUT_WR); }

void Connection::Abort() { ::shutdown(fd(), SHUT_RDWR); }

absl::Status Connection::WaitFor(short events, MonotonicTime deadline) const {
  pollfd wait = {fd(), events, 0};
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - MonotonicClock::now());
    const int ready = left.count() > 0 ? ::poll(&wait, 1, static_cast<int>(left.count())) : 0;
    if (ready > 0) return absl::OkStatus();
    if (ready == 0) return absl::DeadlineExceededError("waited too long for the client");
    if (errno != EINTR) return absl::ErrnoToStatus(errno, "waiting for the client");
  }
}

}  // namespace backup::bridge
