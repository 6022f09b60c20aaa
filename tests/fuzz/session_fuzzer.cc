// A whole bridge before a service in memory, and a client that says anything: requests of every
// dialect, damaged and whole, and bytes of no dialect. The client is always hung up on in the end,
// and its answers are the same whatever the cuts in which its bytes come.

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/idle_shutdown.h"
#include "base/ids.h"
#include "base/listening_socket.h"
#include "base/process.h"
#include "base/socket_address.h"
#include "bridge/listener.h"
#include "bridge/net/ports_to_try.h"
#include "bridge/request/forwarder.h"
#include "bridge/service/backend_channels.h"
#include "bridge/service/backend_client.h"
#include "bridge/testing/fake_service.h"
#include "bridge/testing/raw_client.h"
#include "bridge/wire/dialects.h"
#include "bridge/wire/sample_requests.h"
#include "glog/logging.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {
namespace {

using namespace bridge;  // NOLINT: all of it.

// The client of all sample requests.
constexpr absl::string_view kKnownClient = "0123456789abcdef";
// Of what a client says in one run, so that many runs fit into a second.
constexpr size_t kMaxSaid = size_t{64} << 10;
constexpr uint64_t kMaxBody = 4096;

std::vector<wire::SampleRequest> Samples(const wire::DialectSet& dialects) {
  std::vector<wire::SampleRequest> samples;
  for (const wire::Dialect& dialect : dialects.dialects()) {
    std::vector<wire::SampleRequest> more = wire::SampleRequestsOf(dialect, {1, 2, 3, 24});
    std::move(more.begin(), more.end(), std::back_inserter(samples));
  }
  return samples;
}

// Nothing waits for more than a client that is slower than any here.
ListenerOptions Options() {
  ListenerOptions options;
  options.retry_answer_delay = absl::Minutes(10);
  options.linger_timeout = absl::Minutes(10);
  options.session.dialects =
      std::make_shared<const wire::DialectSet>(*wire::DialectSet::Make({}, {}));
  options.session.framing = {absl::Minutes(10), absl::Minutes(10)};
  options.session.body.gather = absl::ZeroDuration();
  return options;
}

// What outlives the bridges.
class Service {
 public:
  // All answers to a client that says `bytes`, in pieces of at most `max_piece` bytes, and nothing
  // more.
  std::string Converse(absl::string_view bytes, const v1::LegacyProfile& profile, size_t max_piece,
                       uint32_t seed) {
    service_.Clear();
    service_.AddClient(ToUuid(*ClientId::FromBytes(kKnownClient)), profile);
    StopRequest stop;
    IdleShutdown idle(absl::ZeroDuration(), stop);
    BackendClient backend(channels_, {});
    Forwarder forwarder(backend, /*corrupt_checksums=*/false);
    auto socket = ListenOnFirstFree("127.0.0.1", std::vector<int>{0});
    CHECK(socket.ok()) << socket.status();
    const int port = socket->port;
    const auto listener = Listener::Start(std::move(socket->fd), forwarder, idle, options_);
    CHECK(listener.ok()) << listener.status();
    bridge::testing::RawClient client(port);
    std::mt19937 random(seed);
    std::uniform_int_distribution<size_t> size(1, max_piece);
    while (!bytes.empty()) {
      const absl::string_view piece = bytes.substr(0, size(random));
      client.Send(piece);
      bytes.remove_prefix(piece.size());
      std::this_thread::yield();
    }
    client.ShutdownWrite();
    return client.ReceiveAll();
  }

  const std::vector<wire::SampleRequest>& samples() const { return samples_; }
  const wire::DialectSet& dialects() const { return *options_.session.dialects; }

 private:
  bridge::testing::FakeService service_;
  bridge::testing::FakeServer server_{service_};
  const BackendChannels channels_ = MakeBackendChannels(server_.target());
  const ListenerOptions options_ = Options();
  const std::vector<wire::SampleRequest> samples_ = Samples(*options_.session.dialects);
};

// A request that is right, but for a few of its bytes, and its body.
std::string TakeRequest(Input& input, const Service& service) {
  std::string request = service.samples()[input.Uint(2) % service.samples().size()].head;
  for (size_t changes = input.Byte() % 8 == 0 ? input.Below(4) : 0; changes > 0; --changes)
    request[input.Uint(2) % request.size()] = static_cast<char>(input.Byte());
  uint64_t body_size = 0;
  for (const wire::Dialect& dialect : service.dialects().dialects()) {
    const auto head = dialect.DecodeHead(request);
    if (head.ok() && head->has_value()) body_size = std::max(body_size, (*head)->body_size);
  }
  const std::string pattern = input.Exactly(1 + input.Below(16));
  while (request.size() < kMaxSaid && body_size > 0 && body_size <= kMaxBody) {
    request.append(pattern, 0, body_size);
    body_size -= std::min<uint64_t>(body_size, pattern.size());
  }
  return request;
}

v1::LegacyProfile TakeProfile(Input& input, const Service& service) {
  v1::LegacyProfile profile;
  const auto& dialects = service.dialects().dialects();
  if (input.Byte() % 4 == 0)
    profile.set_family(std::string(dialects[input.Below(dialects.size())].name()));
  if (input.Byte() % 4 == 0) profile.set_framing(input.Flag() ? "blocks of 1024 bytes" : "stream");
  return profile;
}

}  // namespace

void TryInput(absl::string_view bytes) {
  static Service& service = *new Service;
  Input input(bytes);
  const uint32_t seed = input.Byte();
  const size_t max_piece = 1 + input.Uint(input.Flag() ? 2 : 1) % 2000;
  const v1::LegacyProfile profile = TakeProfile(input, service);
  std::string said;
  while (!input.AtEnd() && said.size() < kMaxSaid)
    said += input.Byte() % 4 == 0 ? std::string(input.Text(300)) : TakeRequest(input, service);
  const std::string at_once = service.Converse(said, profile, kMaxSaid, 0);
  const std::string in_pieces = service.Converse(said, profile, max_piece, seed);
  CHECK(at_once == in_pieces) << at_once.size() << " bytes of answers, in pieces "
                              << in_pieces.size();
}

}  // namespace backup::fuzz
