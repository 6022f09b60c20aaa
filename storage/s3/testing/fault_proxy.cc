#include "storage/s3/testing/fault_proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "glog/logging.h"

namespace backup::storage::s3 {
namespace {

constexpr size_t kMaxHeadSize = size_t{64} << 10;
constexpr size_t kBufferSize = size_t{256} << 10;
constexpr absl::Duration kLongestRepeating = absl::Minutes(2);

UniqueFd ConnectTo(int port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    fd.Reset();
  return fd;
}

// One side of a conversation and how many bytes may still go to the other.
struct Direction {
  int from = -1;
  int to = -1;
  std::optional<int64_t> left = std::nullopt;
  absl::Duration delay = absl::ZeroDuration();
  std::string* copy = nullptr;  // Of what passed, if it is wanted.
  bool has_ended = false;

  // False once nothing may go on in either direction.
  bool Move() {
    std::array<char, kBufferSize> buffer;
    const ssize_t got = ::recv(from, buffer.data(), buffer.size(), 0);
    if (got <= 0) {
      has_ended = true;
      ::shutdown(to, SHUT_WR);
      return true;
    }
    // No answer yet, only that the body may come.
    if (absl::StartsWith({buffer.data(), static_cast<size_t>(got)}, "HTTP/1.1 100 "))
      return SendAll(to, {buffer.data(), static_cast<size_t>(got)});
    absl::SleepFor(std::exchange(delay, absl::ZeroDuration()));
    const int64_t passed = left ? std::min(*left, int64_t{got}) : got;
    if (left) *left -= passed;
    if (copy != nullptr) copy->append(buffer.data(), static_cast<size_t>(passed));
    const bool sent = SendAll(to, {buffer.data(), static_cast<size_t>(passed)});
    return sent && passed == got;
  }
};

// A request's head, and what came with it of its body.
struct Head {
  std::string text;
  std::string body_begin;

  std::string request_line() const {
    const size_t end = text.rfind(" HTTP/", text.find("\r\n"));
    return text.substr(0, end);
  }
  int64_t body_size() const {
    const std::string lower = absl::AsciiStrToLower(text);
    const size_t at = lower.find("\r\ncontent-length:");
    int64_t size = 0;
    if (at == std::string::npos) return 0;
    const size_t value = at + 17;
    CHECK(absl::SimpleAtoi(lower.substr(value, lower.find("\r\n", value) - value), &size));
    return size;
  }
  // The store ends the connection after it.
  std::string AsLast() const {
    return absl::StrCat(text.substr(0, text.size() - 2), "Connection: close\r\n\r\n");
  }
};

std::optional<Head> ReadHead(int fd, const std::atomic<bool>& is_stopped) {
  Head head;
  std::array<char, 16 << 10> buffer;
  while (head.text.size() < kMaxHeadSize) {
    pollfd wait = {fd, POLLIN, 0};
    if (::poll(&wait, 1, kPollMilliseconds) == 0 && !is_stopped) continue;
    const ssize_t got = is_stopped ? 0 : ::recv(fd, buffer.data(), buffer.size(), 0);
    if (got <= 0) return std::nullopt;
    head.text.append(buffer.data(), static_cast<size_t>(got));
    const size_t end = head.text.find("\r\n\r\n");
    if (end == std::string::npos) continue;
    head.body_begin = head.text.substr(end + 4);
    head.text.resize(end + 4);
    return head;
  }
  return std::nullopt;
}

// Reads and forgets until the other side ends: closing on unread bytes would lose what was sent.
void Drain(int fd, const std::atomic<bool>& is_stopped) {
  std::array<char, 64 << 10> buffer;
  while (!is_stopped) {
    pollfd wait = {fd, POLLIN, 0};
    if (::poll(&wait, 1, kPollMilliseconds) == 0) continue;
    if (::recv(fd, buffer.data(), buffer.size(), 0) <= 0) return;
  }
}

}  // namespace

std::string ErrorAnswer(int status, absl::string_view code, absl::string_view more_xml,
                        absl::string_view headers) {
  const std::string body =
      absl::StrCat("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>", code,
                   "</Code><Message>by the proxy</Message>", more_xml, "</Error>");
  return absl::StrCat("HTTP/1.1 ", status, " Told\r\nContent-Type: application/xml\r\n", headers,
                      "Connection: close\r\nContent-Length: ", body.size(), "\r\n\r\n", body);
}

FaultProxy::FaultProxy(int port)
    : store_port_(port), server_([this](UniqueFd client) { Serve(std::move(client)); }) {}

void FaultProxy::set_plan(Plan plan) {
  MutexLock lock(mutex_);
  plan_ = std::move(plan);
}

Fault FaultProxy::FaultOf(absl::string_view request) {
  ++requests_;
  MutexLock lock(mutex_);
  Fault fault = plan_ ? plan_(request) : Fault{};
  if (fault.is_repeated) ++repeating_;
  return fault;
}

void FaultProxy::WaitUntilRepeated() {
  MutexLock lock(mutex_);
  while (repeating_ > 0)
    CHECK(changed_.WaitFor(mutex_, kLongestRepeating)) << "the store is silent";
}

void FaultProxy::Serve(UniqueFd client) {
  const std::optional<Head> head = ReadHead(client.get(), server_.is_stopped());
  if (!head) return;
  const Fault fault = FaultOf(head->request_line());
  const absl::Cleanup end = [this, &fault] {
    if (!fault.is_repeated) return;
    MutexLock lock(mutex_);
    --repeating_;
    changed_.NotifyAll();
  };
  if (!fault.answer.empty() || store_port_ == 0) {
    absl::SleepFor(fault.delay);
    SendAll(client.get(), fault.answer);
    ::shutdown(client.get(), SHUT_WR);
    return Drain(client.get(), server_.is_stopped());
  }
  const UniqueFd store = ConnectTo(store_port_);
  if (!store.valid() || !SendAll(store.get(), head->AsLast())) return;
  std::string body = head->body_begin;
  if (fault.request_bytes && std::ssize(body) >= *fault.request_bytes) {
    SendAll(store.get(),
            absl::string_view(body).substr(0, static_cast<size_t>(*fault.request_bytes)));
    return;
  }
  if (!SendAll(store.get(), body)) return;
  Direction request{client.get(), store.get()};
  if (fault.is_repeated) request.copy = &body;
  if (fault.request_bytes) request.left = *fault.request_bytes - std::ssize(body);
  Direction answer{store.get(), client.get(), fault.answer_bytes, fault.delay};
  while (!server_.is_stopped() && !answer.has_ended) {
    std::array<pollfd, 2> wait = {
        {{request.has_ended ? -1 : request.from, POLLIN, 0}, {answer.from, POLLIN, 0}}};
    if (::poll(wait.data(), wait.size(), kPollMilliseconds) <= 0) continue;
    if (wait[0].revents != 0 && !request.Move()) return;
    if (wait[1].revents != 0 && !answer.Move()) return;
  }
  if (!fault.is_repeated || head->body_size() != std::ssize(body)) return;
  const UniqueFd again = ConnectTo(store_port_);
  if (!again.valid() || !SendAll(again.get(), absl::StrCat(head->AsLast(), body))) return;
  Drain(again.get(), server_.is_stopped());
}

}  // namespace backup::storage::s3
