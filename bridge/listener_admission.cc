// Whose connections a Listener takes, and whose they are.

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/socket_address.h"
#include "bridge/listener.h"
#include "bridge/net/proxy_header.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

constexpr int kRefusalLogSeconds = 5;

}  // namespace

bool Listener::Admit(HeldConnection& held) {
  const bool is_allowed = options_.allowed.empty() || options_.allowed.Contains(held.address);
  if (!is_allowed || options_.denied.Contains(held.address)) {
    LOG_EVERY_T(WARNING, kRefusalLogSeconds)
        << "peer=" << held.connection.peer() << " is closed: its network may not connect ("
        << (is_allowed ? "--deny_networks" : "--allow_networks") << ")";
    Close(held, CloseReason::kDenied);
    return false;
  }
  if (TurnAwayBanned(held)) return false;
  held.is_counted = limits_.AddConnection(held.address);
  if (!held.is_counted) Refuse(held, "connections_per_address", "--connections_per_address");
  return held.is_counted;
}

// The ban was told when it began: a line for each connection is what a flood would want.
bool Listener::TurnAwayBanned(HeldConnection& held) {
  if (!bans_.Contains(held.address, MonotonicClock::now())) return false;
  options_.session.metrics.admission_rejected.With({"banned"}).Add();
  Close(held, CloseReason::kBanned);
  return true;
}

void Listener::NoteOffence(const HeldConnection& held, Offence offence) {
  const BridgeMetrics& metrics = options_.session.metrics;
  metrics.offences.With({OffenceName(offence)}).Add();
  const std::optional<EarnedBan> ban =
      defender_.NoteOffence(held.address, offence, MonotonicClock::now());
  if (!ban) return;
  metrics.bans.Add();
  LOG(WARNING) << "address=" << ban->network.text() << " is banned for "
               << absl::FormatDuration(ban->duration) << ", for the " << ban->strikes
               << ". time in a row: too many offences (--ban_after), the last one "
               << OffenceName(offence);
}

void Listener::Uncount(HeldConnection& held) {
  if (std::exchange(held.is_counted, false)) limits_.RemoveConnection(held.address);
}

void Listener::Refuse(HeldConnection& held, absl::string_view limit, absl::string_view why) {
  LOG_EVERY_T(WARNING, kRefusalLogSeconds)
      << "peer=" << held.connection.peer() << " is refused: there is too much (" << why << ")";
  options_.session.metrics.admission_rejected.With({limit}).Add();
  held.session.RefuseUnserved();
  Linger(held, CloseReason::kLimit);
}

void Listener::Serve(HeldConnection& held) {
  if (TurnAwayBanned(held)) return;
  const bool registers = held.session.IsRegistration();
  const Admission admission = limits_.TakeRequest(held.address, registers, MonotonicClock::now());
  if (admission.limit.empty()) return Enqueue(held);
  if (admission.wait == absl::InfiniteDuration()) {
    if (admission.limit == kRegistrationsPerAddress) NoteOffence(held, Offence::kRegistrations);
    return Refuse(held, admission.limit, absl::StrCat("--", admission.limit));
  }
  LOG_EVERY_T(INFO, kRefusalLogSeconds)
      << "peer=" << held.connection.peer() << " waits for " << absl::FormatDuration(admission.wait)
      << ": there is too much (--" << admission.limit << ")";
  options_.session.metrics.admission_delayed.With({admission.limit}).Add();
  held.Enter(State::kThrottled);
  deadlines_.Set(held.number(), admission.wait);
}

void Listener::ReadProxyHeader(HeldConnection& held) {
  static_assert(kMaxProxyHeaderSize <= wire::kMaxHeadSize);  // So many bytes are read ahead.
  const auto header = DecodeProxyHeader(held.connection.buffered());
  if (!header.ok())
    return RefuseProxyHeader(held, CloseReason::kProxyHeader, header.status().message());
  if (!header->has_value()) return Arm(held);
  held.awaits_proxy_header = false;
  std::string peer = held.connection.peer();
  if (const auto& client = (*header)->client) {
    held.address = client->address;
    peer = AddressText(HostAndPort{client->address.text(), client->port});
  }
  VLOG(1) << "conn=" << held.number() << " peer=" << held.connection.peer() << " is for " << peer;
  held.connection.ConsumeProxyHeader((*header)->size, std::move(peer));
  if (Admit(held)) Continue(held, {});
}

void Listener::RefuseProxyHeader(HeldConnection& held, CloseReason reason, absl::string_view why) {
  LOG_EVERY_T(WARNING, kRefusalLogSeconds)
      << "peer=" << held.connection.peer()
      << ", a balancer (--proxy_protocol_from), sent no PROXY header, closing: " << why;
  Close(held, reason);
}

}  // namespace backup::bridge
