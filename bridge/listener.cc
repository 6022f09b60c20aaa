#include "bridge/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "bridge/wire/dialects.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kBacklog = 1024;
constexpr int kMaxEvents = 256;
// How often deadlines are looked at: no answer or closing is later than this.
constexpr milliseconds kTick(50);
// A refused client gets so long to take its answer and end.
constexpr milliseconds kLingerTime(1000);
// More refused clients than this beyond the limit are closed without an answer.
constexpr size_t kMaxLingering = 256;

UniqueFd OpenSpare() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

std::string PeerText(const sockaddr_in& address) {
  char text[INET_ADDRSTRLEN] = {};
  ::inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text));
  return absl::StrCat(text, ":", ntohs(address.sin_port));
}

steady_clock::time_point After(milliseconds limit) {
  return limit == milliseconds::zero() ? steady_clock::time_point::max()
                                       : steady_clock::now() + limit;
}

}  // namespace

absl::StatusOr<UniqueFd> ListenOnPort(const std::string& address, int port) {
  sockaddr_in bound = {};
  bound.sin_family = AF_INET;
  bound.sin_port = htons(static_cast<uint16_t>(port));
  if (::inet_pton(AF_INET, address.c_str(), &bound.sin_addr) != 1) {
    return absl::InvalidArgumentError(absl::StrCat("not an IPv4 address: ", address));
  }
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (!socket.valid() ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&bound), sizeof(bound)) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot listen on ", address, ":", port));
  }
  return socket;
}

int PortOf(const UniqueFd& listening_socket) {
  sockaddr_in bound = {};
  socklen_t size = sizeof(bound);
  CHECK_EQ(::getsockname(listening_socket.get(), reinterpret_cast<sockaddr*>(&bound), &size), 0);
  return ntohs(bound.sin_port);
}

Listener::Listener(UniqueFd socket, Session& session, IdleShutdown& idle, ListenerOptions options)
    : socket_(std::move(socket)),
      session_(session),
      idle_(idle),
      options_(options),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      spare_(OpenSpare()),
      workers_(std::make_unique<WorkerPool>(options.max_active_requests)) {
  for (const int fd : {socket_.get(), wake_.get()}) {
    epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    CHECK_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), 0);
  }
  loop_ = std::jthread([this](std::stop_token token) { Loop(token); });
}

Listener::~Listener() { Drain(absl::ZeroDuration()); }

void Listener::Drain(absl::Duration timeout) {
  if (!loop_.joinable()) return;
  loop_.request_stop();
  Wake();
  loop_.join();
  const auto end = steady_clock::now() + absl::ToChronoMilliseconds(timeout);
  {
    MutexLock lock(mutex_);
    while (serving_.size() > 0 && steady_clock::now() < end) {
      quiet_.WaitFor(mutex_, absl::FromChrono(end - steady_clock::now()));
    }
    for (const auto& [client, fd] : serving_) ::shutdown(fd, SHUT_RDWR);
  }
  workers_.reset();
  clients_.clear();
}

void Listener::Wake() {
  const uint64_t one = 1;
  if (::write(wake_.get(), &one, sizeof(one)) < 0) VLOG(1) << "the loop is being woken already";
}

void Listener::Loop(std::stop_token token) {
  epoll_event events[kMaxEvents];
  while (!token.stop_requested()) {
    const int count =
        ::epoll_wait(epoll_.get(), events, kMaxEvents, static_cast<int>(kTick.count()));
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == socket_.get()) {
        AcceptAll();
      } else if (fd == wake_.get()) {
        uint64_t wakes = 0;
        if (::read(wake_.get(), &wakes, sizeof(wakes)) > 0) TakeBack();
      } else if (const auto found = clients_.find(fd);
                 found != clients_.end() && !found->second->busy) {
        OnReadable(*found->second);
      }
    }
    CheckDeadlines();
  }
  std::erase_if(clients_, [](const auto& entry) { return !entry.second->busy; });
}

void Listener::AcceptAll() {
  while (true) {
    sockaddr_in address = {};
    socklen_t size = sizeof(address);
    UniqueFd socket(::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size,
                              SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.valid()) {
      Admit(std::move(socket), PeerText(address));
    } else if (errno == EMFILE || errno == ENFILE) {
      LOG_EVERY_N(WARNING, 100) << "out of file descriptors; a connection is refused";
      spare_.Reset();
      UniqueFd refused(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      refused.Reset();
      spare_ = OpenSpare();
      return;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return;
    }
  }
}

void Listener::Admit(UniqueFd socket, std::string peer) {
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const int fd = socket.get();
  const bool refused = clients_.size() >= options_.max_connections;
  if (clients_.size() >= options_.max_connections + kMaxLingering) return;
  auto client = std::make_unique<Client>(std::move(socket), std::move(peer), next_number_++,
                                         options_.connection, idle_);
  if (refused) {
    LOG(WARNING) << "conn=" << client->connection.number() << " peer=" << client->connection.peer()
                 << " refused: there are " << options_.max_connections
                 << " connections (--max_connections)";
    client->connection.WriteNow(wire::DefaultDialect().EncodeReply(wire::GeneralError{}));
    client->connection.ShutdownWrites();
    client->lingering = true;
  }
  client->deadline = refused ? After(kLingerTime) : After(options_.idle_timeout);
  epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data = {.fd = fd}};
  CHECK_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), 0);
  clients_[fd] = std::move(client);
}

