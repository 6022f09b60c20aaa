#include "bridge/net/body_source.h"

#include <sys/socket.h>
#include <unistd.h>

#include <thread>
#include <vector>

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

class BodySourceTest : public ConnectionFixture {
 protected:
  static SharedPiece ShareNext(ByteSource& source) {
    const auto piece = source.Read();
    EXPECT_OK(piece);
    return source.Share(*piece);
  }
  absl::StatusOr<std::string> ReadWhole(ByteSource& source) {
    return ReadAll(source, size_t{64} << 20);
  }

  BodyBudget budget_;
};

TEST_F(BodySourceTest, BodyBeginsWithWhatWasReadAheadAndEndsAtItsSize) {
  PeerSends("head, body, next");
  connection_->ReadAhead(8);
  connection_->Consume(6);
  BodySource body(*connection_, 4, {}, budget_);
  EXPECT_THAT(ReadWhole(body), IsOkAndHolds("body"));
  EXPECT_EQ(body.left(), 0u);
  connection_->ReadAhead(100);
  EXPECT_EQ(connection_->buffered(), ", next");
}

TEST_F(BodySourceTest, LargeBodyComesInPiecesOfTheUsualSize) {
  const std::string sent(3 * kPieceSize + 5, 'x');
  std::thread sender([&] { PeerSends(sent); });
  BodySource body(*connection_, sent.size(), {.gather = kLong}, budget_);
  std::vector<size_t> sizes;
  while (body.left() > 0) {
    const auto piece = body.Read();
    ASSERT_OK(piece);
    sizes.push_back(piece->size());
  }
  sender.join();
  EXPECT_THAT(sizes, ::testing::ElementsAre(kPieceSize, kPieceSize, kPieceSize, 5));
  EXPECT_THAT(body.Read(), IsOkAndHolds(""));
}

TEST_F(BodySourceTest, BodyHandsOverWhatHasComeInsteadOfWaitingForAWholePiece) {
  PeerSends("some");
  BodySource body(*connection_, 1000, {}, budget_);
  EXPECT_THAT(body.Read(), IsOkAndHolds("some"));
}

TEST_F(BodySourceTest, SharedPiecesOfABodyLastWithoutBeingCopied) {
  const std::string sent = std::string(kPieceSize, 'a') + std::string(kPieceSize, 'b');
  std::thread sender([&] { PeerSends(sent); });
  BodySource body(*connection_, sent.size(), {.gather = kLong}, budget_);
  std::string shared;
  for (const SharedPiece& piece : {ShareNext(body), ShareNext(body)}) {
    EXPECT_EQ(piece.bytes.data(), piece.buffer.get());
    shared += std::string(piece.bytes);
  }
  sender.join();
  EXPECT_EQ(shared, sent);
}

TEST_F(BodySourceTest, ASharedPieceTakesNotMuchMoreMemoryThanItHasBytes) {
  PeerSends("some");
  BodySource body(*connection_, 1000, {}, budget_);
  const SharedPiece piece = ShareNext(body);
  EXPECT_EQ(piece.bytes, "some");
  EXPECT_EQ(piece.buffer_size, 4u);
}

TEST_F(BodySourceTest, BodyThatEndsEarlyIsAnErrorAndStaysOne) {
  PeerSends("half");
  peer_.Reset();
  BodySource body(*connection_, 8, {}, budget_);
  EXPECT_THAT(ReadWhole(body), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(body.Read(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(body.status(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(BodySourceTest, BodyThatStallsIsGivenUpAfterOneWindow) {
  PeerSends("half");
  BodySource body(
      *connection_, 8,
      {.window = kShort, .least_bytes_per_second = 1024, .gather = absl::ZeroDuration()}, budget_);
  EXPECT_THAT(ReadWhole(body), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(BodySourceTest, BodyThatIsSlowButFastEnoughIsRead) {
  const std::string sent(200, 'x');
  std::thread sender([&] {
    for (const char byte : sent) {
      PeerSends(absl::string_view(&byte, 1));
      ::usleep(5000);
    }
  });
  // Windows are much longer than a busy machine may keep the sender from running.
  BodySource body(*connection_, sent.size(),
                  {.window = absl::Milliseconds(400), .least_bytes_per_second = 20}, budget_);
  EXPECT_THAT(ReadWhole(body), IsOkAndHolds(sent));
  sender.join();
}

}  // namespace
}  // namespace backup::bridge
