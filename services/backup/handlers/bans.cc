#include "services/backup/handlers/bans.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/ip_network.h"
#include "base/status_macros.h"
#include "crypto/sha256.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/page_tokens.h"
#include "services/backup/limits.h"

namespace backup::handlers {
namespace {

using storage::Ban;
using storage::BanSource;

constexpr char kBansScope[] = "bans";
constexpr size_t kMaxReasonSize = 255;
// What an operator may ban at once: more than that is for --deny_networks of the bridge.
constexpr int kLeastBitsOfIpv4 = 8;
constexpr int kLeastBitsOfIpv6 = 16;
// What a bridge may: one address, as it counts them.
constexpr int kBitsOfIpv6Address = 64;
constexpr int kHoursOfDay = 24;
constexpr absl::Duration kLongestBan = absl::Hours(kHoursOfDay * 3653);
constexpr absl::Duration kLongestEarnedBan = absl::Hours(kHoursOfDay * 7);
// How long a ban is remembered that has ended.
constexpr absl::Duration kBanMemory = absl::Hours(kHoursOfDay);
constexpr size_t kVersionSize = 8;

absl::Status InvalidField(absl::string_view field, absl::string_view why) {
  return MakeError(Reason::kInvalidField, absl::StrCat(field, " ", why), field);
}

absl::StatusOr<IpNetwork> ParseNetwork(absl::string_view text) {
  const absl::StatusOr<IpNetwork> network = IpNetwork::Parse(text);
  return network.ok() ? network : InvalidField("network", network.status().message());
}

absl::Status CheckReason(const std::string& reason) {
  if (reason.size() <= kMaxReasonSize) return absl::OkStatus();
  return InvalidField("reason", absl::StrCat("must have at most ", kMaxReasonSize, " bytes"));
}

// More than 0, at most `longest`; catalogs keep microseconds.
absl::StatusOr<absl::Time> ParseEnd(absl::Time now, const google::protobuf::Duration& duration,
                                    absl::Duration longest) {
  ASSIGN_OR_RETURN(const absl::Duration parsed, ParseDuration("duration", duration));
  if (parsed < absl::Microseconds(1) || parsed > longest) {
    return InvalidField("duration", absl::StrCat("must be more than 0, and at most ",
                                                 absl::FormatDuration(longest)));
  }
  return absl::FromUnixMicros(absl::ToUnixMicros(now + parsed));
}

absl::StatusOr<Ban> ParseEarned(absl::Time now, const std::string& author,
                                const v1::EarnedBan& message) {
  ASSIGN_OR_RETURN(const IpNetwork network, ParseNetwork(message.network()));
  if (network.family_bits() < (network.first().is_ipv4() ? 32 : kBitsOfIpv6Address))
    return InvalidField("network", "is more than one address");
  RETURN_IF_ERROR(CheckReason(message.reason()));
  if (message.strikes() < 1) return InvalidField("strikes", "must be at least 1");
  Ban ban;
  ban.network = network.text();
  ban.start_time = absl::FromUnixMicros(absl::ToUnixMicros(now));
  ASSIGN_OR_RETURN(ban.end_time, ParseEnd(now, message.duration(), kLongestEarnedBan));
  ban.source = BanSource::kBridge;
  ban.author = author;
  ban.reason = message.reason();
  ban.strikes = message.strikes();
  return ban;
}

// Forgets what is old; those that are left.
absl::StatusOr<std::vector<Ban>> Tidy(storage::Transaction& transaction, absl::Time now) {
  RETURN_IF_ERROR(transaction.DropEndedBans(now - kBanMemory).status());
  return transaction.ListBans(absl::InfinitePast(), "", kMaxBans);
}

// Sees to it that there is room for one more beside `bans`, which are all: in the place of the
// earned one that ends first, if need be. Whether there is.
absl::StatusOr<bool> MakeRoom(storage::Transaction& transaction, std::vector<Ban>& bans) {
  if (std::ssize(bans) < kMaxBans) return true;
  const auto end_of_earned = [](const Ban& ban) {
    return ban.source == BanSource::kBridge ? ban.end_time : absl::InfiniteFuture();
  };
  const auto first =
      std::min_element(bans.begin(), bans.end(), [&](const Ban& left, const Ban& right) {
        return end_of_earned(left) < end_of_earned(right);
      });
  if (first->source != BanSource::kBridge) return false;
  RETURN_IF_ERROR(transaction.DeleteBan(first->network).status());
  bans.erase(first);
  return true;
}

v1::Ban ToProto(const Ban& ban) {
  v1::Ban message;
  message.set_network(ban.network);
  SetTime(ban.start_time, *message.mutable_start_time());
  if (ban.end_time != absl::InfiniteFuture()) SetTime(ban.end_time, *message.mutable_end_time());
  // The numbers are the same on both sides: storage/catalog/ban.h.
  message.set_source(static_cast<v1::Ban::Source>(ban.source));
  message.set_author(ban.author);
  message.set_reason(ban.reason);
  message.set_strikes(ban.strikes);
  return message;
}

v1::KnownBan ToKnown(const Ban& ban, absl::Time now) {
  v1::KnownBan known;
  known.set_network(ban.network);
  known.set_strikes(ban.strikes);
  if (ban.end_time != absl::InfiniteFuture()) {
    SetDuration(std::max(ban.end_time - now, absl::ZeroDuration()), *known.mutable_remaining());
  }
  return known;
}

// Another one whenever a bridge has to know.
std::string VersionOf(const std::vector<Ban>& bans) {
  crypto::Sha256 hash;
  for (const Ban& ban : bans) {
    hash.Update(
        absl::StrCat(ban.network, " ", absl::ToUnixMicros(ban.end_time), " ", ban.strikes, "\n"));
  }
  return absl::BytesToHexString(hash.Finish().substr(0, kVersionSize));
}

}  // namespace

absl::StatusOr<AddBan> AddBan::Prepare(absl::Time now, std::string author,
                                       const v1::AddBanRequest& request) {
  ASSIGN_OR_RETURN(const IpNetwork network, ParseNetwork(request.network()));
  const int least = network.first().is_ipv4() ? kLeastBitsOfIpv4 : kLeastBitsOfIpv6;
  if (network.family_bits() < least) {
    return InvalidField("network",
                        absl::StrCat("must have at least ", least,
                                     " bits: more is for --deny_networks of the bridge"));
  }
  RETURN_IF_ERROR(CheckReason(request.reason()));
  AddBan handler;
  Ban& ban = handler.ban_;
  ban.network = network.text();
  ban.start_time = absl::FromUnixMicros(absl::ToUnixMicros(now));
  ban.end_time = absl::InfiniteFuture();
  if (request.has_duration()) {
    ASSIGN_OR_RETURN(ban.end_time, ParseEnd(now, request.duration(), kLongestBan));
  }
  ban.source = BanSource::kOperator;
  ban.author = std::move(author);
  ban.reason = request.reason();
  return handler;
}

absl::Status AddBan::Apply(storage::Transaction& transaction) {
  ASSIGN_OR_RETURN(std::vector<Ban> bans, Tidy(transaction, ban_.start_time));
  ASSIGN_OR_RETURN(const std::optional<Ban> before, transaction.FindBan(ban_.network));
  bool has_room = before.has_value();
  if (!has_room) {
    ASSIGN_OR_RETURN(has_room, MakeRoom(transaction, bans));
  }
  if (!has_room) {
    return MakeError(Reason::kSizeLimit,
                     absl::StrCat("there are ", kMaxBans,
                                  " bans already, with those that ended less than a day ago"),
                     "bans");
  }
  ban_.strikes = before ? before->strikes : 0;
  *response_.mutable_ban() = ToProto(ban_);
  return transaction.SetBan(ban_);
}

absl::StatusOr<RemoveBan> RemoveBan::Prepare(const v1::RemoveBanRequest& request) {
  ASSIGN_OR_RETURN(const IpNetwork network, ParseNetwork(request.network()));
  RemoveBan handler;
  handler.network_ = network.text();
  return handler;
}

absl::Status RemoveBan::Apply(storage::Transaction& transaction) {
  ASSIGN_OR_RETURN(const bool was_there, transaction.DeleteBan(network_));
  response_.set_was_there(was_there);
  return absl::OkStatus();
}

absl::StatusOr<NoteEarnedBans> NoteEarnedBans::Prepare(absl::Time now, std::string author,
                                                       const v1::SyncBansRequest& request) {
  if (request.earned_size() > kMaxEarnedBans) {
    return InvalidField("earned", absl::StrCat("has more than ", kMaxEarnedBans));
  }
  NoteEarnedBans handler;
  for (const v1::EarnedBan& message : request.earned()) {
    ASSIGN_OR_RETURN(Ban ban, ParseEarned(now, author, message));
    handler.earned_.push_back(std::move(ban));
  }
  return handler;
}

absl::Status NoteEarnedBans::Apply(storage::Transaction& transaction) {
  if (earned_.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(std::vector<Ban> bans, Tidy(transaction, earned_.front().start_time));
  for (Ban ban : earned_) {
    ASSIGN_OR_RETURN(const std::optional<Ban> before, transaction.FindBan(ban.network));
    if (before && before->end_time >= ban.end_time) continue;
    // Another bridge may know of more.
    if (before) ban.strikes = std::max(ban.strikes, before->strikes);
    if (!before) {
      ASSIGN_OR_RETURN(const bool has_room, MakeRoom(transaction, bans));
      if (!has_room) continue;
      bans.push_back(ban);
    }
    RETURN_IF_ERROR(transaction.SetBan(ban));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::ListBansResponse> ListBans(storage::Snapshot& snapshot, absl::Time now,
                                              const v1::ListBansRequest& request) {
  ASSIGN_OR_RETURN(const int page_size, ParsePageSize(request.page_size()));
  ASSIGN_OR_RETURN(const std::string after, ParsePageToken(kBansScope, request.page_token()));
  ASSIGN_OR_RETURN(std::vector<Ban> bans, snapshot.ListBans(now, after, page_size + 1));
  v1::ListBansResponse response;
  if (CutToPage(bans, page_size))
    response.set_next_page_token(MakePageToken(kBansScope, bans.back().network));
  for (const Ban& ban : bans) *response.add_bans() = ToProto(ban);
  return response;
}

absl::StatusOr<v1::SyncBansResponse> SyncBans(storage::Snapshot& snapshot, absl::Time now,
                                              const v1::SyncBansRequest& request) {
  ASSIGN_OR_RETURN(const std::vector<Ban> bans, snapshot.ListBans(now - kBanMemory, "", kMaxBans));
  v1::SyncBansResponse response;
  response.set_version(VersionOf(bans));
  if (response.version() == request.version()) return response;
  for (const Ban& ban : bans) *response.add_bans() = ToKnown(ban, now);
  return response;
}

}  // namespace backup::handlers
