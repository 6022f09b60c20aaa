#include "bridge/connection.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace backup::bridge {
namespace {

std::atomic<size_t> bodies = 0;  // In the process: they share kAllBodyPieces.

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
  std::array<char, 4096> piece;
  while (buffered_.size() < max_size) {
    const size_t wanted = std::min(piece.size(), max_size - buffered_.size());
    const ssize_t received = Receive(piece.data(), wanted);
    if (received < 0 && WouldBlock()) break;
    if (received <= 0) {
      return buffered_.size() > size_before ? ReadAheadResult::kBytes : ReadAheadResult::kEnd;
    }
    buffered_.append(piece.data(), static_cast<size_t>(received));
    if (static_cast<size_t>(received) < wanted) break;  // There was no more just now.
  }
  return buffered_.size() > size_before ? ReadAheadResult::kBytes : ReadAheadResult::kNothing;
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

bool Connection::WriteNow(absl::string_view bytes) {
  return Send(bytes) == static_cast<ssize_t>(bytes.size());
}

bool Connection::HasSentEverything() const {
  int unsent = 0;
  return ::ioctl(socket_.get(), SIOCOUTQ, &unsent) == 0 && unsent == 0;
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

BodySource::BodySource(Connection& connection, uint64_t size, const BodyLimits& limits)
    : connection_(connection), left_(size), limits_(limits) {
  bodies.fetch_add(1);
}

BodySource::~BodySource() { bodies.fetch_sub(1); }

absl::Status BodySource::WaitForClient() {
  while (left_ > 0 && !connection_.HasBytes()) {
    buffer_.reset();
    buffer_size_ = 0;
    const MonotonicTime begin = MonotonicClock::now();
    const absl::Status ready = connection_.WaitForBytes(limits_.window - waited_);
    waited_ += absl::FromChrono(MonotonicClock::now() - begin);
    if (!ready.ok() && !absl::IsDeadlineExceeded(ready)) return ready;
    RETURN_IF_ERROR(CheckRate());
  }
  return absl::OkStatus();
}

size_t BodySource::PrepareBuffer() {
  // Of a few sizes, so that memory that was given back fits the next buffer.
  const size_t share =
      std::clamp(std::bit_floor(kAllBodyPieces / bodies.load()), kLeastBodyPiece, kPieceSize);
  const size_t wanted = std::min<uint64_t>(left_, share);
  if (buffer_size_ < wanted || buffer_size_ > 2 * share) {
    buffer_.reset();
    // Not initialised, so that memory is only taken for what really comes.
    buffer_ = std::make_shared_for_overwrite<char[]>(wanted);
    buffer_size_ = wanted;
  }
  return wanted;
}

absl::StatusOr<absl::string_view> BodySource::Read() {
  if (status_.ok()) status_ = WaitForClient();
  if (!status_.ok()) return status_;
  const size_t wanted = PrepareBuffer();
  size_t filled = 0;
  std::optional<MonotonicTime> gather_end;
  while (filled < wanted) {
    const absl::Duration timeout = gather_end
                                       ? absl::FromChrono(*gather_end - MonotonicClock::now())
                                       : limits_.window - waited_;
    if (gather_end && timeout <= absl::ZeroDuration()) break;
    const absl::StatusOr<size_t> size = Fill(filled, wanted, timeout);
    status_ = size.status();
    if (status_.ok()) status_ = CheckRate();
    if (!status_.ok()) return status_;
    filled += *size;
    if (filled > 0 && !gather_end) gather_end = After(limits_.gather);
  }
  left_ -= filled;
  return absl::string_view(buffer_.get(), filled);
}

SharedPiece BodySource::Share(absl::string_view piece) {
  if (piece.size() < buffer_size_ / 4 * 3) return CopyPiece(piece);  // Memory counts, too.
  return {std::exchange(buffer_, nullptr), std::exchange(buffer_size_, 0), piece};
}

absl::StatusOr<size_t> BodySource::Fill(size_t filled, size_t wanted, absl::Duration timeout) {
  const MonotonicTime begin = MonotonicClock::now();
  const absl::StatusOr<size_t> size =
      connection_.Read(std::span<char>(buffer_.get() + filled, wanted - filled), timeout);
  waited_ += absl::FromChrono(MonotonicClock::now() - begin);
  if (absl::IsDeadlineExceeded(size.status())) return size_t{0};
  if (!size.ok()) return size;
  if (*size == 0) {
    return absl::DataLossError(
        absl::StrCat("the client stopped ", left_ - filled, " bytes too early"));
  }
  received_bytes_ += static_cast<int64_t>(*size);
  return size;
}

absl::Status BodySource::CheckRate() {
  if (waited_ < limits_.window) return absl::OkStatus();
  const double least = absl::ToDoubleSeconds(limits_.window) * limits_.least_bytes_per_second;
  if (received_bytes_ < least) {
    return absl::DeadlineExceededError(absl::StrCat("the client sent ", received_bytes_,
                                                    " bytes in ", absl::FormatDuration(waited_)));
  }
  waited_ = absl::ZeroDuration();
  received_bytes_ = 0;
  return absl::OkStatus();
}

}  // namespace backup::bridge
