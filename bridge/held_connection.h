#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "base/idle_shutdown.h"
#include "base/unique_fd.h"
#include "bridge/bridge_metrics.h"
#include "bridge/net/connection.h"
#include "bridge/request/session.h"

namespace backup::bridge {

// A connection and what the event loop knows of it. Used by one thread at a time.
class HeldConnection {
 public:
  enum class State { kWaiting, kServed, kLingering };

  HeldConnection(UniqueFd socket, std::string peer, uint64_t number, const SessionContext& context,
                 IdleShutdown& idle);
  ~HeldConnection();
  HeldConnection(const HeldConnection&) = delete;
  HeldConnection& operator=(const HeldConnection&) = delete;

  uint64_t number() const { return connection.number(); }
  State state() const { return state_; }
  void Enter(State next);

  Connection connection;
  Session session;          // In state kServed not the loop's to touch, nor is the connection.
  bool is_watched = false;  // By epoll, once it was waited for.
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
