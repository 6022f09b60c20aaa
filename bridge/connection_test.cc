#include "bridge/connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "base/testing/status_matchers.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::backup::testing::IsOkAndHolds;
using ::backup::testing::StatusIs;

constexpr absl::Duration kShort = absl::Milliseconds(20);
constexpr absl::Duration kLong = absl::Seconds(20);

class ConnectionTest : public ::testing::Test {
 protected:
  ConnectionTest() {
    int fds[2];
    CHECK_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    peer_ = UniqueFd(fds[1]);
    connection_ = std::make_unique<Connection>(UniqueFd(fds[0]), "peer", 1);
  }

  void PeerSends(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(peer_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      CHECK_GT(sent, 0);
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }

  static SharedPiece ShareNext(ByteSource& source) {
    const auto piece = source.Read();
    EXPECT_OK(piece);
    return source.Share(*piece);
  }
  absl::StatusOr<std::string> ReadWhole(ByteSource& source) {
    return ReadAll(source, size_t{64} << 20);
  }

  UniqueFd peer_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(ConnectionTest, ReadsAheadNoMoreThanAskedFor) {
  PeerSends("0123456789");
  EXPECT_EQ(connection_->ReadAhead(4), Connection::ReadAheadResult::kBytes);
  EXPECT_EQ(connection_->buffered(), "0123");
  connection_->Consume(2);
  EXPECT_EQ(connection_->buffered(), "23");
  EXPECT_EQ(connection_->ReadAhead(100), Connection::ReadAheadResult::kBytes);
  EXPECT_EQ(connection_->buffered(), "23456789");
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

TEST_F(ConnectionTest, BodyBeginsWithWhatWasReadAheadAndEndsAtItsSize) {
  PeerSends("head, body, next");
  connection_->ReadAhead(8);
  connection_->Consume(6);
  BodySource body(*connection_, 4, {});
  EXPECT_THAT(ReadWhole(body), IsOkAndHolds("body"));
  EXPECT_EQ(body.left(), 0u);
  connection_->ReadAhead(100);
  EXPECT_EQ(connection_->buffered(), ", next");
}

TEST_F(ConnectionTest, LargeBodyComesInPiecesOfTheUsualSize) {
  const std::string sent(3 * kPieceSize + 5, 'x');
  std::thread sender([&] { PeerSends(sent); });
  BodySource body(*connection_, sent.size(), {.gather = kLong});
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

TEST_F(ConnectionTest, BodyHandsOverWhatHasComeInsteadOfWaitingForAWholePiece) {
  PeerSends("some");
  BodySource body(*connection_, 1000, {});
  EXPECT_THAT(body.Read(), IsOkAndHolds("some"));
}

TEST_F(ConnectionTest, SharedPiecesOfABodyLastWithoutBeingCopied) {
  const std::string sent = std::string(kPieceSize, 'a') + std::string(kPieceSize, 'b');
  std::thread sender([&] { PeerSends(sent); });
  BodySource body(*connection_, sent.size(), {.gather = kLong});
  std::string shared;
  for (const SharedPiece& piece : {ShareNext(body), ShareNext(body)}) {
    EXPECT_EQ(piece.bytes.data(), piece.buffer.get());
    shared += std::string(piece.bytes);
  }
  sender.join();
  EXPECT_EQ(shared, sent);
}

TEST_F(ConnectionTest, ASharedPieceTakesNotMuchMoreMemoryThanItHasBytes) {
  PeerSends("some");
  BodySource body(*connection_, 1000, {});
  const SharedPiece piece = ShareNext(body);
  EXPECT_EQ(piece.bytes, "some");
  EXPECT_EQ(piece.buffer_size, 4u);
}

TEST_F(ConnectionTest, BodyThatEndsEarlyIsAnErrorAndStaysOne) {
  PeerSends("half");
  peer_.Reset();
  BodySource body(*connection_, 8, {});
  EXPECT_THAT(ReadWhole(body), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(body.Read(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(body.status(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(ConnectionTest, BodyThatStallsIsGivenUpAfterOneWindow) {
  PeerSends("half");
  BodySource body(
      *connection_, 8,
      {.window = kShort, .least_bytes_per_second = 1024, .gather = absl::ZeroDuration()});
  EXPECT_THAT(ReadWhole(body), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(ConnectionTest, WaitsWithoutALimitIfAsked) {
  std::thread sender([&] {
    ::usleep(1000);
    PeerSends("some");
  });
  EXPECT_OK(connection_->WaitForBuffered(4, absl::InfiniteDuration()));
  sender.join();
}

TEST_F(ConnectionTest, BodyThatIsSlowButFastEnoughIsRead) {
  const std::string sent(200, 'x');
  std::thread sender([&] {
    for (const char byte : sent) {
      PeerSends(absl::string_view(&byte, 1));
      ::usleep(5000);
    }
  });
  // Windows are much longer than a busy machine may keep the sender from running.
  BodySource body(*connection_, sent.size(),
                  {.window = absl::Milliseconds(400), .least_bytes_per_second = 20});
  EXPECT_THAT(ReadWhole(body), IsOkAndHolds(sent));
  sender.join();
}

}  // namespace
}  // namespace backup::bridge
