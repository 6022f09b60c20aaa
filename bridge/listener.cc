#include "bridge/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <limits>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "base/descriptor_reserve.h"
#include "bridge/wire/dialects.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

// What an event is about, if it is not about a connection: connections are numbered from 1.
constexpr uint64_t kListenKey = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kWakeKey = kListenKey - 1;
constexpr size_t kMaxEvents = 256;
// So many connections are accepted before the others get their turn.
constexpr int kAcceptBatch = 64;
// So many connections may linger; further ones are closed at once.
constexpr size_t kMaxLingering = 1024;
// So many bytes of a lingering connection are thrown away before the others get their turn.
constexpr size_t kDiscardSize = 64 << 10;
constexpr absl::Duration kWorkerIdleTime = absl::Seconds(10);
// How long to leave waiting connections alone when the system has no room for one more.
constexpr int kBackOffMs = 100;
constexpr int kRefusalLogSeconds = 5;

std::string PeerText(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> host = {};
  if (address.ss_family == AF_INET6) {
    const auto& in6 = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &in6.sin6_addr, host.data(), host.size());
    return absl::StrCat("[", host.data(), "]:", ntohs(in6.sin6_port));
  }
  const auto& in = reinterpret_cast<const sockaddr_in&>(address);
  ::inet_ntop(AF_INET, &in.sin_addr, host.data(), host.size());
  return absl::StrCat(host.data(), ":", ntohs(in.sin_port));
}

bool Watch(const UniqueFd& epoll, int fd, uint32_t events, uint64_t key) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = key;
  return ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

Listener::Held::Held(UniqueFd socket, std::string peer, uint64_t number, Listener& owner)
    : connection(std::move(socket), std::move(peer), number,
                 owner.options_.session.metrics.received_bytes,
                 owner.options_.session.metrics.sent_bytes),
      session(connection, owner.forwarder_, owner.options_.session),
      activity(owner.idle_),
      metrics(owner.options_.session.metrics) {
  metrics.connections_total.Add();
  metrics.connections.With({StateName(state)}).Add(1);
}

Listener::Held::~Held() {
  metrics.connections.With({StateName(state)}).Add(-1);
  metrics.connections_closed.With({ReasonName(close_reason)}).Add();
}

void Listener::Held::Enter(State next) {
  if (state == next) return;
  metrics.connections.With({StateName(state)}).Add(-1);
  metrics.connections.With({StateName(next)}).Add(1);
  state = next;
}

absl::string_view Listener::StateName(State state) {
  switch (state) {
    case State::kWaiting:
      return "waiting";
    case State::kServed:
      return "served";
    case State::kLingering:
      return "lingering";
  }
  return "";
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Start(UniqueFd socket, Forwarder& forwarder,
                                                          IdleShutdown& idle,
                                                          const ListenerOptions& options) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll.valid() || !wake.valid() || !Watch(epoll, wake.get(), EPOLLIN, kWakeKey) ||
      !Watch(epoll, socket.get(), EPOLLIN, kListenKey)) {
    return absl::ErrnoToStatus(errno, "cannot start the event loop");
  }
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on,
               sizeof(on));  // Connections inherit it; without it an answer is only slower.
  return absl::WrapUnique(new Listener(std::move(socket), std::move(epoll),
                                       std::make_shared<Returns>(std::move(wake)), forwarder, idle,
                                       options));
}

Listener::Listener(UniqueFd socket, UniqueFd epoll, std::shared_ptr<Returns> returns,
                   Forwarder& forwarder, IdleShutdown& idle, const ListenerOptions& options)
    : forwarder_(forwarder),
      idle_(idle),
      options_(options),
      epoll_(std::move(epoll)),
      returns_(std::move(returns)),
      socket_(std::move(socket)),
      first_reserved_(FirstReservedDescriptor()),
      workers_(options.max_active_requests, kWorkerIdleTime),
      thread_([this] { Loop(); }) {}

Listener::~Listener() {
  draining_ = true;
  aborting_ = true;
  returns_->Wake();
  thread_.join();
}