void Listener::OnReadable(Client& client) {
  const bool had_bytes = !client.connection.buffered().empty();
  const Connection::Arrived arrived = client.connection.ReadAhead(wire::kMaxHeadSize);
  if (client.lingering) {
    if (arrived == Connection::Arrived::kEnd) return Close(client);
    client.connection.Consume(client.connection.buffered().size());
    return AwaitRequest(client, {});
  }
  if (arrived == Connection::Arrived::kEnd) {
    if (had_bytes) {
      LOG(WARNING) << "conn=" << client.connection.number() << " peer=" << client.connection.peer()
                   << " ended in the middle of a request's head";
    }
    return Close(client);
  }
  if (arrived == Connection::Arrived::kBytes) client.deferred_answer.clear();
  if (Session::IsReady(client.connection.buffered())) return Dispatch(client);
  if (!had_bytes && arrived == Connection::Arrived::kBytes)
    client.deadline = After(options_.header_timeout);
  epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
                       .data = {.fd = client.connection.fd()}};
  CHECK_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, client.connection.fd(), &event), 0);
}

void Listener::Dispatch(Client& client) {
  client.busy = true;
  {
    MutexLock lock(mutex_);
    serving_[&client] = client.connection.fd();
  }
  workers_->Run([this, &client] {
    NextStep next = session_.Serve(client.connection);
    MutexLock lock(mutex_);
    returned_.push_back({&client, std::move(next)});
    serving_.erase(&client);
    quiet_.NotifyAll();
    Wake();
  });
}

void Listener::TakeBack() {
  std::vector<Returned> returned;
  {
    MutexLock lock(mutex_);
    returned.swap(returned_);
  }
  for (Returned& entry : returned) {
    entry.client->busy = false;
    if (entry.next.kind == NextStep::Kind::kClose) {
      // The answer must arrive before the end: a close with bytes unread would reset the
      // connection.
      entry.client->connection.ShutdownWrites();
      entry.client->lingering = true;
      entry.client->deadline = After(kLingerTime);
    }
    AwaitRequest(*entry.client, std::move(entry.next));
  }
}

void Listener::AwaitRequest(Client& client, NextStep next) {
  if (!client.lingering) {
    client.deferred_answer = std::move(next.answer);
    client.deadline = !client.deferred_answer.empty()        ? After(options_.retry_answer_delay)
                      : client.connection.buffered().empty() ? After(options_.idle_timeout)
                                                             : After(options_.header_timeout);
  }
  epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
                       .data = {.fd = client.connection.fd()}};
  CHECK_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, client.connection.fd(), &event), 0);
}

void Listener::CheckDeadlines() {
  const auto now = steady_clock::now();
  std::vector<Client*> due;
  for (const auto& [fd, client] : clients_) {
    if (!client->busy && client->deadline <= now) due.push_back(client.get());
  }
  for (Client* client : due) OnDeadline(*client);
}

void Listener::OnDeadline(Client& client) {
  if (client.lingering) return Close(client);
  if (!client.deferred_answer.empty()) {
    client.connection.WriteNow(client.deferred_answer);
    client.deferred_answer.clear();
    client.deadline = After(options_.idle_timeout);
    return;
  }
  if (client.connection.buffered().empty()) {
    VLOG(1) << "conn=" << client.connection.number() << " closed after being idle";
    return Close(client);
  }
  const absl::string_view foreign = wire::DetectForeignProtocol(client.connection.buffered());
  LOG(WARNING) << "conn=" << client.connection.number() << " peer=" << client.connection.peer()
               << (foreign.empty()
                       ? std::string(" stalled in the middle of a request's head")
                       : absl::StrCat(
                             " speaks ", foreign,
                             ", not the backup protocol; is it pointed at the wrong port?"));
  if (foreign.empty())
    client.connection.WriteNow(Session::GeneralErrorFor(client.connection.buffered()));
  client.connection.ShutdownWrites();
  client.lingering = true;
  client.deadline = After(kLingerTime);
}

void Listener::Close(Client& client) { clients_.erase(client.connection.fd()); }

}  // namespace backup::bridge
