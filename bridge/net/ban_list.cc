#include "bridge/net/ban_list.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "bridge/net/address_limits.h"

namespace backup::bridge {
namespace {

// The clock has no room for much more.
constexpr absl::Duration kAsGoodAsInfinite = absl::Hours(24 * 365 * 20);

// What ends sooner is over when others know of it.
constexpr std::chrono::seconds kWorthTelling(1);

MonotonicTime EndOf(MonotonicTime now, absl::Duration remaining) {
  return now + absl::ToChronoNanoseconds(std::min(remaining, kAsGoodAsInfinite));
}

}  // namespace

bool BanList::Contains(const IpAddress& address, MonotonicTime now) const {
  MutexLock lock(mutex_);
  return FindInForce(address, now) != nullptr;
}

const BanList::Entry* BanList::FindInForce(const IpAddress& address, MonotonicTime now) const {
  for (const int bits : sizes_) {
    const auto found = entries_.find(IpNetwork(address, bits));
    if (found == entries_.end() || found->second.end <= now) continue;
    // Of an IPv4 address ::/16 has the first bits too.
    if (!found->first.Contains(address)) continue;
    return options_.never.Contains(address) ? nullptr : &found->second;
  }
  return nullptr;
}

std::optional<EarnedBan> BanList::Add(const IpAddress& address, absl::string_view reason,
                                      MonotonicTime now) {
  const IpNetwork network = NetworkOf(address);
  // Of IPv6 also its neighbours.
  if (options_.never.Overlap(network)) return std::nullopt;
  MutexLock lock(mutex_);
  if (FindInForce(address, now) != nullptr) return std::nullopt;
  Forget(now);
  if (entries_.size() >= kMaxBans && !entries_.contains(network)) return std::nullopt;
  Entry& entry = entries_[network];
  EarnedBan earned{network, options_.first, ++entry.strikes, std::string(reason)};
  for (int64_t i = 1; i < earned.strikes && earned.duration < options_.longest; ++i)
    earned.duration *= 2;
  earned.duration = std::min(earned.duration, options_.longest);
  entry.end = EndOf(now, earned.duration);
  entry.untold_reason = earned.reason;
  CountSizes();
  return earned;
}

std::vector<EarnedBan> BanList::Untold(MonotonicTime now, size_t limit) const {
  MutexLock lock(mutex_);
  std::vector<EarnedBan> untold;
  for (const auto& [network, entry] : entries_) {
    if (!entry.untold_reason || entry.end <= now + kWorthTelling) continue;
    if (untold.size() == limit) break;
    untold.push_back(
        {network, absl::FromChrono(entry.end - now), entry.strikes, *entry.untold_reason});
  }
  return untold;
}

void BanList::NoteTold(const std::vector<EarnedBan>& told) {
  MutexLock lock(mutex_);
  for (const EarnedBan& ban : told) {
    const auto found = entries_.find(ban.network);
    // It may have been banned once more since.
    if (found != entries_.end() && found->second.strikes == ban.strikes)
      found->second.untold_reason.reset();
  }
}

std::vector<IpNetwork> BanList::Replace(const std::vector<KnownBan>& known, MonotonicTime now) {
  MutexLock lock(mutex_);
  std::vector<IpNetwork> never_banned;
  absl::flat_hash_map<IpNetwork, Entry> replaced;
  for (const KnownBan& ban : known) {
    replaced[ban.network] = {EndOf(now, ban.remaining), ban.strikes};
    if (ban.remaining > absl::ZeroDuration() && options_.never.Overlap(ban.network) &&
        !entries_.contains(ban.network)) {
      never_banned.push_back(ban.network);
    }
  }
  for (const auto& [network, entry] : entries_) {
    if (!entry.untold_reason) continue;
    Entry& kept = replaced[network];
    kept.end = std::max(kept.end, entry.end);
    kept.strikes = std::max(kept.strikes, entry.strikes);
    kept.untold_reason = entry.untold_reason;
  }
  entries_ = std::move(replaced);
  CountSizes();
  return never_banned;
}

void BanList::Forget(MonotonicTime now) {
  absl::erase_if(entries_, [&](const auto& entry) {
    return entry.second.end + absl::ToChronoNanoseconds(kMemory) <= now;
  });
}

void BanList::CountSizes() {
  std::set<int> sizes;
  for (const auto& [network, entry] : entries_) sizes.insert(network.bits());
  sizes_.assign(sizes.begin(), sizes.end());
}

}  // namespace backup::bridge
