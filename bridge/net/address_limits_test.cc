#include "bridge/net/address_limits.h"

#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(5);
const MonotonicTime kStart = MonotonicTime() + std::chrono::hours(1);

MonotonicTime At(absl::Duration after) { return kStart + absl::ToChronoNanoseconds(after); }
IpAddress Address(absl::string_view text) { return *IpAddress::Parse(text); }
// As a request that waits for no longer than kPatience.
absl::Duration Take(TokenBuckets& buckets, const IpAddress& address, MonotonicTime now) {
  const absl::Duration wait = buckets.WaitFor(address, now);
  if (wait > kPatience) return absl::InfiniteDuration();
  buckets.Take(address, now);
  return wait;
}
IpAddress Number(uint32_t number) {
  const std::string bytes = {static_cast<char>(number >> 24), static_cast<char>(number >> 16),
                             static_cast<char>(number >> 8), static_cast<char>(number)};
  return *IpAddress::FromBytes(bytes);
}

TEST(Rate, IsACountInATime) {
  const auto rate = Rate::Parse("1000/1h");
  ASSERT_TRUE(rate);
  EXPECT_EQ(rate->count, 1000);
  EXPECT_EQ(rate->span, absl::Hours(1));
  EXPECT_EQ(Rate::Parse("0")->count, 0);
  EXPECT_TRUE(Rate::Parse("1/8760h"));
  for (const char* wrong : {"", "1000", "1000/", "/1h", "x/1h", "1000/x", "0/1h", "-1/1h", "1/0s",
                            "1/-1s", "1/inf", "1/8761h", "1/3000000h", "1000000000000/1s"})
    EXPECT_FALSE(Rate::Parse(wrong)) << wrong;
}

TEST(TokenBuckets, AllTokensMayBeTakenAtOnceAndComeBackOneByOne) {
  TokenBuckets buckets({3, absl::Seconds(30)}, absl::Hours(1));
  const IpAddress address = Address("1.2.3.4");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Take(buckets, address, kStart), absl::ZeroDuration());
  EXPECT_EQ(Take(buckets, address, kStart), absl::InfiniteDuration());
  EXPECT_EQ(Take(buckets, address, At(absl::Seconds(6))), absl::Seconds(4));
  // That one counts already.
  EXPECT_EQ(Take(buckets, address, At(absl::Seconds(10))), absl::InfiniteDuration());
  EXPECT_EQ(Take(buckets, address, At(absl::Seconds(20))), absl::ZeroDuration());
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(Take(buckets, address, At(absl::Hours(1))), absl::ZeroDuration());
  EXPECT_EQ(Take(buckets, address, At(absl::Hours(1))), absl::InfiniteDuration());
}

TEST(TokenBuckets, EachAddressHasItsOwn) {
  TokenBuckets buckets({1, absl::Hours(1)}, absl::Hours(1));
  EXPECT_EQ(Take(buckets, Address("1.2.3.4"), kStart), absl::ZeroDuration());
  EXPECT_EQ(Take(buckets, Address("1.2.3.5"), kStart), absl::ZeroDuration());
  EXPECT_EQ(Take(buckets, Address("1.2.3.4"), kStart), absl::InfiniteDuration());
}

TEST(TokenBuckets, ThoseNotSeenForLongestAreForgotten) {
  TokenBuckets buckets({1, absl::Hours(1)}, absl::Hours(1));
  const auto most = static_cast<uint32_t>(TokenBuckets::kMaxAddresses);
  for (uint32_t i = 0; i < most; ++i) Take(buckets, Number(i), kStart);
  EXPECT_EQ(Take(buckets, Number(0), kStart), absl::InfiniteDuration());  // Seen again.
  Take(buckets, Number(most), kStart);
  EXPECT_EQ(buckets.size(), TokenBuckets::kMaxAddresses);
  EXPECT_EQ(Take(buckets, Number(0), kStart), absl::InfiniteDuration());
  EXPECT_EQ(Take(buckets, Number(1), kStart), absl::ZeroDuration());
}

TEST(TokenBuckets, AClockThatGoesBackHoldsNobodyBack) {
  TokenBuckets buckets({1, absl::Minutes(1)}, absl::Seconds(10));
  const IpAddress address = *IpAddress::Parse("10.0.0.1");
  const MonotonicTime now = MonotonicClock::now();
  EXPECT_EQ(Take(buckets, address, now), absl::ZeroDuration());
  EXPECT_EQ(buckets.WaitFor(address, now - std::chrono::hours(1)), absl::ZeroDuration());
}

