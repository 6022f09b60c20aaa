#include "storage/postgres/connector.h"

#include <algorithm>

#include "base/status_macros.h"

namespace backup::storage::postgres {
namespace {

constexpr absl::Duration kFirstWait = absl::Milliseconds(20);
constexpr absl::Duration kLongestWait = absl::Milliseconds(300);

int64_t Now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

// Plans are made once, as a rule while tables are still empty, and must stay good when they are
// large: rows are found by indices, one after the other. Nothing is acknowledged that the server
// could lose.
constexpr char kSettings[] =
    "SELECT set_config('plan_cache_mode', 'force_generic_plan', false), "
    "set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false), "
    "set_config('enable_mergejoin', 'off', false), set_config('enable_material', 'off', false), "
    "set_config('jit', 'off', false), "
    "set_config('synchronous_commit', CASE current_setting('synchronous_commit') "
    "WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false), "
    "set_config('idle_in_transaction_session_timeout', '60s', false)";
// Two services that wait for each other are told apart sooner than by the server's
// deadlock_timeout, which only its administrator may set.
constexpr char kWriterSettings[] =
    "SELECT set_config('lock_timeout', '500ms', false), take_shard()";

}  // namespace

void Connector::NoteAlive() { last_alive_ = Now(); }

void Connector::Stop() {
  MutexLock lock(mutex_);
  is_stopped_ = true;
  stopped_.NotifyAll();
}

bool Connector::IsPatient() const {
  const auto past = std::chrono::steady_clock::duration(Now() - last_alive_.load());
  return absl::FromChrono(past) < kPatience;
}

bool Connector::Wait(absl::Duration time) {
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(time);
  MutexLock lock(mutex_);
  while (!is_stopped_) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero()) return true;
    stopped_.WaitFor(mutex_, absl::FromChrono(left));
  }
  return false;
}

absl::StatusOr<std::unique_ptr<Connection>> Connector::Connect(Use use) {
  absl::Duration wait = kFirstWait;
  while (true) {
    absl::StatusOr<std::unique_ptr<Connection>> made = ConnectOnce(use);
    if (made.ok()) NoteAlive();
    if (made.ok() || !IsPatient() || !Wait(wait)) return made;
    wait = std::min(2 * wait, kLongestWait);
  }
}

absl::StatusOr<std::unique_ptr<Connection>> Connector::ConnectOnce(Use use) {
  // As long as one may just be moving, one that does not answer keeps nobody from finding it.
  const absl::Duration timeout =
      IsPatient() ? std::min(connect_timeout_, kPatience / 2) : connect_timeout_;
  ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection,
                   Connection::Open(hosts_, timeout, answer_timeout_));
  Query settings = connection->Prepare(kSettings);
  RETURN_IF_ERROR(settings.Step().status());
  if (use != Use::kWriting) return connection;
  Query writer_settings = connection->Prepare(kWriterSettings);
  RETURN_IF_ERROR(writer_settings.Step().status());
  return connection;
}

}  // namespace backup::storage::postgres
