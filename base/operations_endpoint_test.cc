#include "base/operations_endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <future>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/unique_fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr MetricName kRequests{"test_requests_total", "requests"};
constexpr MetricName kOpen{"test_open", "open"};
constexpr MetricName kSampled{"test_sampled", "sampled"};

void Connect(int fd, int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
}

// The whole answer to a request for `path`.
std::string Get(int port, const std::string& path) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
  Connect(fd.get(), port);
  const std::string request = absl::StrCat("GET ", path, " HTTP/1.0\r\n\r\n");
  EXPECT_EQ(::write(fd.get(), request.data(), request.size()), std::ssize(request));
  std::string answer;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(fd.get(), buffer, sizeof(buffer))) > 0;) answer.append(buffer, n);
  return answer;
}

TEST(Metrics, AreTextOfCountersGaugesHistogramsAndSamples) {
  Metrics metrics;
  const MetricFamily<Counter> requests = metrics.AddCounters(kRequests, {"result", "kind"});
  requests.With({"ok", "file"}).Add();
  requests.With({"ok", "file"}).Add(2);
  metrics.AddHistogram({"test_seconds", "time"}).Observe(absl::Milliseconds(50));
  metrics.AddCollector([] {
    return std::vector<Sample>{{kSampled, {{"client", "a"}}, 7},
                               {{"test_sampled_total", "counted"}, {}, 8, Sample::Kind::kCounter}};
  });
  const Gauge open = metrics.AddGauge(kOpen);
  {
    const GaugeScope scope(open);
    EXPECT_THAT(metrics.Text(), HasSubstr("test_open 1\n"));
  }
  EXPECT_THAT(metrics.Text(),
              AllOf(HasSubstr("test_open 0\n"),
                    HasSubstr("test_requests_total{kind=\"file\",result=\"ok\"} 3\n"),
                    HasSubstr("test_seconds_bucket{le=\"0.1\"} 1\n"),
                    HasSubstr("# TYPE test_sampled gauge\ntest_sampled{client=\"a\"} 7\n"),
                    HasSubstr("# TYPE test_sampled_total counter\ntest_sampled_total 8\n")));
}

TEST(Metrics, TellAboutTheProcess) {
  Metrics metrics;
  AddProcessMetrics(metrics, {{"library", "1.2"}}, "--flag=value");
  const MetricFamily<Gauge> modes = AddModes(metrics, {{"debug", true}, {"draining", false}});
  modes.With({"draining"}).Set(1);
  EXPECT_THAT(metrics.Text(),
              AllOf(ContainsRegex("backup_build_info.commit=\"[^\"]+\",library=\"1.2\",version="),
                    HasSubstr("# TYPE process_cpu_seconds_total counter\n"),
                    HasSubstr("backup_open_fds "), HasSubstr("backup_mode{mode=\"debug\"} 1\n"),
                    HasSubstr("backup_mode{mode=\"draining\"} 1\n")));
  Metrics other;
  AddProcessMetrics(other, {}, "--flag=other");
  const auto hash = [](const Metrics& of) {
    const std::string text = of.Text();
    const size_t begin = text.find("\nbackup_config_hash ");
    return text.substr(begin, text.find('\n', begin + 1) - begin);
  };
  EXPECT_NE(hash(metrics), hash(other));
}

TEST(Metrics, OfALabelWithoutBoundAreCountedAsOther) {
  Metrics metrics;
  const MetricFamily<Counter> family = metrics.AddCounters(kRequests, {"name"});
  const size_t count = MetricFamily<Counter>::kMaxMembers + 7;
  for (size_t i = 0; i < count; ++i) family.With({absl::StrCat("name", i)}).Add();
  family.With({"name0"}).Add();
  EXPECT_THAT(metrics.Text(), AllOf(HasSubstr("test_requests_total{name=\"other\"} 7\n"),
                                    HasSubstr("test_requests_total{name=\"name0\"} 2\n")));
}

TEST(Metrics, NobodyAskedForCountNothing) {
  Counter().Add();
  Gauge().Set(1);
  Histogram().Observe(absl::Seconds(1));
  MetricFamily<Counter>().With({"any"}).Add();
}

