#include "bridge/net/address_limits.h"

#include <algorithm>

#include "absl/strings/numbers.h"

namespace backup::bridge {
namespace {

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
  const bool is_rate = rate.count > 0 && rate.span > absl::ZeroDuration() &&
                       rate.span < absl::InfiniteDuration() &&
                       rate.span / rate.count >= absl::Nanoseconds(1);
  return is_rate ? std::optional(rate) : std::nullopt;
}

absl::Duration TokenBuckets::Take(const IpAddress& address, MonotonicTime now,
                                  absl::Duration longest) {
  if (rate_.count == 0) return absl::ZeroDuration();
  Bucket& bucket = Find(address, now);
  const absl::Duration token = rate_.span / rate_.count;
  const absl::Duration until_full = absl::FromChrono(bucket.full_at - now) + token;
  // Empty, it is full after `span`.
  const absl::Duration wait = std::max(until_full - rate_.span, absl::ZeroDuration());
  if (wait > longest) return absl::InfiniteDuration();
  bucket.full_at += absl::ToChronoNanoseconds(token);
  return wait;
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
  const IpAddress limited = Limited(address);
  const absl::Duration longest = options_.longest_wait;
  Admission admission;
  const auto take = [&](absl::string_view limit, TokenBuckets& buckets, const IpAddress& whose) {
    const absl::Duration wait = buckets.Take(whose, now, longest);
    if (wait > admission.wait) admission = {limit, wait};
    return wait <= longest;
  };
  if (take("requests_per_address", requests_, limited) && registers &&
      take("registrations_per_address", registrations_, limited)) {
    take("registrations", all_registrations_, IpAddress());
  }
  return admission;
}

}  // namespace backup::bridge
