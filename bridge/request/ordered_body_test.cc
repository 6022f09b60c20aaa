#include "bridge/request/ordered_body.h"

#include <future>
#include <string>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::backup::testing::IsOkAndHolds;
using ::backup::testing::StatusIs;

const ClientId kLaptop = *ClientId::FromBytes(std::string(16, 'l'));

class TwoPieces final : public Body {
 public:
  absl::StatusOr<absl::string_view> Read() override {
    if (left_ == 0) return absl::string_view();
    --left_;
    return absl::string_view("x");
  }
  uint64_t left() const override { return left_; }
  uint64_t received_bytes() const override { return 0; }
  const absl::Status& status() const override { return status_; }

 private:
  uint64_t left_ = 2;
  const absl::Status status_;
};

class OrderedBodyTest : public ::testing::Test {
 protected:
  rpc::CompletionQueue queue_;
  TwoPieces content_;
};

TEST_F(OrderedBodyTest, TellsItsEndOnceItIsFirstInItsClientsLine) {
  ClientOrder order(queue_, absl::Hours(1));
  ClientOrder::Place ahead = order.Take(kLaptop);
  OrderedBody body(content_, order, kLaptop);
  EXPECT_THAT(body.Read(), IsOkAndHolds("x"));
  EXPECT_THAT(body.Read(), IsOkAndHolds("x"));
  auto end = std::async(std::launch::async, [&] { return body.Read(); });
  EXPECT_EQ(end.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  ahead.Leave();
  EXPECT_THAT(end.get(), IsOkAndHolds(""));
  EXPECT_THAT(body.Read(), IsOkAndHolds(""));
}

TEST_F(OrderedBodyTest, HoldsUpNobodyBeforeItWasReadToItsEnd) {
  ClientOrder order(queue_, absl::Hours(1));
  OrderedBody body(content_, order, kLaptop);
  EXPECT_THAT(body.Read(), IsOkAndHolds("x"));
  ClientOrder::Place other = order.Take(kLaptop);
  bool went = false;
  order.WhenFirst(other, [&](const absl::Status&) { went = true; });
  EXPECT_TRUE(went);
  EXPECT_THAT(body.Read(), IsOkAndHolds("x"));
  ClientOrder::Place after = order.Take(kLaptop);
  went = false;
  order.WhenFirst(after, [&](const absl::Status&) { went = true; });
  other.Leave();
  EXPECT_FALSE(went);
}

TEST_F(OrderedBodyTest, FailsIfThatTakesTooLong) {
  ClientOrder order(queue_, absl::Milliseconds(1));
  const ClientOrder::Place stuck = order.Take(kLaptop);
  OrderedBody body(content_, order, kLaptop);
  EXPECT_THAT(body.Read(), IsOkAndHolds("x"));
  EXPECT_THAT(body.Read(), IsOkAndHolds("x"));
  EXPECT_THAT(body.Read(), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

}  // namespace
}  // namespace backup::bridge
