#include "base/operations_endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/unique_fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr MetricName kRequests{"test_requests_total", "requests"};
constexpr MetricName kOpen{"test_open", "open"};
constexpr MetricName kSampled{"test_sampled", "sampled"};

// The whole answer to a request for `path`.
std::string Get(int port, const std::string& path) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const std::string request = absl::StrCat("GET ", path, " HTTP/1.0\r\n\r\n");
  EXPECT_EQ(::write(fd.get(), request.data(), request.size()), std::ssize(request));
  std::string answer;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(fd.get(), buffer, sizeof(buffer))) > 0;) answer.append(buffer, n);
  return answer;
}

TEST(Metrics, AreTextOfCountersGaugesHistogramsAndSamples) {
  Metrics metrics;
  AddProcessMetrics(metrics);
  metrics.Count(kRequests, {{"result", "ok"}});
  metrics.Count(kRequests, {{"result", "ok"}}, 2);
  metrics.Observe({"test_seconds", "time"}, {}, absl::Milliseconds(50));
  metrics.AddCollector([] { return std::vector<GaugeSample>{{kSampled, {{"client", "a"}}, 7}}; });
  {
    const GaugeScope scope(&metrics, kOpen);
    EXPECT_THAT(metrics.Text(), HasSubstr("test_open 1\n"));
  }
  EXPECT_THAT(metrics.Text(),
              AllOf(HasSubstr("test_open 0\n"), HasSubstr("test_requests_total{result=\"ok\"} 3\n"),
                    HasSubstr("test_seconds_bucket{le=\"0.1\"} 1\n"),
                    HasSubstr("test_sampled{client=\"a\"} 7\n"), HasSubstr("backup_open_fds "),
                    HasSubstr("backup_build_info{version=\"")));
}

TEST(OperationsEndpoint, TellsWhetherTheProcessLivesAndIsReady) {
  Metrics metrics;
  std::atomic<bool> broken = false;
  Readiness readiness(
      {{"disk", [&] { return broken ? absl::InternalError("no disk") : absl::OkStatus(); }}},
      absl::Milliseconds(10), metrics);
  const auto endpoint = OperationsEndpoint::Start("127.0.0.1:0", metrics, readiness);
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  const int port = (*endpoint)->bound_port();
  const auto wait_for = [&](bool ready) {
    for (int i = 0; i < 1000 && readiness.Check().ready != ready; ++i)
      absl::SleepFor(absl::Milliseconds(10));
  };
  EXPECT_THAT(Get(port, "/livez"), StartsWith("HTTP/1.0 200"));
  wait_for(true);
  EXPECT_THAT(Get(port, "/readyz"), AllOf(StartsWith("HTTP/1.0 200"), HasSubstr("\r\n\r\nready")));
  EXPECT_THAT(Get(port, "/metrics"), HasSubstr("backup_probe_success{probe=\"disk\"} 1\n"));
  broken = true;
  wait_for(false);
  EXPECT_THAT(Get(port, "/readyz?verbose"),
              AllOf(StartsWith("HTTP/1.0 503"), HasSubstr("disk: no disk\nnot ready\n")));
  broken = false;
  wait_for(true);
  readiness.SetDraining();
  EXPECT_THAT(Get(port, "/readyz?verbose"),
              AllOf(StartsWith("HTTP/1.0 503"), HasSubstr("draining")));
  EXPECT_THAT(Get(port, "/elsewhere"), HasSubstr(" 404 "));
}

TEST(OperationsEndpoint, RefusesWhatIsNoAddressAndAPortInUse) {
  Metrics metrics;
  Readiness readiness({}, absl::Hours(1), metrics);
  for (const char* address : {"", "9000", ":9000", "127.0.0.1:x", "127.0.0.1:70000"}) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(OperationsEndpoint::Start(address, metrics, readiness).status()))
        << address;
  }
  const auto first = OperationsEndpoint::Start("127.0.0.1:0", metrics, readiness);
  ASSERT_TRUE(first.ok());
  EXPECT_FALSE(OperationsEndpoint::Start(absl::StrCat("127.0.0.1:", (*first)->bound_port()),
                                         metrics, readiness)
                   .ok());
}

}  // namespace
}  // namespace backup
