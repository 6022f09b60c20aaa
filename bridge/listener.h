#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/idle_shutdown.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "bridge/session.h"
#include "bridge/worker_pool.h"

namespace backup::bridge {

struct ListenerOptions {
  size_t max_connections = 10'000;
  size_t max_active_requests = 1024;
  // From the first byte of a head to its last; zero: no limit.
  std::chrono::milliseconds header_timeout{10'000};
  // Between requests; zero: no limit.
  std::chrono::milliseconds idle_timeout{60'000};
  // How long the answer to a retry notice waits for the client's next bytes.
  std::chrono::milliseconds retry_answer_delay{300};
  ConnectionLimits connection;
};

// A listening TCP socket. InvalidArgument, or AlreadyExists if the port is in use.
absl::StatusOr<UniqueFd> ListenOnPort(const std::string& address, int port);
int PortOf(const UniqueFd& listening_socket);

// Accepts clients and keeps those that wait: an event loop on one thread collects the heads of
// requests, so that a waiting client costs no thread; a whole head goes to a worker, which serves
// it and gives the connection back. Thread-safe.
class Listener {
 public:
  // Serves at once. `session` and `idle` outlive it.
  Listener(UniqueFd socket, Session& session, IdleShutdown& idle, ListenerOptions options);
  // Drains without waiting, if that was not done.
  ~Listener();

  // No new connections; waiting ones are closed; requests in flight may finish within `timeout`,
  // then they are cut off.
  void Drain(absl::Duration timeout);

 private:
  // A connection and what the loop knows of it. Owned by the loop; a worker has it while `busy`.
  struct Client {
    Client(UniqueFd socket, std::string peer, uint64_t number, const ConnectionLimits& limits,
           IdleShutdown& idle)
        : connection(std::move(socket), std::move(peer), number, limits), activity(idle) {}
    Connection connection;
    IdleShutdown::Activity activity;
    bool busy = false;
    bool lingering = false;       // Refused; waits only for the client to end.
    std::string deferred_answer;  // Sent at `deadline` unless bytes come first.
    std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  };
  struct Returned {
    Client* client;
    NextStep next;
  };

  void Loop(std::stop_token token);
  void AcceptAll();
  void Admit(UniqueFd socket, std::string peer);
  void OnReadable(Client& client);
  void OnDeadline(Client& client);
  void CheckDeadlines();
  void Dispatch(Client& client);
  void TakeBack();
  void AwaitRequest(Client& client, NextStep next);
  void Close(Client& client);
  void Wake();

  const UniqueFd socket_;
  Session& session_;
  IdleShutdown& idle_;
  const ListenerOptions options_;
  const UniqueFd epoll_;
  const UniqueFd wake_;
  UniqueFd spare_;  // Closed to get room for refusing a connection when descriptors have run out.

  // The loop's thread only.
  std::map<int, std::unique_ptr<Client>> clients_;
  uint64_t next_number_ = 1;

  Mutex mutex_;
  CondVar quiet_;
  std::vector<Returned> returned_ ABSL_GUARDED_BY(mutex_);
  std::map<Client*, int> serving_ ABSL_GUARDED_BY(mutex_);  // Busy clients and their sockets.

  std::unique_ptr<WorkerPool> workers_;
  std::jthread loop_;
};

}  // namespace backup::bridge
