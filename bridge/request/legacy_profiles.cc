#include "bridge/request/legacy_profiles.h"

#include <utility>

#include "base/error.h"

namespace backup::bridge {
namespace {

// About 10 MiB. When it is full, all are forgotten: what is needed again is asked for again.
constexpr size_t kMaxEntries = 32'768;

// The fields that the bridge fills in; the service has more for others.
v1::LegacyProfile OwnFields(const v1::LegacyProfile& profile) {
  v1::LegacyProfile own;
  own.set_family(profile.family());
  own.set_header_version(profile.header_version());
  own.set_framing(profile.framing());
  own.set_file_style(profile.file_style());
  own.set_connection_style(profile.connection_style());
  return own;
}

// Whether it differs from what is known so far.
bool IsNews(const std::string& known, const std::string& observed) {
  return !observed.empty() && observed != known;
}

// Takes over what `observed` knows; whether that was more. Who has ever sent many requests on a
// connection does.
bool Merge(const v1::LegacyProfile& observed, v1::LegacyProfile& known) {
  v1::LegacyProfile news;
  if (IsNews(known.family(), observed.family())) news.set_family(observed.family());
  if (observed.header_version() != known.header_version())
    news.set_header_version(observed.header_version());
  if (IsNews(known.framing(), observed.framing())) news.set_framing(observed.framing());
  if (IsNews(known.file_style(), observed.file_style())) news.set_file_style(observed.file_style());
  if (known.connection_style() != kManyRequests &&
      IsNews(known.connection_style(), observed.connection_style())) {
    news.set_connection_style(observed.connection_style());
  }
  known.MergeFrom(news);
  return news.ByteSizeLong() > 0;
}

}  // namespace

std::optional<v1::LegacyProfile> LegacyProfiles::FindCached(const ClientId& id) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  return found == entries_.end() ? std::nullopt : std::optional(found->second.profile);
}

void LegacyProfiles::Find(const CallOrigin& origin, const ClientId& id, Policy policy, Done done) {
  v1::ObserveClientRequest request;
  request.set_client_id(ToUuid(id));
  backend_.Invoke<methods::ObserveClient>(
      origin, std::move(request),
      [this, id, done = std::move(done)](absl::StatusOr<v1::ObserveClientResponse> response) {
        done(Keep(id, std::move(response)));
      },
      policy);
}

absl::StatusOr<v1::LegacyProfile> LegacyProfiles::Keep(
    const ClientId& id, absl::StatusOr<v1::ObserveClientResponse> response) {
  if (ReasonOf(response.status()) == Reason::kClientNotFound) return v1::LegacyProfile();
  if (!response.ok()) return response.status();
  MutexLock lock(mutex_);
  MakeRoom();
  return entries_.try_emplace(id, Entry{OwnFields(response->profile()), true})
      .first->second.profile;
}

std::optional<v1::LegacyProfile> LegacyProfiles::Observe(const ClientId& id,
                                                         const v1::LegacyProfile& observed) {
  MutexLock lock(mutex_);
  MakeRoom();
  Entry& entry = entries_[id];
  if (Merge(observed, entry.profile)) entry.reported = false;
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

}  // namespace backup::bridge
