#include "bridge/listener.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "absl/memory/memory.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

constexpr int kMaxEvents = 256;
// At most this many connections are accepted before the others are looked at.
constexpr int kAcceptBatch = 64;
constexpr absl::Duration kWorkerIdleTime = absl::Seconds(10);
// How long to leave waiting connections alone when the system has no room for one more.
constexpr absl::Duration kAcceptBackOff = absl::Milliseconds(100);
constexpr int kRefusalLogSeconds = 5;

}  // namespace

bool Listener::Watch(const UniqueFd& epoll, int operation, int fd, uint32_t events, uint64_t key) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = key;
  return ::epoll_ctl(epoll.get(), operation, fd, &event) == 0;
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Start(UniqueFd socket, Forwarder& forwarder,
                                                          IdleShutdown& idle,
                                                          const ListenerOptions& options) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll.valid() || !wake.valid() ||
      !Watch(epoll, EPOLL_CTL_ADD, wake.get(), EPOLLIN, kWakeKey) ||
      !Watch(epoll, EPOLL_CTL_ADD, socket.get(), EPOLLIN, kListenKey)) {
    return absl::ErrnoToStatus(errno, "cannot start the event loop");
  }
  return absl::WrapUnique(new Listener(AcceptingSocket(std::move(socket)), std::move(epoll),
                                       std::make_shared<LoopMailbox>(std::move(wake)), forwarder,
                                       idle, options));
}

Listener::Listener(AcceptingSocket socket, UniqueFd epoll, std::shared_ptr<LoopMailbox> mailbox,
                   Forwarder& forwarder, IdleShutdown& idle, const ListenerOptions& options)
    : idle_(idle),
      options_(options),
      epoll_(std::move(epoll)),
      mailbox_(std::move(mailbox)),
      context_{forwarder, options_.session,
               [mailbox = mailbox_](LoopMailbox::Task task) { mailbox->AddTask(std::move(task)); },
               body_budget_, uploads_},
      bans_(options_.bans),
      socket_(std::move(socket)),
      limits_(options_.limits),
      defender_(options_.ban_after, bans_),
      workers_(options.max_active_requests, kWorkerIdleTime),
      thread_([this] { Loop(); }) {}

Listener::~Listener() {
  draining_ = true;
  aborting_ = true;
  mailbox_->Wake();
  thread_.join();
}

bool Listener::Drain(absl::Duration timeout) {
  draining_ = true;
  mailbox_->Wake();
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
  mailbox_->Wake();
  while (turns_ == before && !finished_) {
    const auto left = end - MonotonicClock::now();
    if (left <= left.zero()) return false;
    changed_.WaitFor(mutex_, absl::FromChrono(left));
  }
  return true;
}

void Listener::Loop() {
  std::array<epoll_event, kMaxEvents> events;
  while (!draining_ || socket_.is_open() || !held_.empty()) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), kMaxEvents,
                                   accepted_.empty() ? deadlines_.WaitMilliseconds() : 0);
    bool may_accept = false;
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == kListenKey)
        may_accept = true;
      else
        HandleEvent(events[i].data.u64);
    }
    // Last, and in their order: what others have sent before these connected has arrived before.
    if (count < kMaxEvents) ReadAccepted();
    if (may_accept) Accept();
    TakeMail();
    while (const std::optional<uint64_t> key = deadlines_.TakePassed()) Expire(*key);
    if (draining_ && socket_.is_open()) StopAccepting();
    if (aborting_) AbortAll();
  }
  MutexLock lock(mutex_);
  finished_ = true;
  changed_.NotifyAll();
}

void Listener::HandleEvent(uint64_t key) {
  if (key == kWakeKey) return mailbox_->ClearWake();
  HeldConnection* held = Find(key);
  if (held == nullptr) return;  // Closed by an earlier event of the same batch.
  if (held->state() == State::kWaiting)
    ReadHead(*held);
  else if (held->state() == State::kLingering)
    Discard(*held);
}

