#include "bridge/service/ban_sync.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "bridge/service/await.h"
#include "glog/logging.h"
#include "google/protobuf/duration.pb.h"

namespace backup::bridge {
namespace {

// As many as the service takes in one call.
constexpr size_t kMaxTold = 256;
// After a refusal, which a moment will not change.
constexpr int kRoundsAfterRefusal = 20;

v1::EarnedBan ToProto(const EarnedBan& ban) {
  v1::EarnedBan message;
  message.set_network(ban.network.text());
  absl::Duration rest;
  message.mutable_duration()->set_seconds(
      absl::IDivDuration(ban.duration, absl::Seconds(1), &rest));
  message.mutable_duration()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  message.set_reason(ban.reason);
  message.set_strikes(ban.strikes);
  return message;
}

absl::Duration RemainingOf(const v1::KnownBan& ban) {
  if (!ban.has_remaining()) return absl::InfiniteDuration();
  return absl::Seconds(ban.remaining().seconds()) + absl::Nanoseconds(ban.remaining().nanos());
}

std::vector<KnownBan> FromProto(const v1::SyncBansResponse& response) {
  std::vector<KnownBan> bans;
  for (const v1::KnownBan& ban : response.bans()) {
    const absl::StatusOr<IpNetwork> network = IpNetwork::Parse(ban.network());
    if (network.ok()) bans.push_back({*network, RemainingOf(ban), ban.strikes()});
  }
  return bans;
}

}  // namespace

BanSync::BanSync(BackendClient& backend, BanList& bans, absl::Duration interval)
    : backend_(backend),
      bans_(bans),
      syncs_(
          interval, [this](const std::stop_token&) { Sync(); }, PeriodicTask::FirstRun::kAtOnce) {}

void BanSync::Sync() {
  if (rounds_to_skip_ > 0) {
    --rounds_to_skip_;
    return;
  }
  const std::vector<EarnedBan> earned = bans_.Untold(MonotonicClock::now(), kMaxTold);
  v1::SyncBansRequest request;
  request.set_version(version_);
  for (const EarnedBan& ban : earned) *request.add_earned() = ToProto(ban);
  const auto response = Await<absl::StatusOr<v1::SyncBansResponse>>([&](const auto& done) {
    backend_.Invoke<methods::SyncBans>(origin_, std::move(request), done, Policy::kOnce);
  });
  NoteOutcome(response.status());
  if (!response.ok()) return;
  bans_.NoteTold(earned);
  if (response->version() == version_) return;
  version_ = response->version();
  for (const IpNetwork& network : bans_.Replace(FromProto(*response), MonotonicClock::now())) {
    LOG(WARNING) << "network=" << network.text()
                 << " is banned, but not here, as far as it is never to be (--allow_networks, "
                    "--never_ban_networks)";
  }
}

void BanSync::NoteOutcome(const absl::Status& outcome) {
  const bool is_refused = absl::IsPermissionDenied(outcome) || absl::IsUnimplemented(outcome) ||
                          absl::IsUnauthenticated(outcome);
  if (is_refused) rounds_to_skip_ = kRoundsAfterRefusal;
  LOG_IF(WARNING, is_refused && !is_refused_)
      << "the service does not tell who is banned, so what is earned here holds here only: "
      << outcome.message();
  LOG_IF(INFO, outcome.ok() && is_refused_) << "the service tells who is banned again";
  if (is_refused || outcome.ok()) is_refused_ = is_refused;
}

}  // namespace backup::bridge