TEST(TokenBuckets, WithoutALimitNothingIsRemembered) {
  TokenBuckets buckets({}, absl::Hours(1));
  for (int i = 0; i < 1000; ++i)
    EXPECT_EQ(Take(buckets, Address("1.2.3.4"), kStart), absl::ZeroDuration());
  EXPECT_EQ(buckets.size(), 0U);
}

TEST(AddressLimits, CountsOpenConnections) {
  AddressLimits limits({.connections = 2});
  const IpAddress one = Address("1.2.3.4");
  EXPECT_TRUE(limits.AddConnection(one));
  EXPECT_TRUE(limits.AddConnection(one));
  EXPECT_FALSE(limits.AddConnection(one));
  EXPECT_TRUE(limits.AddConnection(Address("1.2.3.5")));
  limits.RemoveConnection(one);
  EXPECT_TRUE(limits.AddConnection(one));
  EXPECT_FALSE(limits.AddConnection(one));
}

TEST(AddressLimits, SixtyFourBitsOfIpv6AreOneAddress) {
  AddressLimits limits({.connections = 1, .requests = {1, absl::Hours(1)}});
  EXPECT_TRUE(limits.AddConnection(Address("2001:db8::1")));
  EXPECT_FALSE(limits.AddConnection(Address("2001:db8::ffff:0:0:2")));
  EXPECT_TRUE(limits.AddConnection(Address("2001:db8:0:1::1")));
  EXPECT_EQ(limits.TakeRequest(Address("2001:db8::1"), false, kStart).limit, "");
  EXPECT_EQ(limits.TakeRequest(Address("2001:db8::2"), false, kStart).wait,
            absl::InfiniteDuration());
}

TEST(AddressLimits, TheLongestWaitIsTheRequests) {
  AddressLimits limits({.requests = {1, absl::Seconds(1)}, .registrations = {1, absl::Seconds(3)}});
  const IpAddress address = Address("1.2.3.4");
  EXPECT_EQ(limits.TakeRequest(address, true, kStart).limit, "");
  const Admission second = limits.TakeRequest(address, true, kStart);
  EXPECT_EQ(second.limit, "registrations_per_address");
  EXPECT_EQ(second.wait, absl::Seconds(3));
  const Admission third = limits.TakeRequest(address, false, kStart);
  EXPECT_EQ(third.limit, "requests_per_address");
  EXPECT_EQ(third.wait, absl::Seconds(2));
}

TEST(AddressLimits, AllTogetherMayRegisterOnlySoOften) {
  AddressLimits limits(
      {.registrations = {2, absl::Hours(1)}, .all_registrations = {2, absl::Hours(1)}});
  EXPECT_EQ(limits.TakeRequest(Address("1.1.1.1"), true, kStart).limit, "");
  EXPECT_EQ(limits.TakeRequest(Address("1.1.1.2"), true, kStart).limit, "");
  const Admission third = limits.TakeRequest(Address("1.1.1.3"), true, kStart);
  EXPECT_EQ(third.limit, "registrations");
  EXPECT_EQ(third.wait, absl::InfiniteDuration());
  EXPECT_EQ(limits.TakeRequest(Address("1.1.1.3"), false, kStart).limit, "");
}

// Otherwise whoever tries again while others are too many would find that it was too many itself.
TEST(AddressLimits, WhatIsRefusedDoesNotCount) {
  AddressLimits limits({.requests = {3, absl::Hours(1)},
                        .registrations = {2, absl::Hours(1)},
                        .all_registrations = {1, absl::Minutes(1)}});
  const IpAddress address = Address("1.1.1.1");
  EXPECT_EQ(limits.TakeRequest(Address("1.1.1.2"), true, kStart).limit, "");
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(limits.TakeRequest(address, true, kStart).limit, "registrations");
  EXPECT_EQ(limits.TakeRequest(address, true, At(absl::Minutes(1))).limit, "");
  EXPECT_EQ(limits.TakeRequest(address, true, At(absl::Minutes(2))).limit, "");
  EXPECT_EQ(limits.TakeRequest(address, true, At(absl::Minutes(3))).limit,
            "registrations_per_address");
  EXPECT_EQ(limits.TakeRequest(address, false, At(absl::Minutes(3))).limit, "");
}

}  // namespace
}  // namespace backup::bridge
