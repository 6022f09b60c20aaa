#include "bridge/net/address_limits.h"

#include <algorithm>
#include <array>
#include <span>

#include "absl/strings/numbers.h"

namespace backup::bridge {
namespace {

constexpr absl::Duration kLongestSpan = absl::Hours(365 * 24);

IpAddress Limited(const IpAddress& address) { return NetworkOf(address).first(); }

}  // namespace

IpNetwork NetworkOf(const IpAddress& address) {
  constexpr int kBitsOfIpv4 = 128;  // All, as IpNetwork counts them.
  constexpr int kBitsOfIpv6 = 64;
  return IpNetwork(address, address.is_ipv4() ? kBitsOfIpv4 : kBitsOfIpv6);
}

std::optional<Rate> Rate::Parse(absl::string_view text) {
  if (text == "0") return Rate();
  const size_t slash = text.find('/');
  Rate rate;
  if (slash == absl::string_view::npos || !absl::SimpleAtoi(text.substr(0, slash), &rate.count) ||
      !absl::ParseDuration(text.substr(slash + 1), &rate.span)) {
    return std::nullopt;
  }
  const bool is_rate =
      rate.count > 0 && rate.span <= kLongestSpan && rate.span / rate.count >= absl::Nanoseconds(1);
  return is_rate ? std::optional(rate) : std::nullopt;
}

absl::Duration TokenBuckets::WaitFor(const IpAddress& address, MonotonicTime now) {
  if (rate_.count == 0) return absl::ZeroDuration();
  const absl::Duration until_full = absl::FromChrono(FullAt(address, now) - now) + token();
  // Empty, it is full after `span`.
  return std::max(until_full - rate_.span, absl::ZeroDuration());
}

void TokenBuckets::Take(const IpAddress& address, MonotonicTime now) {
  if (rate_.count == 0) return;
  FullAt(address, now) += absl::ToChronoNanoseconds(token());
}

MonotonicTime& TokenBuckets::FullAt(const IpAddress& address, MonotonicTime now) {
  MonotonicTime& full_at = full_at_.See(address, now);
  const auto farthest = now + absl::ToChronoNanoseconds(rate_.span + longest_wait_ + token());
  if (full_at < now || full_at > farthest) full_at = now;
  return full_at;
}

AddressLimits::AddressLimits(const AddressLimitOptions& options)
    : options_(options),
      requests_(options.requests, options.longest_wait),
      registrations_(options.registrations, options.longest_wait),
      all_registrations_(options.all_registrations, options.longest_wait) {}

bool AddressLimits::AddConnection(const IpAddress& address) {
  if (options_.connections == 0) return true;
  int64_t& count = connections_[Limited(address)];
  if (count >= options_.connections) return false;
  ++count;
  return true;
}

void AddressLimits::RemoveConnection(const IpAddress& address) {
  const auto found = connections_.find(Limited(address));
  if (found != connections_.end() && --found->second == 0) connections_.erase(found);
}

Admission AddressLimits::TakeRequest(const IpAddress& address, bool registers, MonotonicTime now) {
  struct Needed {
    absl::string_view limit;
    TokenBuckets& buckets;
    IpAddress whose;
  };
  const IpAddress limited = Limited(address);
  const std::array<Needed, 3> all = {{{"requests_per_address", requests_, limited},
                                      {kRegistrationsPerAddress, registrations_, limited},
                                      {"registrations", all_registrations_, IpAddress()}}};
  const std::span<const Needed> needed(all.data(), registers ? all.size() : 1);
  Admission admission;
  for (const Needed& one : needed) {
    const absl::Duration wait = one.buckets.WaitFor(one.whose, now);
    if (wait > admission.wait) admission = {one.limit, wait};
  }
  if (admission.wait > options_.longest_wait) return {admission.limit, absl::InfiniteDuration()};
  for (const Needed& one : needed) one.buckets.Take(one.whose, now);
  return admission;
}

}  // namespace backup::bridge
