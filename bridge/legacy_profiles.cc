#include "bridge/legacy_profiles.h"

#include <utility>

#include "base/error.h"

namespace backup::bridge {
namespace {

// About 10 MiB. When it is full, all are forgotten: what is needed again is asked for again.
constexpr size_t kMaxEntries = 32'768;

LegacyProfile FromProto(const v1::LegacyProfile& profile) {
  return {profile.family(), profile.header_version(), profile.framing(), profile.file_style(),
          profile.connection_style()};
}

}  // namespace

void LegacyProfile::Merge(const LegacyProfile& observed) {
  if (!observed.family.empty()) family = observed.family;
  if (observed.header_version != 0) header_version = observed.header_version;
  if (!observed.framing.empty()) framing = observed.framing;
  if (!observed.file_style.empty()) file_style = observed.file_style;
  if (connection_style != kManyRequests && !observed.connection_style.empty())
    connection_style = observed.connection_style;
}

std::optional<LegacyProfile> LegacyProfiles::FindCached(const ClientId& id) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  return found == entries_.end() ? std::nullopt : std::optional(found->second.profile);
}

absl::StatusOr<LegacyProfile> LegacyProfiles::Find(const CallOrigin& origin, const ClientId& id) {
  if (std::optional<LegacyProfile> cached = FindCached(id)) return *std::move(cached);
  v1::ObserveClientRequest request;
  request.set_client_id(ToUuid(id));
  const auto response = backend_.ObserveClient(origin, request);
  if (ReasonOf(response.status()) == Reason::kClientNotFound) return LegacyProfile();
  if (!response.ok()) return response.status();
  MutexLock lock(mutex_);
  MakeRoom();
  return entries_.try_emplace(id, Entry{FromProto(response->profile()), true})
      .first->second.profile;
}

std::optional<LegacyProfile> LegacyProfiles::Observe(const ClientId& id,
                                                     const LegacyProfile& observed) {
  MutexLock lock(mutex_);
  MakeRoom();
  Entry& entry = entries_[id];
  LegacyProfile merged = entry.profile;
  merged.Merge(observed);
  if (merged != entry.profile) entry = {std::move(merged), false};
  if (entry.reported) return std::nullopt;
  return entry.profile;
}

void LegacyProfiles::MarkReported(const ClientId& id) {
  MutexLock lock(mutex_);
  if (const auto found = entries_.find(id); found != entries_.end()) found->second.reported = true;
}

void LegacyProfiles::MakeRoom() {
  if (entries_.size() >= kMaxEntries) entries_.clear();
}

v1::LegacyProfile ToProto(const LegacyProfile& profile) {
  v1::LegacyProfile out;
  out.set_family(profile.family);
  out.set_header_version(profile.header_version);
  out.set_framing(profile.framing);
  out.set_file_style(profile.file_style);
  out.set_connection_style(profile.connection_style);
  return out;
}

}  // namespace backup::bridge