void Listener::Accept() {
  for (int i = 0; i < kAcceptBatch && socket_.is_open() && AcceptOne(); ++i) {
  }
}

bool Listener::AcceptOne() {
  AcceptingSocket::Accepted accepted = socket_.Accept();
  switch (accepted.result) {
    case AcceptingSocket::Result::kNone:
      return false;
    case AcceptingSocket::Result::kFailed:
      return true;
    case AcceptingSocket::Result::kReserved:
      NoteReserve();
      return true;
    case AcceptingSocket::Result::kExhausted:
      PauseAccepting();
      return false;
    case AcceptingSocket::Result::kAccepted:
      Hold(std::move(accepted));
      return true;
  }
  return false;
}

void Listener::NoteReserve() const {
  LOG_EVERY_T(WARNING, kRefusalLogSeconds)
      << "file descriptors run out; a connection is refused (raise `ulimit -n`)";
  options_.session.metrics.admission_rejected.With({"descriptors"}).Add();
}

void Listener::Hold(AcceptingSocket::Accepted accepted) {
  const uint64_t number = ++last_number_;
  const bool too_many = held_.size() - lingering_ >= static_cast<size_t>(options_.max_connections);
  auto owned = std::make_unique<HeldConnection>(std::move(accepted), number, context_, idle_);
  HeldConnection& held = *owned;
  held_.emplace(number, std::move(owned));
  VLOG(1) << "conn=" << number << " peer=" << held.connection.peer() << " connected";
  held.awaits_proxy_header = options_.balancers.Contains(held.address);
  if (!held.awaits_proxy_header && !Admit(held)) return;
  if (too_many) return Refuse(held, "connections", "--max_connections");
  deadlines_.Set(number, held.awaits_proxy_header
                             ? std::min(options_.header_timeout, options_.idle_timeout)
                             : options_.idle_timeout);
  accepted_.push_back(number);
}

// Memory or descriptors have run out all the same. Who waits goes on waiting, and the loop with the
// others.
void Listener::PauseAccepting() {
  Watch(epoll_, EPOLL_CTL_MOD, socket_.fd(), 0, kListenKey);
  deadlines_.Set(kListenKey, kAcceptBackOff);
}

void Listener::ResumeAccepting() {
  Watch(epoll_, EPOLL_CTL_MOD, socket_.fd(), EPOLLIN, kListenKey);
}

void Listener::ReadAccepted() {
  for (const uint64_t number : std::exchange(accepted_, {})) {
    HeldConnection* const held = Find(number);
    // As a rule the request has come with the connection.
    if (held != nullptr && held->state() == State::kWaiting) ReadHead(*held);
  }
}

void Listener::StopAccepting() {
  // Who was quick enough to connect and ask is served like those in flight.
  for (int i = 0; i < SOMAXCONN && AcceptOne(); ++i) {
  }
  socket_.Close();  // Leaves the epoll set by itself.
  deadlines_.Clear(kListenKey);
  accepted_.clear();
  std::vector<uint64_t> waiting;
  for (const auto& [number, held] : held_) {
    if (held->state() == State::kWaiting && held->connection.buffered().empty())
      waiting.push_back(number);
  }
  for (const uint64_t number : waiting) {
    ReadHead(*Find(number));
    HeldConnection* const held = Find(number);
    if (held == nullptr || held->state() != State::kWaiting || !held->connection.buffered().empty())
      continue;
    held->connection.WriteNow(held->lazy_answer);
    Close(*held, CloseReason::kDrain);
  }
}

void Listener::AbortAll() {
  std::vector<HeldConnection*> unserved;
  for (const auto& [number, held] : held_) {
    if (held->state() == State::kServed)
      held->connection.Abort();
    else
      unserved.push_back(held.get());
  }
  for (HeldConnection* held : unserved) Close(*held, CloseReason::kDrain);
}

HeldConnection* Listener::Find(uint64_t number) {
  const auto found = held_.find(number);
  return found == held_.end() ? nullptr : found->second.get();
}

}  // namespace backup::bridge