TEST(OperationsEndpoint, TellsWhetherTheProcessLivesAndIsReady) {
  Metrics metrics;
  std::atomic<bool> broken = false;
  std::atomic<bool> stuck = false;
  std::atomic<bool> idle = true;
  Readiness readiness(
      {{"log", [&] { return absl::InternalError("stuck"); }, Probe::Kind::kNote},
       {"disk", [&] { return broken ? absl::InternalError("no disk") : absl::OkStatus(); }},
       {"loop", [&] { return stuck ? absl::InternalError("stuck") : absl::OkStatus(); },
        Probe::Kind::kVital}},
      absl::Milliseconds(10), metrics);
  const auto endpoint = OperationsEndpoint::Open("127.0.0.1:0");
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  (*endpoint)->Serve({metrics, readiness, [&] { return idle.load(); }});
  const int port = (*endpoint)->bound_port();
  const auto wait_for = [&](bool ready) {
    for (int i = 0; i < 1000 && readiness.Check().ready != ready; ++i)
      absl::SleepFor(absl::Milliseconds(10));
  };
  EXPECT_THAT(Get(port, "/livez"), StartsWith("HTTP/1.0 200"));
  wait_for(true);
  EXPECT_THAT(Get(port, "/readyz"), AllOf(StartsWith("HTTP/1.0 200"), HasSubstr("\r\n\r\nready")));
  EXPECT_THAT(Get(port, "/readyz?verbose"),
              AllOf(StartsWith("HTTP/1.0 200"), HasSubstr("log: stuck\n")));
  EXPECT_THAT(Get(port, "/metrics"), HasSubstr("backup_self_probe_success{probe=\"disk\"} 1\n"));
  broken = true;
  wait_for(false);
  EXPECT_THAT(Get(port, "/readyz?verbose"),
              AllOf(StartsWith("HTTP/1.0 503"), HasSubstr("disk: no disk\nloop: ok\nnot ready\n")));
  EXPECT_THAT(Get(port, "/livez"), StartsWith("HTTP/1.0 200"));
  broken = false;
  wait_for(true);
  stuck = true;
  wait_for(false);
  EXPECT_THAT(Get(port, "/livez"), AllOf(StartsWith("HTTP/1.0 503"), HasSubstr("stuck\n")));
  stuck = false;
  wait_for(true);
  EXPECT_THAT(Get(port, "/drainz"), AllOf(StartsWith("HTTP/1.0 200"), HasSubstr("safe to stop\n")));
  idle = false;
  EXPECT_THAT(Get(port, "/drainz"), AllOf(StartsWith("HTTP/1.0 412"), HasSubstr("busy\n")));
  readiness.SetDraining();
  EXPECT_THAT(Get(port, "/readyz?verbose"),
              AllOf(StartsWith("HTTP/1.0 503"), HasSubstr("draining")));
  EXPECT_THAT(Get(port, "/elsewhere"), HasSubstr(" 404 "));
}

TEST(OperationsEndpoint, RefusesWhatIsNoAddressAndAPortInUse) {
  for (const char* address : {"", "9000", ":9000", "127.0.0.1:x", "127.0.0.1:70000"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(OperationsEndpoint::Open(address).status())) << address;
  }
  const auto first = OperationsEndpoint::Open("127.0.0.1:0");
  ASSERT_TRUE(first.ok());
  EXPECT_FALSE(OperationsEndpoint::Open(absl::StrCat("127.0.0.1:", (*first)->bound_port())).ok());
}

TEST(OperationsEndpoint, WaitsQuietlyForADescriptor) {
  Metrics metrics;
  const Readiness readiness({}, absl::Hours(1), metrics);
  const auto endpoint = OperationsEndpoint::Open("127.0.0.1:0");
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  (*endpoint)->Serve({metrics, readiness, [] { return true; }});
  const int port = (*endpoint)->bound_port();
  EXPECT_THAT(Get(port, "/livez"), StartsWith("HTTP/1.0 200"));
  const UniqueFd waits(::socket(AF_INET, SOCK_STREAM, 0));
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  Connect(waits.get(), port);
  const clock_t begin = ::clock();
  absl::SleepFor(absl::Milliseconds(300));  // How long it is watched.
  const clock_t used = ::clock() - begin;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_LT(used, CLOCKS_PER_SEC / 10);
  EXPECT_THAT(Get(port, "/livez"), StartsWith("HTTP/1.0 200"));
}

TEST(OperationsEndpoint, AnswersWhoCameBeforeItServed) {
  Metrics metrics;
  const Readiness readiness({}, absl::Hours(1), metrics);
  const auto endpoint = OperationsEndpoint::Open("127.0.0.1:0");
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  std::future<std::string> early =
      std::async(std::launch::async, [&] { return Get((*endpoint)->bound_port(), "/livez"); });
  EXPECT_EQ(early.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  (*endpoint)->Serve({metrics, readiness, [] { return true; }});
  EXPECT_THAT(early.get(), StartsWith("HTTP/1.0 200"));
}

}  // namespace
}  // namespace backup
