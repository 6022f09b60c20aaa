#include "bridge/held_connection.h"

#include <utility>

namespace backup::bridge {

HeldConnection::HeldConnection(AcceptingSocket::Accepted accepted, uint64_t number,
                               const SessionContext& context, IdleShutdown& idle)
    : connection(std::move(accepted.socket), std::move(accepted.peer), number,
                 context.options.metrics.received_bytes, context.options.metrics.sent_bytes),
      session(connection, context),
      address(accepted.address),
      activity_(idle),
      metrics_(context.options.metrics) {
  metrics_.connections_total.Add();
  metrics_.connections.With({StateName(state_)}).Add(1);
}

HeldConnection::~HeldConnection() {
  metrics_.connections.With({StateName(state_)}).Add(-1);
  metrics_.connections_closed.With({ReasonName(close_reason)}).Add();
}

void HeldConnection::Enter(State next) {
  if (state_ == next) return;
  metrics_.connections.With({StateName(state_)}).Add(-1);
  metrics_.connections.With({StateName(next)}).Add(1);
  state_ = next;
}

absl::string_view HeldConnection::StateName(State state) {
  switch (state) {
    case State::kWaiting:
      return "waiting";
    case State::kThrottled:
      return "throttled";
    case State::kServed:
      return "served";
    case State::kLingering:
      return "lingering";
  }
  return "";
}

}  // namespace backup::bridge
