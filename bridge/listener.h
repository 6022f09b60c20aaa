#pragma once

#include <atomic>
#include <deque>
#include <limits>
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
#include "base/ip_network.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "base/worker_pool.h"
#include "bridge/held_connection.h"
#include "bridge/loop_mailbox.h"
#include "bridge/net/accepting_socket.h"
#include "bridge/net/address_limits.h"
#include "bridge/net/ban_list.h"
#include "bridge/net/body_source.h"
#include "bridge/net/deadlines.h"
#include "bridge/net/defender.h"
#include "bridge/request/session.h"

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
  // Balancers: what connects from there begins with a PROXY header, which tells the client.
  IpNetworks balancers;
  // Of whose clients connections are closed at once: of all that are not in `allowed`, unless that
  // is empty, and of all in `denied`.
  IpNetworks allowed;
  IpNetworks denied;
  AddressLimitOptions limits;
  // How many offences earn a ban; a count of 0: none do.
  Rate ban_after;
  BanListOptions bans;
  int max_connections = 10'000;
  int max_active_requests = 1024;
  SessionOptions session;
};

// Accepts connections and holds each until it has sent the whole head of a request; then its
// session serves that and gives it back. One event loop, which never blocks, keeps all deadlines
// but those of a request being served. Workers wait for what is still to come of a request.
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

  // Who is turned away.
  BanList& bans() { return bans_; }

 private:
  using State = HeldConnection::State;
  // What an event is about, if it is not about a connection: connections are numbered from 1.
  static constexpr uint64_t kListenKey = std::numeric_limits<uint64_t>::max();
  static constexpr uint64_t kWakeKey = kListenKey - 1;

  // Changes what `epoll` tells of `fd`; false with errno.
  static bool Watch(const UniqueFd& epoll, int operation, int fd, uint32_t events, uint64_t key);

  Listener(AcceptingSocket socket, UniqueFd epoll, std::shared_ptr<LoopMailbox> mailbox,
           Forwarder& forwarder, IdleShutdown& idle, const ListenerOptions& options);

  // Everything below runs on the loop's thread.
  void Loop();
  void HandleEvent(uint64_t key);
  void Accept();
  // One connection; false if there was none to accept.
  bool AcceptOne();
  void NoteReserve() const;
  void Hold(AcceptingSocket::Accepted accepted);
  void PauseAccepting();
  void ResumeAccepting();
  // Answers a general error, as there are too many: `limit` is for metrics, `why` for the log.
  void Refuse(HeldConnection& held, absl::string_view limit, absl::string_view why);
  // Whether its client may connect; it is closed if not.
  bool Admit(HeldConnection& held);
  // Closes it if its address is banned; whether it is.
  bool TurnAwayBanned(HeldConnection& held);
  // It did what no client does: its address may earn a ban.
  void NoteOffence(const HeldConnection& held, Offence offence);
  // It is not one of its address any more.
  void Uncount(HeldConnection& held);
  // What came first from a balancer.
  void ReadProxyHeader(HeldConnection& held);
  void RefuseProxyHeader(HeldConnection& held, CloseReason reason, absl::string_view why);
  // Begins to read of the connections that were accepted before.
  void ReadAccepted();
  void ReadHead(HeldConnection& held);
  void HandleEnd(HeldConnection& held);
  // Waits for the rest of a head, or for the next one.
  void Wait(HeldConnection& held);
  // At once, later, or not at all, as the limits of its address are.
  void Serve(HeldConnection& held);
  // Once there is room for it under max_active_requests.
  void Enqueue(HeldConnection& held);
  void Begin(HeldConnection& held);
  // Gives the room of a request that was served to the next that waits.
  void BeginNext();
  void TakeMail();
  void Resume(HeldConnection& held, Served served);
  // Goes on as the last request, answered by now, wants it.
  void Continue(HeldConnection& held, const Served& served);
  void Linger(HeldConnection& held, CloseReason reason);
  void Discard(HeldConnection& held);
  void Expire(uint64_t key);
  void ExpireHead(HeldConnection& held);
  // Has epoll tell when more comes. Closes the connection if that cannot be had.
  void Arm(HeldConnection& held);
  void Close(HeldConnection& held, CloseReason reason);
  void StopAccepting();
  void AbortAll();
  HeldConnection* Find(uint64_t number);

  IdleShutdown& idle_;
  const ListenerOptions options_;
  BodyBudget body_budget_;
  RecentUploads uploads_;
  const UniqueFd epoll_;
  const std::shared_ptr<LoopMailbox> mailbox_;
  const SessionContext context_;
  BanList bans_;
  std::atomic<bool> draining_ = false;
  std::atomic<bool> aborting_ = false;

  // Used by the loop's thread only.
  AcceptingSocket socket_;
  std::map<uint64_t, std::unique_ptr<HeldConnection>> held_;
  std::vector<uint64_t> accepted_;  // Connections of which nothing was read yet.
  AddressLimits limits_;
  Defender defender_;
  Deadlines deadlines_;  // By connection, and kListenKey.
  size_t lingering_ = 0;
  int active_ = 0;               // Requests that are being served.
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
