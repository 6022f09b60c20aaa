#include "tests/bench/session_load.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "legacy_client/frames.h"
#include "legacy_client/key_pair.h"
#include "tests/bench/old_client.h"
#include "tests/bench/session_client.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

using legacy_client::Answer;
using legacy_client::AnswerHeader;

constexpr int kTimeoutMs = 30'000;  // For the server to answer anybody.
constexpr int kMaxEvents = 64;

absl::Status Failed(absl::string_view what) { return absl::ErrnoToStatus(errno, what); }

sockaddr_in LoopbackAddress(const legacy_client::Endpoint& server) {
  int port = 0;
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (absl::SimpleAtoi(server.port, &port)) address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

// The answer that `bytes` are, to what `client` asked; nothing while it is not whole.
absl::StatusOr<std::optional<Answer>> DecodeAnswer(const SessionClient& client,
                                                   absl::string_view bytes) {
  const size_t header_size = OldClientFrames().answer_header_size();
  if (bytes.size() < header_size) return std::nullopt;
  const absl::string_view header_bytes = bytes.substr(0, header_size);
  ASSIGN_OR_RETURN(const AnswerHeader header,
                   OldClientFrames().DecodeAnswerHeader(header_bytes, client.asked()));
  const absl::string_view payload = bytes.substr(header_size);
  if (std::ssize(payload) > header.payload_size)
    return absl::DataLossError("the server sends more than its answer");
  if (std::ssize(payload) < header.payload_size) return std::nullopt;
  return Answer{header, std::string(header_bytes), std::string(payload)};
}

// A client and the connection of its request at hand.
struct Asker {
  SessionClient client;
  UniqueFd socket = {};
  bool is_sent = false;
  std::string received = {};
  MonotonicClock::time_point start = {};
};

// All clients' connections. Used by one thread.
class Loop {
 public:
  Loop(const legacy_client::Endpoint& server, std::vector<Asker>& askers)
      : address_(LoopbackAddress(server)), askers_(askers) {}

  // Until each client has ended the session that it was in at `end`, or something goes wrong.
  absl::Status RunUntil(MonotonicClock::time_point end) {
    if (!epoll_.valid()) return Failed("epoll_create1");
    for (Asker& asker : askers_) RETURN_IF_ERROR(Ask(asker));
    std::array<epoll_event, kMaxEvents> events;
    for (size_t asking = askers_.size(); asking > 0;) {
      const int count = ::epoll_wait(epoll_.get(), events.data(), kMaxEvents, kTimeoutMs);
      if (count < 0 && errno != EINTR) return Failed("epoll_wait");
      if (count == 0) return absl::DeadlineExceededError("the server does not answer in time");
      for (int i = 0; i < count; ++i) {
        Asker& asker = *static_cast<Asker*>(events[i].data.ptr);
        RETURN_IF_ERROR(asker.is_sent ? Receive(asker) : Send(asker, EPOLL_CTL_MOD));
        if (asker.socket.valid()) continue;
        if (asker.client.is_between_sessions() && MonotonicClock::now() >= end) {
          --asking;
        } else {
          RETURN_IF_ERROR(Ask(asker));
        }
      }
    }
    return absl::OkStatus();
  }

  // How long each request took, from its connection to the end of that.
  std::vector<double>& request_milliseconds() { return request_milliseconds_; }

 private:
  absl::Status Ask(Asker& asker) {
    asker.start = MonotonicClock::now();
    asker.is_sent = false;
    asker.received.clear();
    asker.socket = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!asker.socket.valid()) return Failed("socket");
    const auto* address = reinterpret_cast<const sockaddr*>(&address_);
    if (::connect(asker.socket.get(), address, sizeof(address_)) != 0 && errno != EINPROGRESS)
      return Failed("connect");
    return Send(asker, EPOLL_CTL_ADD);  // As a rule the connection is there already.
  }

  // Sends the request if there is a connection, and has epoll watch for what is awaited then.
  absl::Status Send(Asker& asker, int epoll_operation) {
    const std::string request = asker.client.Request();
    const ssize_t sent = ::send(asker.socket.get(), request.data(), request.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return Failed("send");
    asker.is_sent = sent >= 0;
    if (asker.is_sent && static_cast<size_t>(sent) < request.size())
      return absl::InternalError("a request does not fit into the socket's buffer");
    epoll_event event = {};
    event.events = asker.is_sent ? EPOLLIN : EPOLLOUT;
    event.data.ptr = &asker;
    return ::epoll_ctl(epoll_.get(), epoll_operation, asker.socket.get(), &event) == 0
               ? absl::OkStatus()
               : Failed("epoll_ctl");
  }

  // Takes what has come of the answer; once it is whole, the connection ends.
  absl::Status Receive(Asker& asker) {
    std::array<char, 1024> buffer;  // The longest answer of the protocol has 286 bytes.
    const ssize_t size = ::recv(asker.socket.get(), buffer.data(), buffer.size(), 0);
    if (size < 0) return Failed("recv");
    if (size == 0) return absl::UnavailableError("the server hung up without an answer");
    asker.received.append(buffer.data(), static_cast<size_t>(size));
    ASSIGN_OR_RETURN(const std::optional<Answer> answer,
                     DecodeAnswer(asker.client, asker.received));
    if (!answer) return absl::OkStatus();
    asker.socket.Reset();
    request_milliseconds_.push_back(1e3 * SecondsSince(asker.start));
    return asker.client.Take(*answer);
  }

  const sockaddr_in address_;
  std::vector<Asker>& askers_;
  const UniqueFd epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  std::vector<double> request_milliseconds_;
};

}  // namespace

absl::StatusOr<SessionLoadResult> MeasureSessionLoad(const ServerPair& servers, int clients,
                                                     absl::Duration duration) {
  static int loads = 0;  // Every session has a name of its own.
  ++loads;
  const auto key_pair = legacy_client::KeyPair::Generate();
  std::vector<Asker> askers;
  for (int i = 0; i < clients; ++i)
    askers.push_back({SessionClient(absl::StrCat("bench load ", loads, " ", i, " "), key_pair)});
  Loop loop(servers.bridge_address, askers);

  SessionLoadResult result;
  const ServerCpu cpu_start = CpuOf(servers);
  const double own_cpu_start = OwnCpuSeconds();
  const auto start = MonotonicClock::now();
  RETURN_IF_ERROR(loop.RunUntil(start + absl::ToChronoNanoseconds(duration)));
  const double seconds = SecondsSince(start);
  result.cpu = CpuOf(servers) - cpu_start;
  result.client_cpu_seconds = OwnCpuSeconds() - own_cpu_start;
  for (const Asker& asker : askers) result.sessions += asker.client.sessions();
  result.sessions_per_second = static_cast<double>(result.sessions) / seconds;
  result.p50_milliseconds = Percentile(loop.request_milliseconds(), 0.50);
  result.p99_milliseconds = Percentile(loop.request_milliseconds(), 0.99);
  return result;
}

}  // namespace backup::bench
