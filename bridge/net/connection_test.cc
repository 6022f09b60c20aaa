#include "bridge/net/connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "base/testing/status_matchers.h"
#include "bridge/testing/connection_fixture.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::backup::testing::IsOkAndHolds;
using ::backup::testing::StatusIs;

constexpr absl::Duration kShort = absl::Milliseconds(20);
constexpr absl::Duration kLong = absl::Seconds(20);

using ConnectionTest = ConnectionFixture;

TEST_F(ConnectionTest, ReadsAheadNoMoreThanAskedFor) {
  PeerSends("0123456789");
  EXPECT_EQ(connection_->ReadAhead(4), Connection::ReadAheadResult::kBytes);
  EXPECT_EQ(connection_->buffered(), "0123");
  connection_->Consume(2);
  EXPECT_EQ(connection_->buffered(), "23");
  EXPECT_EQ(connection_->ReadAhead(100), Connection::ReadAheadResult::kBytes);
  EXPECT_EQ(connection_->buffered(), "23456789");
}

TEST_F(ConnectionTest, TheFirstRequestArrivesWithTheConnectionAndLaterOnesWithTheirBytes) {
  const MonotonicTime connected = MonotonicClock::now();
  PeerSends("0123");
  EXPECT_EQ(connection_->ReadAhead(2), Connection::ReadAheadResult::kBytes);
  EXPECT_EQ(connection_->ReadAhead(4), Connection::ReadAheadResult::kBytes);
  EXPECT_LT(connection_->arrival_time(), connected);
  connection_->Consume(4);
  const MonotonicTime served = MonotonicClock::now();
  EXPECT_LT(connection_->arrival_time(), connected);
  PeerSends("4567");
  EXPECT_EQ(connection_->ReadAhead(2), Connection::ReadAheadResult::kBytes);
  const MonotonicTime arrival = connection_->arrival_time();
  EXPECT_GT(arrival, served);
  EXPECT_EQ(connection_->ReadAhead(4), Connection::ReadAheadResult::kBytes);
  EXPECT_EQ(connection_->arrival_time(), arrival);
}

TEST_F(ConnectionTest, AFirstRequestThatIsAwaitedArrivesWithItsBytes) {
  EXPECT_EQ(connection_->ReadAhead(4), Connection::ReadAheadResult::kNothing);
  const MonotonicTime awaited = MonotonicClock::now();
  PeerSends("0123");
  EXPECT_EQ(connection_->ReadAhead(4), Connection::ReadAheadResult::kBytes);
  EXPECT_GT(connection_->arrival_time(), awaited);
  EXPECT_LT(connection_->begin_time(), awaited);
  connection_->Consume(4);
  PeerSends("4567");
  EXPECT_EQ(connection_->ReadAhead(4), Connection::ReadAheadResult::kBytes);
  EXPECT_EQ(connection_->begin_time(), connection_->arrival_time());
}

TEST_F(ConnectionTest, TellsNothingYetFromTheEnd) {
  EXPECT_EQ(connection_->ReadAhead(4), Connection::ReadAheadResult::kNothing);
  PeerSends("a");
  peer_.Reset();
  EXPECT_EQ(connection_->ReadAhead(4), Connection::ReadAheadResult::kBytes);
  EXPECT_EQ(connection_->ReadAhead(4), Connection::ReadAheadResult::kEnd);
}

TEST_F(ConnectionTest, WriteToAPeerThatNeverReadsEndsAtTheDeadline) {
  EXPECT_THAT(connection_->WriteAll(std::string(size_t{8} << 20, 'x'), kShort),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(ConnectionTest, WriteToAPeerThatIsGoneFailsWithoutASignal) {
  peer_.Reset();
  EXPECT_FALSE(connection_->WriteAll("answer", kLong).ok());
}

TEST_F(ConnectionTest, AbortEndsAReadThatWaits) {
  std::thread aborter([&] { connection_->Abort(); });
  char byte;
  EXPECT_THAT(connection_->Read(std::span<char>(&byte, 1), kLong), IsOkAndHolds(0u));
  aborter.join();
}

TEST_F(ConnectionTest, WaitsWithoutALimitIfAsked) {
  std::thread sender([&] {
    ::usleep(1000);
    PeerSends("some");
  });
  EXPECT_OK(connection_->WaitForBuffered(4, absl::InfiniteDuration()));
  sender.join();
}

}  // namespace
}  // namespace backup::bridge
