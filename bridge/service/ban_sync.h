#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/periodic_task.h"
#include "bridge/net/ban_list.h"
#include "bridge/service/backend_client.h"

namespace backup::bridge {

// Tells the service which bans were earned here and learns of all others, every few seconds. While
// the service cannot be asked, what is known goes on, and what is earned here holds here.
class BanSync {
 public:
  static constexpr absl::Duration kInterval = absl::Seconds(3);

  // Begins at once. Both must outlive this.
  BanSync(BackendClient& backend, BanList& bans, absl::Duration interval = kInterval);

 private:
  // On the thread of the task.
  void Sync();
  // The log is told when it begins to go wrong, and when it is well again.
  void NoteOutcome(const absl::Status& outcome);

  BackendClient& backend_;
  BanList& bans_;
  const CallOrigin origin_;  // Nobody: no client asks.
  std::string version_;      // Of what the service told last.
  bool is_refused_ = false;  // The service is too old, or does not let us.
  int rounds_to_skip_ = 0;
  PeriodicTask syncs_;  // Last: ends before what it uses.
};

}  // namespace backup::bridge
