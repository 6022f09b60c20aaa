#include "services/backup/client_trace.h"

#include <thread>

#include "gtest/gtest.h"

namespace backup {
namespace {

v1::TraceClientResponse Event(const std::string& client_id, const std::string& peer) {
  v1::TraceClientResponse event;
  event.set_client_id(client_id);
  event.set_peer(peer);
  return event;
}

TEST(ClientTrace, GivesEachWatcherWhatItAskedFor) {
  ClientTrace trace;
  EXPECT_FALSE(trace.active());
  {
    ClientTrace::Watch by_id(trace, "a", "");
    ClientTrace::Watch by_peer(trace, "", "10.0.0.1:");
    EXPECT_TRUE(trace.active());
    trace.Publish(Event("a", "10.0.0.2:5"));
    trace.Publish(Event("b", "10.0.0.1:6"));
    EXPECT_EQ(by_id.Next(absl::Seconds(10))->peer(), "10.0.0.2:5");
    EXPECT_EQ(by_peer.Next(absl::Seconds(10))->client_id(), "b");
    EXPECT_FALSE(by_id.Next(absl::ZeroDuration()).has_value());
  }
  EXPECT_FALSE(trace.active());
}

TEST(ClientTrace, WakesAWatcherThatWaits) {
  ClientTrace trace;
  ClientTrace::Watch watch(trace, "", "");
  std::jthread publisher([&] { trace.Publish(Event("a", "p")); });
  EXPECT_TRUE(watch.Next(absl::Seconds(30)).has_value());
}

TEST(ClientTrace, TellsASlowWatcherHowMuchItMissed) {
  ClientTrace trace;
  ClientTrace::Watch watch(trace, "", "");
  for (int i = 0; i < 1024 + 7; ++i) trace.Publish(Event("a", "p"));
  EXPECT_EQ(watch.Next(absl::ZeroDuration())->missed_count(), 0);
  trace.Publish(Event("a", "p"));
  int64_t missed = 0;
  while (const auto event = watch.Next(absl::ZeroDuration())) missed += event->missed_count();
  EXPECT_EQ(missed, 7);
}

}  // namespace
}  // namespace backup
