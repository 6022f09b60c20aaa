#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/idle_shutdown.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "base/worker_pool.h"
#include "bridge/deadlines.h"
#include "bridge/session.h"

namespace backup::bridge {

struct ListenerOptions {
  // From the first byte of a head to its last; then a general error. Infinite turns it off.
  absl::Duration header_timeout = absl::Seconds(10);
  // Without a byte between two requests; then the connection is closed. Infinite turns it off.
  absl::Duration idle_timeout = absl::Seconds(60);
  // How long the answer to a retry notice waits for the client to go on by itself.
  absl::Duration retry_answer_delay = absl::Milliseconds(300);
  // How long a connection that is to be closed may still send.
  absl::Duration linger_timeout = absl::Seconds(2);
  int max_connections = 10'000;
  int max_active_requests = 1024;
  SessionOptions session;
};

// Accepts connections and holds each until it has sent the whole head of a request, without a
// thread. A request that came whole is served without one, too; another by a worker. Then the
// connection is given back. One event loop keeps all deadlines but those of a request being served.
// Thread-safe.
class Listener {
 public:
  // Serves on `socket`, which listens and does not block, at once. `forwarder` and `idle` must
  // outlive the listener.
  static absl::StatusOr<std::unique_ptr<Listener>> Start(UniqueFd socket, Forwarder& forwarder,
                                                         IdleShutdown& idle,
                                                         const ListenerOptions& options);
  // Hangs up on whoever is still connected, and waits for the workers.
  ~Listener();

  // Accepts no more and closes what is idle; requests in flight may finish within `timeout`.
  // Whether all did.
  bool Drain(absl::Duration timeout);

  // Whether the event loop comes round within `timeout`; any thread may ask.
  bool Turns(absl::Duration timeout);

 private:
  enum class State { kWaiting, kServed, kLingering };
  static absl::string_view StateName(State state);
  // A connection and what the loop knows of it.
  struct Held {
    Held(UniqueFd socket, std::string peer, uint64_t number, Listener& owner);
    ~Held();
    void Enter(State next);

    Connection connection;
    Session session;  // In state kServed not the loop's to touch.
    const IdleShutdown::Activity activity;
    const BridgeMetrics& metrics;
    State state = State::kWaiting;
    bool is_watched = false;                       // By epoll, once it was waited for.
    CloseReason close_reason = CloseReason::kEof;  // While it lingers, why.
    std::string lazy_answer;
    Served after_lazy_answer;
  };

  // Connections that were served, on their way back to the loop. Outlives the listener if need be,
  // because whoever gave the last one back may not have returned from that yet. Thread-safe.
  class Returns {
   public:
    explicit Returns(UniqueFd wake) : wake_(std::move(wake)) {}
    // Nothing: a worker has to serve it.
    void Add(uint64_t number, std::optional<Served> served);
    std::vector<std::pair<uint64_t, std::optional<Served>>> Take();
    // Ends the loop's wait.
    void Wake();
    // Once the loop has seen it.
    void ClearWake();

   private:
    const UniqueFd wake_;  // An eventfd.
    Mutex mutex_;
    std::vector<std::pair<uint64_t, std::optional<Served>>> returned_ ABSL_GUARDED_BY(mutex_);
  };

  Listener(UniqueFd socket, UniqueFd epoll, std::shared_ptr<Returns> returns, Forwarder& forwarder,
           IdleShutdown& idle, const ListenerOptions& options);

  // Everything below runs on the loop's thread.
  void Loop();
  void HandleEvent(uint64_t key);
  void Accept();
  // One connection; false if there was none to accept.
  bool AcceptOne();
  void Refuse(Held& held);
  void ReadHead(Held& held);
  void HandleEnd(Held& held);
  // Waits for the rest of a head, or for the next one.
  void Wait(Held& held);
  // Once there is room for it under max_active_requests.
  void Serve(Held& held);
  void Begin(Held& held);
  // Gives the room of a request that was served to the next that waits.
  void BeginNext();
  void ServeByWorker(Held& held);
  void TakeBack();
  void Resume(Held& held, Served served);
  // Goes on as the last request, answered by now, wants it.
  void Continue(Held& held, const Served& served);
  void Linger(Held& held, CloseReason reason);
  void Discard(Held& held);
  void Expire(Held& held);
  // Has epoll tell when more comes. Closes the connection if that cannot be had.
  void Arm(Held& held);
  void Close(Held& held, CloseReason reason);
  void StopAccepting();
  void AbortAll();
  Held* Find(uint64_t number);

  Forwarder& forwarder_;
  IdleShutdown& idle_;
  const ListenerOptions options_;
  const UniqueFd epoll_;
  const std::shared_ptr<Returns> returns_;
  std::atomic<bool> draining_ = false;
  std::atomic<bool> aborting_ = false;

  // Used by the loop's thread only.
  UniqueFd socket_;
  const int first_reserved_;  // A connection that gets this descriptor or a higher one is refused.
  std::map<uint64_t, std::unique_ptr<Held>> held_;
  Deadlines deadlines_;
  size_t lingering_ = 0;
  int active_ = 0;               // Requests that are being served, by whomever.
  std::deque<uint64_t> queued_;  // Connections whose requests wait for one of them to end.
  uint64_t last_number_ = 0;

  Mutex mutex_;
  CondVar changed_;
  uint64_t turns_ ABSL_GUARDED_BY(mutex_) = 0;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;

  WorkerPool workers_;  // Ends before what its work uses.
  std::thread thread_;  // Joined first.
};

}  // namespace backup::bridge
