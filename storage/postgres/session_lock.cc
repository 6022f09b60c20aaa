#include "storage/postgres/session_lock.h"

#include <chrono>
#include <thread>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "storage/postgres/connection.h"

namespace backup::storage {
namespace {

using postgres::Connection;
using postgres::Query;
using SteadyClock = std::chrono::steady_clock;

constexpr absl::Duration kConnectTimeout = absl::Seconds(5);
constexpr absl::Duration kAnswerTimeout = absl::Seconds(10);
// Between two tries while another has it.
constexpr std::chrono::milliseconds kRetryInterval{100};
// The first number says what the lock is of ("bkup"), the second one which schema of the database.
constexpr char kTryLock[] =
    "SELECT pg_try_advisory_lock(1651209584, hashtext(coalesce(current_schema(), '')))";
constexpr char kHolder[] =
    "SELECT coalesce(host(a.client_addr), 'the server itself'), a.pid::int8 "
    "FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.classid::int8 = 1651209584 "
    "AND l.objid::int8 = (hashtext(coalesce(current_schema(), ''))::int8 & 4294967295) "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1";

}  // namespace

SessionLock::SessionLock(std::vector<ConnectionParameters> hosts) : hosts_(std::move(hosts)) {}
SessionLock::~SessionLock() = default;

absl::StatusOr<std::unique_ptr<SessionLock>> SessionLock::Take(const std::string& conninfo,
                                                               absl::Duration patience) {
  ASSIGN_OR_RETURN(std::vector<ConnectionParameters> hosts, ParametersOf(conninfo));
  auto lock = absl::WrapUnique(new SessionLock(std::move(hosts)));
  const SteadyClock::time_point end = SteadyClock::now() + absl::ToChronoMilliseconds(patience);
  while (true) {
    const absl::Status taken = lock->Renew();
    if (taken.ok()) return lock;
    if (!absl::IsAborted(taken) || SteadyClock::now() >= end) return taken;
    std::this_thread::sleep_for(kRetryInterval);
  }
}

absl::Status SessionLock::Renew() {
  if (connection_ == nullptr) {
    ASSIGN_OR_RETURN(connection_, Connection::Open(hosts_, kConnectTimeout, kAnswerTimeout));
  }
  absl::Status renewed =
      is_held_ ? connection_->Prepare("SELECT 1::int8").Step().status() : TryLock();
  // A session of which nobody knows whether it is there holds nothing.
  if (!renewed.ok() && !absl::IsAborted(renewed)) {
    connection_.reset();
    is_held_ = false;
  }
  return renewed;
}

absl::Status SessionLock::TryLock() {
  {
    Query query = connection_->Prepare(kTryLock);
    RETURN_IF_ERROR(query.Step().status());
    is_held_ = query.Int(0) != 0;
  }
  return is_held_ ? absl::OkStatus()
                  : absl::AbortedError(
                        absl::StrCat("another service uses it", Holder(), ": stop that first"));
}

std::string SessionLock::Holder() {
  Query query = connection_->Prepare(kHolder);
  const absl::StatusOr<bool> found = query.Step();
  if (!found.ok() || !*found) return "";
  return absl::StrCat(", from ", NameToText(query.Blob(0)), " (session ", query.Int(1), ")");
}

}  // namespace backup::storage
