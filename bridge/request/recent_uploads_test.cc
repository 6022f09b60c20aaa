#include "bridge/request/recent_uploads.h"

#include <sys/socket.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bridge/net/connection.h"
#include "glog/logging.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using Kind = wire::ChecksumVerdict::Kind;

// A connection that was accepted when this was made.
class Accepted {
 public:
  explicit Accepted(uint64_t number) {
    int fds[2];
    CHECK_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    peer_ = UniqueFd(fds[1]);
    connection_ = std::make_unique<Connection>(UniqueFd(fds[0]), "peer", number);
  }

  // Whoever waits for its requests finds none.
  void Await() { CHECK(connection_->ReadAhead(7) == Connection::ReadAheadResult::kNothing); }
  // One request comes and is read, in place of the one before.
  void Request() {
    connection_->Consume(connection_->buffered().size());
    CHECK_EQ(::send(peer_.get(), "request", 7, MSG_NOSIGNAL), 7);
    CHECK(connection_->ReadAhead(7) == Connection::ReadAheadResult::kBytes);
  }
  const Connection& operator*() const { return *connection_; }

 private:
  UniqueFd peer_;
  std::unique_ptr<Connection> connection_;
};

std::string Upload(int number) {
  return absl::StrCat("00000000-0000-4000-8000-", absl::Dec(number, absl::kZeroPad12));
}

class RecentUploadsTest : public ::testing::Test {
 protected:
  // A client that sends each request on a connection of its own sends a file and gets the answer.
  void Answer(const std::string& name, int upload) {
    uploads_.Remember(client_, name, Upload(upload), *Accepted(++last_connection_));
  }
  Accepted NewConnection() { return Accepted(++last_connection_); }
  std::string Find(const Accepted& connection, const std::string& name = "a",
                   Kind kind = Kind::kValid) {
    return uploads_.Find(client_, {.kind = kind, .name = name}, *connection);
  }

  RecentUploads uploads_;
  const ClientId client_ = *ClientId::FromBytes("0123456789abcdef");
  const ClientId other_ = *ClientId::FromBytes("another client's");
  uint64_t last_connection_ = 0;
};

TEST_F(RecentUploadsTest, AVerdictIsAboutTheNewestUploadThatWasAnsweredBefore) {
  Accepted before = NewConnection();
  Answer("a", 1);
  Accepted between = NewConnection();
  Answer("a", 2);
  Accepted after = NewConnection();
  // However late it is handled.
  for (Accepted* connection : {&before, &between, &after}) connection->Request();
  EXPECT_EQ(Find(before), "");
  EXPECT_EQ(Find(between), Upload(1));
  EXPECT_EQ(Find(after), Upload(2));
}

TEST_F(RecentUploadsTest, AVerdictOnAnOlderConnectionCountsFromItsOwnBytesOn) {
  Accepted connection = NewConnection();
  connection.Request();
  EXPECT_EQ(Find(connection), "");
  Answer("a", 1);
  connection.Request();
  Answer("a", 2);
  EXPECT_EQ(Find(connection), Upload(1));
  connection.Request();
  EXPECT_EQ(Find(connection), Upload(2));
}

TEST_F(RecentUploadsTest, AFirstVerdictThatComesLateCountsFromItsOwnBytesOn) {
  Answer("a", 1);
  Accepted connection = NewConnection();
  connection.Await();
  Answer("a", 2);
  connection.Request();
  EXPECT_EQ(Find(connection), Upload(2));
  EXPECT_EQ(Find(connection, "a", Kind::kAbort), Upload(2));
  // Its client has not waited for it before it sent the file again.
  EXPECT_EQ(Find(connection, "a", Kind::kRetry), Upload(1));
  connection.Request();
  EXPECT_EQ(Find(connection, "a", Kind::kRetry), Upload(2));
}

TEST_F(RecentUploadsTest, TheUploadsOfItsOwnConnectionComeFirst) {
  Accepted connection = NewConnection();
  connection.Request();
  // With the verdict behind the file, and so before the answer.
  uploads_.Remember(client_, "a", Upload(1), *connection);
  EXPECT_EQ(Find(connection), Upload(1));
  uploads_.Remember(client_, "a", Upload(2), *connection);
  Answer("a", 3);
  EXPECT_EQ(Find(connection), Upload(2));
}

TEST_F(RecentUploadsTest, TellsNamesAndClientsApart) {
  Answer("a", 1);
  Answer("b", 2);
  uploads_.Remember(other_, "a", Upload(3), *NewConnection());
  const Accepted connection = NewConnection();
  EXPECT_EQ(Find(connection, "a"), Upload(1));
  EXPECT_EQ(Find(connection, "b"), Upload(2));
  EXPECT_EQ(uploads_.Find(other_, {.name = "a"}, *connection), Upload(3));
  EXPECT_EQ(uploads_.Find(other_, {.name = "b"}, *connection), "");
}

TEST_F(RecentUploadsTest, ForgetsTheOldestBeyondItsBound) {
  Answer("a", 1);
  Answer("a", 2);
  const Accepted connection = NewConnection();
  for (size_t i = 0; i < RecentUploads::kMaxUploads - 1; ++i)
    uploads_.Remember(client_, absl::StrCat(i), Upload(3), *connection);
  Accepted verdict = NewConnection();
  EXPECT_EQ(Find(verdict, "a"), Upload(2));
  uploads_.Remember(client_, "one more", Upload(3), *connection);
  EXPECT_EQ(Find(verdict, "a"), "");
  EXPECT_EQ(Find(verdict, "0"), Upload(3));
}

TEST_F(RecentUploadsTest, DoesNotRememberWhatHasNoId) {
  uploads_.Remember(client_, "a", "", *NewConnection());
  EXPECT_EQ(Find(NewConnection()), "");
}

}  // namespace
}  // namespace backup::bridge