bool Listener::Drain(absl::Duration timeout) {
  draining_ = true;
  returns_->Wake();
  const MonotonicTime end = After(timeout);
  MutexLock lock(mutex_);
  while (!finished_) {
    const auto left = end - MonotonicClock::now();
    if (left <= left.zero()) return false;
    changed_.WaitFor(mutex_, absl::FromChrono(left));
  }
  return true;
}

bool Listener::Turns(absl::Duration timeout) {
  const MonotonicTime end = After(timeout);
  MutexLock lock(mutex_);
  const uint64_t before = turns_;
  returns_->Wake();
  while (turns_ == before && !finished_) {
    const auto left = end - MonotonicClock::now();
    if (left <= left.zero()) return false;
    changed_.WaitFor(mutex_, absl::FromChrono(left));
  }
  return true;
}

void Listener::Loop() {
  std::array<epoll_event, kMaxEvents> events;
  while (!draining_ || socket_.valid() || !held_.empty()) {
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), kMaxEvents, deadlines_.WaitMilliseconds());
    for (int i = 0; i < count; ++i) HandleEvent(events[i].data.u64);
    TakeBack();
    while (const std::optional<uint64_t> number = deadlines_.TakePassed()) Expire(*Find(*number));
    if (draining_ && socket_.valid()) StopAccepting();
    if (aborting_) AbortAll();
  }
  MutexLock lock(mutex_);
  finished_ = true;
  changed_.NotifyAll();
}

void Listener::HandleEvent(uint64_t key) {
  if (key == kListenKey) return Accept();
  if (key == kWakeKey) return returns_->ClearWake();
  Held* held = Find(key);
  if (held == nullptr) return;  // Closed by an earlier event of the same batch.
  if (held->state == State::kWaiting)
    ReadHead(*held);
  else if (held->state == State::kLingering)
    Discard(*held);
}

void Listener::Accept() {
  for (int i = 0; i < kAcceptBatch && socket_.valid() && AcceptOne(); ++i) {
  }
}

bool Listener::AcceptOne() {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  UniqueFd socket(::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size,
                            SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket.valid()) {
    if (errno == ECONNABORTED || errno == EINTR) return true;
    // If memory or descriptors ran out all the same, waiting keeps this from being a busy loop.
    if (errno != EAGAIN) ::poll(nullptr, 0, kBackOffMs);
    return false;
  }
  if (socket.get() >= first_reserved_) {
    LOG_EVERY_T(WARNING, kRefusalLogSeconds)
        << "file descriptors run out; a connection is refused (raise `ulimit -n`)";
    options_.session.metrics.admission_rejected.With({"descriptors"}).Add();
    return true;
  }
  const uint64_t number = ++last_number_;
  const bool too_many = held_.size() - lingering_ >= static_cast<size_t>(options_.max_connections);
  auto owned = std::make_unique<Held>(std::move(socket), PeerText(address), number, *this);
  Held& held = *owned;
  held_.emplace(number, std::move(owned));
  VLOG(1) << "conn=" << number << " peer=" << held.connection.peer() << " connected";
  if (too_many) {
    Refuse(held);
  } else {
    deadlines_.Set(number, options_.idle_timeout);
    ReadHead(held);  // As a rule the request has come with the connection.
  }
  return true;
}

void Listener::Refuse(Held& held) {
  LOG_EVERY_T(WARNING, kRefusalLogSeconds)
      << "peer=" << held.connection.peer() << " is refused: there are " << options_.max_connections
      << " connections (--max_connections)";
  options_.session.metrics.admission_rejected.With({"connections"}).Add();
  held.connection.WriteNow(EncodeGeneralError(""));
  Linger(held, CloseReason::kLimit);
}

