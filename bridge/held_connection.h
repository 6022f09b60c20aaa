#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "base/idle_shutdown.h"
#include "base/ip_network.h"
#include "bridge/bridge_metrics.h"
#include "bridge/net/accepting_socket.h"
#include "bridge/net/connection.h"
#include "bridge/request/session.h"

namespace backup::bridge {

// A connection and what the event loop knows of it. Used by one thread at a time.
class HeldConnection {
 public:
  enum class State { kWaiting, kThrottled, kServed, kLingering };

  HeldConnection(AcceptingSocket::Accepted accepted, uint64_t number, const SessionContext& context,
                 IdleShutdown& idle);
  ~HeldConnection();
  HeldConnection(const HeldConnection&) = delete;
  HeldConnection& operator=(const HeldConnection&) = delete;

  uint64_t number() const { return connection.number(); }
  State state() const { return state_; }
  void Enter(State next);

  Connection connection;
  Session session;    // In state kServed not the loop's to touch, nor is the connection.
  IpAddress address;  // The client's, as far as a balancer does not hide it.
  bool awaits_proxy_header = false;              // Before anything else may come.
  bool is_counted = false;                       // As one of its address.
  bool is_watched = false;                       // By epoll, once it was waited for.
  CloseReason close_reason = CloseReason::kEof;  // While it lingers, why.
  std::string lazy_answer;
  Served after_lazy_answer;

 private:
  static absl::string_view StateName(State state);

  const IdleShutdown::Activity activity_;
  const BridgeMetrics& metrics_;
  State state_ = State::kWaiting;
};

}  // namespace backup::bridge
