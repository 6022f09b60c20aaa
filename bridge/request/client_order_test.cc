#include "bridge/request/client_order.h"

#include <future>
#include <optional>
#include <string>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::backup::testing::IsOk;
using ::backup::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kNever = absl::Hours(1);
const ClientId kLaptop = *ClientId::FromBytes(std::string(16, 'l'));
const ClientId kDesktop = *ClientId::FromBytes(std::string(16, 'd'));

class ClientOrderTest : public ::testing::Test {
 protected:
  // Notes when `place` is the first.
  void Wait(ClientOrder& order, const ClientOrder::Place& place, int name) {
    order.WhenFirst(place, [this, name](const absl::Status& first) {
      EXPECT_THAT(first, IsOk());
      went_.push_back(name);
    });
  }

  rpc::CompletionQueue queue_;
  std::vector<int> went_;
};

TEST_F(ClientOrderTest, TheFirstGoesAtOnceAndTheOthersInTheOrderOfTheirPlaces) {
  ClientOrder order(queue_, kNever);
  ClientOrder::Place first = order.Take(kLaptop);
  ClientOrder::Place second = order.Take(kLaptop);
  ClientOrder::Place third = order.Take(kLaptop);
  Wait(order, third, 3);
  Wait(order, second, 2);
  Wait(order, first, 1);
  EXPECT_THAT(went_, ElementsAre(1));
  first.Leave();
  EXPECT_THAT(went_, ElementsAre(1, 2));
  second.Leave();
  EXPECT_THAT(went_, ElementsAre(1, 2, 3));
}

TEST_F(ClientOrderTest, ClientsDoNotWaitForEachOther) {
  ClientOrder order(queue_, kNever);
  const ClientOrder::Place laptop = order.Take(kLaptop);
  const ClientOrder::Place desktop = order.Take(kDesktop);
  Wait(order, desktop, 1);
  EXPECT_THAT(went_, ElementsAre(1));
}

TEST_F(ClientOrderTest, APlaceMayLeaveBeforeItIsFirstOrBeforeAnybodyWaitsForIt) {
  ClientOrder order(queue_, kNever);
  ClientOrder::Place first = order.Take(kLaptop);
  std::optional<ClientOrder::Place> second = order.Take(kLaptop);
  const ClientOrder::Place third = order.Take(kLaptop);
  Wait(order, third, 3);
  second.reset();
  EXPECT_THAT(went_, IsEmpty());
  first = ClientOrder::Place();
  EXPECT_THAT(went_, ElementsAre(3));
}

TEST_F(ClientOrderTest, NobodyWaitsForTooLong) {
  ClientOrder order(queue_, absl::Milliseconds(1));
  ClientOrder::Place stuck = order.Take(kLaptop);
  ClientOrder::Place waiting = order.Take(kLaptop);
  std::promise<absl::Status> went;
  order.WhenFirst(waiting, [&](absl::Status first) { went.set_value(std::move(first)); });
  EXPECT_THAT(went.get_future().get(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  stuck.Leave();  // Does not let it go again.
}

}  // namespace
}  // namespace backup::bridge
