#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "backup/v1/admin.pb.h"
#include "base/mutex.h"

namespace backup {

// Hands what old clients ask, and how it ends, to whoever watches them: `backupctl trace`. Costs
// next to nothing while nobody does. Thread-safe.
class ClientTrace {
 public:
  // One watcher; from construction to destruction it gets every event that fits. Thread-safe.
  class Watch {
   public:
    // `client_id` is UUID text, `peer` the beginning of an address; empty: any.
    Watch(ClientTrace& owner, std::string client_id, std::string peer);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    // The next event; nothing if none comes within `timeout`. Events that the watcher was too slow
    // for are counted in the one after them.
    std::optional<v1::TraceClientResponse> Next(absl::Duration timeout);

   private:
    friend class ClientTrace;
    bool Wants(const v1::TraceClientResponse& event) const;

    ClientTrace& owner_;
    const std::string client_id_;
    const std::string peer_;
    // Guarded by the owner's mutex.
    std::deque<v1::TraceClientResponse> events_;
    int64_t missed_ = 0;
  };

  // Whether anybody watches anything.
  bool active() const { return watch_count_.load(std::memory_order_relaxed) > 0; }
  void Publish(const v1::TraceClientResponse& event);

 private:
  Mutex mutex_;
  CondVar changed_;
  std::set<Watch*> watches_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int> watch_count_ = 0;
};

}  // namespace backup
