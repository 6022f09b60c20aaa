#include "bridge/net/address_limits.h"

#include <algorithm>
#include <array>
#include <span>

#include "absl/strings/numbers.h"

namespace backup::bridge {
namespace {

constexpr absl::Duration kLongestSpan = absl::Hours(365 * 24);

IpAddress Limited(const IpAddress& address) {
  constexpr int kBitsOfIpv6 = 64;
  return address.is_ipv4() ? address : address.Masked(kBitsOfIpv6);
}

}  // namespace

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
  const absl::Duration until_full = absl::FromChrono(Find(address, now).full_at - now) + token();
  // Empty, it is full after `span`.
  return std::max(until_full - rate_.span, absl::ZeroDuration());
}

void TokenBuckets::Take(const IpAddress& address, MonotonicTime now) {
  if (rate_.count == 0) return;
  Find(address, now).full_at += absl::ToChronoNanoseconds(token());
}

TokenBuckets::Bucket& TokenBuckets::Find(const IpAddress& address, MonotonicTime now) {
  if (const auto found = by_address_.find(address); found != by_address_.end()) {
    in_order_.splice(in_order_.begin(), in_order_, found->second);
  } else {
    in_order_.push_front({address, now});
    by_address_.emplace(address, in_order_.begin());
    if (in_order_.size() > kMaxAddresses) {
      by_address_.erase(in_order_.back().address);
      in_order_.pop_back();
    }
  }
  Bucket& bucket = in_order_.front();
  bucket.full_at = std::max(bucket.full_at, now);
  return bucket;
}

AddressLimits::AddressLimits(const AddressLimitOptions& options)
    : options_(options),
      requests_(options.requests),
      registrations_(options.registrations),
      all_registrations_(options.all_registrations) {}

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
                                      {"registrations_per_address", registrations_, limited},
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