void Listener::ReadHead(Held& held) {
  const bool first_bytes = held.connection.buffered().empty();
  switch (held.connection.ReadAhead(wire::kMaxHeadSize)) {
    case Connection::ReadAheadResult::kEnd:
      return HandleEnd(held);
    case Connection::ReadAheadResult::kNothing:
      return Arm(held);
    case Connection::ReadAheadResult::kBytes:
      break;
  }
  held.lazy_answer.clear();
  if (HeadIsDecided(held.connection.buffered())) return Serve(held);
  if (first_bytes) deadlines_.Set(held.connection.number(), options_.header_timeout);
  Arm(held);
}

void Listener::HandleEnd(Held& held) {
  const absl::string_view bytes = held.connection.buffered();
  if (WarnOfForeignProtocol(held.connection, bytes, options_.session.metrics))
    return Close(held, CloseReason::kProtocol);
  if (!bytes.empty()) {
    LOG(WARNING) << "conn=" << held.connection.number() << " peer=" << held.connection.peer()
                 << " ended after " << bytes.size() << " bytes of a request's head";
  }
  Close(held, CloseReason::kEof);
}

void Listener::Wait(Held& held) {
  held.Enter(State::kWaiting);
  const bool in_head = !held.connection.buffered().empty();
  deadlines_.Set(held.connection.number(), in_head                     ? options_.header_timeout
                                           : !held.lazy_answer.empty() ? options_.retry_answer_delay
                                                                       : options_.idle_timeout);
  Arm(held);
}

void Listener::Serve(Held& held) {
  held.Enter(State::kServed);
  deadlines_.Clear(held.connection.number());
  if (active_ == options_.max_active_requests) return queued_.push_back(held.connection.number());
  ++active_;
  Begin(held);
}

void Listener::Begin(Held& held) {
  const uint64_t number = held.connection.number();
  const bool started =
      held.session.StartServing([returns = returns_, number](std::optional<Served> served) {
        returns->Add(number, std::move(served));
      });
  if (!started) ServeByWorker(held);
}

void Listener::ServeByWorker(Held& held) {
  workers_.Submit([returns = returns_, &held] {
    const uint64_t number = held.connection.number();
    returns->Add(number, held.session.Serve());
  });
}

void Listener::TakeBack() {
  {
    MutexLock lock(mutex_);
    ++turns_;
    changed_.NotifyAll();
  }
  for (auto& [number, served] : returns_->Take()) {
    Held& held = *Find(number);
    if (!served) {
      ServeByWorker(held);
      continue;
    }
    BeginNext();
    Resume(held, *std::move(served));
  }
}

void Listener::BeginNext() {
  if (queued_.empty()) {
    --active_;
    return;
  }
  Held& next = *Find(queued_.front());
  queued_.pop_front();
  Begin(next);
}

void Listener::Resume(Held& held, Served served) {
  if (!served.lazy_answer.empty() && !draining_) {
    held.lazy_answer = std::move(served.lazy_answer);
    held.after_lazy_answer = std::move(served);
    return Wait(held);
  }
  if (!served.lazy_answer.empty()) held.connection.WriteNow(served.lazy_answer);
  Continue(held, served);
}

void Listener::Continue(Held& held, const Served& served) {
  switch (served.next) {
    case Served::Next::kClose:
      return Close(held, served.reason);
    case Served::Next::kLinger:
      return Linger(held, served.reason);
    case Served::Next::kKeep:
      break;
  }
  if (draining_ && held.connection.buffered().empty()) return Close(held, CloseReason::kDrain);
  if (HeadIsDecided(held.connection.buffered())) return Serve(held);
  Wait(held);
}

void Listener::Linger(Held& held, CloseReason reason) {
  if (lingering_ >= kMaxLingering) return Close(held, reason);
  ++lingering_;
  held.close_reason = reason;
  held.Enter(State::kLingering);
  held.connection.ShutdownWrite();
  deadlines_.Set(held.connection.number(), options_.linger_timeout);
  Arm(held);
}

void Listener::Discard(Held& held) {
  held.connection.Consume(held.connection.buffered().size());
  if (held.connection.ReadAhead(kDiscardSize) == Connection::ReadAheadResult::kEnd)
    return Close(held, held.close_reason);
  Arm(held);
}

