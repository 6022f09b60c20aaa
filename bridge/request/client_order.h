#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <stop_token>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "rpc/completion_queue.h"

namespace backup::bridge {

// Sees to it that the requests of one client take effect in the order in which they arrived, on
// whichever connections: docs/adr/0017-order-of-a-clients-requests.md. A request takes a place in
// its client's line when its last byte has come, is sent to the service when it is the first there,
// and leaves when it is answered. No thread waits. Thread-safe.
class ClientOrder {
 private:
  struct Lines;
  struct Waiting {
    const uint64_t number;
    std::function<void(absl::Status)> go;  // Empty while nobody waits.
    std::stop_source timer{std::nostopstate};
  };
  using Line = std::list<Waiting>;

 public:
  // A place in a line, or none. Used by one thread at a time.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept;
    Place& operator=(Place&& other) noexcept;
    ~Place() { Leave(); }

    bool is_taken() const { return lines_ != nullptr; }
    // Lets the next one go, on the calling thread. Without a place it does nothing.
    void Leave();

   private:
    friend class ClientOrder;
    Place(std::shared_ptr<Lines> lines, const ClientId& id, Line::iterator self)
        : lines_(std::move(lines)), id_(id), self_(self) {}

    std::shared_ptr<Lines> lines_;
    ClientId id_;
    Line::iterator self_;
  };

  // Nobody waits for longer than `longest_wait`. `queue` must outlive this.
  ClientOrder(rpc::CompletionQueue& queue, absl::Duration longest_wait);

  // The last place in the client's line.
  Place Take(const ClientId& id);

  // Calls `go` once, when all who were ahead of `place` have left: on any thread, perhaps before
  // this returns. It must not block. With DeadlineExceeded if that takes too long; never if the
  // place leaves before.
  void WhenFirst(const Place& place, std::function<void(absl::Status)> go);

 private:
  struct Lines {
    Mutex mutex;
    absl::flat_hash_map<ClientId, Line> by_client ABSL_GUARDED_BY(mutex);
    uint64_t last_number ABSL_GUARDED_BY(mutex) = 0;
  };

  static void GiveUp(Lines& lines, const ClientId& id, uint64_t number);

  rpc::CompletionQueue& queue_;
  const absl::Duration longest_wait_;
  const std::shared_ptr<Lines> lines_ =
      std::make_shared<Lines>();  // Shared with places and timers.
};

}  // namespace backup::bridge
