// What a Listener does with each connection, from its first byte to its end.

#include <sys/epoll.h>

#include <utility>

#include "bridge/listener.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

// At most this many connections linger; further ones are closed at once.
constexpr size_t kMaxLingering = 1024;
// At most this much of a lingering connection is thrown away before the others are looked at.
constexpr size_t kDiscardSize = 64 << 10;

}  // namespace

void Listener::ReadHead(HeldConnection& held) {
  const bool first_bytes = held.connection.buffered().empty();
  switch (held.connection.ReadAhead(wire::kMaxHeadSize)) {
    case Connection::ReadAheadResult::kEnd:
      return HandleEnd(held);
    case Connection::ReadAheadResult::kNothing:
      return Arm(held);
    case Connection::ReadAheadResult::kBytes:
      break;
  }
  if (held.awaits_proxy_header) return ReadProxyHeader(held);
  held.lazy_answer.clear();
  if (held.session.HasRequest()) return Serve(held);
  if (first_bytes) deadlines_.Set(held.number(), options_.header_timeout);
  Arm(held);
}

void Listener::HandleEnd(HeldConnection& held) {
  const size_t size = held.connection.buffered().size();
  if (held.awaits_proxy_header) {
    if (size == 0)
      return Close(held, CloseReason::kEof);  // As a balancer sees whether we are there.
    return RefuseProxyHeader(held, CloseReason::kProxyHeader, "it ended early");
  }
  if (held.session.IsForeign()) {
    NoteOffence(held, Offence::kForeignProtocol);
    return Close(held, CloseReason::kProtocol);
  }
  if (size > 0) {
    LOG(WARNING) << "conn=" << held.number() << " peer=" << held.connection.peer()
                 << " ended after " << size << " bytes of a request's head";
  }
  Close(held, CloseReason::kEof);
}

void Listener::Wait(HeldConnection& held) {
  held.Enter(State::kWaiting);
  const bool in_head = !held.connection.buffered().empty();
  deadlines_.Set(held.number(), in_head                     ? options_.header_timeout
                                : !held.lazy_answer.empty() ? options_.retry_answer_delay
                                                            : options_.idle_timeout);
  Arm(held);
}

void Listener::Enqueue(HeldConnection& held) {
  held.Enter(State::kServed);
  deadlines_.Clear(held.number());
  if (active_ == options_.max_active_requests) return queued_.push_back(held.number());
  ++active_;
  Begin(held);
}

void Listener::Begin(HeldConnection& held) {
  held.session.Serve([mailbox = mailbox_, number = held.number()](Served served) {
    mailbox->AddServed(number, std::move(served));
  });
}

void Listener::TakeMail() {
  {
    MutexLock lock(mutex_);
    ++turns_;
    changed_.NotifyAll();
  }
  LoopMailbox::Mail mail = mailbox_->Take();
  for (LoopMailbox::Task& task : mail.tasks) workers_.Submit(std::move(task));
  for (auto& [number, served] : mail.served) {
    BeginNext();
    Resume(*Find(number), std::move(served));
  }
}

void Listener::BeginNext() {
  if (queued_.empty()) {
    --active_;
    return;
  }
  HeldConnection& next = *Find(queued_.front());
  queued_.pop_front();
  Begin(next);
}

void Listener::Resume(HeldConnection& held, Served served) {
  if (served.is_of_known_client) defender_.NoteServed(held.address, MonotonicClock::now());
  if (served.offence) NoteOffence(held, *served.offence);
  if (!served.lazy_answer.empty() && !draining_) {
    held.lazy_answer = std::move(served.lazy_answer);
    held.after_lazy_answer = std::move(served);
    return Wait(held);
  }
  if (!served.lazy_answer.empty()) held.connection.WriteNow(served.lazy_answer);
  Continue(held, served);
}

void Listener::Continue(HeldConnection& held, const Served& served) {
  switch (served.next) {
    case Served::Next::kClose:
      return Close(held, served.reason);
    case Served::Next::kLinger:
      return Linger(held, served.reason);
    case Served::Next::kKeep:
      break;
  }
  if (draining_ && held.connection.buffered().empty()) return Close(held, CloseReason::kDrain);
  if (held.session.HasRequest()) return Serve(held);
  Wait(held);
}

void Listener::Linger(HeldConnection& held, CloseReason reason) {
  if (lingering_ >= kMaxLingering) return Close(held, reason);
  ++lingering_;
  Uncount(held);
  held.close_reason = reason;
  held.Enter(State::kLingering);
  held.connection.ShutdownWrite();
  deadlines_.Set(held.number(), options_.linger_timeout);
  Arm(held);
}

void Listener::Discard(HeldConnection& held) {
  held.connection.Consume(held.connection.buffered().size());
  if (held.connection.ReadAhead(kDiscardSize) == Connection::ReadAheadResult::kEnd)
    return Close(held, held.close_reason);
  Arm(held);
}

void Listener::Expire(uint64_t key) {
  if (key == kListenKey) return ResumeAccepting();
  HeldConnection& held = *Find(key);
  if (held.state() == State::kLingering) return Close(held, held.close_reason);
  if (held.state() == State::kThrottled) return Enqueue(held);
  if (held.awaits_proxy_header)
    return RefuseProxyHeader(held, CloseReason::kHeaderTimeout, "it does not come");
  if (!held.lazy_answer.empty()) {
    if (!held.connection.WriteNow(std::exchange(held.lazy_answer, "")))
      return Close(held, CloseReason::kEof);
    return Continue(held, held.after_lazy_answer);
  }
  if (!held.connection.buffered().empty()) return ExpireHead(held);
  VLOG(1) << "conn=" << held.number() << " peer=" << held.connection.peer() << " was idle, closing";
  Close(held, CloseReason::kIdle);
}

void Listener::ExpireHead(HeldConnection& held) {
  const bool is_foreign = held.session.IsForeign();
  NoteOffence(held, is_foreign ? Offence::kForeignProtocol : Offence::kIncompleteHead);
  if (is_foreign) return Close(held, CloseReason::kProtocol);
  LOG(WARNING) << "conn=" << held.number() << " peer=" << held.connection.peer() << " sent only "
               << held.connection.buffered().size() << " bytes of a request's head within "
               << absl::FormatDuration(options_.header_timeout) << ", closing";
  held.session.RefuseUnserved();
  Linger(held, CloseReason::kHeaderTimeout);
}

void Listener::Arm(HeldConnection& held) {
  const int operation = std::exchange(held.is_watched, true) ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  // Once: a connection being served is not the loop's.
  if (Watch(epoll_, operation, held.connection.fd(), EPOLLIN | EPOLLONESHOT, held.number())) return;
  PLOG(ERROR) << "conn=" << held.number() << " cannot be watched and is closed";
  Close(held, CloseReason::kLimit);
}

void Listener::Close(HeldConnection& held, CloseReason reason) {
  held.close_reason = aborting_ ? CloseReason::kDrain : reason;
  VLOG(1) << "conn=" << held.number() << " peer=" << held.connection.peer() << " closed";
  if (held.state() == State::kLingering) --lingering_;
  Uncount(held);
  deadlines_.Clear(held.number());
  held_.erase(held.number());
}

}  // namespace backup::bridge