void Listener::Expire(Held& held) {
  if (held.state == State::kLingering) return Close(held, held.close_reason);
  if (!held.lazy_answer.empty()) {
    if (!held.connection.WriteNow(std::exchange(held.lazy_answer, "")))
      return Close(held, CloseReason::kEof);
    return Continue(held, held.after_lazy_answer);
  }
  const absl::string_view bytes = held.connection.buffered();
  if (bytes.empty()) {
    VLOG(1) << "conn=" << held.connection.number() << " peer=" << held.connection.peer()
            << " was idle, closing";
    return Close(held, CloseReason::kIdle);
  }
  if (WarnOfForeignProtocol(held.connection, bytes, options_.session.metrics))
    return Close(held, CloseReason::kProtocol);
  LOG(WARNING) << "conn=" << held.connection.number() << " peer=" << held.connection.peer()
               << " sent only " << bytes.size() << " bytes of a request's head within "
               << absl::FormatDuration(options_.header_timeout) << ", closing";
  held.connection.WriteNow(EncodeGeneralError(bytes));
  Linger(held, CloseReason::kHeaderTimeout);
}

void Listener::Arm(Held& held) {
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLONESHOT;  // Once: a connection being served belongs to its worker.
  event.data.u64 = held.connection.number();
  const int operation = std::exchange(held.is_watched, true) ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (::epoll_ctl(epoll_.get(), operation, held.connection.fd(), &event) == 0) return;
  PLOG(ERROR) << "conn=" << held.connection.number() << " cannot be watched and is closed";
  Close(held, CloseReason::kLimit);
}

void Listener::Close(Held& held, CloseReason reason) {
  held.close_reason = aborting_ ? CloseReason::kDrain : reason;
  VLOG(1) << "conn=" << held.connection.number() << " peer=" << held.connection.peer() << " closed";
  if (held.state == State::kLingering) --lingering_;
  deadlines_.Clear(held.connection.number());
  held_.erase(held.connection.number());
}

void Listener::StopAccepting() {
  // Who was quick enough to connect and ask is served like those in flight.
  for (int i = 0; i < SOMAXCONN && AcceptOne(); ++i) {
  }
  socket_.Reset();  // Leaves the epoll set by itself.
  std::vector<uint64_t> waiting;
  for (const auto& [number, held] : held_) {
    if (held->state == State::kWaiting && held->connection.buffered().empty())
      waiting.push_back(number);
  }
  for (const uint64_t number : waiting) {
    ReadHead(*Find(number));
    Held* const held = Find(number);
    if (held == nullptr || held->state != State::kWaiting || !held->connection.buffered().empty())
      continue;
    held->connection.WriteNow(held->lazy_answer);
    Close(*held, CloseReason::kDrain);
  }
}

void Listener::AbortAll() {
  std::vector<Held*> unserved;
  for (const auto& [number, held] : held_) {
    if (held->state == State::kServed)
      held->connection.Abort();
    else
      unserved.push_back(held.get());
  }
  for (Held* held : unserved) Close(*held, CloseReason::kDrain);
}

void Listener::Returns::Add(uint64_t number, std::optional<Served> served) {
  {
    MutexLock lock(mutex_);
    returned_.emplace_back(number, std::move(served));
    if (returned_.size() > 1) return;  // The loop has been woken for the first.
  }
  Wake();
}

std::vector<std::pair<uint64_t, std::optional<Served>>> Listener::Returns::Take() {
  MutexLock lock(mutex_);
  return std::exchange(returned_, {});
}

void Listener::Returns::Wake() {
  const uint64_t one = 1;
  PCHECK(::write(wake_.get(), &one, sizeof(one)) == sizeof(one));
}

void Listener::Returns::ClearWake() {
  uint64_t count;
  PCHECK(::read(wake_.get(), &count, sizeof(count)) > 0 || errno == EAGAIN);
}

Listener::Held* Listener::Find(uint64_t number) {
  const auto found = held_.find(number);
  return found == held_.end() ? nullptr : found->second.get();
}

}  // namespace backup::bridge
